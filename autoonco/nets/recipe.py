"""How a network is trained: the recipe, its learning rate step by step, and which part learns how fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import nn

from autoonco.nets.augmentation import Augmentation
from autoonco.nets.mixing import Mixing
from autoonco.nets.unfreezing import blocks_of


class Optimizer(StrEnum):
    """The rule that makes a step of a gradient."""

    ADAMW = "adamw"
    SGD = "sgd"  # with Nesterov's momentum


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    epochs
        The full length, which shapes the learning rate; a training may be cut before.
    learning_rate
        Its peak, after the warm-up.
    momentum
        Of SGD.
    warmup
        Share of all steps over which the learning rate rises from zero.
    class_weights
        Whether each class counts equally in the loss, whatever its number of cases.
    balanced_sampling
        Whether an epoch draws cases, with replacement, so that each class is as likely, in place of taking each once.
    mixing, mixing_alpha
        Whether and how cases of a batch are mixed; the smaller alpha, the less of one is left in the other.
    ema
        Share of the training that the averaged weights, which predict in the end, look back over (`ema_decay`);
        0 means the plain weights predict.
    early_stopping
        Share of the training cases, patients kept whole, that is held out to choose the epoch whose weights predict,
        and to end when none has been better for long; 0 trains on all cases, to the end.
    layer_decay
        Factor on the learning rate a block further from the output; 1 trains all alike.
    head_first
        Share of the epochs in which the head alone learns; 0 trains all that isn't frozen from the start.
    unfrozen_blocks
        How many blocks before the head learn with it, after that.
    coarse
        Share of the epochs, the first ones, that see crops of half the resolution: what an epoch sees follows from its
        number and the full length, so that a training that is cut and goes on is the same as one in one go.
    clip
        Largest norm of the gradient.
    """

    epochs: int
    learning_rate: float
    optimizer: Optimizer = Optimizer.ADAMW
    momentum: float = 0.9
    weight_decay: float = 0.01
    warmup: float = 0.1
    batch_size: int = 32
    label_smoothing: float = 0.0
    class_weights: bool = True
    balanced_sampling: bool = False
    mixing: Mixing = "none"
    mixing_alpha: float = 0.3
    ema: float = 0.0
    early_stopping: float = 0.0
    layer_decay: float = 1.0
    head_first: float = 0.0
    unfrozen_blocks: int = 0
    coarse: float = 0.0
    clip: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def is_coarse(self, epoch: int) -> bool:
        """Return whether an epoch, counted from 0, sees crops of half the resolution."""
        return epoch < round(self.coarse * self.epochs)

    def n_learning(self, epoch: int) -> int | None:
        """Return how many blocks learn in an epoch, the head counted; None where that never changes.

        Examples
        --------
        >>> recipe = Recipe(epochs=4, learning_rate=1, head_first=0.5, unfrozen_blocks=3)
        >>> [recipe.n_learning(epoch) for epoch in range(4)]
        [1, 1, 4, 4]
        """
        if not self.head_first:
            return None
        return 1 if epoch < max(1, round(self.head_first * self.epochs)) else 1 + self.unfrozen_blocks


def learning_rate(step: int, n_steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: a line up over the warm-up, then half a cosine down to zero.

    Examples
    --------
    >>> recipe = Recipe(epochs=1, learning_rate=1.0, warmup=0.2)
    >>> [round(learning_rate(step, 10, recipe), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    n_warmup = max(1, round(recipe.warmup * n_steps))
    if step < n_warmup:
        return recipe.learning_rate * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def ema_decay(share: float, step: int) -> float:
    """Return the decay of the averaged weights at a step: they look back over `share` of the steps done so far.

    A share and not a number of steps, so that it means the same in a training of any length, cut or not; at the end
    of `n_steps` it is ``1 - 1 / (share * n_steps)``. The weights before the first step count nothing. (Power-function
    averages: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", 2024, section 3.1.)

    Examples
    --------
    >>> [round(ema_decay(0.1, step), 3) for step in (0, 9, 19, 99)]
    [0.0, 0.0, 0.5, 0.9]
    """
    return 1 - 1 / max(1.0, share * (step + 1))


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the optimiser's groups: biases, norms and tokens without weight decay, early blocks learning slower.

    Blocks are those of `blocks_of`; what takes no gradient is in no group.
    """
    blocks = blocks_of(network)
    place = {name: index for index, block in enumerate(blocks) for name in block}
    without_decay = _without_decay(network)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not name.endswith(".bias") and name not in without_decay
        depth = len(blocks) - 1 - place[name] if recipe.layer_decay < 1 else 0
        group = groups.setdefault((depth, decays), {"params": []})
        group["params"].append(parameter)
        group["lr_scale"] = recipe.layer_decay**depth
        group["weight_decay"] = recipe.weight_decay if decays else 0.0
    return list(groups.values())


def _without_decay(network: nn.Module) -> set[str]:
    """Return what a backbone names as not to decay besides: positions and tokens."""
    backbone = getattr(network, "backbone", None)
    named: Callable[[], set[str]] | None = getattr(backbone, "no_weight_decay", None)
    return {f"backbone.{name}" for name in named()} if callable(named) else set()


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of all that takes a gradient in `network`."""
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == Optimizer.SGD:
        return torch.optim.SGD(
            groups,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
    # fused: one pass over the weights in place of a dozen, a tenth of a small network's step
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
