"""A case in, its images and masks out: each channel with its mask on one grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import SimpleITK as sitk

from autoonco.data.alignment import on_grid
from autoonco.data.case import Case
from autoonco.data.files import drawn_mask, is_dicom_source, read_image, read_mask
from autoonco.data.formats import PICTURE_SUFFIXES, suffix_of
from autoonco.data.numpy_files import SUFFIXES as ARRAY_SUFFIXES
from autoonco.data.stand_in import chosen, stand_in
from autoonco.errors import DataError, ImageReadError

if TYPE_CHECKING:
    from autoonco.data.dicom_masks import Drawn

__all__ = ["Scan", "read_image", "read_mask", "read_scan"]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """An image and its mask (uint8, 0 and 1) on one grid; `mask` is None where the case has none.

    `gap_voxels` is how far the headers of both lay apart, float noise that was healed; `mask_share` the part of the
    mask's volume that a resampling onto the image's grid kept, None where there was none; `is_binary` whether the
    mask file holds one value beside 0, or was asked for one. `is_drawn` is False where the mask only stands in for a
    lesion that was pointed at or boxed in.
    """

    image: sitk.Image
    mask: sitk.Image | None
    gap_voxels: float = 0.0
    mask_share: float | None = None
    is_binary: bool = True
    is_drawn: bool = True


def read_scan(case: Case, channel: str) -> Scan:
    """Read the image of a case's `channel` and its mask, on one grid.

    Float noise between both headers is healed by giving the mask the image's geometry, and so is a picture or array,
    which states none. A lone mask that serves several channels, or any mask where the case says `resample_mask`, is
    resampled (nearest neighbour) onto the grid of the channel.

    Raises
    ------
    DataError
        If the case has no such channel, or its row has a problem; the message names the row.
    ImageReadError
        As for `read_image`; the message names the row.
    GeometryError
        If image and mask don't lie on the same grid; the message names the row.
    """
    if case.problem is not None:
        raise DataError(case.problem)
    if channel not in case.images:
        raise DataError(
            f"row {case.row}: no image for channel {channel!r}; the case has {', '.join(case.images) or 'none'}: "
            f"name its file."
        )
    with _naming(case, f"image {channel!r}"):
        image = read_image(case.images[channel], case.image_pick(channel))
    if case.mask_of(channel) is None:
        if case.mark is None:
            return Scan(image=image, mask=None)
        with _naming(case, f"image {channel!r}"):
            return Scan(image=image, mask=stand_in(case.mark, image), is_drawn=False)
    with _naming(case, f"mask of {channel!r}"):
        mask, is_binary, is_part = _mask(case, channel, image)
        is_shared = channel not in case.masks and len(case.images) > 1
        may_resample = (is_shared or case.resample_mask) and not _is_picture(case, channel, image)
        if mask.GetSize() == image.GetSize() and _lies_by_its_pixels(case, channel, image, mask):
            mask.CopyInformation(image)
        placed, gap, share = on_grid(mask, image, may_resample=may_resample, may_be_part=is_part)
        if case.mark is not None:
            placed = chosen(placed, case.mark)
        return Scan(image=image, mask=placed, gap_voxels=gap, mask_share=share, is_binary=is_binary)


def _mask(case: Case, channel: str, image: sitk.Image) -> tuple[sitk.Image, bool, bool]:
    """Return the mask of a channel as its file has it, whether it is binary, and whether it may be a part of a grid."""
    path, pick = case.masks.get(channel) or case.masks["mask"], case.mask_pick(channel)
    if is_dicom_source(path) and (joined := _dicom_mask(case, channel, image)) is not None:
        return joined, True, True
    if pick.rois:
        raise ImageReadError(
            "mask_roi names a segment or ROI, but the mask is no DICOM SEG or RTSTRUCT: name its value with mask_label."
        )
    return *drawn_mask(path, pick), False


def _dicom_mask(case: Case, channel: str, image: sitk.Image) -> sitk.Image | None:
    """Return the segmentation or structure set of a channel, several joined; None where it is a mask of other DICOM."""
    from autoonco.data.dicom_masks import drawn_in  # pydicom, which other formats need not

    path, pick = case.masks.get(channel) or case.masks["mask"], case.mask_pick(channel)
    found = [drawn_in(one, pick) for one in (path, *pick.also)]
    drawn = [one for one in found if one is not None]
    if drawn and len(drawn) < len(found):
        raise ImageReadError(
            "Segmentations are joined with segmentations alone: save the parts in one format."
        )
    masks = [_drawn_on(one, case, channel, image) for one in drawn]
    if len(masks) > 1:
        masks = [on_grid(mask, image, may_resample=False, may_be_part=True)[0] for mask in masks]
    return reduce(sitk.Or, masks) if masks else None


def _drawn_on(drawn: Drawn, case: Case, channel: str, image: sitk.Image) -> sitk.Image:
    """Return a DICOM mask on its own grid, or that of the image it was drawn on, 2D where the image is."""
    from autoonco.data import dicom, dicom_masks

    home = channel
    for name in case.images if channel not in case.masks else ():
        if dicom.origin_of(case.images[name], case.image_pick(name)).series in drawn.references:
            home = name
    own = dicom.origin_of(case.images[home], case.image_pick(home))
    dicom_masks.refuse_other_patient_space(drawn, own.frame_of_reference)
    grid = image
    if home != channel or (image.GetDimension() == 2 and own.series):
        grid = dicom.read_dicom(case.images[home], case.image_pick(home), flat=False)
    if grid.GetDimension() == 2:
        raise ImageReadError(
            "The image is a picture without a place in the patient, on which a DICOM mask can't be laid: save "
            "the mask as a picture."
        )
    mask = dicom_masks.read_drawn(drawn, case.mask_pick(channel).rois, grid)
    if image.GetDimension() == 3:
        return mask
    placed = on_grid(mask, grid, may_resample=False, may_be_part=True)[0][:, :, 0]
    placed.CopyInformation(image)
    return placed


@contextmanager
def _naming(case: Case, what: str) -> Iterator[None]:
    """Put the row in front of what a reader says."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"row {case.row}, {what}: {error}") from error


def _lies_by_its_pixels(case: Case, channel: str, image: sitk.Image, mask: sitk.Image) -> bool:
    """Return whether a mask has no place of its own, a picture or an array, and was drawn on the pixels of its image.

    That is so of pictures and arrays, whose spacing only the manifest knows, and of DICOM pictures. A NIfTI's voxels
    may lie in another order than an array drawn on them.
    """
    placeless = (*PICTURE_SUFFIXES, *ARRAY_SUFFIXES)
    path = case.mask_of(channel)
    if path is None or suffix_of(path) not in placeless or set(mask.GetSpacing()) != {1.0}:
        return False
    home = case.images[channel]
    return suffix_of(home) in placeless or (image.GetDimension() == 2 and is_dicom_source(home))


def _is_picture(case: Case, channel: str, image: sitk.Image) -> bool:
    """Pictures have no place in the patient: two of unequal size can't be laid over one another."""
    path = case.images[channel]
    is_placed = suffix_of(path) not in ARRAY_SUFFIXES and not is_dicom_source(path)
    return suffix_of(path) in PICTURE_SUFFIXES or (image.GetDimension() == 2 and not is_placed)
