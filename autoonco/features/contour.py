"""What an outline tells beyond pyradiomics' shape: lobes, spicules, ragged margins, taller than wide.

Every number but the component count is dimensionless: none grows with the lesion alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

SCALES = (0.05, 0.1, 0.2)
"""Scales of the margin's roughness, as shares of the lesion's equivalent radius."""
MIN_SIGMA_VOXELS = 1.0
"""Below about a voxel the staircase of the grid would be measured, not the margin."""
AXES = "zyx"


def contour_names(ndim: int) -> tuple[str, ...]:
    """Return the names of `contour_features`, in order."""
    axes = AXES[-ndim:].upper()
    pairs = [f"Aspect{one}{other}" for i, one in enumerate(axes) for other in axes[i + 1 :]]
    margin = [f"{what}{k}" for k in range(1, len(SCALES) + 1) for what in ("Roughness", "Spikes", "Notches")]
    names = ["Solidity", "Extent", *pairs, *(f"MajorAxis{axis}" for axis in axes[:-1])]
    names += ["RadialCV", "RadialMaximum", "RadialMinimum", "InscribedRadius", "Components", *margin]
    return tuple(f"contour_{name}" for name in names)


def contour_features(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the numbers named by `contour_names`, in order; NaN where a lesion is too small for one.

    - Solidity: volume over that of the convex hull of the voxels' corners; 1 without lobes or spicules.
    - Extent: volume over that of the bounding box.
    - AspectYX: log of the box's height over its width ("taller than wide" of BI-RADS), for each pair of axes.
    - MajorAxisY: squared cosine between the longest principal axis and the y axis, for all axes but x.
    - RadialCV, -Maximum, -Minimum: spread and extremes of the distance from the centroid to the border, over
      the equivalent radius, that of the disc or ball of equal volume.
    - InscribedRadius: radius of the largest inscribed ball over the equivalent radius.
    - Components: number of connected parts.
    - Roughness, Spikes, Notches at three scales: standard deviation, 5th and 95th percentile over the margin
      of the share of a Gaussian window that lies inside the lesion, the integral invariant of curvature
      (Manay et al., IEEE TPAMI 2006;28:1602; Pottmann et al., Comput Aided Geom Des 2009;26:37): ½ along a
      flat margin, less at a spike, more in a notch, equal all around a disc.

    Parameters
    ----------
    mask
        True inside the lesion, (z, y, x) or (y, x); at least one voxel.
    spacing_mm
        Voxel sides in the order of the axes.
    """
    inside = np.pad(mask, 1)
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    points = np.argwhere(inside) * spacing
    volume = len(points) * spacing.prod()
    radius = _equivalent_radius(volume, mask.ndim)
    border = inside & ~ndimage.binary_erosion(inside)
    radii = np.linalg.norm(np.argwhere(border) * spacing - points.mean(axis=0), axis=1) / radius
    depth = ndimage.distance_transform_edt(inside, sampling=spacing).max() / radius
    _, parts = ndimage.label(inside, structure=np.ones((3,) * mask.ndim))
    numbers = [
        volume / _hull_volume(inside, spacing),
        *_box(inside, spacing, volume),
        *_major_axis(points),
        radii.std() / radii.mean() if radii.mean() > 0 else np.nan,
        radii.max(),
        radii.min(),
        depth,
        parts,
    ]
    for scale in SCALES:
        numbers += _margin(mask, np.maximum(scale * radius / spacing, MIN_SIGMA_VOXELS))
    return np.asarray(numbers, dtype=np.float64)


def _equivalent_radius(volume: float, ndim: int) -> float:
    """Return the radius of the disc or ball of this area or volume."""
    return float(np.sqrt(volume / np.pi) if ndim == 2 else np.cbrt(3 * volume / (4 * np.pi)))


def _hull_volume(inside: NDArray[np.bool_], spacing: NDArray[Any]) -> float:
    """Return the volume of the convex hull of the corners of all voxels.

    Only the ends of lines of corners can be corners of the hull; the lines run along the last axis.
    """
    corners = inside.copy()  # padded: so that a corner beyond the last voxel has a place
    for axis in range(inside.ndim):
        after = np.moveaxis(corners, axis, 0)
        after[1:] |= after[:-1].copy()
    lines = np.flatnonzero(corners.any(axis=-1))
    rows = corners.reshape(-1, corners.shape[-1])[lines]
    first, last = rows.argmax(axis=1), rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    place = np.stack(np.unravel_index(lines, corners.shape[:-1]), axis=1)
    ends = np.concatenate([np.column_stack([place, end]) for end in (first, last)])
    return float(ConvexHull(ends * spacing).volume)


def _box(inside: NDArray[np.bool_], spacing: NDArray[Any], volume: float) -> list[float]:
    """Return the share of the bounding box that is filled, and the logs of its side ratios."""
    where = np.argwhere(inside)
    sides = (np.ptp(where, axis=0) + 1) * spacing
    ratios = [float(np.log(one / other)) for i, one in enumerate(sides) for other in sides[i + 1 :]]
    return [float(volume / sides.prod()), *ratios]


def _major_axis(points: NDArray[Any]) -> list[float]:
    """Return squared direction cosines of the longest principal axis, NaN for a single voxel."""
    ndim = points.shape[1]
    if len(points) < 2:
        return [np.nan] * (ndim - 1)
    _, vectors = np.linalg.eigh(np.cov(points.T))
    return [float(cosine**2) for cosine in vectors[:-1, -1]]


def _margin(mask: NDArray[np.bool_], sigma_voxels: NDArray[Any]) -> list[float]:
    """Return spread, 5th and 95th percentile over the margin of the share of a window that is inside.

    The margin is the set of voxel faces between inside and outside; the share on a face is the mean of those
    at its two voxels, so that a flat margin has exactly one half.
    """
    inside = np.pad(mask, 1)
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma_voxels, mode="constant")
    on_faces = []
    for axis in range(mask.ndim):
        here, there = (np.moveaxis(array, axis, 0) for array in (inside, share))
        is_face = here[1:] != here[:-1]
        on_faces.append((there[1:][is_face] + there[:-1][is_face]) / 2)
    around = np.concatenate(on_faces)
    return [float(around.std()), *(float(value) for value in np.percentile(around, (5, 95)))]
