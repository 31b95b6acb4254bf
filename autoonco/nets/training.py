"""The training loop of every network here: warm-up and cosine, resumable to the last bit.

What happens in an epoch follows from (seed, epoch) alone, and the learning rate from the step and the recipe's full
length. So a training that is cut, kept as a checkpoint and continued equals one that was never cut, and raising a
config to a larger budget only adds epochs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import digest
from autoonco.errors import DataError
from autoonco.nets.checkpoints import (
    checkpoint_epoch,
    checkpoint_notes,
    load_checkpoint,
    save_checkpoint,
)
from autoonco.nets.embeddings import pick_device, torch_threads, weights_id
from autoonco.nets.gradients import memory_told
from autoonco.nets.norms import settle_norms
from autoonco.nets.pace import Pace
from autoonco.nets.recipe import Recipe
from autoonco.nets.stopping import Stopping, held_out_loss, split_off
from autoonco.nets.training_run import TrainingRun

Data = tuple[torch.Tensor, torch.Tensor]
"""Crops ``(n_cases, ...)`` and labels ``(n_cases,)``."""


def train(
    network: nn.Module,
    crops: NDArray[np.uint8],
    y: NDArray[Any],
    recipe: Recipe,
    *,
    n_classes: int,
    n_image_channels: int,
    until_epoch: int,
    seed: int,
    device: str = "cpu",
    n_threads: int = 1,
    checkpoint: Path | None = None,
    patients: Sequence[str] | None = None,
    pace: Pace | None = None,
    coarse: NDArray[np.uint8] | None = None,
) -> nn.Module:
    """Train `network` on crops ``(n_cases, channels, ...)`` with labels ``(n_cases,)`` up to `until_epoch`.

    Parameters
    ----------
    n_image_channels
        Channels whose grey values augmentation may change; those after them are masks.
    until_epoch
        Epochs to have done in the end, at most ``recipe.epochs``.
    checkpoint
        A folder to continue from and to leave the state in; None keeps nothing.
    patients
        Of each case: early stopping keeps them whole. Without, each case counts as one.
    pace
        How to compute; None is the prior's choice. A training that goes on keeps the pace it began with.
    coarse
        The same crops at half the resolution, where ``recipe.coarse`` asks for them; not with early stopping.

    Returns
    -------
    torch.nn.Module
        The network to predict with, in evaluation mode: the averaged one where ``recipe.ema`` is set, that of the best
        epoch with early stopping.

    Raises
    ------
    DataError
        If there are fewer than two cases: batch normalisation can't be trained on one.
    TrainingDivergedError
        If a loss or a weight is no longer finite.
    TrainingMemoryError
        If the network and an eighth of a batch do not fit into the GPU's memory.
    """
    if len(y) < 2:
        raise DataError(f"Training a network needs at least 2 cases, got {len(y)}.")
    device = pick_device(device)
    if recipe.coarse and (coarse is None or recipe.early_stopping):
        raise DataError(
            "A training that begins at half the resolution needs crops of it, and no early stopping."
        )
    identity = _identity(network, recipe, seed, [crops] if coarse is None else [crops, coarse], y, patients)
    done = checkpoint_epoch(checkpoint, identity) if checkpoint else 0
    # a checkpoint of a longer training is left as it is, and this one starts anew
    start = done if done <= until_epoch else 0
    notes = checkpoint_notes(checkpoint) if checkpoint and start else {}
    if notes:
        pace = Pace.from_json(notes["pace"])
    pace = pace or Pace.prior(crops.ndim, on_gpu=device.startswith("cuda"))
    with (
        torch_threads(pace.n_threads or n_threads),
        torch.random.fork_rng(devices=range(torch.cuda.device_count() if device.startswith("cuda") else 0)),
    ):
        lesson = _Lesson.of(crops, y, recipe, patients=patients, n_classes=n_classes, seed=seed, notes=notes)
        lesson.coarse = None if coarse is None else torch.from_numpy(coarse)
        run = TrainingRun(
            network.to(device),
            recipe,
            pace=pace,
            n_cases=len(lesson.learned[1]),
            keep_best=lesson.stopping is not None,
        )
        if checkpoint and start:
            load_checkpoint(checkpoint, networks=run.networks, optimizer=run.optimizer)
            run.learning(start - 1)  # where no epoch is left, norms that were frozen are still not settled
        weights = None if lesson.weights is None else lesson.weights.to(device)
        how: dict[str, Any] = {
            "weights": weights,
            "n_classes": n_classes,
            "n_image_channels": n_image_channels,
        }
        with memory_told(device, batch_size=recipe.batch_size):
            for epoch in range(start, until_epoch):
                if lesson.is_over:
                    break
                run.epoch(*lesson.at(recipe, epoch), epoch=epoch, seed=seed, **how)
                lesson.judge(run)
        if checkpoint and until_epoch > done:
            save_checkpoint(
                checkpoint,
                epoch=until_epoch,
                identity=identity,
                networks=run.networks,
                optimizer=run.optimizer,
                notes={"pace": pace.to_json(), "stopping": lesson.notes},
            )
        if lesson.stopping:
            return run.networks["best"].eval()  # its norms were settled when it was judged
        # after the checkpoint was written: a training that goes on knows nothing of this
        settle_norms(run.predictor, lesson.at(recipe, until_epoch - 1)[0], batch_size=recipe.batch_size)
    return run.predictor.eval()


@dataclass(kw_only=True)
class _Lesson:
    """The cases a network learns, those held out to stop by, and what they said so far."""

    learned: Data
    weights: torch.Tensor | None
    batch_size: int
    held: Data | None = None
    stopping: Stopping | None = None
    coarse: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        crops: NDArray[np.uint8],
        y: NDArray[Any],
        recipe: Recipe,
        *,
        patients: Sequence[str] | None,
        n_classes: int,
        seed: int,
        notes: Mapping[str, Any],
    ) -> _Lesson:
        """Hold cases out where the recipe asks for it and the cases allow it; go on from the notes of a checkpoint."""
        learned: Data = torch.from_numpy(crops), torch.tensor(y, dtype=torch.int64)
        held, stopping = None, None
        rows = split_off(y, patients, recipe.early_stopping, seed=seed) if recipe.early_stopping else None
        if rows is not None:
            (learned, held) = ((learned[0][part], learned[1][part]) for part in rows)
            stopping = Stopping.of(recipe.epochs)
            if notes.get("stopping"):
                stopping.best, stopping.since = notes["stopping"]
        weights = _class_weights(learned[1], n_classes) if recipe.class_weights else None
        return cls(
            learned=learned, weights=weights, batch_size=recipe.batch_size, held=held, stopping=stopping
        )

    def at(self, recipe: Recipe, epoch: int) -> Data:
        """Return the crops that an epoch sees, and their labels."""
        if self.coarse is not None and recipe.is_coarse(epoch):
            return self.coarse, self.learned[1]
        return self.learned

    @property
    def is_over(self) -> bool:
        """Whether the cases held out say that it is enough."""
        return self.stopping is not None and self.stopping.is_over

    @property
    def notes(self) -> tuple[float, int] | None:
        """Return what a checkpoint has to keep."""
        return (self.stopping.best, self.stopping.since) if self.stopping else None

    def judge(self, run: TrainingRun) -> None:
        """Keep the network that predicts where it is the best so far on the cases held out.

        That is a copy with norms settled, as in the end: a training that goes on knows nothing of this.
        """
        if self.stopping is None or self.held is None:
            return
        copy = run.copy_of_predictor()
        settle_norms(copy, self.learned[0], batch_size=self.batch_size)
        weights = None if self.weights is None else self.weights.to(next(copy.parameters()).device)
        if self.stopping.tell(held_out_loss(copy, *self.held, weights=weights, batch_size=self.batch_size)):
            run.networks["best"].load_state_dict(copy.state_dict())


def _class_weights(y: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return weights ``(n_classes,)`` that give each class present the same total; their mean over cases is 1."""
    counts = torch.bincount(y, minlength=n_classes).float()
    return torch.where(counts > 0, len(y) / (counts * (counts > 0).sum()), torch.zeros(()))


def _identity(
    network: nn.Module,
    recipe: Recipe,
    seed: int,
    views: Sequence[NDArray[np.uint8]],
    y: NDArray[Any],
    patients: Sequence[str] | None,
) -> str:
    """Return what a checkpoint has to agree in: data, recipe, seed, first weights and which of them are trained."""
    hashed = hashlib.blake2b()
    for crops in views:
        hashed.update(np.ascontiguousarray(crops).data)  # without a copy of all crops
    hashed.update(np.asarray(y, np.int64).tobytes())
    data = hashed.hexdigest()
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    groups = list(patients) if patients is not None and recipe.early_stopping else None
    return digest(data, asdict(recipe), seed, weights_id(network), trained, groups)
