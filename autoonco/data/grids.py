"""Grids laid out in millimetres, and scans sampled onto them.

The target grid comes first, then each scan is sampled straight onto it: only the region of interest is ever
smoothed and resampled, scans on different grids fall into place, and the orientation of the file doesn't matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A box in space along canonical axes: those of LPS for volumes, a picture's own.

    Lengths are in millimetres along these axes, whose unit vectors are the columns of `axes`; `pixel_mm` is the
    spacing of the image the box was found on.
    """

    centre: Floats
    axes: Floats
    side_mm: Floats
    pixel_mm: Floats


def luminance(image: sitk.Image) -> sitk.Image:
    """Return the brightness of a colour image as float32 in its own units; a grey image comes back as float32.

    Examples
    --------
    >>> picture = sitk.GetImageFromArray(np.full((2, 2, 3), 100, np.uint8), isVector=True)
    >>> round(float(sitk.GetArrayFromImage(luminance(picture))[0, 0]), 4)
    100.0
    """
    if image.GetNumberOfComponentsPerPixel() == 1:
        # A cast to the same type would copy a whole scan.
        return image if image.GetPixelID() == sitk.sitkFloat32 else sitk.Cast(image, sitk.sitkFloat32)
    parts = components(image)
    return parts[0] * LUMA[0] + parts[1] * LUMA[1] + parts[2] * LUMA[2]


def lesion_box(mask: NDArray[Any]) -> tuple[slice, ...] | None:
    """Return the smallest box that holds every nonzero element of `mask`, or None where all are zero.

    Examples
    --------
    >>> lesion_box(np.array([[0, 0, 0], [0, 1, 1]]))
    (slice(1, 2, None), slice(1, 3, None))
    """
    box = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(mask.any(axis=_others(axis, mask.ndim)))
        if line.size == 0:
            return None
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    return tuple(box)


def frame_of(image: sitk.Image, *, of_lesion: bool) -> Frame:
    """Return the box of the whole image, or of the nonzero voxels of a mask."""
    size = np.asarray(image.GetSize(), np.float64)
    low, high = np.zeros_like(size), size
    if of_lesion:
        box = lesion_box(sitk.GetArrayViewFromImage(image)) or ()
        low = np.array([side.start for side in reversed(box)], np.float64)
        high = np.array([side.stop for side in reversed(box)], np.float64)
    axes, spacing = canonical_axes(image), np.asarray(image.GetSpacing())
    turn = np.abs(_turn(image, axes))
    centre = image.TransformContinuousIndexToPhysicalPoint(((low + high - 1) / 2).tolist())
    return Frame(
        centre=np.asarray(centre), axes=axes, side_mm=turn @ ((high - low) * spacing), pixel_mm=turn @ spacing
    )


def canonical_axes(image: sitk.Image) -> Floats:
    """Return the image's axes ``(n, n)``, permuted and flipped to the nearest of LPS; a picture keeps its own.

    `DICOMOrient` decides, on an image of one voxel, so that no scan is copied only to be turned.
    """
    if image.GetDimension() == 2:
        return np.asarray(image.GetDirection()).reshape(2, 2)
    probe = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    probe.SetDirection(image.GetDirection())
    return np.asarray(sitk.DICOMOrient(probe, "LPS").GetDirection()).reshape(3, 3)


