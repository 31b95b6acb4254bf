"""Local binary patterns: how the neighbours of a voxel compare with it, whatever the scale of the grey values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.features.surroundings import Edge, with_room, without_room

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]
OFFSET_DECIMALS = 5
"""Neighbours are placed so exactly, as in scikit-image: the cosine of 90° is 0."""
WEIGHT_DECIMALS = 12
"""Weights that are equal by symmetry are equal to the last bit, so that ties are ties in every direction."""


class PatternKind(StrEnum):
    """What becomes of the comparisons around the circle."""

    UNIFORM = "uniform"  # how many neighbours are at least as bright; n_points + 1 where they alternate often
    DEFAULT = "default"  # the binary number that they write, which turns with the picture


def local_binary_pattern_2d(
    roi: Roi, *, radius_px: float = 1.0, n_points: int = 8, kind: PatternKind | str = PatternKind.UNIFORM
) -> Floats:
    """Return the local binary pattern of each slice within the lesion's box: pyradiomics' ``lbp-2D``.

    Point p of P lies at angle 2πp/P on a circle around the pixel, its grey value is interpolated bilinearly,
    and it counts where that is at least the pixel's own. ``uniform``: with at most two changes around the
    circle the number of points that count, else P + 1. Beyond the image lies 0, as in scikit-image.

    The points' differences from the pixel are interpolated, not their values: the same by algebra, and
    on a flat patch exactly 0, where rounding makes scikit-image's answer depend on the place.

    Parameters
    ----------
    roi
        The lesion, in 3D taken slice by slice along the first axis.
    radius_px
        Radius of the circle in pixels, above 0.
    n_points
        Points on the circle, from 2 on; at most 52 for ``default``, whose codes must be exact.
    kind
        What becomes of the comparisons.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is among the pixels that a point is interpolated from.

    Raises
    ------
    AutoOncoError
        If a setting is out of its range.

    References
    ----------
    Ojala T, Pietikäinen M, Mäenpää T. IEEE Trans Pattern Anal Mach Intell 2002;24(7):971-987.

    Examples
    --------
    >>> from autoonco.features.images import Roi
    >>> spot = np.zeros((3, 3))
    >>> spot[1, 1] = 1
    >>> roi = Roi(image=spot, mask=spot > 0, box=(slice(1, 2),) * 2, spacing_mm=(1.0, 1.0))
    >>> local_binary_pattern_2d(roi).tolist()
    [[0.0]]
    """
    kind = _checked(radius_px, n_points, kind)
    offsets = _circle(radius_px, n_points, roi.image.ndim)
    reach = [math.ceil(max(abs(offset[axis]) for offset in offsets)) for axis in range(roi.image.ndim)]
    first = previous = None
    ones, changes, code, gap = (np.zeros(roi.lesion.shape) for _ in range(4))
    for power, difference in enumerate(_differences(with_room(roi, reach, Edge.ZERO), reach, offsets)):
        gap += 0.0 * difference  # NaN wherever one was in reach
        counts = difference >= 0
        ones += counts
        if kind is PatternKind.DEFAULT:
            code += 2.0**power * counts
        if previous is not None:
            changes += counts != previous
        previous, first = counts, counts if first is None else first
    if kind is PatternKind.DEFAULT:
        return code + gap
    changes += previous != first
    return np.where(changes <= 2, ones, n_points + 1.0) + gap


def local_binary_pattern_3d(roi: Roi, *, radius_px: float = 1.0) -> dict[str, Floats]:
    """Return three local patterns of a volume that don't change when it is turned by right angles.

    The 26 neighbours lie in the directions of a voxel's faces, edges and corners, all at one distance in
    millimetres, `radius_px` times the smallest side of a voxel; their values are interpolated trilinearly.
    With d the neighbours' differences from the voxel: ``count`` is how many are at least 0, ``mean`` their mean
    and ``deviation`` their standard deviation, both in the image's own unit. A definition of this
    project: pyradiomics' ``lbp-3D-m1`` expands the neighbours on an icosphere into spherical harmonics, and
    has other values. Beyond the image its border is repeated.

    Parameters
    ----------
    roi
        The lesion in a volume.
    radius_px
        Distance of the neighbours in sides of a voxel, above 0.

    Returns
    -------
    dict
        ``"count"``, ``"mean"`` and ``"deviation"``: float64, shape of the box, NaN where a NaN is in reach.

    Raises
    ------
    AutoOncoError
        If the image is a picture, or the radius not above 0.
    """
    if roi.image.ndim != 3:
        raise AutoOncoError(
            f"3D patterns need a volume, got {roi.image.ndim} axes: use local_binary_pattern_2d for pictures."
        )
    _check_radius(radius_px)
    offsets = _sphere(radius_px, roi.spacing_mm)
    reach = [math.ceil(max(abs(offset[axis]) for offset in offsets)) for axis in range(3)]
    count, total = np.zeros(roi.lesion.shape), np.zeros(roi.lesion.shape)
    values = with_room(roi, reach, Edge.NEAREST)
    for difference in _differences(values, reach, offsets):
        count += difference >= 0
        total += difference
    mean, squares = total / len(offsets), np.zeros_like(total)
    # A second pass, for the difference of two large sums would lose the digits of a small deviation.
    for difference in _differences(values, reach, offsets):
        squares += (difference - mean) ** 2
    return {"count": count + 0.0 * total, "mean": mean, "deviation": np.sqrt(squares / len(offsets))}


def _circle(radius_px: float, n_points: int, ndim: int) -> list[tuple[float, ...]]:
    """Return the points' offsets in voxels along each axis, counter-clockwise from the right."""
    angles = 2 * np.pi * np.arange(n_points) / n_points
    rows, columns = -radius_px * np.sin(angles), radius_px * np.cos(angles)
    points = np.round(np.stack([rows, columns], axis=1), OFFSET_DECIMALS)
    return [(0.0,) * (ndim - 2) + tuple(point) for point in points.tolist()]


