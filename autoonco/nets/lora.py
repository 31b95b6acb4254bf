"""Low-rank adaptation of transformers: few weights beside frozen ones while training, merged into them at the end.

(Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022: W + (alpha / r) B A, A random, B zero.)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from autoonco.nets.unfreezing import blocks_of

Targets = Literal["attention", "all"]
ATTENTION = ("attn", "attention", "self_attn")


class LowRankLinear(nn.Module):  # type: ignore[misc]
    """A linear layer whose own weights stay, with a change of low rank beside them.

    Parameters
    ----------
    linear
        The layer; its weights take no gradient any more.
    rank
        Of the change, at most the smaller side of the layer.
    alpha
        The change is scaled by ``alpha / rank``.
    generator
        Draws the first factor; the second is zero, so that nothing changes at first.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        rank = min(rank, linear.in_features, linear.out_features)
        bound = 1 / math.sqrt(linear.in_features)
        down = (torch.rand(rank, linear.in_features, generator=generator) * 2 - 1) * bound
        self.down = nn.Parameter(down.to(linear.weight))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        self.factor = alpha / rank

    @property
    def weight(self) -> torch.Tensor:
        """Return the layer's weights with their change, for networks that take them instead of calling the layer."""
        return self.linear.weight + self.factor * (self.up @ self.down)

    @property
    def bias(self) -> torch.Tensor | None:
        """Return the layer's bias."""
        bias: torch.Tensor | None = self.linear.bias
        return bias

    @property
    def in_features(self) -> int:
        """Return the length of an input."""
        return int(self.linear.in_features)

    @property
    def out_features(self) -> int:
        """Return the length of an output."""
        return int(self.linear.out_features)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for values ``(..., in_features)``."""
        change = nn.functional.linear(nn.functional.linear(values, self.down), self.up)
        out: torch.Tensor = self.linear(values) + self.factor * change
        return out

    def merged(self) -> nn.Linear:
        """Return the layer with the change in its own weights."""
        with torch.no_grad():
            self.linear.weight += self.factor * (self.up @ self.down)
        return self.linear.requires_grad_(True)


def add_low_rank(network: nn.Module, *, rank: int, alpha: float, targets: Targets, seed: int) -> list[str]:
    """Put low-rank changes beside the linear layers of a network's attention, or all of them, and freeze the rest.

    The head learns as a whole. Norms, and a head's input, keep the pretrained values.

    Parameters
    ----------
    targets
        ``attention``: queries, keys, values and their projection; ``all``: of the blocks' perceptrons too.

    Returns
    -------
    list of str
        Names of the layers that were changed, in order; an empty list means that there was none, and that only the
        head will learn.
    """
    head = set(blocks_of(network)[-1])
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and f"{name}.weight" not in head
        and (targets == "all" or any(part in ATTENTION for part in name.split(".")))
    ]
    network.freeze({name for name, _ in network.named_parameters() if name not in head})
    generator = torch.Generator().manual_seed(seed)
    for name in found:
        linear = network.get_submodule(name)
        low_rank = LowRankLinear(linear, rank=rank, alpha=alpha, generator=generator)
        network.set_submodule(name, low_rank)
    return found


def merge_low_rank(network: nn.Module) -> nn.Module:
    """Return the network, each low-rank change now part of the layer it stood beside: a plain network again."""
    names = [name for name, module in network.named_modules() if isinstance(module, LowRankLinear)]
    for name in names:
        network.set_submodule(name, network.get_submodule(name).merged())
    return network
