"""Pixels of one DICOM object, decoded and in their unit: Hounsfield units, becquerels, or grey values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGExtended12Bit

from autoonco.data.formats import refuse_absurd_claim
from autoonco.errors import ImageReadError

QUANTITATIVE = ("CT", "PT", "NM", "RTDOSE")
"""Modalities whose values mean something as they are; MONOCHROME1 is only how they are shown."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Elements that hold pixels."""
_BYTE_BITS = 8
_LAST = "gdcm"  # decodes everything that GDCM can, in C++; the others come first where they can too


def values_of(dataset: pydicom.Dataset, path: Path, frame: int | None = None) -> NDArray[Any]:
    """Return one frame, or all of them, as float32 in their unit or, with colour, as bytes.

    Parameters
    ----------
    dataset
        With its pixels, as read from `path`.
    frame
        Position of a frame from 0; None stands for all.

    Returns
    -------
    ndarray
        ``(rows, columns)`` float32 or ``(rows, columns, 3)`` uint8, with a first axis for frames where `frame` is
        None and there are several. Bright is much: what is stored for a dark display (MONOCHROME1) is turned round,
        unless its values are quantities.

    Raises
    ------
    ImageReadError
        If the compression is one that can't be read here, or there are no pixels.
    """
    _refuse_unreadable(dataset, path)
    stored = _decoded(dataset, path, frame)
    interpretation = str(dataset.get("PhotometricInterpretation", ""))
    if interpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return _bytes(colours, colours.dtype.itemsize * 8)
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        return _bytes(stored, int(dataset.get("BitsStored") or _BYTE_BITS))
    if interpretation == "MONOCHROME1" and dataset.get("Modality") not in QUANTITATIVE:
        stored = _turned(stored, dataset)
    return _rescaled(stored, dataset, frame)


def _refuse_unreadable(dataset: pydicom.Dataset, path: Path) -> None:
    if not any(name in dataset for name in PIXELS):
        raise ImageReadError("The DICOM object holds no pixels: name a file with an image.")
    claim = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
    claim *= int(dataset.get("NumberOfFrames") or 1) * max(1, int(dataset.get("BitsAllocated") or 8) // 8)
    refuse_absurd_claim(claim, path.stat().st_size)


def _decoded(dataset: pydicom.Dataset, path: Path, frame: int | None) -> NDArray[Any]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReadError(
            f"The pixels are compressed as {syntax.name}, which can't be read here: export the series again without "
            "compression."
        ) from None
    if not decoder.is_available:
        raise ImageReadError(
            f"The pixels are compressed as {syntax.name}, and what decodes it isn't installed: pip install "
            "'autoonco[codecs]', or export the series again without compression."
        )
    if not syntax.is_encapsulated:
        return pixel_array(dataset, index=frame)
    for plugin in sorted(decoder.available_plugins, key=lambda name: name == _LAST):
        try:
            return pixel_array(dataset, index=frame, decoding_plugin=plugin)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            last = error  # it can't do this depth or variant; another one may
    if syntax == JPEGExtended12Bit and (found := _of_12_bits(dataset, path)) is not None:
        return found if frame is None or found.ndim == 2 else found[frame]
    raise ImageReadError(
        f"The pixels, compressed as {syntax.name}, can't be decoded: they are damaged, or of a variant that is "
        "not read here; export the series again without compression."
    ) from last


def _of_12_bits(dataset: pydicom.Dataset, path: Path) -> NDArray[np.uint16] | None:
    """Return all frames of grey JPEG of 9 to 12 bits, None where that is not what the file holds.

    pydicom leaves these to a package under the GPL; GDCM decodes them too, from the file.
    """
    if int(dataset.BitsAllocated) != 16 or dataset.PixelRepresentation or dataset.SamplesPerPixel != 1:
        return None
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        return None
    stored = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    shape = (n_frames, int(dataset.Rows), int(dataset.Columns))
    if len(stored) != 2 * math.prod(shape):
        return None
    return np.frombuffer(stored, "<u2").reshape(shape[n_frames == 1 :])


def _bytes(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return colours of `bits` as bytes."""
    return np.asarray(colours >> max(0, bits - _BYTE_BITS), dtype=np.uint8)


def _turned(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return stored values with the scale of their bits turned round."""
    if stored.dtype.kind == "f":
        return np.asarray(stored.max() + stored.min() - stored)
    bits = int(dataset.BitsStored)
    lowest, highest = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    )
    return np.asarray(lowest + highest - stored.astype(np.int64))


def _rescaled(stored: NDArray[Any], dataset: pydicom.Dataset, frame: int | None) -> NDArray[np.float32]:
    """Return values by slope and intercept or lookup table (PS3.3 C.11.1), which may be each frame's own."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        scale = float(dataset.get("DoseGridScaling") or 1.0)  # of radiotherapy doses (PS3.3 C.8.8.3)
        return np.asarray(apply_modality_lut(stored, dataset) * scale, np.float32)
    if frame is not None or stored.ndim == 2:
        return _by_group(stored, dataset, frame or 0)
    return np.stack([_by_group(layer, dataset, index) for index, layer in enumerate(stored)])


def _by_group(stored: NDArray[Any], dataset: pydicom.Dataset, frame: int) -> NDArray[np.float32]:
    item = functional_group(dataset, "PixelValueTransformationSequence", frame)
    return np.asarray(apply_modality_lut(stored, dataset if item is None else item), np.float32)


def functional_group(dataset: pydicom.Dataset, name: str, frame: int) -> pydicom.Dataset | None:
    """Return what an enhanced object says of a frame under the macro `name`, else of all frames (PS3.3 C.7.6.16)."""
    own: Any = dataset.get("PerFrameFunctionalGroupsSequence")
    shared: Any = dataset.get("SharedFunctionalGroupsSequence")
    for groups, position in ((own, frame), (shared, 0)):
        if groups and len(groups) > position and groups[position].get(name):
            found: pydicom.Dataset = groups[position].get(name)[0]
            return found
    return None
