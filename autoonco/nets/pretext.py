"""What a 3D network learns from volumes without their labels: to draw what is hidden, or how they were turned.

It comes before a training from random weights, sees the cases of that training alone, and is cut and continued like
it: what happens in an epoch follows from (seed, epoch).
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from autoonco.data.cache import digest
from autoonco.errors import TrainingDivergedError
from autoonco.nets.augmentation import Augmentation, augment
from autoonco.nets.checkpoints import checkpoint_epoch, load_checkpoint, save_checkpoint
from autoonco.nets.embeddings import pick_device, torch_threads, weights_id
from autoonco.nets.gradients import memory_told, parts_of, within_memory
from autoonco.nets.pace import Pace
from autoonco.nets.recipe import Recipe, learning_rate, optimizer_of
from autoonco.nets.seeding import seeded
from autoonco.nets.strides import patches
from autoonco.nets.training_run import batches

HIDDEN_SHARE = 0.6
"""Of the boxes, how many are hidden (Xie et al., "SimMIM", 2022, table 2)."""
BOXES = 4
"""Boxes along the longest axis: as many as the patches of the smaller vision transformers."""
WIDTH = 64
"""Channels in which what the layers hold is added up before it is drawn."""
SAVE_EVERY_S = 20.0
FOLDER = "pretext"

Kind = Literal["masked", "rotation"]


@dataclass(frozen=True, kw_only=True)
class Pretext:
    """What is learned before the labels.

    Parameters
    ----------
    kind
        ``"masked"``: boxes are hidden, and what they hold is drawn; ``"rotation"``: volumes are turned by quarters of a
        turn, and which of the turns it was is told.
    epochs
        Passes through the volumes.
    """

    kind: Kind
    epochs: int
    learning_rate: float = 0.001
    batch_size: int = 16
    weight_decay: float = 0.02
    augmentation: Augmentation = field(default_factory=Augmentation)


def learn_pretext(
    network: nn.Module,
    crops: NDArray[np.uint8],
    how: Pretext,
    *,
    n_image_channels: int,
    seed: int,
    device: str = "cpu",
    n_threads: int = 1,
    checkpoint: Path | None = None,
    pace: Pace | None = None,
    until_epoch: int | None = None,
) -> nn.Module:
    """Teach `network` on crops ``(n_cases, channels, depth, height, width)`` of bytes, in place; no label is asked for.

    Parameters
    ----------
    n_image_channels
        Channels that hold grey values; masks after them are seen, and hidden with them, but not drawn.
    checkpoint
        A folder to continue from and to leave the state in; what is done already is only read.
    pace
        How to compute; None is the prior's choice.
    until_epoch
        Where to stop before the end; for tests of the continuation.

    Raises
    ------
    TrainingDivergedError
        If a loss is no longer finite.
    TrainingMemoryError
        If the network and an eighth of a batch do not fit into the GPU's memory.
    """
    device = pick_device(device)
    pace = pace or Pace.prior(crops.ndim, on_gpu=device.startswith("cuda"))
    folder = checkpoint / FOLDER if checkpoint else None
    identity = _identity(network, crops, how, seed)
    last = how.epochs if until_epoch is None else until_epoch
    done = checkpoint_epoch(folder, identity) if folder else 0
    network.to(device)
    if folder and done == how.epochs:
        load_checkpoint(folder, networks={"network": network}, optimizer=_nothing(network))
        return network
    with (
        torch_threads(pace.n_threads or n_threads),
        torch.random.fork_rng(devices=range(torch.cuda.device_count() if device.startswith("cuda") else 0)),
    ):
        lesson = _lesson(network, how, crops.shape, n_image_channels, seed=seed).to(device)
        recipe = Recipe(
            epochs=how.epochs,
            learning_rate=how.learning_rate,
            weight_decay=how.weight_decay,
            batch_size=how.batch_size,
        )
        optimizer = optimizer_of(lesson, recipe)
        parts = {"network": network, "head": lesson.head}
        if folder and 0 < done <= last:
            load_checkpoint(folder, networks=parts, optimizer=optimizer)
        start, saved = (done if done <= last else 0), time.monotonic()
        for epoch in range(start, last):
            with memory_told(device, batch_size=how.batch_size):
                _epoch(lesson, optimizer, crops, recipe, how, pace, epoch=epoch, seed=seed)
            late = time.monotonic() - saved > SAVE_EVERY_S
            if folder and epoch + 1 < how.epochs and (late or epoch + 1 == last):
                _save(folder, epoch + 1, identity, parts, optimizer)
                saved = time.monotonic()
        if folder and last == how.epochs:  # the weights alone: nothing goes on from here
            _save(folder, last, identity, {"network": network}, _nothing(network))
    return network


def _epoch(
    lesson: _Lesson,
    optimizer: torch.optim.Optimizer,
    crops: NDArray[np.uint8],
    recipe: Recipe,
    how: Pretext,
    pace: Pace,
    *,
    epoch: int,
    seed: int,
) -> None:
    """Go once through all volumes."""
    lesson.train()
    device = next(lesson.parameters()).device
    generator = torch.Generator().manual_seed(int(digest("pretext", seed, epoch)[:15], 16))
    torch.manual_seed(generator.initial_seed())
    rows_of = batches(len(crops), how.batch_size, generator)
    losses, n_parts = [], 1  # found anew in each epoch, which a training that was cut may begin with
    for index, rows in enumerate(rows_of):
        batch = torch.from_numpy(crops[rows.numpy()]).to(device).float().div_(255)
        changed = augment(
            batch, lesson.augmentation, n_image_channels=lesson.n_image_channels, generator=generator
        )
        attempt = partial(_add_up, lesson, changed, generator, pace)
        loss, n_parts = within_memory(
            attempt, lesson, n_cases=len(rows), n_parts=n_parts, generator=generator
        )
        rate = learning_rate(epoch * len(rows_of) + index, how.epochs * len(rows_of), recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(lesson.parameters(), recipe.clip)
        optimizer.step()
        losses.append(loss)
    if not bool(torch.isfinite(torch.stack(losses).mean())):
        raise TrainingDivergedError(f"Learning without labels diverged in epoch {epoch + 1}.")


def _add_up(
    lesson: _Lesson, batch: torch.Tensor, generator: torch.Generator, pace: Pace, n_parts: int
) -> torch.Tensor:
    """Return the loss of a batch taken in parts, each counting by its cases, and leave its gradient."""
    lesson.zero_grad(set_to_none=True)
    total = torch.zeros((), device=batch.device)
    for part in parts_of(batch, n_parts):
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=pace.is_half):
            loss = lesson(part.contiguous(memory_format=pace.order(part)), generator)
        loss = loss * (len(part) / len(batch))
        loss.backward()
        total += loss.detach()
    return total


def _lesson(
    network: nn.Module, how: Pretext, shape: Sequence[int], n_image_channels: int, *, seed: int
) -> _Lesson:
    kind = {"masked": _Hidden, "rotation": _Turned}[how.kind]
    with seeded(seed):
        return kind(network, shape[1:], n_image_channels, how.augmentation)


class _Lesson(nn.Module):  # type: ignore[misc]
    """A network with a head that is thrown away afterwards; called with a batch of 0..1 it returns its loss."""

    head: nn.Module

    def __init__(
        self, network: nn.Module, shape: Sequence[int], n_image_channels: int, augmentation: Augmentation
    ) -> None:
        super().__init__()
        self.network = network
        self.shape, self.n_image_channels = tuple(shape), n_image_channels
        self.augmentation = augmentation

    def maps(self, batch: torch.Tensor) -> list[torch.Tensor]:
        """Return what the layers hold ``(n, channels, depth, height, width)``."""
        found: list[torch.Tensor] = self.network.backbone.maps(self.network.prepared(batch))
        return found


class _Hidden(_Lesson):
    """Boxes are hidden, and drawn from what all layers hold of what is left; the loss is that of the hidden voxels."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        sides = self.shape[1:]
        self.box = patches(sides, BOXES)
        self.grid = tuple(side // by for side, by in zip(sides, self.box, strict=True))
        self.network.eval()
        with torch.no_grad():
            seen = self.maps(torch.zeros(1, *self.shape, device=next(self.network.parameters()).device))
        self.head = nn.ModuleDict(
            {
                "joins": nn.ModuleList([nn.Conv3d(layer.shape[1], WIDTH, 1) for layer in seen]),
                "draws": nn.Conv3d(WIDTH, self.n_image_channels * int(np.prod(self.box)), 1),
            }
        )

    def forward(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean absolute difference of the hidden voxels' grey values."""
        extent = tuple(n * by for n, by in zip(self.grid, self.box, strict=True))
        chosen = torch.rand((len(batch), *self.grid), generator=generator).flatten(1)
        n_hidden = max(1, round(HIDDEN_SHARE * chosen.shape[1]))
        rank = chosen.argsort(dim=1).argsort(dim=1)
        boxes = (rank < n_hidden).reshape(len(batch), 1, *self.grid).to(batch.device)
        hidden = boxes
        for axis, by in enumerate(self.box, start=2):
            hidden = hidden.repeat_interleave(by, dim=axis)
        target = batch[:, : self.n_image_channels, : extent[0], : extent[1], : extent[2]]
        mean = batch.flatten(2).mean(dim=2).reshape(*batch.shape[:2], 1, 1, 1)
        given = batch.clone()
        region = given[:, :, : extent[0], : extent[1], : extent[2]]
        region.copy_(torch.where(hidden, mean, region))
        joined = torch.stack(
            [
                join(functional.adaptive_avg_pool3d(layer, self.grid))
                for join, layer in zip(self.head["joins"], self.maps(given), strict=True)
            ]
        ).sum(dim=0)
        drawn = self._unfolded(self.head["draws"](functional.gelu(joined)))
        return ((drawn.float() - target).abs() * hidden).sum() / (hidden.sum() * self.n_image_channels)

    def _unfolded(self, boxes: torch.Tensor) -> torch.Tensor:
        """Return volumes of boxes ``(n, channels * voxels of a box, *grid)``."""
        d, h, w = self.box
        parts = boxes.reshape(len(boxes), self.n_image_channels, d, h, w, *self.grid)
        extent = [n * by for n, by in zip(self.grid, self.box, strict=True)]
        return parts.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(len(boxes), self.n_image_channels, *extent)


class _Turned(_Lesson):
    """Each volume is turned in one of the ways that keep its shape; the loss is that of telling which.

    (Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", 2018; in three dimensions
    these are the 24 rotations of a cube.)
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.augmentation = replace(self.augmentation, strength=0.0, flips="none", elastic=0.0)
        self.turns = turns(self.shape[1:])
        self.head = nn.Linear(self.network.backbone.head_hidden_size, len(self.turns))

    def forward(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the cross-entropy."""
        which = torch.randint(len(self.turns), (len(batch),), generator=generator)
        turned = torch.stack(
            [turn(volume, *self.turns[int(number)]) for volume, number in zip(batch, which, strict=True)]
        )
        backbone = self.network.backbone
        features = backbone.forward_features if hasattr(backbone, "forward_features") else None
        values = self.network.prepared(turned)
        last = features(values) if features else backbone.maps(values)[-1]
        logits = self.head(backbone.summary(last))
        return functional.cross_entropy(logits.float(), which.to(batch.device))


Turn = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes in their new order, and those that are flipped after that."""


def turns(sides: Sequence[int]) -> list[Turn]:
    """Return the rotations by quarter turns that leave a volume of these sides as long, high and wide as it is.

    Examples
    --------
    >>> len(turns((8, 8, 8))), len(turns((4, 8, 8))), len(turns((2, 4, 8)))
    (24, 8, 4)
    """
    found: list[Turn] = []
    for axes in itertools.permutations(range(3)):
        if tuple(sides[axis] for axis in axes) != tuple(sides):
            continue
        odd = sum(axes[i] > axes[j] for i, j in ((0, 1), (0, 2), (1, 2))) % 2
        flips = (some for n in range(4) for some in itertools.combinations(range(3), n))
        found += [
            (axes, some) for some in flips if (odd + len(some)) % 2 == 0
        ]  # a mirror image is no rotation
    return found


def turn(volume: torch.Tensor, axes: Sequence[int], flipped: Sequence[int]) -> torch.Tensor:
    """Return a volume ``(channels, depth, height, width)`` turned as one of `turns` says."""
    moved = volume.permute(0, *(1 + axis for axis in axes))
    return moved.flip([1 + axis for axis in flipped]) if flipped else moved


def _nothing(network: nn.Module) -> torch.optim.Optimizer:
    """Return an optimiser that has no state."""
    return torch.optim.SGD(network.parameters(), lr=0.0)


def _save(
    folder: Path,
    epoch: int,
    identity: str,
    networks: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, epoch=epoch, identity=identity, networks=networks, optimizer=optimizer, notes={})


def _identity(network: nn.Module, crops: NDArray[np.uint8], how: Pretext, seed: int) -> str:
    data = hashlib.blake2b(np.ascontiguousarray(crops).data).hexdigest()  # without a copy of all crops
    return digest("pretext", data, asdict(how), seed, weights_id(network))
