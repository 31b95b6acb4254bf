"""Random changes of crops while training; the same code for pictures and volumes, a whole batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

MAX_ROTATION = math.radians(25)
MAX_SCALE = 0.2
MAX_SHIFT = 0.1  # of the crop's side
MAX_CONTRAST = 0.3
MAX_BRIGHTNESS = 0.15


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far crops are changed.

    Parameters
    ----------
    strength
        0 changes nothing but flips, 1 is the most: 25 degrees, 20 % scale, 10 % shift, 30 % contrast.
    flips
        ``"none"``, ``"left_right"`` (the last axis) or ``"all"`` axes, each with probability one half.
    """

    strength: float = 0.5
    flips: Literal["none", "left_right", "all"] = "left_right"


def augment(
    crops: torch.Tensor, how: Augmentation, *, n_image_channels: int, generator: torch.Generator
) -> torch.Tensor:
    """Return changed copies of crops ``(n, channels, *space)`` of 0..1, float32.

    Each crop is turned, scaled and shifted by one affine map (in 3D about all three axes), channels together;
    then the contrast and brightness of its first `n_image_channels` change: a mask channel keeps its values.
    """
    n_space = crops.ndim - 2

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    turn = rotation(how.strength * MAX_ROTATION * uniform(len(crops), 1 if n_space == 2 else 3))
    linear = turn * torch.exp(how.strength * MAX_SCALE * uniform(len(crops), 1, 1))
    linear = linear * _flips(how, len(crops), n_space, generator)[:, None, :]
    shift = how.strength * 2 * MAX_SHIFT * uniform(len(crops), n_space, 1)  # a side is 2 in grid units
    contrast = torch.exp(how.strength * MAX_CONTRAST * uniform(len(crops), 1))
    brightness = how.strength * MAX_BRIGHTNESS * uniform(len(crops), 1)
    maps = torch.cat([linear, shift], dim=2).to(crops.device)
    grid = functional.affine_grid(maps, list(crops.shape), align_corners=False)
    moved = functional.grid_sample(crops, grid, align_corners=False)
    return _jitter(moved, contrast.to(crops.device), brightness.to(crops.device), n_image_channels)


def rotation(angles: torch.Tensor) -> torch.Tensor:
    """Return rotation matrices for angles in radians: ``(n, 1)`` → ``(n, 2, 2)``, ``(n, 3)`` → ``(n, 3, 3)``.

    The three angles turn about z, y and x, one after the other.

    Examples
    --------
    >>> rotation(torch.tensor([[math.pi / 2]])).round().int().tolist()
    [[[0, -1], [1, 0]]]
    """
    planes = [(0, 1)] if angles.shape[1] == 1 else [(0, 1), (0, 2), (1, 2)]
    n_space = 2 if len(planes) == 1 else 3
    result = torch.eye(n_space).expand(len(angles), n_space, n_space)
    for (i, j), angle in zip(planes, angles.T, strict=True):
        turn = torch.eye(n_space).repeat(len(angles), 1, 1)
        turn[:, i, i], turn[:, i, j] = torch.cos(angle), -torch.sin(angle)
        turn[:, j, i], turn[:, j, j] = torch.sin(angle), torch.cos(angle)
        result = result @ turn
    return result


def _flips(how: Augmentation, n: int, n_space: int, generator: torch.Generator) -> torch.Tensor:
    """Return ±1 ``(n, n_space)``; the first entry is the array's last axis, as in `affine_grid`."""
    signs = torch.where(torch.rand((n, n_space), generator=generator) < 0.5, -1.0, 1.0)
    if how.flips == "none":
        signs[:] = 1
    if how.flips == "left_right":
        signs[:, 1:] = 1
    return signs


def _jitter(
    crops: torch.Tensor, contrast: torch.Tensor, brightness: torch.Tensor, n_image: int
) -> torch.Tensor:
    along = (-1, 1) + (1,) * (crops.ndim - 2)
    image = crops[:, :n_image]
    mean = image.flatten(1).mean(dim=1).reshape(along)
    image = (image - mean) * contrast.reshape(along) + mean + brightness.reshape(along)
    return torch.cat([image.clamp(0, 1), crops[:, n_image:]], dim=1)
