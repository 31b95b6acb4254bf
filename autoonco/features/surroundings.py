"""A lesion's box with room around it for a filter, also where the image ends."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]


class Edge(StrEnum):
    """What lies beyond the border of the image (IBSI-2 manual, section on boundary conditions)."""

    MIRROR = "mirror"  # d c b a | a b c d | d c b a
    NEAREST = "nearest"  # a a a a | a b c d | d d d d
    ZERO = "zero"  # 0 0 0 0 | a b c d | 0 0 0 0


def with_room(roi: Roi, room: Sequence[int], edge: Edge) -> Floats:
    """Return the grey values of the lesion's box and of `room` voxels on either side of each axis.

    What is filtered here and cut by `without_room` equals the filtered whole image, at its border as well.

    Parameters
    ----------
    roi
        The lesion.
    room
        Voxels of room, one number an axis.
    edge
        Where values beyond the image come from.

    Returns
    -------
    NDArray
        float64, longer than the box by twice the room along each axis.
    """
    index, is_inside = [], []
    for part, pad, length in zip(roi.box, room, roi.image.shape, strict=True):
        at = np.arange(part.start - pad, part.stop + pad)
        is_inside.append((at >= 0) & (at < length))
        index.append(_mirrored(at, length) if edge is Edge.MIRROR else np.clip(at, 0, length - 1))
    values: Floats = roi.image[np.ix_(*index)].astype(np.float64)
    if edge is Edge.ZERO:
        for axis, inside in enumerate(is_inside):
            np.moveaxis(values, axis, 0)[~inside] = 0.0
    return values


def without_room(values: NDArray[np.float64], room: Sequence[int]) -> Floats:
    """Return `values` less `room` voxels on either side of each axis."""
    return values[tuple(slice(pad, length - pad) for pad, length in zip(room, values.shape, strict=True))]


def _mirrored(at: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return the index within the image of each index of its endless reflection, the border voxel twice.

    Examples
    --------
    >>> _mirrored(np.arange(-3, 5), 2).tolist()
    [1, 1, 0, 0, 1, 1, 0, 0]
    """
    folded = at % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
