"""The counts behind the texture features: GLCM, GLRLM, GLSZM, GLDM and NGTDM of one array of grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError
from autoonco.features.compiled import compiled

MAX_LEVEL = 2048
"""The 13 co-occurrence matrices of so many grey levels take 0.2 GB; more are a mistake of the binning."""

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class SizeTable:
    """Runs, zones or dependences counted by grey level and size: the cells that aren't empty.

    Parameters
    ----------
    group
        Index of the matrix (the direction), shape (n_cells,).
    level
        Index into the present grey levels, shape (n_cells,).
    size
        Run length, zone size or dependence, in voxels, shape (n_cells,).
    count
        How many there are, shape (n_cells,).
    n_groups
        Number of matrices.
    """

    group: Ints
    level: Ints
    size: Ints
    count: Ints
    n_groups: int


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """All matrices of one array of grey levels, at distance 1.

    Parameters
    ----------
    levels
        The grey levels that occur, ascending, shape (n_levels,).
    glcm
        Symmetric co-occurrence counts, shape (n_directions, n_levels, n_levels), of directions with pairs.
    glrlm
        Runs, a group for each direction that has two voxels on some line.
    glszm, gldm
        Zones and dependences, one group.
    ngtdm
        Voxels with a neighbour, voxels without, and summed differences from the neighbours' mean by
        grey level, shape (3, n_levels).
    """

    levels: NDArray[np.int64]
    glcm: NDArray[np.int64]
    glrlm: SizeTable
    glszm: SizeTable
    gldm: SizeTable
    ngtdm: NDArray[np.float64]


def directions(ndim: int, *, in_plane: bool) -> NDArray[np.int64]:
    """Return one of each two opposite steps to a neighbour, shape (n_directions, ndim): 13 in 3D, 4 in a plane.

    Examples
    --------
    >>> directions(2, in_plane=False).tolist()
    [[0, 1], [1, -1], [1, 0], [1, 1]]
    """
    steps = [step for step in product((-1, 0, 1), repeat=ndim) if step > (0,) * ndim]
    if in_plane and ndim == 3:
        steps = [step for step in steps if step[0] == 0]
    return np.asarray(steps, dtype=np.int64)


def count_matrices(levels: Ints, *, in_plane: bool = False) -> Matrices:
    """Return the matrices of `levels`, neighbours being the 26 (in a plane the 8) voxels around one.

    Parameters
    ----------
    levels
        Grey levels from 1 in the lesion, 0 outside, shape (z, y, x) or (y, x).
    in_plane
        Whether neighbours along z are left out.

    Raises
    ------
    AutoOncoError
        If there is no voxel in the lesion, or a level that is negative or above `MAX_LEVEL`.
    """
    box = _lesion_box(levels)
    present, codes = _codes(box)
    steps = directions(box.ndim, in_plane=in_plane)
    strides = np.asarray(codes.strides, dtype=np.int64) // codes.itemsize
    flat, offsets = codes.ravel(), steps @ strides
    voxels = np.flatnonzero(flat)
    n_levels = len(present)
    glcm = np.zeros((len(steps), n_levels, n_levels), dtype=np.int32)
    runs = np.zeros((len(steps), n_levels, max(box.shape)), dtype=np.int32)
    gldm = np.zeros((1, n_levels, 2 * len(steps) + 1), dtype=np.int64)
    ngtdm = np.zeros((3, n_levels))
    _count_neighbours(flat, voxels, offsets, present, glcm, runs, gldm[0], ngtdm)
    has_pairs = np.asarray(glcm.any(axis=(1, 2)))
    has_lines = [bool(pair) or _has_lines(codes, step) for pair, step in zip(has_pairs, steps, strict=True)]
    glcm = glcm[has_pairs]
    return Matrices(
        levels=present,
        glcm=(glcm + glcm.transpose(0, 2, 1)).astype(np.int64),
        glrlm=_table(runs[has_lines]),
        glszm=_zone_table(flat, voxels, offsets),
        gldm=_table(gldm),
        ngtdm=ngtdm,
    )


def _lesion_box(levels: Ints) -> Ints:
    """Return `levels` cropped to what isn't 0."""
    if levels.ndim not in (2, 3) or not levels.size or not levels.any():
        raise AutoOncoError(
            f"Textures need grey levels from 1 in an array (z, y, x) or (y, x); got {levels.shape} without any."
        )
    if levels.min() < 0 or levels.max() > MAX_LEVEL:
        raise AutoOncoError(
            f"Grey levels must be from 0 to {MAX_LEVEL}, got {levels.min()} to {levels.max()}: use wider bins."
        )
    box = []
    for axis in range(levels.ndim):
        others = tuple(other for other in range(levels.ndim) if other != axis)
        occupied = np.flatnonzero(levels.any(axis=others))
        box.append(slice(occupied[0], occupied[-1] + 1))
    return levels[tuple(box)].astype(np.int64, copy=False)


