"""How a network is trained: the recipe, its learning rate step by step, and which part learns how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from autoonco.nets.augmentation import Augmentation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    epochs
        The full length, which shapes the learning rate; a training may be cut before.
    learning_rate
        Its peak, after the warm-up.
    warmup
        Share of all steps over which the learning rate rises from zero.
    class_weights
        Whether each class counts equally in the loss, whatever its number of cases.
    ema
        Share of the training that the averaged weights, which predict in the end, look back over (`ema_decay`);
        0 means the plain weights predict.
    layer_decay
        Factor on the learning rate a stage further from the output; 1 trains all alike.
    clip
        Largest norm of the gradient.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1
    batch_size: int = 32
    label_smoothing: float = 0.0
    class_weights: bool = True
    ema: float = 0.0
    layer_decay: float = 1.0
    clip: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)


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
    """Return AdamW's groups: biases and norms without weight decay, early stages with a smaller learning rate.

    Stages are the network's own, as timm describes them; where there is no description all parts train alike.
    """
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    backbone = getattr(network, "backbone", network)
    if recipe.layer_decay < 1 and hasattr(backbone, "group_matcher"):
        groups = param_groups_layer_decay(backbone, recipe.weight_decay, layer_decay=recipe.layer_decay)
    else:
        groups = param_groups_weight_decay(backbone, recipe.weight_decay)
    return [{"lr_scale": 1.0, **group} for group in groups]
