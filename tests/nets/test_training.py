from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from autoonco.errors import DataError, TrainingDivergedError, TrainingMemoryError
from autoonco.nets import training_run
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.checkpoints import FILE, checkpoint_epoch
from autoonco.nets.embeddings import forward
from autoonco.nets.gradients import batch_gradient
from autoonco.nets.recipe import Recipe, ema_decay, learning_rate, parameter_groups
from autoonco.nets.training import train
from autoonco.nets.training_run import batches
from autoonco.resources import load_space

CALM = Augmentation(strength=0.3)


class Tiny(nn.Module):
    """Everything that a checkpoint has to keep: convolution, batch norm with its counters, dropout."""

    def __init__(self, seed: int = 0, n_space: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            conv, norm = (nn.Conv2d, nn.BatchNorm2d) if n_space == 2 else (nn.Conv3d, nn.BatchNorm3d)
            self.features = nn.Sequential(conv(1, 8, 3), norm(8), nn.ReLU(), conv(8, 8, 3, 2), nn.ReLU())
            self.drop, self.fc = nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        values = crops.float() / 255 if crops.dtype == torch.uint8 else crops
        return self.fc(self.drop(self.features(values).flatten(2).mean(dim=2)))


def stripes(n: int = 24, n_space: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes: stripes along one axis or the other."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    wave = 200 * (np.arange(12) % 4 < 2)
    one = np.broadcast_to(wave, (12,) * n_space)
    crops = np.stack([one if label else np.moveaxis(one, -1, -2) for label in y])[:, None]
    return np.clip(crops + rng.integers(0, 50, crops.shape), 0, 255).astype(np.uint8), y


def run(
    recipe: Recipe, until: int, *, seed: int = 0, n_space: int = 2, n: int = 24, **more: Any
) -> nn.Module:
    crops, y = stripes(n, n_space)
    how: dict[str, Any] = {"n_classes": 2, "n_image_channels": 1, "seed": seed} | more
    return train(Tiny(n_space=n_space), crops, y, recipe, until_epoch=until, **how)


def distance(one: nn.Module, other: nn.Module) -> float:
    states = one.state_dict(), other.state_dict()
    return max(float((states[0][key].double() - states[1][key].double()).abs().max()) for key in states[0])


@pytest.mark.parametrize("n_space", [2, 3])
def test_learns_a_tiny_set_by_heart(n_space: int) -> None:
    recipe = Recipe(epochs=30, learning_rate=0.02, batch_size=8, augmentation=Augmentation(strength=0.0))
    network = run(recipe, 30, n_space=n_space)
    crops, y = stripes(n_space=n_space)
    assert (forward(network, crops, device="cpu", n_threads=1).argmax(axis=1) == y).mean() == 1


@pytest.mark.parametrize("ema", [0.0, 0.3])
@pytest.mark.parametrize("cut", [1, 3])
def test_continued_equals_uninterrupted(tmp_path: Path, ema: float, cut: int) -> None:
    recipe = Recipe(epochs=6, learning_rate=0.01, batch_size=7, ema=ema, augmentation=CALM)
    expected = run(recipe, 5)
    before = run(recipe, cut, checkpoint=tmp_path)
    assert distance(before, expected) > 1e-3
    torch.manual_seed(99)  # nothing outside may matter
    assert distance(run(recipe, 5, checkpoint=tmp_path), expected) == 0


def test_continuing_does_only_the_missing_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=6, learning_rate=0.01, augmentation=CALM)
    run(recipe, 4, checkpoint=tmp_path)
    seen: list[int] = []
    original = training_run.TrainingRun.epoch
    monkeypatch.setattr(
        training_run.TrainingRun,
        "epoch",
        lambda self, *a, **k: (seen.append(k["epoch"]), original(self, *a, **k)),
    )
    done = run(recipe, 6, checkpoint=tmp_path)
    assert seen == [4, 5]
    assert distance(run(recipe, 6, checkpoint=tmp_path), done) == 0
    assert seen == [4, 5]


def test_fewer_epochs_than_the_checkpoint_start_anew_and_leave_it(tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, learning_rate=0.01, augmentation=CALM)
    run(recipe, 4, checkpoint=tmp_path)
    kept = (tmp_path / FILE).read_bytes()
    assert distance(run(recipe, 2, checkpoint=tmp_path), run(recipe, 2)) == 0
    assert (tmp_path / FILE).read_bytes() == kept


@pytest.mark.parametrize("other", ["recipe", "seed", "data", "damaged"])
def test_checkpoint_of_something_else_is_not_used(tmp_path: Path, other: str) -> None:
    recipe = Recipe(epochs=4, learning_rate=0.01, augmentation=CALM)
    run(recipe, 2, checkpoint=tmp_path)
    changed: dict[str, Any] = {}
    if other == "recipe":
        recipe = Recipe(epochs=4, learning_rate=0.02, augmentation=CALM)
    elif other == "seed":
        changed["seed"] = 1
    elif other == "data":
        changed["n"] = 22
    else:
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:500])
    assert distance(run(recipe, 3, checkpoint=tmp_path, **changed), run(recipe, 3, **changed)) == 0


