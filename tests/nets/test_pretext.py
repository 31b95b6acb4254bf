"""What is learned without labels: it can be, it is cut and continued exactly, and all but the network is given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoonco.errors import TrainingMemoryError
from autoonco.nets import pretext as pretext_module
from autoonco.nets.architecture import Architecture
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.builders import build_3d, build_parametric
from autoonco.nets.checkpoints import checkpoint_epoch
from autoonco.nets.embeddings import weights_id
from autoonco.nets.pace import Pace
from autoonco.nets.pretext import Pretext, _Hidden, learn_pretext, turn, turns

STILL = Augmentation(strength=0.0, flips="none")
SIDES = (16, 16, 16)


def volumes(n: int = 12, sides: tuple[int, ...] = SIDES) -> np.ndarray:
    """Smooth volumes, bright at one end, so that ways up can be told and what is hidden guessed."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, side) for side in sides), indexing="ij")
    ramp = 120 * z + 60 * y + 30 * x
    found = ramp + rng.integers(0, 30, (n, 1, 1, 1)) + rng.integers(0, 10, (n, *sides))
    return found[:, None].clip(0, 255).astype(np.uint8)


def network(kind: str = "monai_vit_tiny", sides: tuple[int, ...] = SIDES) -> Any:
    if kind == "parametric":
        a = Architecture(width=8, stages=2, norm="batch")
        return build_parametric("parametric3d", a, n_classes=2, in_channels=1, size=sides)
    return build_3d(kind, n_classes=2, in_channels=1, size=sides)


def learned(how: Pretext, kind: str = "monai_vit_tiny", **more: Any) -> Any:
    return learn_pretext(network(kind), volumes(), how, **({"n_image_channels": 1, "seed": 0} | more))


@pytest.mark.parametrize("kind", ["masked", "rotation"])
def test_it_is_learned(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss falls well below that of the first epoch."""
    losses: list[float] = []
    lesson = {"masked": pretext_module._Hidden, "rotation": pretext_module._Turned}[kind]
    forward = lesson.forward

    def told(self: Any, *args: Any) -> torch.Tensor:
        loss = forward(self, *args)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(lesson, "forward", told)
    how = Pretext(kind=kind, epochs=60, batch_size=12, learning_rate=0.01, augmentation=STILL)
    learned(how, "parametric")
    assert np.mean(losses[-5:]) < 0.75 * losses[0]


@pytest.mark.parametrize("kind", ["masked", "rotation"])
@pytest.mark.parametrize("of", ["monai_vit_tiny", "parametric"])
def test_a_cut_and_continued_lesson_is_the_whole_one(kind: str, of: str, tmp_path: Path) -> None:
    how = Pretext(kind=kind, epochs=3, batch_size=8)
    whole = learned(how, of)
    learned(how, of, checkpoint=tmp_path, until_epoch=1)
    assert weights_id(learned(how, of, checkpoint=tmp_path)) == weights_id(whole)
    assert weights_id(learned(how, of, checkpoint=tmp_path)) == weights_id(whole)  # only read by now
    assert weights_id(learned(replace(how, kind="masked"), of, seed=1)) != weights_id(whole)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Pretext(kind="masked", epochs=2)
    expected = weights_id(learned(how, checkpoint=tmp_path))
    monkeypatch.setattr(pretext_module, "_epoch", lambda *_, **__: pytest.fail("learned again"))
    assert weights_id(learned(how, checkpoint=tmp_path)) == expected
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    weights = sum(value.numel() * value.element_size() for value in network().state_dict().values())
    assert size < 1.1 * weights  # no moments, no head


def test_another_lesson_does_not_continue_it(tmp_path: Path) -> None:
    how = Pretext(kind="masked", epochs=2)
    learned(how, checkpoint=tmp_path)
    other = replace(how, kind="rotation")
    assert weights_id(learned(other, checkpoint=tmp_path)) == weights_id(learned(other))
    assert checkpoint_epoch(tmp_path / "pretext", "someone else") == 0


def test_the_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    learned(Pretext(kind="rotation", epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_turns_are_the_rotations_that_keep_the_shape() -> None:
    """Each is another one, none is a mirror image, and any two in a row are one of them (they are a group)."""
    cube = torch.arange(27).reshape(1, 3, 3, 3)
    made = [tuple(turn(cube, *one).flatten().tolist()) for one in turns((3, 3, 3))]
    assert len(set(made)) == 24
    twice = {
        tuple(turn(turn(cube, *one), *other).flatten().tolist())
        for one in turns((3, 3, 3))
        for other in turns((3, 3, 3))
    }
    assert twice == set(made)
    assert tuple(cube.flip(1).flatten().tolist()) not in made
    thin = torch.rand(1, 2, 4, 4)
    assert all(turn(thin, *one).shape == thin.shape for one in turns((2, 4, 4)))


def test_drawn_boxes_lie_where_they_were_hidden() -> None:
    """What is folded into boxes and out again is the volume."""
    lesson = _Hidden(network(sides=(4, 16, 16)), (1, 4, 16, 16), 1, STILL)
    assert lesson.box == (1, 4, 4)
    volume = torch.rand(2, 1, 4, 16, 16)
    d, h, w = lesson.box
    parts = volume.reshape(2, 1, 4, d, 4, h, 4, w).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(2, -1, 4, 4, 4)
    assert torch.equal(lesson._unfolded(parts), volume)


def test_a_hidden_voxel_is_not_seen() -> None:
    """The loss's gradient by the given volume is zero inside hidden boxes, but for their share in the mean grey."""
    lesson = _Hidden(network(), (1, *SIDES), 1, STILL).eval()
    seen: list[torch.Tensor] = []
    lesson.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    given: list[torch.Tensor] = []
    maps = lesson.maps
    lesson.maps = lambda batch: given.append(batch) or maps(batch)
    batch = torch.from_numpy(volumes(2)).float() / 255
    lesson(batch, torch.Generator().manual_seed(0))
    changed = given[0] != batch
    share = changed.float().mean()
    assert 0.5 < share <= 0.61
    boxes = (
        changed.reshape(2, 1, 4, 4, 4, 4, 4, 4).permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).float().mean(dim=5)
    )
    assert ((boxes > 0.9) | (boxes == 0)).all()  # whole boxes or nothing


