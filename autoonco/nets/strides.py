"""Strides that follow the spacing: an axis of few, thick slices is not reduced before the others have caught up."""

from __future__ import annotations

from collections.abc import Sequence

Sides = tuple[int, int, int]
"""Voxels along depth, height and width."""


def halved(side: int) -> int:
    """Return a side after a step of two.

    Examples
    --------
    >>> halved(8), halved(5)
    (4, 3)
    """
    return -(-side // 2)


def step(sides: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    """Return the stride of one reducing step for maps of these sides, none of which gets shorter than `least`.

    A crop spans the same millimetres along every axis, so the spacing along an axis is inverse to its voxels. An axis
    is halved unless its spacing is twice that of the finest or more: after steps enough, all are alike. (The rule of
    nnU-Net: Isensee et al., 2021, supplementary note 2.)

    Examples
    --------
    >>> step((32, 32, 32)), step((8, 32, 32)), step((20, 32, 32))
    ((2, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    finest = max(sides)
    return tuple(2 if finest < 2 * side and side > 1 and halved(side) >= least else 1 for side in sides)


def steps(sides: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Return the strides of `n` reducing steps, one after the other.

    Examples
    --------
    >>> steps((8, 32, 32), 3)
    [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    """
    found: list[tuple[int, ...]] = []
    now = tuple(sides)
    for _ in range(n):
        found.append(step(now))
        now = tuple(halved(side) if by == 2 else side for side, by in zip(now, found[-1], strict=True))
    return found


def patches(sides: Sequence[int], per_side: int) -> tuple[int, ...]:
    """Return the sides of patches of which the longest axis holds `per_side`, nearly cubes in millimetres.

    Examples
    --------
    >>> patches((32, 32, 32), 4), patches((8, 32, 32), 4), patches((3, 32, 32), 4)
    ((8, 8, 8), (2, 8, 8), (1, 8, 8))
    """
    return tuple(max(1, side // per_side) for side in sides)
