"""Files in, images out: one picture or volume, its mask, and both together on one grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from autoonco.data.case import Case
from autoonco.data.formats import (
    NIFTI_SUFFIXES,
    PICTURE_SUFFIXES,
    SUFFIXES,
    read_itk,
    read_nifti,
    read_picture,
    suffix_of,
)
from autoonco.errors import AbsentLabelError, DataError, GeometryError, ImageReadError

# Corners of two grids that lie closer than this share of a voxel are float noise of the headers.
_NOISE_VOXELS = 0.1
_CURE = "resample it onto the image's grid, or have it done with repair='resample-mask' (--repair)"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """An image and its mask (uint8, 0 and 1) on one grid; `mask` is None where the case has none.

    `gap_voxels` is how far the headers of both lay apart, float noise that was healed; `mask_share` the part of the
    mask's volume that a resampling onto the image's grid kept, None where there was none; `is_binary` whether the
    mask file holds one value beside 0, or was asked for one.
    """

    image: sitk.Image
    mask: sitk.Image | None
    gap_voxels: float = 0.0
    mask_share: float | None = None
    is_binary: bool = True


def read_image(path: str | Path) -> sitk.Image:
    """Read one picture or volume.

    Parameters
    ----------
    path
        PNG, JPEG, BMP or TIFF (2D; spacing 1), NIfTI, NRRD or MetaImage (2D or 3D; spacing in millimetres).

    Returns
    -------
    SimpleITK.Image
        Scalar float32, 16-bit values kept; a picture with colour is a vector of three uint8. A volume of one
        slice stays 3D. Values may be NaN or infinite: `checks` tells of those.

    Raises
    ------
    ImageReadError
        If the file is missing, of an unknown format, truncated or damaged, has more than three dimensions, or
        if its header claims more than the file can hold. Messages hold no path: the caller knows it.
    """
    return _read(Path(path), palette_indices=False)


def _read(path: Path, *, palette_indices: bool) -> sitk.Image:
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise ImageReadError(f"A file of type {suffix or 'none'!r} can't be read; use {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ImageReadError("The file does not exist; correct its path in the manifest.")
    if path.stat().st_size == 0:
        raise ImageReadError("The file is empty; copy or export it again.")
    if suffix in PICTURE_SUFFIXES:
        return read_picture(path, palette_indices=palette_indices)
    if suffix in NIFTI_SUFFIXES:
        return read_nifti(path)
    return read_itk(path)


def read_mask(path: str | Path, label: int | None = None) -> sitk.Image:
    """Read a mask as uint8, 1 inside the lesion and 0 outside.

    Parameters
    ----------
    path
        As for `read_image`. Of a coloured picture the brightest channel counts.
    label
        The value to keep; by default everything but 0. In a palette picture it is the index. JPEG blurs
        edges: there everything above half the maximum is kept.

    Raises
    ------
    ImageReadError
        As for `read_image`, and if the mask holds values that aren't numbers.
    AbsentLabelError
        If no voxel has the value `label`.
    """
    return _drawn(Path(path), label)[0]


def _drawn(path: Path, label: int | None) -> tuple[sitk.Image, bool]:
    """Return a mask, and whether what counts as inside has one value in the file."""
    image = _read(path, palette_indices=label is not None)
    values = sitk.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = values.max(axis=-1)
    if not np.isfinite(values).all():
        raise ImageReadError("The mask holds values that aren't numbers (NaN); save it with 0 and 1.")
    if label is not None:
        inside = values == label
        if not inside.any():
            raise AbsentLabelError(
                f"No voxel of the mask has the value {label}, expected one or more: name the lesion's value."
            )
    elif suffix_of(path) in (".jpg", ".jpeg"):
        inside = values > values.max() / 2
    else:
        inside = values != 0
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    is_drawn = label is None and suffix_of(path) not in (".jpg", ".jpeg") and bool(inside.any())
    return mask, not is_drawn or bool(values[inside].min() == values[inside].max())


def read_scan(case: Case, channel: str) -> Scan:
    """Read the image of a case's `channel` and its mask, on one grid.

    Float noise between both headers is healed by giving the mask the image's geometry. A lone mask that
    serves several channels, or any mask where the case says `resample_mask`, is resampled (nearest neighbour) onto
    the grid of the channel.

    Raises
    ------
    DataError
        If the case has no such channel; the message names the row.
    ImageReadError
        As for `read_image`; the message names the row.
    GeometryError
        If image and mask don't lie on the same grid; the message names the row.
    """
    if channel not in case.images:
        raise DataError(
            f"row {case.row}: no image for channel {channel!r}; the case has {', '.join(case.images) or 'none'}: "
            f"name its file."
        )
    with _naming(case, f"image {channel!r}"):
        image = read_image(case.images[channel])
    path = case.mask_of(channel)
    if path is None:
        return Scan(image=image, mask=None)
    with _naming(case, f"mask of {channel!r}"):
        mask, is_binary = _drawn(path, None)
        is_shared = channel not in case.masks and len(case.images) > 1
        may_resample = (is_shared or case.resample_mask) and not _is_picture(case, channel)
        placed, gap, share = _on_grid(mask, image, may_resample=may_resample)
        return Scan(image=image, mask=placed, gap_voxels=gap, mask_share=share, is_binary=is_binary)


@contextmanager
def _naming(case: Case, what: str) -> Iterator[None]:
    """Put the row in front of what a reader says."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"row {case.row}, {what}: {error}") from error


def _is_picture(case: Case, channel: str) -> bool:
    """Pictures have no place in the patient: two of unequal size can't be laid over one another."""
    return suffix_of(case.images[channel]) in PICTURE_SUFFIXES


def _on_grid(
    mask: sitk.Image, image: sitk.Image, *, may_resample: bool
) -> tuple[sitk.Image, float, float | None]:
    """Return `mask` on the grid of `image`, the gap healed and the share kept; or raise `GeometryError`."""
    if mask.GetDimension() != image.GetDimension():
        raise GeometryError(
            f"The mask is {mask.GetDimension()}D, expected {image.GetDimension()}D as the image."
        )
    same_size = mask.GetSize() == image.GetSize()
    gap = _largest_corner_gap(mask, image) if same_size else 0.0
    if same_size and gap <= _NOISE_VOXELS:
        mask.CopyInformation(image)
        return mask, gap, None
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
