"""Random changes of crops while training; the same code for pictures and volumes, a whole batch at a time.

`nets.appearance` changes how they look, this module where things are: one map of coordinates a crop, so that each is
resampled once whatever changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from autoonco.nets.appearance import Colour, Look, change_looks

MAX_ROTATION = math.radians(25)
MAX_SCALE = 0.2
MAX_SHIFT = 0.1  # of the crop's side
MAX_ELASTIC = 0.08  # of the crop's side
ELASTIC_POINTS = 4
"""Points a side that are moved at random; between them displacements are interpolated."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far crops are changed.

    Parameters
    ----------
    strength
        Of turning, scaling and shifting: 1 is 25 degrees, 20 % and 10 % of the side.
    flips
        ``"none"``, ``"left_right"`` (the last axis) or ``"all"`` axes, each with probability one half.
    elastic
        Of bending: 1 moves points by up to 8 % of the side.
    intensity
        Of grey values and colours, as far as each look allows (`nets.appearance.LIMITS`).
    noise
        Of noise and blur.
    colour
        What is changed of a colour picture besides: ``"jitter"`` saturation and hue, ``"stain"`` the densities of
        haematoxylin and eosin.
    looks
        Look of each image channel, or of all of them; empty counts as grey, or colour where `colour` says so.
    """

    strength: float = 0.5
    flips: Literal["none", "left_right", "all"] = "left_right"
    elastic: float = 0.0
    intensity: float = 0.0
    noise: float = 0.0
    colour: Colour = "none"
    looks: tuple[Look, ...] = ()


def augment(
    crops: torch.Tensor, how: Augmentation, *, n_image_channels: int, generator: torch.Generator
) -> torch.Tensor:
    """Return changed copies of crops ``(n, channels, *space)`` of 0..1, float32.

    Each crop is turned, scaled, shifted and bent by one map (in 3D about all three axes), channels together; then
    the looks of its first `n_image_channels` change: a mask channel keeps its values. Whatever is random is drawn from
    `generator`: batches may be changed in a thread of their own.
    """
    moved = move(crops, how, generator=generator)
    return change_looks(moved, how, n_image_channels=n_image_channels, generator=generator)


def move(
    crops: torch.Tensor, how: Augmentation, *, generator: torch.Generator, together: bool = False
) -> torch.Tensor:
    """Return crops ``(n, channels, *space)`` turned, scaled, shifted, flipped and bent, each in its own way.

    Parameters
    ----------
    together
        Whether all are moved by one and the same map.
    """
    if not (how.strength or how.elastic) and how.flips == "none":
        return crops.clone()  # resampling on the same grid takes a third of a small transformer's step
    n, n_space = 1 if together else len(crops), crops.ndim - 2

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    turn = rotation(how.strength * MAX_ROTATION * uniform(n, 1 if n_space == 2 else 3))
    linear = turn * torch.exp(how.strength * MAX_SCALE * uniform(n, 1, 1))
    linear = linear * _flips(how, n, n_space, generator)[:, None, :]
    shift = how.strength * 2 * MAX_SHIFT * uniform(n, n_space, 1)  # a side is 2 in grid units
    maps = torch.cat([linear, shift], dim=2).to(crops.device)
    grid = functional.affine_grid(maps, [n, crops.shape[1], *crops.shape[2:]], align_corners=False)
    if how.elastic:
        points = uniform(n, n_space, *(ELASTIC_POINTS,) * n_space) * how.elastic * 2 * MAX_ELASTIC
        grid = grid + _between(points, crops.shape[2:]).to(crops.device)
    if together:
        grid = grid.expand(len(crops), *grid.shape[1:])
    return functional.grid_sample(crops, grid, align_corners=False)


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


def _between(points: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return displacements of every pixel ``(n, *shape, n_space)`` from those of few points ``(n, n_space, ...)``."""
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    field = functional.interpolate(points, size=tuple(shape), mode=mode, align_corners=True)
    return field.movedim(1, -1)
