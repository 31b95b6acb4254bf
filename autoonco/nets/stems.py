"""Stems for any number of channels: the first convolution of CNNs and the patch embedding of transformers alike.

A picture of three channels keeps the weights as they are. Other numbers of channels, such as several sequences, have
no colours: each gets the sum of the three colours' weights, divided by their number, so that channels of the same
picture give what that picture alone gives. Masks start at weights of zero: a network that also sees the lesion's
outline answers at first as one that doesn't, and learns from there what to make of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def stems_of(backbone: nn.Module) -> tuple[nn.Conv2d | nn.Conv3d, ...]:
    """Return the convolutions of a backbone that meet the picture: the first one, and a shortcut around it.

    Raises
    ------
    ValueError
        If it names none, or several.
    """
    if (stems := getattr(backbone, "stem_convs", None)) is not None:  # a 3D one of ours
        return tuple(stems)
    name = backbone.pretrained_cfg.get("first_conv")
    if not isinstance(name, str):
        raise ValueError(f"This backbone has no single first convolution: {name!r}.")
    return (backbone.get_submodule(name),)


def adapt_stem(backbone: nn.Module, *, in_channels: int, mask_channels: int) -> None:
    """Give a pretrained backbone `in_channels` for grey values or colours, then `mask_channels`, in place."""
    for stem in stems_of(backbone):
        if in_channels == stem.in_channels and not mask_channels:
            return
        with torch.no_grad():
            weight = adapted(stem.weight, in_channels=in_channels, mask_channels=mask_channels)
        stem.weight = nn.Parameter(weight.contiguous())
        stem.in_channels = in_channels + mask_channels


def adapted(weight: torch.Tensor, *, in_channels: int, mask_channels: int) -> torch.Tensor:
    """Return weights ``(out, in_channels + mask_channels, ...)`` made of those for other channels ``(out, n, ...)``.

    Examples
    --------
    >>> adapted(torch.tensor([[[1.0], [2.0], [3.0]]]), in_channels=2, mask_channels=1).flatten().tolist()
    [3.0, 3.0, 0.0]
    """
    if in_channels != weight.shape[1]:
        weight = weight.sum(dim=1, keepdim=True).expand(-1, in_channels, *weight.shape[2:]) / in_channels
    blank = weight.new_zeros(len(weight), mask_channels, *weight.shape[2:])
    return torch.cat([weight, blank], dim=1)


def statistics(entry: Any, *, in_channels: int, mask_channels: int) -> dict[str, Sequence[float]]:
    """Return mean and std a channel: the weights' own, their averages for other channels, 0 and 1 for masks."""
    found: dict[str, Sequence[float]] = {}
    for key, blank in (("mean", 0.0), ("std", 1.0)):
        own = list(entry[key])
        if in_channels != len(own):
            own = [sum(own) / len(own)] * in_channels
        found[key] = own + [blank] * mask_channels
    return found
