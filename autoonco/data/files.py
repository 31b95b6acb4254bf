"""Single files and folders in, images and masks out, whatever their format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from autoonco.data import numpy_files
from autoonco.data.formats import (
    NIFTI_SUFFIXES,
    PICTURE_SUFFIXES,
    SUFFIXES,
    read_itk,
    read_nifti,
    read_picture,
    suffix_of,
)
from autoonco.data.pick import WHOLE, Pick
from autoonco.errors import AbsentLabelError, GeometryError, ImageReadError

_BLURRED = (".jpg", ".jpeg")


def read_image(path: str | Path, pick: Pick = WHOLE) -> sitk.Image:
    """Read one picture or volume.

    Parameters
    ----------
    path
        PNG, JPEG, BMP or TIFF (2D; spacing 1), NIfTI, NRRD or MetaImage (2D or 3D; spacing in millimetres), NumPy
        (``.npy``, ``.npz``), a DICOM file, or a folder with the files of a DICOM series.
    pick
        What is meant where the file or folder holds more than one picture; by default it has to hold one.

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
    return _read(Path(path), pick, palette_indices=False)


def is_dicom_source(path: Path) -> bool:
    """Return whether `path` is read as DICOM: a folder, or a file that is none of the other formats."""
    if path.is_dir():
        return True
    if suffix_of(path) in (*SUFFIXES, *numpy_files.SUFFIXES) or not path.is_file():
        return False
    from autoonco.data.dicom_index import is_dicom  # pydicom, which other formats need not

    return is_dicom(path)


def _read(path: Path, pick: Pick, *, palette_indices: bool, of_mask: bool = False) -> sitk.Image:
    suffix = suffix_of(path)
    if not path.is_dir() and not path.is_file():
        raise ImageReadError(
            "The file does not exist; correct its path, which in a manifest is relative to it."
        )
    if path.is_file() and path.stat().st_size == 0:
        raise ImageReadError("The file is empty; copy or export it again.")
    if is_dicom_source(path):
        from autoonco.data.dicom import read_dicom

        return read_dicom(path, pick)
    if pick.suv:
        raise ImageReadError(
            "SUV can be computed of DICOM alone: name the PET series, or leave suv= (--suv) out."
        )
    if suffix in numpy_files.SUFFIXES:
        return numpy_files.read_array(path, pick, usual="mask" if of_mask else "image")
    if suffix in PICTURE_SUFFIXES:
        return read_picture(
            path, palette_indices=palette_indices, page=pick.index, spacing_mm=pick.spacing_mm
        )
    if suffix in NIFTI_SUFFIXES:
        return read_nifti(path, volume=pick.index)
    if suffix in SUFFIXES:
        return read_itk(path)
    known = ", ".join((*SUFFIXES, *numpy_files.SUFFIXES))
    raise ImageReadError(f"A file of type {suffix or 'none'!r} can't be read; use {known} or DICOM.")


def read_mask(path: str | Path, label: int | None = None, pick: Pick = WHOLE) -> sitk.Image:
    """Read a mask as uint8, 1 inside the lesion and 0 outside.

    Parameters
    ----------
    path
        As for `read_image`. Of a coloured picture the brightest channel counts.
    label
        The value to keep; by default everything but 0. In a palette picture it is the index. JPEG blurs
        edges: there everything above half the maximum is kept.
    pick
        What is meant of the file; its `labels` where `label` is None.

    Raises
    ------
    ImageReadError
        As for `read_image`, and if the mask holds values that aren't numbers.
    AbsentLabelError
        If no voxel has the value `label`.
    """
    return drawn_mask(Path(path), pick, () if label is None else (label,))[0]


def drawn_mask(path: Path, pick: Pick, labels: tuple[int, ...] = ()) -> tuple[sitk.Image, bool]:
    """Return a mask, joined of several files where `pick` says so, and whether what is inside has one value.

    Raises
    ------
    ImageReadError, AbsentLabelError
        As for `read_mask`.
    GeometryError
        If several files differ in size.
    """
    mask, is_binary = _drawn(path, pick, labels or pick.labels)
    for other in pick.also:
        more, is_binary_too = _drawn(other, pick, labels or pick.labels)
        if more.GetSize() != mask.GetSize():
            raise GeometryError(
                "The files of the mask differ in size, expected parts of one mask: name those of one image."
            )
        more.CopyInformation(mask)
        mask, is_binary = sitk.Or(mask, more), is_binary and is_binary_too
    return mask, is_binary


def _drawn(path: Path, pick: Pick, labels: tuple[int, ...]) -> tuple[sitk.Image, bool]:
    """Return the mask of one file, and whether what counts as inside has one value in it."""
    image = _read(path, pick, palette_indices=bool(labels), of_mask=True)
    values = sitk.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = values.max(axis=-1)
    if not np.isfinite(values).all():
        raise ImageReadError("The mask holds values that aren't numbers (NaN); save it with 0 and 1.")
    if labels:
        inside = np.isin(values, labels)
        if not inside.any():
            named = " or ".join(map(str, labels))
            raise AbsentLabelError(
                f"No voxel of the mask has the value {named}, expected one or more: name the lesion's value."
            )
    elif suffix_of(path) in _BLURRED:
        inside = values > values.max() / 2
    else:
        inside = values != 0
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    is_drawn = not labels and suffix_of(path) not in _BLURRED and bool(inside.any())
    return mask, not is_drawn or bool(values[inside].min() == values[inside].max())
