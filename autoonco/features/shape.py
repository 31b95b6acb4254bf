"""Shape features of a mask, in pyradiomics' or IBSI's definition: mesh, diameters, principal axes."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from autoonco.data.grids import lesion_box
from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.mesh import (
    largest_distance,
    largest_in_planes,
    perimeter_and_area,
    surface_and_volume,
    vertices,
)
from autoonco.features.moments import ROUNDING, moments

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
        If no voxel is inside, or the mask has other than two or three axes, each with a side.

    Examples
    --------
    >>> values = shape_values(np.ones((2, 2, 2), dtype=bool), (1.0, 1.0, 1.0))
    >>> values["VoxelVolume"], values["Elongation"], round(values["Maximum2DDiameterSlice"], 4)
    (8.0, 1.0, 2.2361)
    """
    if mask.ndim not in (2, 3) or len(spacing_mm) != mask.ndim:
        raise AutoOncoError(
            f"Shape features need a mask of 2 or 3 axes and a spacing for each, got shape {mask.shape} "
            f"and spacing {spacing_mm}."
        )
    box = lesion_box(mask)
    if box is None:
        raise AutoOncoError("Shape features need a lesion of at least one voxel, got none.")
    mask = mask[box].astype(bool, copy=False)  # a label of 255 is inside too
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
    found = moments(mask, spacing_mm)
    if definition is Definition.IBSI and found.n_voxels == 1:
        return np.full(mask.ndim, np.nan)
    variances = np.linalg.eigvalsh(found.covariance_mm2)
    variances[variances < ROUNDING * variances[-1]] = 0
    if definition is Definition.IBSI:
        variances *= found.n_voxels / (found.n_voxels - 1)
    lengths: NDArray[np.float64] = 4 * np.sqrt(variances)
    return lengths


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("nan")
