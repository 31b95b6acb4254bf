"""The training loop of every network here: AdamW, warm-up and cosine, resumable to the last bit.

What happens in an epoch follows from (seed, epoch) alone, and the learning rate from the step and the recipe's full
length. So a training that is cut, kept as a checkpoint and continued equals one that was never cut, and raising a
config to a larger budget only adds epochs.
"""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import digest
from autoonco.errors import DataError, TrainingDivergedError, TrainingMemoryError
from autoonco.nets.augmentation import augment
from autoonco.nets.checkpoints import checkpoint_epoch, load_checkpoint, save_checkpoint
from autoonco.nets.embeddings import pick_device, torch_threads, weights_id
from autoonco.nets.gradients import batch_gradient
from autoonco.nets.norms import settle_norms
from autoonco.nets.recipe import Recipe, ema_decay, learning_rate, parameter_groups


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

    Returns
    -------
    torch.nn.Module
        The network to predict with, in evaluation mode: the averaged one where ``recipe.ema`` is set.

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
    with (
        torch_threads(n_threads),
        torch.random.fork_rng(devices=range(torch.cuda.device_count() if device.startswith("cuda") else 0)),
    ):
        run = _Run(network.to(device), recipe, n_cases=len(y))
        data = torch.from_numpy(crops), torch.tensor(y, dtype=torch.int64)
        identity = _identity(network, recipe, seed, crops, y)
        done = checkpoint_epoch(checkpoint, identity) if checkpoint else 0
        # a checkpoint of a longer training is left as it is, and this one starts anew
        start = done if done <= until_epoch else 0
        if checkpoint and start:
            load_checkpoint(checkpoint, networks=run.networks, optimizer=run.optimizer)
        weights = _class_weights(data[1], n_classes).to(device) if recipe.class_weights else None
        try:
            for epoch in range(start, until_epoch):
                run.epoch(*data, epoch=epoch, seed=seed, weights=weights, n_image_channels=n_image_channels)
        except torch.cuda.OutOfMemoryError as error:
            raise TrainingMemoryError(
                f"The memory of {device} is too small for this network, even with parts of a batch of "
                f"{recipe.batch_size} cases; a smaller network, input or batch needs less."
            ) from error
        if checkpoint and until_epoch > done:
            save_checkpoint(
                checkpoint,
                epoch=until_epoch,
                identity=identity,
                networks=run.networks,
                optimizer=run.optimizer,
            )
        trained = run.networks["averaged" if recipe.ema else "network"]
        # after the checkpoint was written: a training that goes on knows nothing of this
        settle_norms(trained, data[0], batch_size=recipe.batch_size)
    return trained.eval()


def batches(n_cases: int, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Return the shuffled cases in batches of `size`; a last one of a single case joins the one before it.

    Examples
    --------
    >>> [len(batch) for batch in batches(9, 4, torch.Generator())]
    [4, 5]
    """
    parts = list(torch.randperm(n_cases, generator=generator).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class _Run:
    """The network, its average and the optimiser of one training."""

    def __init__(self, network: nn.Module, recipe: Recipe, *, n_cases: int) -> None:
        self.recipe = recipe
        self.networks: dict[str, nn.Module] = {"network": network}
        if recipe.ema:
            self.networks["averaged"] = copy.deepcopy(network).requires_grad_(False)
        groups = parameter_groups(network, recipe)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.n_batches = len(batches(n_cases, recipe.batch_size, torch.Generator()))

    def epoch(
        self,
        crops: torch.Tensor,
        y: torch.Tensor,
        *,
        epoch: int,
        seed: int,
        weights: torch.Tensor | None,
        n_image_channels: int,
    ) -> None:
        """Go once through all cases."""
        network, recipe = self.networks["network"].train(), self.recipe
        device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(int(digest(seed, epoch)[:15], 16))
        torch.manual_seed(generator.initial_seed())  # for dropout
        losses = []
        n_parts = (
            1  # found anew in each epoch: a training that goes on from a checkpoint does not know of others
        )
        for index, rows in enumerate(batches(len(y), recipe.batch_size, generator)):
            batch = crops[rows].to(device).float() / 255
            batch = augment(
                batch, recipe.augmentation, n_image_channels=n_image_channels, generator=generator
            )
            loss, n_parts = batch_gradient(
                network,
                batch,
                y[rows].to(device),
                weights=weights,
                label_smoothing=recipe.label_smoothing,
                n_parts=n_parts,
            )
            self._step(step=epoch * self.n_batches + index)
            losses.append(loss)
        mean = float(torch.stack(losses).mean())
        weights_finite = all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
        if not (math.isfinite(mean) and weights_finite):
            raise TrainingDivergedError(
                f"Training diverged in epoch {epoch + 1}: the loss or a weight is no longer a number; "
                f"a learning rate below {recipe.learning_rate:g} avoids that."
            )

    def _step(self, *, step: int) -> None:
        rate = learning_rate(step, self.recipe.epochs * self.n_batches, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        nn.utils.clip_grad_norm_(self.networks["network"].parameters(), self.recipe.clip)
        self.optimizer.step()
        if self.recipe.ema:
            self._average(ema_decay(self.recipe.ema, step))

    def _average(self, decay: float) -> None:
        averaged, network = (self.networks[name].state_dict() for name in ("averaged", "network"))  # detached
        for key, value in network.items():
            if value.is_floating_point():
                averaged[key].lerp_(value, 1 - decay)
            else:
                averaged[key].copy_(value)


def _class_weights(y: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return weights ``(n_classes,)`` that give each class present the same total; their mean over cases is 1."""
    counts = torch.bincount(y, minlength=n_classes).float()
    return torch.where(counts > 0, len(y) / (counts * (counts > 0).sum()), torch.zeros(()))


def _identity(
    network: nn.Module, recipe: Recipe, seed: int, crops: NDArray[np.uint8], y: NDArray[Any]
) -> str:
    """Return what a checkpoint has to agree in: data, recipe, seed, first weights and which of them are trained."""
    data = hashlib.blake2b(crops.tobytes() + np.asarray(y, np.int64).tobytes()).hexdigest()
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    return digest(data, asdict(recipe), seed, weights_id(network), trained)