def _codes(box: Ints) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the present levels, and the box with each level's rank from 1, in a border of zeros.

    Ranks keep matrices small where levels have gaps; the border spares every look at a neighbour a check.
    """
    occurs = np.bincount(box.ravel()) > 0
    occurs[0] = False
    ranks = np.cumsum(occurs, dtype=np.int32) * occurs
    codes = np.zeros([side + 2 for side in box.shape], dtype=np.int32)
    codes[(slice(1, -1),) * box.ndim] = ranks[box]
    return np.flatnonzero(occurs).astype(np.int64), codes


@compiled
def _count_neighbours(
    codes: Any, voxels: Any, offsets: Any, present: Any, glcm: Any, runs: Any, gldm: Any, ngtdm: Any
) -> None:
    """Fill the matrices in one pass over the lesion: each neighbour is read once for all of them."""
    for at in voxels:
        code = codes[at]
        row = code - 1
        n_neighbours = n_equal = total = 0
        for d in range(offsets.size):
            ahead = codes[at + offsets[d]]
            behind = codes[at - offsets[d]]
            if ahead > 0:
                glcm[d, row, ahead - 1] += 1
                n_neighbours += 1
                total += present[ahead - 1]
                n_equal += ahead == code
            if behind > 0:
                n_neighbours += 1
                total += present[behind - 1]
                n_equal += behind == code
            if behind != code:  # a run begins here: follow it to its end
                end = at
                length = -1
                while codes[end] == code:
                    length += 1
                    end += offsets[d]
                runs[d, row, length] += 1
        gldm[row, n_equal] += 1
        if n_neighbours > 0:
            ngtdm[0, row] += 1
            ngtdm[2, row] += abs(present[row] - total / n_neighbours)
        else:
            ngtdm[1, row] += 1


@compiled
def _fill_zones(codes: Any, voxels: Any, offsets: Any, zone_codes: Any, zone_sizes: Any, stack: Any) -> int:
    """Flood zones of equal codes one after another, wiping `codes`; return how many there are."""
    n_zones = 0
    for seed in voxels:
        code = codes[seed]
        if code == 0:
            continue
        codes[seed] = 0
        stack[0] = seed
        n_open, size = 1, 0
        while n_open > 0:
            n_open -= 1
            at = stack[n_open]
            size += 1
            for offset in offsets:
                for neighbour in (at + offset, at - offset):
                    if codes[neighbour] == code:
                        codes[neighbour] = 0
                        stack[n_open] = neighbour
                        n_open += 1
        zone_codes[n_zones] = code
        zone_sizes[n_zones] = size
        n_zones += 1
    return n_zones


def _zone_table(flat: NDArray[np.int32], voxels: NDArray[np.int64], offsets: NDArray[np.int64]) -> SizeTable:
    """Return the zones by level and size; the number of cells is bounded by the lesion, not by the sizes."""
    codes, sizes, stack = (np.empty(len(voxels), dtype=np.int64) for _ in range(3))
    n_zones = _fill_zones(flat.copy(), voxels, offsets, codes, sizes, stack)
    stride = len(voxels) + 1
    cells, count = np.unique((codes[:n_zones] - 1) * stride + sizes[:n_zones], return_counts=True)
    level, size = np.divmod(cells, stride)
    return SizeTable(group=np.zeros_like(level), level=level, size=size, count=count, n_groups=1)


def _table(dense: Ints) -> SizeTable:
    """Return the cells of a matrix (n_groups, n_levels, n_sizes) that aren't empty; sizes count from 1."""
    group, level, size = np.nonzero(dense)
    return SizeTable(
        group=group, level=level, size=size + 1, count=dense[group, level, size], n_groups=len(dense)
    )


def _has_lines(codes: NDArray[np.int32], step: NDArray[np.int64]) -> bool:
    """Return whether two voxels of the lesion, adjacent or not, lie on one line along `step`.

    Where there are none, the lesion has no extent along `step`, and pyradiomics leaves the direction out.
    """
    voxels = np.argwhere(codes)
    axis = int(np.flatnonzero(step)[0])
    starts = voxels - (voxels[:, [axis]] * step[axis]) * step
    return len(np.unique(starts, axis=0)) < len(voxels)
