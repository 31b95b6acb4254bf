"""One training under way: the network, its average and its optimiser, an epoch at a time."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import nn

from autoonco.data.cache import digest
from autoonco.errors import TrainingDivergedError
from autoonco.nets.augmentation import augment
from autoonco.nets.gradients import batch_gradient
from autoonco.nets.loading import Loader
from autoonco.nets.mixing import mix
from autoonco.nets.pace import Pace
from autoonco.nets.recipe import Recipe, ema_decay, learning_rate, optimizer_of
from autoonco.nets.unfreezing import train_last


def batches(n_cases: int, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Return the shuffled cases in batches of `size`; a last one of a single case joins the one before it.

    Examples
    --------
    >>> [len(batch) for batch in batches(9, 4, torch.Generator())]
    [4, 5]
    """
    return _cut(torch.randperm(n_cases, generator=generator), size)


def balanced_batches(y: torch.Tensor, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Return batches of as many cases as `y` ``(n_cases,)`` has, drawn with each class as likely, some repeatedly.

    Examples
    --------
    >>> y = torch.tensor([0] * 90 + [1] * 10)
    >>> drawn = torch.cat(balanced_batches(y, 8, torch.Generator().manual_seed(0)))
    >>> len(drawn), 35 < int(y[drawn].sum()) < 65
    (100, True)
    """
    rarity = 1 / torch.bincount(y).clamp(min=1).float()
    return _cut(torch.multinomial(rarity[y], len(y), replacement=True, generator=generator), size)


def _cut(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    parts = list(rows.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class TrainingRun:
    """The network, its average, its best so far and the optimiser of one training.

    Attributes
    ----------
    networks
        What a checkpoint keeps: ``network``; ``averaged`` where the recipe averages; ``best`` with early stopping.
    loader
        What makes the batches, a few ahead; it knows how long they were waited for.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, *, pace: Pace, n_cases: int, keep_best: bool = False
    ) -> None:
        self.recipe, self.pace = recipe, pace
        if recipe.head_first:
            train_last(
                network, 1 + recipe.unfrozen_blocks
            )  # all that will ever learn has a place in the optimiser
        self.networks: dict[str, nn.Module] = {"network": network}
        if recipe.ema:
            self.networks["averaged"] = copy.deepcopy(network)
        if keep_best:
            self.networks["best"] = copy.deepcopy(network)
        self.optimizer = optimizer_of(network, recipe)
        self.n_batches = len(batches(n_cases, recipe.batch_size, torch.Generator()))
        self.loader: Loader[torch.Tensor] = Loader()
        self._pairs = _pairs(self.networks["averaged"], network) if recipe.ema else None

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts: the averaged one where there is one."""
        return self.networks["averaged" if self.recipe.ema else "network"]

    def copy_of_predictor(self) -> nn.Module:
        """Return a copy that may be changed."""
        return copy.deepcopy(self.predictor)

    def epoch(
        self,
        crops: torch.Tensor,
        y: torch.Tensor,
        *,
        epoch: int,
        seed: int,
        weights: torch.Tensor | None,
        n_classes: int,
        n_image_channels: int,
    ) -> None:
        """Go once through all cases.

        Parameters
        ----------
        crops, y
            Bytes ``(n_cases, channels, ...)`` and labels ``(n_cases,)``.
        weights
            Of each class, ``(n_classes,)``, on the network's device.
        """
        network, recipe = self.learning(epoch), self.recipe
        device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(int(digest(seed, epoch)[:15], 16))
        torch.manual_seed(generator.initial_seed())  # for dropout and mixing
        rows_of = balanced_batches if recipe.balanced_sampling else _each_once
        losses = []
        # found anew in each epoch: a training that goes on from a checkpoint does not know of others
        n_parts = self.pace.n_parts
        all_rows = rows_of(y, recipe.batch_size, generator)

        def changed(rows: torch.Tensor) -> torch.Tensor:
            batch = crops[rows].to(device).float().div_(255)
            return augment(batch, recipe.augmentation, n_image_channels=n_image_channels, generator=generator)

        made = self.loader.results(partial(changed, rows) for rows in all_rows)
        for index, (rows, batch) in enumerate(zip(all_rows, made, strict=True)):
            mixed, labels = mix(
                batch,
                y[rows].to(device),
                how=recipe.mixing,
                alpha=recipe.mixing_alpha,
                n_classes=n_classes,
            )
            loss, n_parts = batch_gradient(
                network,
                mixed,
                labels,
                weights=weights,
                label_smoothing=recipe.label_smoothing,
                n_parts=n_parts,
                pace=self.pace,
            )
            self._step(step=epoch * self.n_batches + index)
            losses.append(loss)
        self._check(network, losses, epoch)

    def learning(self, epoch: int) -> nn.Module:
        """Return the network in training mode, with the blocks learning that do so in this epoch."""
        n_learning = self.recipe.n_learning(epoch)
        if n_learning is not None:
            for network in self.networks.values():
                train_last(network, n_learning)
        return self.networks["network"].train()

    def _check(self, network: nn.Module, losses: list[torch.Tensor], epoch: int) -> None:
        mean = float(torch.stack(losses).mean())
        weights_finite = all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
        if not (math.isfinite(mean) and weights_finite):
            raise TrainingDivergedError(
                f"Training diverged in epoch {epoch + 1}: the loss or a weight is no longer a number; "
                f"a learning rate below {self.recipe.learning_rate:g} avoids that."
            )

    def _step(self, *, step: int) -> None:
        rate = learning_rate(step, self.recipe.epochs * self.n_batches, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        nn.utils.clip_grad_norm_(self.networks["network"].parameters(), self.recipe.clip)
        self.optimizer.step()
        if self._pairs:
            self._average(*self._pairs, weight=1 - ema_decay(self.recipe.ema, step))

    @staticmethod
    def _average(
        averaged: list[torch.Tensor],
        values: list[torch.Tensor],
        counts: list[tuple[torch.Tensor, torch.Tensor]],
        *,
        weight: float,
    ) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(averaged, values, weight)
            for one, other in counts:
                one.copy_(other)


def _each_once(y: torch.Tensor, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    return batches(len(y), size, generator)


def _pairs(
    averaged: nn.Module, network: nn.Module
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
    """Return tensors to average, those they follow, and pairs of numbers to copy.

    Found once: collecting them takes as long as the average itself. What never learns is left out, unless it is a
    statistic.
    """
    states = averaged.state_dict(), network.state_dict()
    still = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    floats = [key for key, value in states[1].items() if value.is_floating_point() and key not in still]
    counts = [key for key, value in states[1].items() if not value.is_floating_point()]
    return (
        [states[0][key] for key in floats],
        [states[1][key] for key in floats],
        [(states[0][key], states[1][key]) for key in counts],
    )
