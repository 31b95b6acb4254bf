"""A mask and its image, brought onto one grid: noise healed, a part embedded, another grid resampled or refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import SimpleITK as sitk

from autoonco.errors import GeometryError

# Corners of two grids that lie closer than this share of a voxel are float noise of the headers.
_NOISE_VOXELS = 0.1
_CURE = "resample it onto the image's grid, or have it done with repair='resample-mask' (--repair)"


def on_grid(
    mask: sitk.Image, image: sitk.Image, *, may_resample: bool, may_be_part: bool = False
) -> tuple[sitk.Image, float, float | None]:
    """Return `mask` on the grid of `image`, the gap that was healed in voxels and the share that was kept.

    Parameters
    ----------
    may_resample
        Whether a mask on another grid is resampled (nearest neighbour).
    may_be_part
        Whether a mask on some of the image's own voxels, as DICOM stores them, is laid into an empty one.

    Returns
    -------
    mask, gap, share
        `share` is None where nothing was resampled.

    Raises
    ------
    GeometryError
        If they don't lie on the same grid, or not where the other is.
    """
    if mask.GetDimension() != image.GetDimension():
        raise GeometryError(
            f"The mask is {mask.GetDimension()}D, expected {image.GetDimension()}D as the image."
        )
    same_size = mask.GetSize() == image.GetSize()
    gap = _largest_corner_gap(mask, image) if same_size else 0.0
    if same_size and gap <= _NOISE_VOXELS:
        mask.CopyInformation(image)
        return mask, gap, None
    if may_be_part and _is_part(mask, image):
        return _resampled(mask, image)[0], 0.0, None
    if may_resample:
        moved, share = _resampled(mask, image)
        return moved, 0.0, share
    if same_size:
        raise GeometryError(
            f"The mask lies {gap:.1f} voxels away from the image (origin {_text(mask.GetOrigin())}, expected "
            f"{_text(image.GetOrigin())}; spacing {_text(mask.GetSpacing())}, expected "
            f"{_text(image.GetSpacing())}; or another direction): {_CURE}."
        )
    raise GeometryError(
        f"The mask has size {_size(mask)}, expected the image's {_size(image)}: name the mask drawn on this "
        f"image, or {_CURE}."
    )


def _is_part(mask: sitk.Image, image: sitk.Image) -> bool:
    """Return whether every voxel of `mask` is, within noise, one of the endless grid of `image`."""
    steps = [tuple(int(axis == at) for axis in range(3)) for at in range(-1, 3)]
    places = np.array(
        [
            image.TransformPhysicalPointToContinuousIndex(
                mask.TransformContinuousIndexToPhysicalPoint(list(step))
            )
            for step in [*steps, [length - 1 for length in mask.GetSize()]]
        ]
    )
    is_on_voxels = bool(np.abs(places - np.rint(places)).max() <= _NOISE_VOXELS)
    # two steps of a finer grid end on voxels too: a step has to be one voxel
    return is_on_voxels and bool(
        np.allclose(np.abs(places[1:4] - places[0]).sum(axis=1), 1, atol=_NOISE_VOXELS)
    )


def _resampled(mask: sitk.Image, image: sitk.Image) -> tuple[sitk.Image, float]:
    """Return `mask` on the grid of `image` and the share of its volume that is left, 1 for an empty mask."""
    moved = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    before, after = (
        float(np.count_nonzero(sitk.GetArrayViewFromImage(one)) * math.prod(one.GetSpacing()))
        for one in (mask, moved)
    )
    if before and not after:
        raise GeometryError(
            "The mask and the image don't overlap in space: "
            "register them, or give each image a mask of its own."
        )
    return moved, min(1.0, after / before) if before else 1.0


def _largest_corner_gap(one: sitk.Image, other: sitk.Image) -> float:
    """Return the largest distance between equal corners of two equal-sized grids, in voxels."""
    corners = itertools.product(*((0, length - 1) for length in one.GetSize()))
    gaps = [
        np.subtract(one.TransformIndexToPhysicalPoint(corner), other.TransformIndexToPhysicalPoint(corner))
        for corner in corners
    ]
    # The last corner alone would miss a wrong spacing on a grid of one slice: compare spacings too.
    gaps.append(np.subtract(one.GetSpacing(), other.GetSpacing()))
    return float(max(np.linalg.norm(gap) for gap in gaps) / min(other.GetSpacing()))


def _size(image: sitk.Image) -> str:
    return "×".join(map(str, image.GetSize()))


def _text(numbers: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{number:.4g}" for number in numbers) + ")"
