"""Arrays on disk: ``.npy`` and ``.npz``, read without pickle; one picture of a stack costs the memory of one.

An array is a picture ``(rows, columns)``, a volume ``(slices, rows, columns)`` or, as bytes, colours ``(rows,
columns, 3)``. A ``.npz`` may state its spacing in an array ``spacing_mm``, in the order of the axes.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.bounds import touch
from autoonco.data.cache import default_cache_dir, digest, file_hash, write_atomically
from autoonco.data.formats import decoding, picture_of, position_in, refuse_absurd_claim, set_spacing
from autoonco.data.pick import Pick
from autoonco.errors import DimensionError, ImageReadError

SUFFIXES = (".npy", ".npz")
SPACING = "spacing_mm"
_COLOURS = (3, 4)
_LEAST_SIDE = 16  # pixels from which a last axis of three is no side of a volume


def read_array(path: Path, pick: Pick, *, usual: str = "image") -> sitk.Image:
    """Return an array as an image, float32 or a vector of three uint8; spacing 1 unless it is stated.

    Of several arrays that of the name `usual` is meant where `pick` names none.

    Raises
    ------
    ImageReadError
        If the file is damaged, holds Python objects or no numbers, or if it isn't clear which array is meant.
    """
    with decoding("a NumPy file"):
        if path.suffix.lower() == ".npy":
            spacing = pick.spacing_mm
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            values, stated = _of_archive(path, pick, usual)
            spacing = pick.spacing_mm or stated
        if pick.index is not None:
            values = values[position_in(len(values), pick.index, "pictures")]
        return image_of_array(values, spacing)


def image_of_array(values: NDArray[Any], spacing_mm: tuple[float, ...] = ()) -> sitk.Image:
    """Return an array as an image; see `read_array`.

    Raises
    ------
    DimensionError
        If it is neither a picture nor a volume.
    ImageReadError
        If it holds no real numbers, or the spacing doesn't fit.
    """
    if values.dtype.kind not in "biuf":
        raise ImageReadError(
            f"The array holds {values.dtype}, expected real numbers; save pixels as numbers."
        )
    if values.dtype == np.uint8 and values.ndim == 3 and values.shape[-1] in _COLOURS and values.shape[0] > 1:
        return picture_of(_opaque(np.asarray(values)), spacing_mm)
    if values.ndim == 3 and values.shape[-1] in _COLOURS and min(values.shape[:2]) >= _LEAST_SIDE:
        raise DimensionError(
            f"The array {'×'.join(map(str, values.shape))} of {values.dtype} is a picture in colour, or a volume of no "
            "width: save colours as bytes 0..255 (uint8)."
        )
    shape = values.shape
    while len(shape) > 3 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:-1]
    if len(shape) not in (2, 3) or min(shape) < 1:
        sizes = "×".join(map(str, values.shape))
        raise DimensionError(
            f"The array is {values.ndim}D ({sizes}), expected 2D or 3D: name one picture of a stack as file.npy[0]."
        )
    image = sitk.GetImageFromArray(np.array(values.reshape(shape), dtype=np.float32, order="C"))
    set_spacing(image, spacing_mm)
    return image


def _opaque(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return colours without their alpha channel; transparent pixels turn black."""
    if colours.shape[-1] == 3:
        return colours
    return np.asarray(np.rint(colours[..., :3] * (colours[..., 3:] / 255.0)), dtype=np.uint8)


def arrays_in(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return name → entry of the arrays of a ``.npz``.

    Raises
    ------
    ImageReadError
        If an entry is compressed by anything but deflate, or claims more bytes than it can hold.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
                raise ImageReadError(
                    "The .npz is encrypted or not compressed by deflate: save it with numpy.savez."
                )
            refuse_absurd_claim(entry.file_size, max(entry.compress_size, 1))
            found[entry.filename.removesuffix(".npy")] = entry
    return found


def _of_archive(path: Path, pick: Pick, usual: str) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Return the array that is meant and the spacing that the file states."""
    entries = arrays_in(path)
    name = _meant(entries, pick.member, usual)
    if pick.index is not None:
        return unpacked(path, name), ()
    stated = member(path, SPACING) if SPACING in entries and name != SPACING else np.array([])
    return member(path, name), tuple(float(step) for step in np.atleast_1d(stated))


def _meant(entries: dict[str, zipfile.ZipInfo], wanted: str | None, usual: str) -> str:
    if wanted is not None:
        if wanted not in entries:
            raise ImageReadError(
                f"None of the {len(entries)} arrays of the file has this name: correct what stands after ::, see "
                "numpy.load(file).files."  # which may name patients, as this message must not
            )
        return wanted
    names = [name for name in entries if name != SPACING]
    if usual in names:
        return usual
    if len(names) != 1:
        raise ImageReadError(
            f"The file holds {len(names)} arrays, expected one: name it as file.npz::name, see numpy.load(file).files."
        )
    return names[0]


def member(path: Path, name: str) -> NDArray[Any]:
    """Return one array of a ``.npz``, whole in memory."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        values: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # at its end the checksum is compared
    return values


def unpacked(path: Path, name: str) -> NDArray[Any]:
    """Return one array of a ``.npz`` without reading it: mapped from a copy in the cache, made once, by content.

    All processes and later runs share the copy; one of another version of the file is another copy.
    """
    copy = default_cache_dir() / "unpacked" / f"{digest(file_hash(path), name)}.npy"
    try:
        return _mapped(copy)
    except FileNotFoundError:  # not yet there, or evicted since
        write_atomically(copy, lambda temporary: _unpack(path, name, temporary))
        return _mapped(copy)


def _mapped(copy: Path) -> NDArray[Any]:
    values: NDArray[Any] = np.load(copy, mmap_mode="r", allow_pickle=False)
    touch(copy)
    return values


def _unpack(path: Path, name: str, target: Path) -> None:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
