"""Where a lesion lies in the image and how it is turned, as WORC's PREDICT has; every number is dimensionless.

A location relative to the field of view means something only where all images are cut alike, as whole breasts or
whole bodies are; where they are cropped around the lesion it says how they were cropped.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from autoonco.data.grids import lesion_box
from autoonco.errors import AutoOncoError
from autoonco.features.moments import moments

AXES = "ZYX"
_TIE = 1e-9  # principal variances closer than this share of the largest have no axis of their own


def location_values(
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    *,
    frame: tuple[slice, ...] | None = None,
) -> dict[str, float]:
    """Return where the lesion lies in the image, or in a box of it, by name.

    - CentroidY: place of the centroid along an axis, 0 at the first border of the frame and 1 at the last.
    - BorderY: distance from the lesion to the nearer of the two borders across an axis, over the frame's side;
      below 0 where it leaves the frame.
    - NearestBorder: the smallest distance in mm to any border, over the shortest side of the frame.
    - OffCentre: distance in mm from the frame's centre to the centroid, over half the frame's diagonal.

    Parameters
    ----------
    mask
        True inside the lesion, (z, y, x) or (y, x), of the whole image: not cropped.
    spacing_mm
        Voxel sides in the order of the axes.
    frame
        The box that places are relative to, as that of the body (`autoonco.data.grids.lesion_box` of the
        voxels above air); the whole image without one.

    Raises
    ------
    AutoOncoError
        If no voxel is inside.

    Examples
    --------
    >>> mask = np.zeros((4, 8), dtype=bool)
    >>> mask[1:3, 0:2] = True
    >>> location_values(mask, (1.0, 1.0))["CentroidX"], location_values(mask, (1.0, 1.0))["BorderX"]
    (0.125, 0.0)
    """
    box = lesion_box(mask)
    if box is None:
        raise AutoOncoError("A location needs a lesion of at least one voxel, got none.")
    within = _bounds(tuple(slice(0, side) for side in mask.shape) if frame is None else frame)
    inside, spacing = _bounds(box), np.array(spacing_mm)
    centroid = inside[0] + moments(mask[box], spacing_mm).centroid + 0.5
    size = within[1] - within[0]
    gap = np.minimum(inside[0] - within[0], within[1] - inside[1])
    off = (centroid - within.mean(axis=0)) * spacing
    names = AXES[-mask.ndim :]
    found = dict(zip((f"Centroid{axis}" for axis in names), (centroid - within[0]) / size, strict=True))
    found |= dict(zip((f"Border{axis}" for axis in names), gap / size, strict=True))
    found["NearestBorder"] = (gap * spacing).min() / (size * spacing).min()
    found["OffCentre"] = np.linalg.norm(off) / (np.linalg.norm(size * spacing) / 2)
    return {name: float(value) for name, value in found.items()}


def orientation_values(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """Return which way the lesion leans, beside the squared cosines of its longest axis among the contour's.

    - TiltYX: 2 v_y v_x with v the unit vector of the longest principal axis: in a picture sin 2θ of its angle
      θ to the x axis. It tells a lean to one side from the same lean to the other, which squares don't.
    - LeastAxisZ, LeastAxisY (volumes only): squared cosines of the shortest principal axis, which stands
      upright on a flat lesion.

    NaN where the axis is undefined: in a single voxel, a ball, a disc.

    Parameters
    ----------
    mask
        True inside the lesion, (z, y, x) or (y, x); at least one voxel.
    spacing_mm
        Voxel sides in the order of the axes.

    Examples
    --------
    >>> round(orientation_values(np.eye(5, dtype=bool), (1.0, 1.0))["TiltYX"], 6)
    1.0
    >>> round(orientation_values(np.eye(5, dtype=bool)[::-1], (1.0, 1.0))["TiltYX"], 6)
    -1.0
    """
    if not mask.any():
        raise AutoOncoError("An orientation needs a lesion of at least one voxel, got none.")
    variances, vectors = np.linalg.eigh(moments(mask, spacing_mm).covariance_mm2)
    least, major = vectors[:, 0], vectors[:, -1]
    tie = _TIE * variances[-1]
    if variances[-1] - variances[-2] <= tie:
        major = np.full(mask.ndim, np.nan)
    if variances[1] - variances[0] <= tie:
        least = np.full(mask.ndim, np.nan)
    names = AXES[-mask.ndim :]
    found = {
        f"Tilt{names[i]}{names[j]}": float(2 * major[i] * major[j])
        for i, j in itertools.combinations(range(mask.ndim), 2)
    }
    if mask.ndim == 3:
        found |= {f"LeastAxis{axis}": float(least[i] ** 2) for i, axis in enumerate(names[:-1])}
    return found


def _bounds(box: tuple[slice, ...]) -> NDArray[np.float64]:
    """Return first and last borders of a box in voxels, (2, n_axes)."""
    return np.array([[part.start for part in box], [part.stop for part in box]], dtype=np.float64)
