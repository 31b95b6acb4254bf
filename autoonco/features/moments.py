"""Centroid and covariance of a lesion's voxels, without a list of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-13
"""A principal variance of so small a share of the largest is that of a flat lesion."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """How many voxels a lesion has, and how they lie.

    Parameters
    ----------
    n_voxels
        Their number.
    centroid
        Mean of their indices, shape (n_axes,).
    covariance_mm2
        Of their centres, divided by their number, shape (n_axes, n_axes).
    """

    n_voxels: int
    centroid: Floats
    covariance_mm2: Floats


def moments(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> Moments:
    """Return the moments of a mask of at least one voxel, (z, y, x) or (y, x).

    Examples
    --------
    >>> found = moments(np.array([[True, True, False]]), (1.0, 4.0))
    >>> found.n_voxels, found.centroid.tolist(), found.covariance_mm2.tolist()
    (2, [0.0, 0.5], [[0.0, 0.0], [0.0, 4.0]])
    """
    n, first, second = _sums(mask)
    sides = np.array(spacing_mm)
    # Of whole numbers, so that nothing cancels: n times the second moments less the product of the first.
    spread = (n * second - np.outer(first, first)).astype(np.float64)
    return Moments(
        n_voxels=n,
        centroid=first.astype(np.float64) / n,
        covariance_mm2=spread / n**2 * np.outer(sides, sides),
    )


def _sums(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.object_], NDArray[np.object_]]:
    """Return the number of voxels, sums of their indices (n_axes,) and of products (n_axes, n_axes).

    Two axes at a time, from how many voxels lie on each line across both. They are exact Python integers.
    """
    ndim = mask.ndim
    first = np.zeros(ndim, dtype=object)
    second = np.zeros((ndim, ndim), dtype=object)
    for one in range(ndim):
        for other in range(one + 1, ndim):
            rest = tuple(axis for axis in range(ndim) if axis not in (one, other))
            count = mask.sum(axis=rest, dtype=np.int64)
            i, j = (np.arange(side, dtype=np.int64) for side in count.shape)
            second[one, other] = second[other, one] = int(i @ count @ j)
            for axis, index, along in ((one, i, count.sum(axis=1)), (other, j, count.sum(axis=0))):
                first[axis], second[axis, axis] = int(index @ along), int(index**2 @ along)
    return int(count.sum()), first, second
