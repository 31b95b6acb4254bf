"""Files in, images out: one picture or volume, its mask, and both together on one grid."""

from __future__ import annotations

import itertools
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
from autoonco.errors import DataError, GeometryError, ImageReadError

# Corners of two grids that lie closer than this share of a voxel are float noise of the headers.
_NOISE_VOXELS = 0.1


@dataclass(frozen=True, kw_only=True)
class Scan:
    """An image and its mask (uint8, 0 and 1) on one grid; `mask` is None where the case has none."""

    image: sitk.Image
    mask: sitk.Image | None


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
    """
    path = Path(path)
    image = _read(path, palette_indices=label is not None)
    values = sitk.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = values.max(axis=-1)
    if not np.isfinite(values).all():
        raise ImageReadError("The mask holds values that aren't numbers (NaN); save it with 0 and 1.")
    if label is not None:
        inside = values == label
    elif suffix_of(path) in (".jpg", ".jpeg"):
        inside = values > values.max() / 2
    else:
        inside = values != 0
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def read_scan(case: Case, channel: str) -> Scan:
    """Read the image of a case's `channel` and its mask, on one grid.

    Float noise between both headers is healed by giving the mask the image's geometry. A lone mask that
    serves several channels is resampled (nearest neighbour) onto the grid of the channel.

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
        mask = read_mask(path)
        is_shared = channel not in case.masks and len(case.images) > 1 and not _is_picture(case, channel)
        return Scan(image=image, mask=_on_grid(mask, image, may_resample=is_shared))


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


def _on_grid(mask: sitk.Image, image: sitk.Image, *, may_resample: bool) -> sitk.Image:
    """Return `mask` on the grid of `image`, or raise `GeometryError`."""
    if mask.GetDimension() != image.GetDimension():
        raise GeometryError(
            f"The mask is {mask.GetDimension()}D, expected {image.GetDimension()}D as the image."
        )
    same_size = mask.GetSize() == image.GetSize()
    gap = _largest_corner_gap(mask, image) if same_size else 0.0
    if same_size and gap <= _NOISE_VOXELS:
        mask.CopyInformation(image)
        return mask
    if may_resample:
        return _resampled(mask, image)
    if same_size:
        raise GeometryError(
            f"The mask lies {gap:.1f} voxels away from the image (origin {_text(mask.GetOrigin())}, expected "
            f"{_text(image.GetOrigin())}; spacing {_text(mask.GetSpacing())}, expected "
            f"{_text(image.GetSpacing())}; or another direction): resample it onto the image's grid."
        )
    raise GeometryError(
        f"The mask has size {_size(mask)}, expected the image's {_size(image)}: name the mask drawn on this "
        f"image, or resample it onto the image's grid."
    )


def _resampled(mask: sitk.Image, image: sitk.Image) -> sitk.Image:
    moved = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    if sitk.GetArrayViewFromImage(mask).any() and not sitk.GetArrayViewFromImage(moved).any():
        raise GeometryError(
            "The shared mask and the image don't overlap in space: "
            "register them, or give each image a mask of its own."
        )
    return moved


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
