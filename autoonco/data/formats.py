"""Decoders of single files: pictures by Pillow, NIfTI by nibabel, NRRD and MetaImage by SimpleITK."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageOps

from autoonco.data.streams import refuse_damaged_stream, refuse_short_png
from autoonco.errors import AutoOncoError, DimensionError, ImageReadError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_READERS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
SUFFIXES = (*PICTURE_SUFFIXES, *NIFTI_SUFFIXES, *ITK_READERS)

_DATA_FILE = {
    "NrrdImageIO": re.compile(r"data ?file: +(\S.*)", re.IGNORECASE),
    "MetaImageIO": re.compile(r"ElementDataFile\s*[=:]\s*(\S.*)", re.IGNORECASE),
}
_SEVERAL_FILES = re.compile(r"LIST|.*%\d*[diux]")  # a list after the header, or a pattern of numbered files
_MAX_DEFLATE_RATIO = 1032  # deflate can't do better (zlib's technical notes): a larger claim is a lie
_BOMB_RATIO, _BOMB_BYTES = 200, 2**30  # a mask may be packed so well, and is never so large
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_LPS_FROM_RAS = np.diag(
    [-1.0, -1.0, 1.0]
)  # NIfTI counts x to the right and y to the front, ITK the other way
_SHEAR_TOLERANCE = 1e-2


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, ``.nii.gz`` as one.

    Examples
    --------
    >>> suffix_of(Path("a.b.NII.gz"))
    '.nii.gz'
    """
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def companion(path: Path) -> Path | None:
    """Return the file with the voxels where `path` is only their NRRD or MetaImage header, else None.

    Raises
    ------
    ImageReadError
        If the header names several such files, or one that does not exist.
    OSError
        If `path` can't be read.
    """
    io = ITK_READERS.get(suffix_of(path))
    if io is None:
        return None
    with path.open("rb") as stream:
        for line in iter(lambda: stream.readline(65536), b""):
            text = line.decode("utf-8", "surrogateescape").strip()
            if found := _DATA_FILE[io].match(text):
                return _beside(path, found.group(1))
            if io == "NrrdImageIO" and not text:
                break  # an empty line ends the header; that of a MetaImage ends with the name searched for
    return None


def _beside(path: Path, name: str) -> Path | None:
    if name.upper() == "LOCAL":
        return None
    if _SEVERAL_FILES.match(name):
        raise ImageReadError(
            "The header names several files with voxels, expected one: save the volume as a single file."
        )
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ImageReadError(
            "The header names a file with voxels outside of its folder, which is not followed: keep both together."
        )
    voxels = path.parent / name
    if voxels.resolve() == path.resolve():
        raise ImageReadError("The header names itself as the file with the voxels: export it again.")
    if not voxels.is_file():
        raise ImageReadError(
            "The file with the voxels that this header names does not exist; keep both in their places."
        )
    return voxels


@contextmanager
def decoding(kind: str) -> Iterator[None]:
    """Tell whatever a decoder raises on damaged bytes in one sentence; the cause stays chained."""
    try:
        yield
    except AutoOncoError:
        raise
    except Exception as error:
        raise ImageReadError(
            f"The file can't be decoded as {kind} ({type(error).__name__}): it is truncated, damaged or of "
            f"another format; export it again."
        ) from error


def refuse_absurd_claim(n_bytes: int, stored: int) -> None:
    """Raise `ImageReadError` where a header claims more bytes than `stored` ones can hold, however compressed."""
    if n_bytes > stored * _MAX_DEFLATE_RATIO:
        raise ImageReadError(
            f"The header claims {n_bytes:,} bytes of pixels, more than {stored:,} stored bytes can hold; "
            f"export the file again."
        )
    if n_bytes > max(_BOMB_BYTES, stored * _BOMB_RATIO):
        raise ImageReadError(
            f"The {stored:,} bytes of the file would unpack to {n_bytes:,}, as no scan does: not opened."
        )


def position_in(n: int, index: int | None, what: str) -> int:
    """Return the position that is meant among `n`, 0 where none is named.

    Raises
    ------
    ImageReadError
        If there is none.
    """
    if index is not None and index >= n:
        raise ImageReadError(
            f"Number {index} is asked for, but there are {n} {what}, counted from 0: correct the number in brackets."
        )
    return index or 0


# --- pictures -----------------------------------------------------------------------------------------------