@pytest.mark.parametrize("name", ["monai_resnet10", "monai_swin24", "monai_unetr", "inflated_lite0"])
@pytest.mark.slow
def test_every_kind_of_network_can_learn_it(name: str) -> None:
    channels = 3 if name.startswith("inflated") else 1
    net = build_3d(name, n_classes=2, in_channels=channels, size=24)
    crops = np.random.default_rng(0).integers(0, 255, (4, channels, 24, 24, 24), dtype=np.uint8)
    before = weights_id(net)
    for kind in ("masked", "rotation"):
        how = Pretext(kind=kind, epochs=1, batch_size=4)
        learn_pretext(net, crops, how, n_image_channels=channels, seed=0)
    assert weights_id(net) != before


@pytest.mark.parametrize("kind", ["masked", "rotation"])
def test_out_of_memory_halves_the_batch_as_in_a_training(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 8 and 4 where 3 fit: in four parts of 2, then in two; with room for none, it is told in a sentence."""
    lesson = {"masked": pretext_module._Hidden, "rotation": pretext_module._Turned}[kind]
    forward, holds, seen = lesson.forward, 3, []

    def hungry(self: Any, batch: torch.Tensor, *more: Any) -> torch.Tensor:
        loss = forward(self, batch, *more)  # random numbers are drawn and statistics spoiled by then
        seen.append(len(batch))
        if len(batch) > holds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return loss

    monkeypatch.setattr(lesson, "forward", hungry)
    how = Pretext(kind=kind, epochs=1, batch_size=8, augmentation=STILL)
    found = learned(how, "parametric")
    assert seen == [8, 8, 4, 2, 2, 2, 2, 2, 2]  # the network keeps less before the batch is halved
    whole = pretext_module._add_up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretext_module, "_add_up", lambda *args: whole(*args[:-1], 4))
        expected = learned(how, "parametric")
    assert weights_id(found) == weights_id(expected)
    holds = 1
    with pytest.raises(TrainingMemoryError, match="batch of 8 cases"):
        learned(how, "parametric")


def test_parts_of_a_lesson_add_up_to_the_gradient_of_the_batch() -> None:
    """For a network in which cases don't see each other: oracle is the gradient of the whole batch."""
    lesson = pretext_module._Turned(network("monai_vit_tiny"), (1, *SIDES), 1, STILL).eval()
    batch = torch.from_numpy(volumes(7)).float() / 255
    loss = lesson(batch, torch.Generator().manual_seed(0))
    learning = [parameter for parameter in lesson.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(loss, learning, allow_unused=True)
    found = pretext_module._add_up(lesson, batch, torch.Generator().manual_seed(0), Pace(), 3)
    torch.testing.assert_close(found, loss.detach(), atol=1e-5, rtol=0)
    for parameter, gradient in zip(learning, expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)
