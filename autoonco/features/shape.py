"""Shape features of a mask, in pyradiomics' or IBSI's definition: mesh, diameters, principal axes."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.mesh import (
    largest_distance,
    largest_in_planes,
    perimeter_and_area,
    surface_and_volume,
    vertices,
)

NAMES_3D = (
    "Elongation",
    "Flatness",
    "LeastAxisLength",
    "MajorAxisLength",
    "Maximum2DDiameterColumn",
    "Maximum2DDiameterRow",
    "Maximum2DDiameterSlice",
    "Maximum3DDiameter",
    "MeshVolume",
    "MinorAxisLength",
    "Sphericity",
    "SurfaceArea",
    "SurfaceVolumeRatio",
    "VoxelVolume",
)
NAMES_2D = (
    "Elongation",
    "MajorAxisLength",
    "MaximumDiameter",
    "MeshSurface",
    "MinorAxisLength",
    "Perimeter",
    "PerimeterSurfaceRatio",
    "PixelSurface",
    "Sphericity",
)

_ROUNDING = 1e-13  # a variance of so small a share of the largest is that of a flat lesion


def shape_values(
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    *,
    definition: Definition = Definition.PYRADIOMICS,
) -> dict[str, float]:
    """Return the shape features by pyradiomics' names, in alphabetical order (IBSI, section 3.1).

    Parameters
    ----------
    mask
        True inside the lesion, (z, y, x) or (y, x).
    spacing_mm
        Voxel sides in the order of the axes.
    definition
        pyradiomics divides the covariance of the voxels by their number, IBSI by one less. Its diameters end
        at vertices of the mesh in both.

    Raises
    ------
    AutoOncoError
        If no voxel is inside.

    Examples
    --------
    >>> values = shape_values(np.ones((2, 2, 2), dtype=bool), (1.0, 1.0, 1.0))
    >>> values["VoxelVolume"], values["Elongation"], round(values["Maximum2DDiameterSlice"], 4)
    (8.0, 1.0, 2.2361)
    """
    if not mask.any():
        raise AutoOncoError("Shape features need a lesion of at least one voxel, got none.")
    mask = mask[ndimage.find_objects(mask.view(np.uint8))[0]]
    axes = _axis_lengths(mask, spacing_mm, definition)
    size = int(np.count_nonzero(mask)) * prod(spacing_mm)
    if mask.ndim == 3:
        return _volume(mask, spacing_mm, axes, size)
    return _picture(mask, spacing_mm, axes, size)


def _volume(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], axes: NDArray[np.float64], size: float
) -> dict[str, float]:
    z, y, x = spacing_mm
    area, volume = surface_and_volume(mask, (z, y, x))
    points = vertices(mask)
    least, minor, major = axes
    # pyradiomics' "column" plane is across y and its "row" plane across x.
    values = (
        _ratio(minor, major),
        _ratio(least, major),
        least,
        major,
        largest_in_planes(points, 1, spacing_mm),
        largest_in_planes(points, 2, spacing_mm),
        largest_in_planes(points, 0, spacing_mm),
        largest_distance(points, spacing_mm),
        volume,
        minor,
        (36 * np.pi * volume**2) ** (1 / 3) / area,
        area,
        area / volume,
        size,
    )
    return {name: float(value) for name, value in zip(NAMES_3D, values, strict=True)}


def _picture(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], axes: NDArray[np.float64], size: float
) -> dict[str, float]:
    height, width = spacing_mm
    perimeter, area = perimeter_and_area(mask, (height, width))
    minor, major = axes
    values = (
        _ratio(minor, major),
        major,
        largest_distance(vertices(mask), spacing_mm),
        area,
        minor,
        perimeter,
        perimeter / area,
        size,
        2 * np.sqrt(np.pi * area) / perimeter,
    )
    return {name: float(value) for name, value in zip(NAMES_2D, values, strict=True)}


def _axis_lengths(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], definition: Definition
) -> NDArray[np.float64]:
    """Return four standard deviations along the principal axes in mm, ascending; NaN where undefined."""
    n, first, second = _moments(mask)
    divisor = n * (n - 1 if definition is Definition.IBSI else n)
    if not divisor:
        return np.full(mask.ndim, np.nan)
    sides = np.array(spacing_mm)
    # Of whole numbers, so that nothing cancels: n times the second moments less the product of the first.
    covariance = (n * second - np.outer(first, first)).astype(np.float64) / divisor * np.outer(sides, sides)
    variances = np.linalg.eigvalsh(covariance)
    variances[variances < _ROUNDING * variances[-1]] = 0
    lengths: NDArray[np.float64] = 4 * np.sqrt(variances)
    return lengths


def _moments(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.object_], NDArray[np.object_]]:
    """Return how many voxels are inside, and sums of their indices (n_axes,) and products (n_axes, n_axes).

    The sums are exact Python integers; a list of voxels is never made.
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


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("nan")
