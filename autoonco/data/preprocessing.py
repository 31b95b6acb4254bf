"""From scans to the arrays that networks see: one place for views, crops, resampling and grey values.

The target grid is laid out in millimetres first, then each scan is sampled straight onto it: only the region of
interest is ever smoothed and resampled, scans on different grids fall into place, and the orientation of the
file doesn't matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.fingerprint import Intensity
from autoonco.data.readers import Scan
from autoonco.errors import DataError

HU_WINDOW = (-1000.0, 400.0)
"""Air to enhanced soft tissue, linear: keeps lung nodule margins and calcified tissue apart, and one step of an
8-bit crop is 5.5 HU, below the noise of a diagnostic CT. Denser bone than 400 HU carries no tumour texture."""
PERCENTILES = (1.0, 99.0)
MIN_SIDE_PX = 16
"""A crop spans at least so many source pixels: a smaller one would only magnify interpolation."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class SliceView:
    """A square picture of a case.

    Parameters
    ----------
    size
        Side of the picture in pixels.
    focus
        ``"whole"`` shows the image padded to a square, ``"lesion"`` the square around the mask.
    margin
        Share of the lesion's longer side added on each side of it.
    use_mask
        Whether a volume's slice is the one with the largest lesion area; else the middle slice.
    """

    size: int
    focus: Literal["whole", "lesion"] = "whole"
    margin: float = 0.25
    use_mask: bool = False


@dataclass(frozen=True, kw_only=True)
class VolumeView:
    """A cube of a case.

    Parameters
    ----------
    size
        Side of the cube in voxels.
    focus
        ``"whole"`` centres the cube on the volume and spans its longest side; ``"lesion"`` centres it on the mask.
    extent_mm
        Side of the cube in millimetres, which keeps a lesion's size visible; None fits the cube to each lesion.
    margin
        Share of the lesion's longest side added on each side of it, where `extent_mm` is None.
    with_mask
        Whether the mask is the last channel.
    """

    size: int
    focus: Literal["whole", "lesion"] = "lesion"
    extent_mm: float | None = None
    margin: float = 0.25
    with_mask: bool = False


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """A box in space, along canonical axes (LPS for volumes): the frame of a grid to sample."""

    centre: NDArray[Any]
    axes: NDArray[Any]  # columns are unit vectors
    side_mm: NDArray[Any]
    pixel_mm: NDArray[Any]  # of the source image along these axes


def luminance(image: sitk.Image) -> sitk.Image:
    """Return the brightness of a colour image as float32 in its own units; a grey image comes back as float32.

    Examples
    --------
    >>> picture = sitk.GetImageFromArray(np.full((2, 2, 3), 100, np.uint8), isVector=True)
    >>> round(float(sitk.GetArrayFromImage(luminance(picture))[0, 0]), 4)
    100.0
    """
    if image.GetNumberOfComponentsPerPixel() == 1:
        return sitk.Cast(image, sitk.sitkFloat32)
    parts = _components(image)
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


def scale_intensity(values: NDArray[Any], unit: Intensity) -> NDArray[np.float32]:
    """Return grey values as float32 in 0..1 by their unit; NaN (outside the scan) becomes 0, the background.

    Values of arbitrary unit (MR, PET) are stretched between their 1st and 99th percentile within the crop.
    """
    inside = values[np.isfinite(values)]
    if unit is Intensity.BYTE:
        low, high = 0.0, 255.0
    elif unit is Intensity.UNIT:
        low, high = 0.0, 1.0
    elif unit is Intensity.HOUNSFIELD:
        low, high = HU_WINDOW
    else:
        low, high = (
            (float(edge) for edge in np.percentile(inside, PERCENTILES)) if inside.size else (0.0, 1.0)
        )
    scaled = (values - low) / max(high - low, 1e-6)
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0.0, 1.0).astype(np.float32)