def read_picture(
    path: Path,
    *,
    palette_indices: bool = False,
    page: int | None = None,
    spacing_mm: tuple[float, ...] = (),
) -> sitk.Image:
    """Return a picture: float32 if grey, a vector of three uint8 if it has colour; spacing 1 unless it is given.

    It is turned as its EXIF orientation says. A picture of three equal channels counts as grey. Transparent
    pixels turn black. With `palette_indices` a palette picture gives its indices, not its colours. `page` is counted
    from 0.
    """
    # Opened by name, Pillow 13 maps an uncompressed TIFF that lies on its side with rows and columns confused.
    with decoding("a picture"), path.open("rb") as stream, Image.open(stream) as picture:
        n_pages = getattr(picture, "n_frames", 1)
        if page is None and n_pages > 1:
            raise ImageReadError(
                f"The file holds {n_pages} pages, expected one: name one as file.tif[0], or save a volume as NIfTI or "
                "NRRD."
            )
        picture.seek(position_in(n_pages, page, "pages"))
        if suffix_of(path) == ".png":
            refuse_absurd_claim(math.prod(picture.size), path.stat().st_size)
            refuse_short_png(path)
        ImageOps.exif_transpose(picture, in_place=True)
        pixels = _picture_pixels(picture, palette_indices=palette_indices)
    return picture_of(pixels, spacing_mm)


def picture_of(pixels: NDArray[Any], spacing_mm: tuple[float, ...] = ()) -> sitk.Image:
    """Return a picture from grey values ``(rows, columns)`` or colours ``(rows, columns, 3)``.

    Three equal channels are grey. `spacing_mm` is (between rows, between columns), or one number; 1 without it.
    """
    if pixels.ndim == 3 and not (pixels == pixels[..., :1]).all():
        image = sitk.GetImageFromArray(np.ascontiguousarray(pixels, dtype=np.uint8), isVector=True)
    else:
        grey = pixels[..., 0] if pixels.ndim == 3 else pixels
        image = sitk.GetImageFromArray(np.ascontiguousarray(grey, dtype=np.float32))
    set_spacing(image, spacing_mm)
    return image


def set_spacing(image: sitk.Image, spacing_mm: tuple[float, ...]) -> None:
    """Give `image` a spacing in the order of its array's axes, or one number for all; empty leaves it.

    Raises
    ------
    ImageReadError
        If there are neither one nor as many numbers as axes, or one is not positive.
    """
    if not spacing_mm:
        return
    n_axes = image.GetDimension()
    if len(spacing_mm) not in (1, n_axes) or not all(0 < step < math.inf for step in spacing_mm):
        raise ImageReadError(
            f"The spacing is {' '.join(f'{step:g}' for step in spacing_mm)}, expected {n_axes} positive "
            "millimetres in the order of the array's axes, or one for all."
        )
    image.SetSpacing(list(reversed(spacing_mm)) if len(spacing_mm) > 1 else [spacing_mm[0]] * n_axes)


def _picture_pixels(picture: Image.Image, *, palette_indices: bool) -> NDArray[Any]:
    """Return ``(y, x)`` grey values as stored, or ``(y, x, 3)`` bytes."""
    mode = picture.mode
    if mode == "P" and palette_indices:
        return np.asarray(picture)
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode in ("L", "I", "F") or mode.startswith("I;16"):
        return np.asarray(picture)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", seen.size, "black"), seen))[..., :3]
    return np.asarray(picture.convert("RGB"))


# --- volumes ------------------------------------------------------------------------------------------------


def read_nifti(path: Path, *, volume: int | None = None) -> sitk.Image:
    """Return a NIfTI image, 2D or 3D, float32, on ITK's (left, posterior, superior) axes in millimetres.

    Of a file of several volumes `volume` is the one that is meant, counted from 0.

    nibabel reads it, for SimpleITK fills a truncated file with zeros without a word, and with ``c.nii``
    beside ``c.nii.gz`` returns the former for both.
    """
    with decoding("NIfTI"):
        header: Any = nibabel.load(path)
        shape, position = _volume_of(header.shape, volume)
        dtype = header.get_data_dtype()
        if dtype.kind not in "iuf":
            raise ImageReadError(f"The voxels are of type {dtype}, expected real numbers; convert the file.")
        slope, inter = (header.dataobj.slope, header.dataobj.inter)
        n_bytes = math.prod(shape) * dtype.itemsize
        start = int(header.dataobj.offset) + position * n_bytes
        if start < 0:
            raise ImageReadError("The header says that the voxels begin before the file: export it again.")
        stored = _nifti_payload(path, start, n_bytes, is_last=volume is None)
        values = np.frombuffer(stored, dtype=dtype).reshape(shape, order="F").T
        if (slope, inter) != (1.0, 0.0):
            values = values * slope + inter
        image = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float32))
        _place(image, header)
    return image