def test_checkpoint_holds_tensors_and_plain_text_only(tmp_path: Path) -> None:
    """All there is, by name: both networks whole, and the optimiser's two moments and step of every parameter."""
    run(Recipe(epochs=2, learning_rate=0.01, ema=0.3), 1, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    network = Tiny()
    n_parameters = len(list(network.parameters()))
    expected = {f"{name}/{key}" for name in ("network", "averaged") for key in network.state_dict()}
    expected |= {
        f"optimizer/{index}/{moment}"
        for index in range(n_parameters)
        for moment in ("step", "exp_avg", "exp_avg_sq")
    }
    with safe_open(tmp_path / FILE, "pt") as stored:
        assert set(stored.keys()) == expected
        assert set(stored.metadata()) == {"epoch", "identity", "notes"}
        assert stored.metadata()["epoch"] == "1"
    assert checkpoint_epoch(tmp_path, "another") == 0


def test_norms_hold_the_statistics_of_the_training_cases() -> None:
    """Oracle: mean and variance of the first layer's output over all cases, by hand."""
    crops, _ = stripes()
    network = run(Recipe(epochs=1, learning_rate=0.01, batch_size=24, augmentation=CALM), 1)
    with torch.no_grad():
        values = network.features[0](torch.from_numpy(crops).float() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(network.features[1].running_mean, values.mean(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.features[1].running_var, values.var(dim=1), atol=1e-5, rtol=1e-4)
    assert network.features[1].momentum == 0.1


def test_frozen_norms_keep_their_statistics() -> None:
    from autoonco.nets.builders import build_2d

    network = build_2d("tf_efficientnet_lite0", n_classes=2, pretrained=True)
    network.freeze_stages(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    crops = np.random.default_rng(0).integers(0, 255, (8, 3, 64, 64), np.uint8)
    recipe = Recipe(epochs=1, learning_rate=0.001, augmentation=CALM, ema=0.3)
    trained = train(
        network, crops, np.arange(8) % 2, recipe, n_classes=2, n_image_channels=3, until_epoch=1, seed=0
    )
    moved = {key for key, value in trained.state_dict().items() if not torch.equal(value, before[key])}
    assert "backbone.bn1.running_mean" not in moved
    assert "backbone.blocks.1.0.bn1.running_var" not in moved
    assert "backbone.blocks.3.0.bn1.running_mean" in moved


def test_same_seed_same_network_other_seed_another() -> None:
    recipe = Recipe(epochs=2, learning_rate=0.01, augmentation=CALM)
    assert distance(run(recipe, 2), run(recipe, 2)) == 0
    assert distance(run(recipe, 2), run(recipe, 2, seed=1)) > 1e-4


def test_training_leaves_the_random_state_and_threads_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run(Recipe(epochs=1, learning_rate=0.01), 1, n_threads=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.3])
def test_learning_rate_rises_then_falls_to_nearly_zero(warmup: float) -> None:
    recipe = Recipe(epochs=1, learning_rate=0.5, warmup=warmup)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.5)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top + 1 :]) < 0).all()
    assert 0 < rates[-1] < 0.005


def test_a_cut_training_follows_the_schedule_of_the_full_one() -> None:
    """Half a training of 8 epochs is not a training of 4: its learning rate is still high at its end."""
    short = Recipe(epochs=4, learning_rate=0.01, augmentation=CALM)
    long = Recipe(epochs=8, learning_rate=0.01, augmentation=CALM)
    assert distance(run(long, 4), run(short, 4)) > 1e-4