def slice_2d(scans: Sequence[Scan], units: Sequence[Intensity], view: SliceView) -> NDArray[np.float32]:
    """Return the picture ``(3, size, size)`` of a case in 0..1.

    One grey scan fills the three channels, one colour scan keeps its own; of several scans the first three (two
    repeat cyclically) become the channels, brightness only, sampled on the grid of the first.

    Raises
    ------
    DataError
        If the view needs a lesion and no scan has a mask with a nonzero voxel.
    """
    frame = _slice_frame(scans, view)
    side_mm = _at_least(frame.side_mm[:2].max(), frame.pixel_mm[:2], view)
    grid = _grid(frame, side_mm=side_mm, size=view.size, flat=True)
    if len(scans) == 1 and scans[0].image.GetNumberOfComponentsPerPixel() >= 3:
        roi = _roi(scans[0].image, grid)  # never None: the grid lies on this very image
        return _stack_slices([scale_intensity(_resample(part, grid), units[0]) for part in _components(roi)])
    layers = [
        scale_intensity(_sample(s.image, grid), unit) for s, unit in zip(scans[:3], units[:3], strict=True)
    ]
    return _stack_slices([layers[index % len(layers)] for index in range(3)])


def _stack_slices(layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack([layer.reshape(layer.shape[-2:]) for layer in layers])


def volume_3d(scans: Sequence[Scan], units: Sequence[Intensity], view: VolumeView) -> NDArray[np.float32]:
    """Return the cube ``(n_channels, depth, height, width)`` of a case in 0..1: a channel a scan, then the mask.

    Raises
    ------
    DataError
        If the view needs a lesion and no scan has a mask with a nonzero voxel.
    """
    reference = _reference(scans, needed=view.focus == "lesion" or view.with_mask)
    frame = _frame(reference, of_lesion=view.focus == "lesion")
    side_mm = view.extent_mm if view.focus == "lesion" and view.extent_mm else None
    if side_mm is None:
        side_mm = _at_least(frame.side_mm.max(), frame.pixel_mm, view)
    grid = _grid(frame, side_mm=side_mm, size=view.size)
    channels = [
        scale_intensity(_sample(scan.image, grid), unit) for scan, unit in zip(scans, units, strict=True)
    ]
    if view.with_mask:
        channels.append(scale_intensity(_sample(reference.mask, grid), Intensity.UNIT))
    return np.stack(channels)


def _reference(scans: Sequence[Scan], *, needed: bool) -> Scan:
    """Return the first scan whose mask isn't empty; without any, the first scan, or an error if one is needed."""
    for scan in scans:
        if scan.mask is not None and sitk.GetArrayViewFromImage(scan.mask).any():
            return scan
    if needed:
        raise DataError(
            "the crop around the lesion needs a mask with at least one nonzero voxel, got none; give a mask for this case."
        )
    return scans[0]


def _at_least(side_mm: float, pixel_mm: NDArray[Any], view: SliceView | VolumeView) -> float:
    """Return the side of the crop: with the margin around a lesion, and never less than a few source pixels."""
    if view.focus == "whole":
        return float(side_mm)
    return max(float(side_mm) * (1 + 2 * view.margin), MIN_SIDE_PX * float(pixel_mm.min()))


def _canonical_axes(image: sitk.Image) -> NDArray[Any]:
    """Return the image's axes, permuted and flipped to the nearest of LPS; a picture keeps its own.

    `DICOMOrient` decides, on an image of one voxel, so that no scan is copied only to be turned.
    """
    if image.GetDimension() == 2:
        return np.asarray(image.GetDirection()).reshape(2, 2)
    probe = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    probe.SetDirection(image.GetDirection())
    return np.asarray(sitk.DICOMOrient(probe, "LPS").GetDirection()).reshape(3, 3)


def _turn(image: sitk.Image, axes: NDArray[Any]) -> NDArray[Any]:
    """Return the 0/1 matrix that takes per-index-axis lengths to lengths along `axes`."""
    own = np.asarray(image.GetDirection()).reshape(axes.shape)
    return np.abs(np.rint(axes.T @ own))


def _frame(scan: Scan, *, of_lesion: bool) -> _Frame:
    """Return the box of the lesion, or of the whole image."""
    image = scan.mask if of_lesion else scan.image
    size = np.asarray(image.GetSize(), float)
    low, high = np.zeros_like(size), size
    if of_lesion:
        box = lesion_box(sitk.GetArrayViewFromImage(image))
        low, high = (
            np.array([getattr(s, end) for s in reversed(box or ())], float) for end in ("start", "stop")
        )
    axes = _canonical_axes(image)
    turn, spacing = _turn(image, axes), np.asarray(image.GetSpacing())
    centre = image.TransformContinuousIndexToPhysicalPoint(((low + high - 1) / 2).tolist())
    return _Frame(
        centre=np.asarray(centre), axes=axes, side_mm=turn @ ((high - low) * spacing), pixel_mm=turn @ spacing
    )


def _slice_frame(scans: Sequence[Scan], view: SliceView) -> _Frame:
    """Return the frame of the picture: for a volume, on the axial slice with the largest lesion area."""
    of_lesion = view.focus == "lesion"
    wants_mask = of_lesion or view.use_mask
    if scans[0].image.GetDimension() == 2:
        return _frame(_reference(scans, needed=True) if of_lesion else scans[0], of_lesion=of_lesion)
    reference = _reference(scans, needed=True) if wants_mask else scans[0]
    image = reference.image
    axial = int(np.argmax(_turn(image, _canonical_axes(image))[2]))  # the index axis that runs head to foot
    position = image.GetSize()[axial] // 2
    if wants_mask:
        areas = np.count_nonzero(sitk.GetArrayViewFromImage(reference.mask), axis=_others(2 - axial))
        position = int(np.argmax(areas))
    start, size = [0] * 3, list(image.GetSize())
    start[axial], size[axial] = position, 1
    layer = sitk.RegionOfInterest(reference.mask if of_lesion else image, size, start)
    return _frame(Scan(image=layer, mask=layer), of_lesion=of_lesion)


def _others(axis: int, ndim: int = 3) -> tuple[int, ...]:
    return tuple(other for other in range(ndim) if other != axis)


def _grid(frame: _Frame, *, side_mm: float, size: int, flat: bool = False) -> sitk.Image:
    """Return an empty image of `size` voxels a side centred in the frame; one voxel thick where `flat`."""
    n = len(frame.centre)
    step = np.full(n, side_mm / size)
    shape = np.full(n, size)
    if flat and n == 3:
        step[2], shape[2] = frame.pixel_mm[2], 1
    grid = sitk.Image(shape.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(step.tolist())
    grid.SetDirection(frame.axes.ravel().tolist())
    grid.SetOrigin((frame.centre - frame.axes @ (step * (shape - 1) / 2)).tolist())
    return grid


def _roi(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """Return the part of `image` that the grid needs, with room for smoothing; None where they don't meet."""
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
    low = np.maximum(np.floor(index.min(axis=0) - pad), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + pad) + 1, image.GetSize()).astype(int)
    if (high <= low).any():
        return None
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _components(image: sitk.Image) -> list[sitk.Image]:
    """Return the red, green and blue (any further component is left out) as float32 images."""
    return [sitk.VectorIndexSelectionCast(image, part, sitk.sitkFloat32) for part in range(3)]


def _sample(image: sitk.Image, grid: sitk.Image) -> NDArray[np.float32]:
    """Return the brightness of `image` on `grid`, NaN outside of the scan."""
    roi = _roi(image, grid)
    if roi is None:
        return np.full(tuple(reversed(grid.GetSize())), np.nan, np.float32)
    return _resample(_finite(luminance(roi)), grid)


def _finite(image: sitk.Image) -> sitk.Image:
    """Return `image` with its lowest value where it holds NaN or infinity, which smoothing would spread."""
    values = sitk.GetArrayViewFromImage(image)
    good = np.isfinite(values)
    if good.all():
        return image
    healed = sitk.GetImageFromArray(np.where(good, values, values[good].min() if good.any() else 0))
    healed.CopyInformation(image)
    return healed


def _resample(roi: sitk.Image, grid: sitk.Image) -> NDArray[np.float32]:
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
