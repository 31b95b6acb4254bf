"""From a scan to the lesions that features are taken of: regrid, choose the lesion and its margin, re-segment.

Only the lesion with room around it is resampled, on the grid that the whole image would have (IBSI, section 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoonco.data.grids import lesion_box
from autoonco.features.images import Roi
from autoonco.features.lesions import lesion_masks
from autoonco.features.spec import Margin, Preparation

ROOM_MM = 26.0
"""Room around a resampled lesion: eight σ of the widest filter, and its margin."""
SPLINE_ROOM = 12
"""Voxels of the scan around that room: a cubic spline feels a voxel so far away by less than 1e-6."""
MOST_LESIONS = 20
"""More parts than this are specks of a drawn mask, the smallest of which are left out."""
FEWEST_VOXELS = 2
"""Where re-segmentation leaves fewer, the lesion stays whole."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of the new grid of an image: where it starts, in new voxels, its shape, and how it maps to the old."""

    start: NDArray[np.int64]
    shape: tuple[int, ...]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


def prepare(roi: Roi, how: Preparation) -> tuple[Roi, ...]:
    """Return the lesions of a case, one but where features of several are to be joined, as `how` says.

    A lesion that a margin would leave empty stays as drawn; one that falls between the voxels of the new grid
    becomes the nearest voxel; one that re-segmentation would leave without two voxels stays whole.
    """
    if how.spacing_mm is not None:
        roi = _regridded(roi, how)
    masks = lesion_masks(roi.mask, how.lesions)[:MOST_LESIONS]
    lesions = (_with_mask(roi, _with_margin(mask, roi.spacing_mm, how)) for mask in masks)
    return tuple(_resegmented(lesion, how) for lesion in lesions)


def _resegmented(roi: Roi, how: Preparation) -> Roi:
    """Return the lesion without the grey values that `how` excludes, for its intensity features."""
    if how.value_range is None and how.sigmas is None:
        return roi
    values = roi.image[roi.mask]
    finite = values[np.isfinite(values)]
    low, high = how.value_range or (-np.inf, np.inf)
    if how.sigmas is not None and finite.size:
        mean, spread = finite.mean(dtype=np.float64), finite.std(dtype=np.float64)
        low, high = max(low, mean - how.sigmas * spread), min(high, mean + how.sigmas * spread)
    kept = roi.mask & ~((roi.image < low) | (roi.image > high))  # what is no number stays, and is told
    return _with_mask(roi, kept) if np.count_nonzero(kept) >= FEWEST_VOXELS else roi


def _with_mask(roi: Roi, mask: NDArray[np.bool_]) -> Roi:
    box = lesion_box(mask)
    return roi if box is None else replace(roi, mask=mask, box=box)


def _with_margin(mask: NDArray[np.bool_], spacing_mm: Sequence[float], how: Preparation) -> NDArray[np.bool_]:
    """Return the mask eroded, dilated or as the ring around it, by millimetres."""
    if how.margin is Margin.DRAWN:
        return mask
    if how.margin is Margin.ERODED:
        padded = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)
        changed = padded[(slice(1, -1),) * mask.ndim] > how.margin_mm
    else:
        near: NDArray[Any] = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= how.margin_mm
        changed = near & ~mask if how.margin is Margin.RING else near
    return changed if changed.any() else mask


def _regridded(roi: Roi, how: Preparation) -> Roi:
    """Return the lesion with room, on voxels of the wanted size."""
    old = np.array(roi.spacing_mm)
    new = np.full(len(old), how.spacing_mm)
    if how.in_plane and len(old) == 3:
        new[0] = old[0]
    window = window_of(roi.box, roi.image.shape, old, new, room_mm=ROOM_MM)
    image = sample(roi.image, window, order=3 if how.cubic else 1)
    mask = np.round(sample(roi.mask.astype(np.float32), window, order=1), 6) >= 0.5
    if not mask.any():
        centre = np.array([(part.start + part.stop - 1) / 2 for part in roi.box])
        nearest = np.round((centre - window.offset) / window.scale).astype(int) - window.start
        mask[tuple(np.clip(nearest, 0, np.array(window.shape) - 1))] = True
    found = replace(roi, image=image, mask=mask, spacing_mm=tuple(float(side) for side in new))
    return _with_mask(found, mask)


def window_of(
    box: Sequence[slice],
    shape: Sequence[int],
    old_mm: NDArray[np.float64],
    new_mm: NDArray[np.float64],
    *,
    room_mm: float,
) -> Window:
    """Return the part of the new grid that holds `box` with `room_mm` around it.

    The new grid has the centre of the old one, and as many voxels as cover it (IBSI, section 2.4).
    """
    scale = new_mm / old_mm
    size = np.array(shape)
    new_size = np.ceil(np.round(size / scale, 6)).astype(np.int64)
    offset = (size - 1) / 2 - (new_size - 1) / 2 * scale
    room = room_mm / old_mm
    low = np.array([part.start for part in box]) - room
    high = np.array([part.stop for part in box]) - 1 + room
    start = np.clip(np.floor((low - offset) / scale), 0, new_size - 1).astype(np.int64)
    stop = np.clip(np.ceil((high - offset) / scale) + 1, start + 1, new_size).astype(np.int64)
    return Window(start=start, shape=tuple(int(side) for side in stop - start), scale=scale, offset=offset)


def sample(array: NDArray[Any], window: Window, *, order: int) -> NDArray[np.float64]:
    """Return `array` interpolated on `window`: linearly (order 1) or by cubic splines (3).

    Only the part of the array that is needed is looked at.
    """
    first = window.offset + window.start * window.scale
    last = first + (np.array(window.shape) - 1) * window.scale
    low = np.maximum(np.floor(first).astype(int) - SPLINE_ROOM, 0)
    high = np.minimum(np.ceil(last).astype(int) + SPLINE_ROOM + 1, array.shape)
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    found: NDArray[np.float64] = ndimage.affine_transform(
        part, window.scale, first - low, output_shape=window.shape, order=order, mode="nearest"
    )
    return found