def _sphere(radius_px: float, spacing_mm: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Return the offsets in voxels of 26 points at one distance in millimetres."""
    directions = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)], dtype=np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = radius_px * min(spacing_mm) * directions / np.array(spacing_mm)
    return [tuple(point) for point in np.round(points, OFFSET_DECIMALS).tolist()]


def _differences(
    values: Floats, reach: Sequence[int], offsets: Sequence[tuple[float, ...]]
) -> Iterator[Floats]:
    """Yield, for each offset, the interpolated value there less the value here, within the box.

    Voxels of weight 0 aren't touched: a NaN there is out of reach.
    """
    centre = without_room(values, reach)
    for offset in offsets:
        difference = np.zeros_like(centre)
        low = [math.floor(step) for step in offset]
        for corner in itertools.product((0, 1), repeat=len(offset)):
            parts = [
                step - floor if up else 1 - (step - floor)
                for step, floor, up in zip(offset, low, corner, strict=True)
            ]
            weight = round(math.prod(parts), WEIGHT_DECIMALS)
            if weight:
                shift = [floor + up for floor, up in zip(low, corner, strict=True)]
                difference += weight * (_shifted(values, reach, shift) - centre)
        yield difference


def _shifted(values: Floats, reach: Sequence[int], shift: Sequence[int]) -> Floats:
    """Return the box moved by `shift` voxels."""
    return values[
        tuple(
            slice(pad + step, length - pad + step)
            for pad, step, length in zip(reach, shift, values.shape, strict=True)
        )
    ]


def _checked(radius_px: float, n_points: int, kind: PatternKind | str) -> PatternKind:
    """Return the kind once all settings are known to be in their ranges."""
    _check_radius(radius_px)
    if kind not in set(PatternKind):
        raise UnknownNameError("kind of local pattern", str(kind), [item.value for item in PatternKind])
    most = 52 if kind == PatternKind.DEFAULT else 1024
    if not 2 <= n_points <= most:
        raise AutoOncoError(f"n_points of a {kind} local pattern must be from 2 to {most}, got {n_points}.")
    return PatternKind(kind)


def _check_radius(radius_px: float) -> None:
    if not 0 < radius_px < math.inf:
        raise AutoOncoError(f"radius_px of a local pattern must be above 0, got {radius_px:g}.")