def axial_slice(image: sitk.Image, *, largest: bool) -> sitk.Image:
    """Return one axial slice of a volume, still 3D: that with the most nonzero voxels, or the middle one.

    Of slices with equally many, the one nearest the feet, however the file is turned.
    """
    row = _turn(image, canonical_axes(image))[2]
    axis = int(np.argmax(np.abs(row)))  # the index axis that runs from foot to head
    order = np.arange(image.GetSize()[axis])[:: int(row[axis])]
    position = int(order[len(order) // 2])
    if largest:
        areas = np.count_nonzero(sitk.GetArrayViewFromImage(image), axis=_others(2 - axis))
        position = int(order[np.argmax(areas[order])])
    start, size = [0] * 3, list(image.GetSize())
    start[axis], size[axis] = position, 1
    return sitk.RegionOfInterest(image, size, start)


def _turn(image: sitk.Image, axes: Floats) -> Floats:
    """Return the matrix of 0 and ±1 that takes the image's index axes to `axes`."""
    own = np.asarray(image.GetDirection()).reshape(axes.shape)
    return np.asarray(np.rint(axes.T @ own))


def _others(axis: int, ndim: int = 3) -> tuple[int, ...]:
    return tuple(other for other in range(ndim) if other != axis)


def thick_axis_last(frame: Frame) -> Frame:
    """Return the frame with its axes turned in a circle until the longest edge of a voxel is along the last.

    In a circle, so that none is mirrored. Of equally long edges the last one counts, which leaves axial scans and
    those of cubic voxels as they are.
    """
    behind = int(np.argmax(frame.pixel_mm[::-1] >= 0.999 * frame.pixel_mm.max()))
    order = np.roll(np.arange(len(frame.pixel_mm)), behind)
    return Frame(
        centre=frame.centre,
        axes=frame.axes[:, order],
        side_mm=frame.side_mm[order],
        pixel_mm=frame.pixel_mm[order],
    )


def grid_of(
    frame: Frame, *, side_mm: float | Floats, size: int | Sequence[int], flat_axis: int | None = None
) -> sitk.Image:
    """Return an empty image of `size` voxels and `side_mm` a side centred in the frame.

    Either may be one number or one for each axis; along `flat_axis` the image is one voxel of the scan.
    """
    n = len(frame.centre)
    shape = np.array(np.broadcast_to(size, n))
    step = np.broadcast_to(side_mm, n) / shape
    if flat_axis is not None:
        step[flat_axis], shape[flat_axis] = frame.pixel_mm[flat_axis], 1
    grid = sitk.Image(shape.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(step.tolist())
    grid.SetDirection(frame.axes.ravel().tolist())
    grid.SetOrigin((frame.centre - frame.axes @ (step * (shape - 1) / 2)).tolist())
    return grid


def box_of(image: sitk.Image, grid: sitk.Image) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first voxel (x, y[, z]) of `image` that the grid needs and the one behind the last.

    There is room for smoothing; they may lie outside of the image.
    """
    last = np.asarray(grid.GetSize()) - 1
    corners = [np.where(choice, last, 0) for choice in np.ndindex(*(2,) * len(last))]
    index = np.array(
        [
            image.TransformPhysicalPointToContinuousIndex(
                grid.TransformIndexToPhysicalPoint([int(c) for c in corner])
            )
            for corner in corners
        ]
    )
    pad = np.ceil(2 * max(grid.GetSpacing()) / np.asarray(image.GetSpacing())) + 2
    low, high = np.floor(index.min(axis=0) - pad), np.ceil(index.max(axis=0) + pad) + 1
    return low.astype(np.int64), high.astype(np.int64)


def roi_of(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """Return the part of `image` that the grid needs, with room for smoothing; None where they don't meet."""
    low, high = box_of(image, grid)
    low, high = np.maximum(low, 0), np.minimum(high, image.GetSize())
    if (high <= low).any():
        return None
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def components(image: sitk.Image) -> list[sitk.Image]:
    """Return the red, green and blue (any further component is left out) as float32 images."""
    return [sitk.VectorIndexSelectionCast(image, part, sitk.sitkFloat32) for part in range(3)]


def sample(image: sitk.Image, grid: sitk.Image) -> NDArray[np.float32]:
    """Return the brightness of `image` on `grid`, NaN outside of the scan."""
    roi = roi_of(image, grid)
    if roi is None:
        return np.full(tuple(reversed(grid.GetSize())), np.nan, np.float32)
    return resample(_finite(luminance(roi)), grid)


def _finite(image: sitk.Image) -> sitk.Image:
    """Return `image` with its lowest value where it holds NaN or infinity, which smoothing would spread."""
    values = sitk.GetArrayViewFromImage(image)
    good = np.isfinite(values)
    if good.all():
        return image
    healed = sitk.GetImageFromArray(np.where(good, values, values[good].min() if good.any() else 0))
    healed.CopyInformation(image)
    return healed


def resample(roi: sitk.Image, grid: sitk.Image) -> NDArray[np.float32]:
    """Return `roi` on `grid`, linearly interpolated, smoothed first along each axis where the grid is coarser.

    The Gaussian of (factor - 1) / 2 source pixels is that of `skimage.transform.resize`.
    """
    n = roi.GetDimension()
    own, target = (np.asarray(image.GetDirection()).reshape(n, n) for image in (roi, grid))
    factors = np.abs(own.T @ target) @ np.asarray(grid.GetSpacing()) / np.asarray(roi.GetSpacing())
    for axis, (factor, spacing) in enumerate(zip(factors, roi.GetSpacing(), strict=True)):
        if factor > 1.01 and roi.GetSize()[axis] >= 4:  # the recursive filter needs four pixels
            roi = sitk.RecursiveGaussian(roi, sigma=(factor - 1) / 2 * spacing, direction=axis)
    sampled = sitk.Resample(roi, grid, sitk.Transform(), sitk.sitkLinear, math.nan, sitk.sitkFloat32)
    result: NDArray[np.float32] = sitk.GetArrayFromImage(sampled)
    return result
