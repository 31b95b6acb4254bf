"""Ways to train: optimisers, balanced draws, mixed cases, parts that learn later, and ending early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.nets import stopping as stopping_module
from autoonco.nets import training as training_module
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.lora import add_low_rank, merge_low_rank
from autoonco.nets.mixing import mix
from autoonco.nets.network import Network
from autoonco.nets.pace import Pace, Precision
from autoonco.nets.recipe import Optimizer, Recipe, optimizer_of, parameter_groups
from autoonco.nets.stopping import Stopping, split_off
from autoonco.nets.training import train
from autoonco.nets.training_run import TrainingRun, balanced_batches
from autoonco.nets.unfreezing import blocks_of, train_last

STILL = Augmentation(strength=0.0, flips="none")


class Chain(Network):
    """Three blocks and a head, with batch norm and dropout, behind the face of every network."""

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = nn.Sequential()
            width = 1
            for name in ("stem", "one", "two"):
                block = nn.Sequential(nn.Conv2d(width, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
                backbone.add_module(name, block)
                width = 6
            head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(6, 2))
            backbone.add_module("head", head)
        super().__init__(backbone, {"mean": 0.5, "std": 0.5})


def stripes(n: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, the second a quarter: stripes along one axis or the other."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 4 == 0).astype(int)
    one = np.broadcast_to(200 * (np.arange(12) % 4 < 2), (12, 12))
    crops = np.stack([one if label else one.T for label in y])[:, None]
    return np.clip(crops + rng.integers(0, 50, crops.shape), 0, 255).astype(np.uint8), y


def run(recipe: Recipe, until: int, *, network: nn.Module | None = None, **more: Any) -> nn.Module:
    crops, y = stripes()
    how: dict[str, Any] = {"n_classes": 2, "n_image_channels": 1, "seed": 0} | more
    return train(network or Chain(), crops, y, recipe, until_epoch=until, **how)


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 6, "learning_rate": 0.01, "batch_size": 7, "augmentation": STILL} | changes)


def distance(one: nn.Module, other: nn.Module) -> float:
    states = one.state_dict(), other.state_dict()
    return max(float((states[0][key].double() - states[1][key].double()).abs().max()) for key in states[0])


WAYS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": Optimizer.SGD, "learning_rate": 0.05},
    "sampled": {"class_weights": False, "balanced_sampling": True},
    "mixup": {"mixing": "mixup"},
    "cutmix": {"mixing": "cutmix", "ema": 0.3},
    "head first": {"head_first": 0.3, "unfrozen_blocks": 2, "ema": 0.3},
    "head first, slower below": {"head_first": 0.5, "unfrozen_blocks": 1, "layer_decay": 0.8},
    "stopping": {"early_stopping": 0.25},
    "stopping, averaged": {"early_stopping": 0.25, "ema": 0.3, "mixing": "mixup"},
    "everything moves": {
        "augmentation": Augmentation(strength=1.0, elastic=1.0, intensity=1.0, noise=1.0, flips="all")
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cut", [1, 3])
def test_every_way_goes_on_as_if_never_cut(way: str, cut: int, tmp_path: Path) -> None:
    how = recipe(**WAYS[way])
    expected = run(how, 5)
    run(how, cut, checkpoint=tmp_path)
    torch.manual_seed(99)
    assert distance(run(how, 5, checkpoint=tmp_path), expected) == 0


@pytest.mark.parametrize("way", WAYS)
def test_every_way_asked_again_gives_the_same(way: str, tmp_path: Path) -> None:
    """As after a kill between the checkpoint and the answer: no epoch is left to do."""
    how = recipe(**WAYS[way])
    expected = run(how, 1, checkpoint=tmp_path)
    assert distance(run(how, 1, checkpoint=tmp_path), expected) == 0


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_the_order_of_weights_in_memory_survives(optimizer: Optimizer, tmp_path: Path) -> None:
    """A fused step goes through weights and moments side by side, in the order in which they lie."""

    def network() -> nn.Module:
        return Chain().to(memory_format=torch.channels_last)

    how = recipe(optimizer=optimizer)
    expected = run(how, 3, network=network())
    run(how, 1, network=network(), checkpoint=tmp_path)
    assert distance(run(how, 3, network=network(), checkpoint=tmp_path), expected) == 0
    if optimizer is Optimizer.SGD:  # AdamW makes whole steps of gradients that are rounding alone
        assert distance(run(how, 3), expected) < 1e-3


@pytest.mark.parametrize("way", ["sgd", "sampled", "mixup", "cutmix", "head first", "stopping"])
def test_every_way_learns(way: str) -> None:
    how = recipe(**{"epochs": 24, "learning_rate": 0.03} | WAYS[way] | {"ema": 0.0})
    if way == "sgd":
        how = recipe(**WAYS[way] | {"epochs": 24, "learning_rate": 0.2})
    crops, y = stripes()
    found = run(how, 24)(torch.from_numpy(crops)).argmax(dim=1).numpy()
    assert np.mean(found == y) >= 0.9


def test_a_low_rank_training_goes_on_as_if_never_cut(tmp_path: Path) -> None:
    import timm

    def network() -> Network:
        torch.manual_seed(0)
        backbone = timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32, in_chans=1, depth=1)
        made = Network(backbone, {"mean": 0.5, "std": 0.5})
        add_low_rank(made, rank=2, alpha=4.0, targets="all", seed=0)
        return made

    crops = np.repeat(np.repeat(stripes(10)[0], 3, axis=2), 3, axis=3)[:, :, :32, :32]
    how = {"n_classes": 2, "n_image_channels": 1, "seed": 0}

    def go(until: int, **more: Any) -> nn.Module:
        y = stripes(10)[1]
        return merge_low_rank(train(network(), crops, y, recipe(ema=0.3), until_epoch=until, **how, **more))

    expected = go(3)
    go(1, checkpoint=tmp_path)
    assert distance(go(3, checkpoint=tmp_path), expected) == 0


def test_a_training_goes_on_in_the_pace_it_began_with(tmp_path: Path) -> None:
    half = Pace(precision=Precision.HALF, channels_last=True)
    expected = run(recipe(), 3, pace=half)
    assert distance(expected, run(recipe(), 3)) > 1e-5
    run(recipe(), 1, pace=half, checkpoint=tmp_path)
    assert distance(run(recipe(), 3, pace=Pace(), checkpoint=tmp_path), expected) == 0


# Optimisers.


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_steps_are_those_of_the_paper(optimizer: Optimizer) -> None:
    """Oracle: two steps of AdamW (Loshchilov & Hutter) and of SGD with Nesterov's momentum, by hand."""
    layer = nn.Linear(3, 2, bias=False)
    start = layer.weight.detach().clone()
    how = recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.2, momentum=0.8)
    made = optimizer_of(nn.Sequential(layer), how)
    gradients = [torch.randn(2, 3, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    for gradient in gradients:
        layer.weight.grad = gradient.clone()
        made.step()
    expected, m, v = start.clone(), torch.zeros(2, 3), torch.zeros(2, 3)
    for step, gradient in enumerate(gradients, start=1):
        if optimizer == Optimizer.ADAMW:
            expected *= 1 - 0.1 * 0.2
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            expected -= 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        else:
            decayed = gradient + 0.2 * expected
            m = decayed if step == 1 else 0.8 * m + decayed
            expected -= 0.1 * (decayed + 0.8 * m)
    torch.testing.assert_close(layer.weight.detach(), expected, atol=1e-6, rtol=1e-5)


# Balanced draws and mixed cases.


def test_draws_are_balanced_and_follow_the_generator() -> None:
    y = torch.tensor([0] * 80 + [1] * 15 + [3] * 5)  # of class 2 there is none
    first, again = (balanced_batches(y, 8, torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert [len(rows) for rows in first] == [8] * 12 + [4]
    many = torch.cat([torch.cat(balanced_batches(y, 8, torch.Generator().manual_seed(i))) for i in range(60)])
    shares = torch.bincount(y[many], minlength=4) / len(many)
    torch.testing.assert_close(shares, torch.tensor([1, 1, 0, 1]) / 3, atol=0.03, rtol=0)


@pytest.mark.parametrize("shape", [(6, 2, 8, 8), (6, 2, 8, 8, 8)])
def test_mixup_is_a_mean_of_two_cases_and_of_their_labels(shape: tuple[int, ...]) -> None:
    """Each case is constant, with its own number: what is mixed can be read off."""
    numbers = torch.arange(6.0)
    batch = numbers.reshape(-1, *(1,) * (len(shape) - 1)).expand(shape).contiguous()
    torch.manual_seed(3)
    mixed, shares = mix(batch, torch.arange(6), how="mixup", alpha=1.0, n_classes=6)
    assert mixed.shape == shape
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
    assert ((shares > 0).sum(dim=1) == 2).all()
    expected = (shares @ numbers).reshape(-1, *(1,) * (len(shape) - 1)).expand(shape)
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("shape", [(6, 2, 16, 16), (6, 2, 16, 16, 16)])
def test_cutmix_labels_are_the_shares_of_the_volume(shape: tuple[int, ...]) -> None:
    numbers = torch.arange(6.0)
    batch = numbers.reshape(-1, *(1,) * (len(shape) - 1)).expand(shape).contiguous()
    boxes = set()
    for seed in range(12):
        torch.manual_seed(seed)
        mixed, shares = mix(batch, torch.arange(6), how="cutmix", alpha=1.0, n_classes=6)
        for case in range(6):
            counted = torch.stack([(mixed[case] == number).float().mean() for number in numbers])
            torch.testing.assert_close(counted, shares[case], atol=1e-5, rtol=0)
        changed = (mixed[0, 0] != 0).nonzero()
        if len(changed):
            boxes.add(tuple((changed.amax(dim=0) - changed.amin(dim=0)).tolist()))
    assert len(boxes) > 3
    if len(shape) == 5:  # through the volume along each of its axes
        assert {axis for box in boxes for axis in range(3) if box[axis] == 15} == {0, 1, 2}


def test_shares_of_classes_weigh_as_labels_do() -> None:
    """Oracle: one-hot shares give the loss and the gradient of the labels themselves."""
    from autoonco.nets.gradients import batch_gradient

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    batch, y = torch.rand(7, 1, 4, 4), torch.tensor([0, 1, 2, 0, 0, 1, 0])
    weights, found = torch.tensor([0.5, 1.0, 3.0]), []
    for labels in (y, nn.functional.one_hot(y, 3).float()):
        loss, _ = batch_gradient(network, batch, labels, weights=weights, label_smoothing=0.1, n_parts=2)
        found.append([loss, *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


# What learns when.


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Return the blocks of a chain whose weights or statistics differ."""
    states = before.state_dict(), after.state_dict()
    return {key.split(".")[1] for key in states[0] if not torch.equal(states[0][key], states[1][key])}


def test_the_head_learns_first_and_the_last_blocks_after_it() -> None:
    how = recipe(head_first=0.5, unfrozen_blocks=1)
    start = Chain()
    assert changed(start, run(how, 3)) == {"head"}
    assert changed(start, run(how, 4)) == {"head", "two"}
    assert changed(start, run(recipe(head_first=0.5, unfrozen_blocks=50), 4)) == {
        "stem",
        "one",
        "two",
        "head",
    }


def test_blocks_slow_down_towards_the_stem() -> None:
    network = Chain()
    groups = parameter_groups(network, recipe(layer_decay=0.5, weight_decay=0.1))
    rate = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    found = [{rate[id(p)] for p in block.values()} for block in blocks_of(network)]
    assert found == [{0.125}, {0.25}, {0.5}, {1.0}]
    train_last(network, 2)
    learning = {id(p) for group in parameter_groups(network, recipe()) for p in group["params"]}
    assert learning == {id(p) for block in blocks_of(network)[2:] for p in block.values()}


def test_every_parameter_is_in_one_block_also_of_networks_that_know_none() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
    plain.register_parameter("scale", nn.Parameter(torch.ones(1)))
    names = [name for block in blocks_of(plain) for name in block]
    assert sorted(names) == sorted(dict(plain.named_parameters()))
    assert "scale" in blocks_of(plain)[-1]


# Ending early.


def test_no_patient_is_on_both_sides_and_every_class_on_each() -> None:
    y = np.arange(40) % 3 // 2
    patients = [f"p{row // 2}" for row in range(40)]
    kept, held = split_off(y, patients, 0.2, seed=0)
    assert not {patients[row] for row in kept} & {patients[row] for row in held}
    assert sorted([*kept, *held]) == list(range(40))
    assert set(y[kept]) == set(y[held]) == {0, 1}
    assert 6 <= len(held) <= 10


def test_few_cases_are_held_out_in_a_larger_share_or_not_at_all() -> None:
    assert len(split_off(np.arange(9) % 3, None, 0.1, seed=0)[1]) >= 3
    assert split_off(np.array([0, 0, 0, 1]), None, 0.2, seed=0) is None
    assert split_off(np.array([0, 0, 1, 1]), ["a", "a", "a", "a"], 0.2, seed=0) is None


def test_what_is_held_out_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pixels may change at will: the epochs' weights are the same to the bit, and what is chosen may differ."""
    seen = []
    monkeypatch.setattr(stopping_module.Stopping, "tell", lambda self, loss: seen.append(loss) or True)
    crops, y = stripes()
    patients = [f"p{row // 2}" for row in range(24)]
    _, held = split_off(y, patients, 0.25, seed=0)
    other = crops.copy()
    other[held] = 255 - other[held]
    found = [
        train(
            Chain(),
            data,
            y,
            recipe(early_stopping=0.25),
            n_classes=2,
            n_image_channels=1,
            until_epoch=2,
            seed=0,
            patients=patients,
        )
        for data in (crops, other)
    ]
    assert distance(*found) == 0
    assert seen[:2] != seen[2:]


def test_the_best_epoch_predicts_and_the_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second epoch is told to be the best of ten: five are done, and its weights come back."""
    losses = iter([1.0, 0.5, 0.7, 0.8, 0.9, 0.4, 0.3])
    epochs: list[int] = []
    original = TrainingRun.epoch

    def epoch(self: TrainingRun, *data: Any, **how: Any) -> None:
        epochs.append(how["epoch"])
        original(self, *data, **how)

    monkeypatch.setattr(TrainingRun, "epoch", epoch)
    monkeypatch.setattr(training_module, "held_out_loss", lambda *_, **__: next(losses))
    how = recipe(epochs=12, early_stopping=0.25)
    found = run(how, 12)
    assert epochs == [0, 1, 2, 3, 4]
    losses = iter([1.0, 0.5])
    assert distance(run(how, 2), found) == 0


def test_a_training_that_ended_early_stays_so_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.7, 0.8, 0.9])
    monkeypatch.setattr(training_module, "held_out_loss", lambda *_, **__: next(losses))
    how = recipe(epochs=8, early_stopping=0.25)
    first = run(how, 2, checkpoint=tmp_path)
    assert distance(run(how, 8, checkpoint=tmp_path), first) == 0
    assert next(losses) == 0.9  # the third epoch was the second without a better one, and the last


def test_patience_is_a_quarter_of_the_epochs_and_two_at_least() -> None:
    assert [Stopping.of(epochs).patience for epochs in (4, 8, 20, 60)] == [2, 2, 5, 15]


# Precision and the like are those of `nets.pace`; that they give the same gradient is tested with the probe.


def test_an_average_of_all_steps_is_their_mean() -> None:
    """With a share of 1 the average weighs every step alike: oracle by collecting the weights step by step."""
    seen: list[torch.Tensor] = []
    original = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *a: Any, **k: Any) -> Any:
        out = original(self, *a, **k)
        seen.append(self.param_groups[0]["params"][0].detach().clone())
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        trained = run(recipe(ema=1.0), 3)
    first = trained.backbone.stem[0].weight.detach()
    torch.testing.assert_close(first, torch.stack(seen).mean(dim=0), atol=1e-6, rtol=1e-5)