@pytest.mark.parametrize(("n", "size"), [(9, 8), (17, 8), (16, 8), (3, 2), (2, 32), (33, 32), (10, 3)])
def test_every_case_once_and_never_a_batch_of_one(n: int, size: int) -> None:
    parts = batches(n, size, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert min(map(len, parts)) >= 2


def test_last_single_case_does_not_break_batch_norm() -> None:
    run(Recipe(epochs=1, learning_rate=0.01, batch_size=8), 1, n=17)


@pytest.mark.parametrize("until", [1, 3])
def test_diverged_training_is_named(until: int) -> None:
    with pytest.raises(TrainingDivergedError, match="learning rate below"):
        run(Recipe(epochs=until, learning_rate=1e30, clip=1e30, batch_size=8, augmentation=CALM), until)


def test_one_case_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2"):
        run(Recipe(epochs=1, learning_rate=0.01), 1, n=1)


def test_class_weights_lift_the_rare_class() -> None:
    """Pictures of pure noise: the weighted network calls the classes even, the plain one goes with the majority."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (60, 1, 12, 12)).astype(np.uint8)
    y = (np.arange(60) < 6).astype(int)

    def mean_probability(weighted: bool) -> float:
        recipe = Recipe(
            epochs=25, learning_rate=0.01, class_weights=weighted, augmentation=Augmentation(strength=0.0)
        )
        trained = train(Tiny(), crops, y, recipe, n_classes=2, n_image_channels=1, until_epoch=25, seed=0)
        logits = torch.from_numpy(forward(trained, crops, device="cpu", n_threads=1))
        return float(logits.softmax(dim=1)[:, 1].mean())

    assert mean_probability(weighted=False) < 0.25
    assert mean_probability(weighted=True) > 0.35


def test_a_class_without_cases_has_no_weight() -> None:
    crops, y = stripes()
    network = Tiny()
    network.fc = nn.Linear(8, 4)
    recipe = Recipe(epochs=1, learning_rate=0.01)
    trained = train(network, crops, y, recipe, n_classes=4, n_image_channels=1, until_epoch=1, seed=0)
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())


def test_averaged_network_lies_between_start_and_end() -> None:
    plain, averaged = (
        run(Recipe(epochs=6, learning_rate=0.02, ema=ema, augmentation=CALM), 6) for ema in (0.0, 0.5)
    )
    start, end, between = (net.fc.weight.detach() for net in (Tiny(), plain, averaged))
    assert 0 < (between - start).norm() < (end - start).norm()
    assert 0 < (between - end).norm() < (end - start).norm()


@pytest.mark.parametrize("until", [4, 6])
def test_each_average_of_the_space_gives_other_weights_also_in_a_short_training(until: int) -> None:
    shares = load_space("training")["ema"].sequence
    trained = [run(Recipe(epochs=6, learning_rate=0.01, batch_size=8, ema=share), until) for share in shares]
    for one, other in itertools.combinations(trained, 2):
        assert distance(one, other) > 1e-4


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_average_spans_the_same_share_of_a_training_of_any_length(share: float) -> None:
    """Centre of mass of the weights that the steps get, by hand: share / (1 + share) of the way from the end."""
    lags = []
    for n_steps in (200, 2000):
        weights = np.zeros(n_steps)
        for step in range(n_steps):
            decay = ema_decay(share, step)
            weights[: step + 1] *= decay
            weights[step] = 1 - decay
        assert weights.sum() == pytest.approx(1)  # nothing of the weights before the first step
        assert ema_decay(share, n_steps - 1) == pytest.approx(1 - 1 / (share * n_steps))
        lags.append(1 - weights @ np.arange(1, n_steps + 1) / n_steps)
    assert lags == pytest.approx([share / (1 + share)] * 2, rel=0.1)


def test_biases_and_norms_have_no_weight_decay() -> None:
    groups = parameter_groups(Tiny(), Recipe(epochs=1, learning_rate=0.1, weight_decay=0.3))
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0)


def test_layer_decay_slows_early_layers() -> None:
    from autoonco.nets.builders import build_2d

    network = build_2d("tf_efficientnet_lite0", n_classes=2)
    groups = parameter_groups(network, Recipe(epochs=1, learning_rate=0.1, layer_decay=0.8))
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    backbone = network.backbone
    ordered = [
        backbone.conv_stem,
        backbone.blocks[2][0].conv_pw,
        backbone.blocks[6][0].conv_pw,
        backbone.classifier,
    ]
    scales = [scale[id(module.weight)] for module in ordered]
    assert scales == sorted(scales)
    assert scales[0] < 0.1
    assert scales[-1] == 1
    assert len(scale) == len(list(network.parameters()))


def test_inputs_are_not_changed() -> None:
    crops, y = stripes()
    kept = copy.deepcopy(crops)
    train(
        Tiny(),
        crops,
        y,
        Recipe(epochs=1, learning_rate=0.1),
        n_classes=2,
        n_image_channels=1,
        until_epoch=1,
        seed=0,
    )
    assert (crops == kept).all()


class Hungry(Tiny):
    """Runs out of memory above a number of cases, as a GPU does: some only on the way back, all of them noisily."""

    def __init__(self, holds: int, *, backward: bool = False, **how: Any) -> None:
        super().__init__(**how)
        self.holds, self.backward, self.seen = holds, backward, []

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        logits = super().forward(crops)  # statistics and random numbers are spoiled by then
        if not self.training or not torch.is_grad_enabled():
            return logits
        self.seen.append(len(crops))
        if len(crops) > self.holds:
            if not self.backward:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            logits.register_hook(self._fail)
        return logits

    @staticmethod
    def _fail(gradient: torch.Tensor) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def hungry(holds: int, until: int, *, n: int = 24, backward: bool = False, **more: Any) -> Hungry:
    crops, y = stripes(n)
    recipe = Recipe(epochs=6, learning_rate=0.01, batch_size=16, ema=0.3, augmentation=CALM)
    network = Hungry(holds, backward=backward)
    trained = train(
        network, crops, y, recipe, n_classes=2, n_image_channels=1, until_epoch=until, seed=0, **more
    )
    trained.seen = network.seen
    return trained


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n_parts", [2, 4, 8])
def test_parts_add_up_to_the_gradient_of_the_batch(weighted: bool, smoothing: float, n_parts: int) -> None:
    """Oracle: autograd of the whole batch's loss, for a network in which cases don't see each other."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3)
    network = nn.Sequential(*layers)
    batch, y = torch.rand(19, 1, 12, 12, generator=rng), torch.randint(0, 3, (19,), generator=rng)
    weights = torch.tensor([0.2, 1.0, 3.0]) if weighted else None
    loss = nn.functional.cross_entropy(network(batch), y, weight=weights, label_smoothing=smoothing)
    expected = torch.autograd.grad(loss, list(network.parameters()))
    found, n_found = batch_gradient(
        network, batch, y, weights=weights, label_smoothing=smoothing, n_parts=n_parts
    )
    assert n_found == n_parts
    torch.testing.assert_close(found, loss.detach(), atol=1e-6, rtol=0)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=0)


