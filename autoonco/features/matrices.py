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
    padded = np.pad(np.ascontiguousarray(box), 1)  # the border spares each look at a neighbour a check
    flat, n = padded.ravel(), int(box.max()) + 1
    steps = directions(box.ndim, in_plane=in_plane)
    offsets = steps @ (np.asarray(padded.strides, dtype=np.int64) // padded.itemsize)
    voxels = np.flatnonzero(flat)
    glcm = np.zeros((len(steps), n, n), dtype=np.int32)
    runs = np.zeros((len(steps), n, max(box.shape) + 1), dtype=np.int32)
    _count_along(flat, voxels, offsets, glcm, runs, np.zeros(flat.size, dtype=np.int32))
    gldm = np.zeros((1, n, 2 * len(steps) + 1), dtype=np.int64)
    ngtdm = np.zeros((3, n))
    _count_around(flat, voxels, offsets, gldm[0], ngtdm)
    present = np.flatnonzero(gldm[0].any(axis=1))
    return Matrices(
        levels=present,
        glcm=_symmetric(glcm, present),
        glrlm=_run_table(runs[:, present], padded, steps),
        glszm=_zone_table(flat, voxels, offsets, present),
        gldm=_table(gldm[:, present]),
        ngtdm=ngtdm[:, present],
    )


def _lesion_box(levels: Ints) -> NDArray[np.uint16]:
    """Return `levels` cropped to what isn't 0, in a type that keeps neighbours close in memory."""
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
    return levels[tuple(box)].astype(np.uint16)


@compiled
def _count_along(levels: Any, voxels: Any, offsets: Any, glcm: Any, runs: Any, lengths: Any) -> None:
    """Count pairs and runs, direction by direction.

    What lies outside the lesion has level 0 and is counted as such, which is cheaper than to ask. `lengths`
    is memory for the length of the run up to each voxel.
    """
    for d in range(offsets.size):
        offset = offsets[d]
        for at in voxels:
            level, ahead, behind = levels[at], levels[at + offset], levels[at - offset]
            glcm[d, level, ahead] += 1
            length = lengths[at - offset] * (behind == level) + 1
            lengths[at] = length
            runs[d, level, length] += ahead != level


@compiled
def _count_around(levels: Any, voxels: Any, offsets: Any, gldm: Any, ngtdm: Any) -> None:
    """Count equal neighbours, and sum the differences from the neighbours' mean, voxel by voxel."""
    for at in voxels:
        level = levels[at]
        n_inside = n_equal = total = 0
        for offset in offsets:
            ahead, behind = levels[at + offset], levels[at - offset]
            n_inside += (ahead > 0) + (behind > 0)
            n_equal += (ahead == level) + (behind == level)
            total += ahead + behind
        gldm[level, n_equal] += 1
        if n_inside > 0:
            ngtdm[0, level] += 1
            ngtdm[2, level] += abs(level - total / n_inside)
        else:
            ngtdm[1, level] += 1


@compiled
def _fill_zones(levels: Any, voxels: Any, offsets: Any, zone_levels: Any, zone_sizes: Any, stack: Any) -> int:
    """Flood zones of equal levels one after another, wiping `levels`; return how many there are."""
    n_zones = 0
    for seed in voxels:
        level = levels[seed]
        if level == 0:
            continue
        levels[seed] = 0
        stack[0] = seed
        n_open, size = 1, 0
        while n_open > 0:
            n_open -= 1
            at = stack[n_open]
            size += 1
            for offset in offsets:
                for neighbour in (at + offset, at - offset):
                    if levels[neighbour] == level:
                        levels[neighbour] = 0
                        stack[n_open] = neighbour
                        n_open += 1
        zone_levels[n_zones] = level
        zone_sizes[n_zones] = size
        n_zones += 1
    return n_zones


def _symmetric(glcm: NDArray[np.int32], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs counted both ways among the present levels, of the directions that have any."""
    pairs = glcm[:, present[:, None], present]
    pairs = pairs[pairs.any(axis=(1, 2))].astype(np.int64)
    both: NDArray[np.int64] = pairs + pairs.transpose(0, 2, 1)
    return both


def _run_table(runs: NDArray[np.int32], padded: Ints, steps: NDArray[np.int64]) -> SizeTable:
    """Return the runs of the directions along which the lesion has an extent; pyradiomics drops the others."""
    ends = np.asarray(runs[:, :, 2:].any(axis=(1, 2)))
    extended = [bool(end) or _has_lines(padded, step) for end, step in zip(ends, steps, strict=True)]
    return _table(runs[extended, :, 1:])


def _has_lines(padded: Ints, step: NDArray[np.int64]) -> bool:
    """Return whether two voxels of the lesion, adjacent or not, lie on one line along `step`."""
    voxels = np.argwhere(padded)
    axis = int(np.flatnonzero(step)[0])
    starts = voxels - (voxels[:, [axis]] * step[axis]) * step
    return len(np.unique(starts, axis=0)) < len(voxels)


def _zone_table(flat: Ints, voxels: Ints, offsets: Ints, present: Ints) -> SizeTable:
    """Return the zones by level and size; the number of cells is bounded by the lesion, not by the sizes."""
    levels, sizes, stack = (np.empty(len(voxels), dtype=np.int64) for _ in range(3))
    n_zones = _fill_zones(flat.copy(), voxels, offsets, levels, sizes, stack)
    stride = len(voxels) + 1
    rank_of = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    rank_of[present] = np.arange(len(present))
    cells, count = np.unique(rank_of[levels[:n_zones]] * stride + sizes[:n_zones], return_counts=True)
    level, size = np.divmod(cells, stride)
    return SizeTable(group=np.zeros_like(level), level=level, size=size, count=count, n_groups=1)


def _table(dense: Ints) -> SizeTable:
    """Return the cells of a matrix (n_groups, n_levels, n_sizes) that aren't empty; sizes count from 1."""
    group, level, size = np.nonzero(dense)
    return SizeTable(
        group=group, level=level, size=size + 1, count=dense[group, level, size], n_groups=len(dense)
    )