def _volume_of(shape: tuple[int, ...], volume: int | None) -> tuple[tuple[int, ...], int]:
    """Return the shape of one volume, and which one of the file it is."""
    if volume is None:
        return _spatial_shape(shape), 0
    return _spatial_shape(shape[:3]), position_in(math.prod(shape[3:]), volume, "volumes")


def _spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without trailing axes of length one beyond the third."""
    spatial = shape[:3] if all(length == 1 for length in shape[3:]) else shape
    if len(spatial) not in (2, 3) or min(spatial) < 1:
        sizes = "×".join(map(str, shape))
        raise DimensionError(
            f"The image is {len(shape)}D ({sizes}), expected 2D or 3D: name one volume as file.nii.gz[0], "
            "or save one a file."
        )
    return tuple(int(length) for length in spatial)


def _nifti_payload(path: Path, offset: int, n_bytes: int, *, is_last: bool) -> bytes:
    """Return exactly `n_bytes` of voxels; raise where the file holds fewer or, read to its end, fails its checksum."""
    compressed = path.name.lower().endswith(".gz")
    size = path.stat().st_size
    if compressed:
        refuse_absurd_claim(offset + n_bytes, size)
    elif size < offset + n_bytes:
        raise _truncated(size, offset + n_bytes)
    with gzip.open(path) if compressed else path.open("rb") as stream:
        stored = stream.read(offset + n_bytes)[offset:]
        # at its end a gzip stream compares its checksum; a damaged one may go on
        rest = len(stream.read(n_bytes + 1)) if compressed and is_last else 0
    if rest > n_bytes:
        raise ImageReadError(
            f"The file holds far more than the {n_bytes:,} bytes that its header claims: export it again."
        )
    if len(stored) < n_bytes:
        raise _truncated(offset + len(stored), offset + n_bytes)
    return stored


def _truncated(got: int, expected: int) -> ImageReadError:
    return ImageReadError(f"The file is truncated: {got:,} of {expected:,} bytes; copy or export it again.")


def _place(image: sitk.Image, header: Any) -> None:
    """Give `image` the spacing, origin and direction that the NIfTI header states."""
    unit = _MILLIMETRES.get(header.header.get_xyzt_units()[0], 1.0)
    ndim = image.GetDimension()
    if ndim == 2:
        image.SetSpacing([float(zoom) * unit for zoom in header.header.get_zooms()[:2]])
        return
    axes = _LPS_FROM_RAS @ header.affine[:3, :3] * unit
    spacing = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(header.affine).all() and spacing.min() > 0):
        raise ImageReadError("The header gives a spacing of zero or not a number; export the file again.")
    left, _, right = np.linalg.svd(axes / spacing)
    rotation = left @ right  # the nearest orthonormal axes: float32 headers are never quite so
    if np.abs(rotation - axes / spacing).max() > _SHEAR_TOLERANCE:
        raise ImageReadError("The voxel grid is sheared (gantry tilt?): resample it to a rectangular grid.")
    image.SetSpacing(spacing.tolist())
    image.SetDirection(rotation.ravel().tolist())
    image.SetOrigin((_LPS_FROM_RAS @ header.affine[:3, 3] * unit).tolist())


def read_itk(path: Path) -> sitk.Image:
    """Return an NRRD or MetaImage image, 2D or 3D, float32."""
    with decoding("NRRD or MetaImage"):
        stored = path.stat().st_size
        if (beside := companion(path)) is not None:
            stored += beside.stat().st_size
        reader = sitk.ImageFileReader()
        reader.SetImageIO(ITK_READERS[suffix_of(path)])
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        shape = _spatial_shape(reader.GetSize())
        if reader.GetNumberOfComponents() > 1:
            raise ImageReadError("The voxels are vectors, expected one grey value each: save grey values.")
        one = sitk.Image([1] * len(shape), reader.GetPixelIDValue())
        n_bytes = math.prod(shape) * one.GetSizeOfPixelComponent()
        refuse_absurd_claim(n_bytes, stored)
        refuse_damaged_stream(path, beside, n_bytes)
        image = reader.Execute()
        if image.GetDimension() > len(shape):
            image = image[(slice(None),) * 3 + (0,) * (image.GetDimension() - 3)]
        return sitk.Cast(image, sitk.sitkFloat32)