@pytest.mark.parametrize("backward", [False, True])
def test_out_of_memory_halves_the_batch_up_to_three_times(backward: bool) -> None:
    """Batches of 16 and 8 cases where 5 fit: halved twice at the first batch of an epoch, and kept for the second."""
    assert hungry(5, 1, backward=backward).seen == [16, 8, 4, 4, 4, 4, 2, 2, 2, 2]
    assert hungry(16, 1, backward=backward).seen == [16, 8]
    with pytest.raises(TrainingMemoryError, match="batch of 16 cases"):
        hungry(1, 1, backward=backward)


@pytest.mark.parametrize("backward", [False, True])
def test_what_a_failed_attempt_did_is_taken_back(backward: bool) -> None:
    """Equal to a training that had begun with so many parts: weights, statistics, batch counters and dropout."""
    found = hungry(8, 3, backward=backward)
    original = training_run.batch_gradient

    def in_two(*args: Any, **how: Any) -> Any:
        # both batches of an epoch are in two parts: the first for want of memory, the second after it
        return original(*args, **how | {"n_parts": 2})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "batch_gradient", in_two)
        expected = hungry(100, 3)
    assert distance(found, expected) == 0
    assert distance(found, hungry(100, 3)) > 1e-5


@pytest.mark.parametrize("holds", [3, 8, 13])
def test_a_training_in_parts_goes_on_as_if_never_cut(tmp_path: Path, holds: int) -> None:
    """With 13 the second batch, of 14, is the first to be too large: it must be so after the cut as well."""
    n = 24 if holds < 13 else 29
    expected = hungry(holds, 3, n=n)
    hungry(holds, 1, n=n, checkpoint=tmp_path)
    assert distance(hungry(holds, 3, n=n, checkpoint=tmp_path), expected) == 0


@pytest.mark.parametrize("n", [2, 3, 4, 9, 15, 17, 18])
def test_parts_have_two_cases_at_least_and_every_case_is_in_one(n: int) -> None:
    network = Hungry(100).train()
    crops, y = stripes(n)
    batch = torch.from_numpy(crops).float()
    batch_gradient(network, batch, torch.tensor(y), weights=None, label_smoothing=0.0, n_parts=8)
    assert min(network.seen) >= 2
    assert sum(network.seen) == n
    assert len(network.seen) == min(8, n // 2)
