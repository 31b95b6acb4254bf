"""Pixels of one DICOM object, decoded and in their unit: Hounsfield units, becquerels, or grey values."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from autoonco.data.apart import decoded
from autoonco.data.formats import refuse_absurd_claim
from autoonco.errors import ImageReadError

QUANTITATIVE = ("CT", "PT", "NM", "RTDOSE")
"""Modalities whose values mean something as they are; MONOCHROME1 is only how they are shown."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Elements that hold pixels."""
_BYTE_BITS = 8
_OF_PIXELS = (
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PlanarConfiguration",
)  # fmt: skip
_BY_ITK = (
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEG2000Lossless, JPEG2000,
)  # fmt: skip
"""What is decoded by ITK where nothing else does: all of JPEG but JPEG-LS, of which GDCM misreads some depths."""


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
    stored = _decoded(dataset, frame)
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


def _decoded(dataset: pydicom.Dataset, frame: int | None) -> NDArray[Any]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReadError(
            f"The pixels are compressed as {syntax.name}, which can't be read here: export the series again without "
            "compression."
        ) from None
    if not decoder.is_available and syntax not in _BY_ITK:
        raise ImageReadError(
            f"The pixels are compressed as {syntax.name}, and what decodes it isn't installed: pip install "
            "'autoonco[codecs]', or export the series again without compression."
        )
    if not syntax.is_encapsulated:
        return pixel_array(dataset, index=frame)
    # pydicom's way to GDCM ends this process where a frame is damaged: what it alone decodes goes another way
    ways = [
        partial(pixel_array, dataset, index=frame, decoding_plugin=plugin)
        for plugin in decoder.available_plugins
        if plugin != "gdcm"
    ]
    if syntax in _BY_ITK:
        ways.append(partial(_by_itk, dataset, frame))
    for way in ways:
        try:
            return way()
        except (RuntimeError, ValueError, NotImplementedError) as error:
            last = error  # it can't do this depth or variant; another one may
    raise ImageReadError(
        f"The pixels, compressed as {syntax.name}, can't be decoded: they are damaged, or of a variant that is "
        "not read here; export the series again without compression."
    ) from last


def _by_itk(dataset: pydicom.Dataset, frame: int | None) -> NDArray[Any]:
    """Return one frame, or all of them, as stored, decoded by the GDCM within ITK.

    Raises
    ------
    RuntimeError, ValueError
        If the frame is damaged.
    """
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    if frame is None and n_frames > 1:
        return np.stack([_by_itk(dataset, index) for index in range(n_frames)])
    is_grey = int(dataset.SamplesPerPixel) == 1
    alone = pydicom.Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.file_meta.MediaStorageSOPClassUID = alone.SOPClassUID = SecondaryCaptureImageStorage
    alone.file_meta.MediaStorageSOPInstanceUID = alone.SOPInstanceUID = generate_uid()
    for name in _OF_PIXELS:
        if name in dataset:
            alone[name] = dataset[name]
    alone.PhotometricInterpretation = "MONOCHROME2" if is_grey else "RGB"  # so that ITK converts nothing
    alone.PixelData = encapsulate([get_frame(dataset.PixelData, frame or 0, number_of_frames=n_frames)])
    file = BytesIO()
    alone.save_as(file, enforce_file_format=True)
    shape = (int(dataset.Rows), int(dataset.Columns), *(() if is_grey else (3,)))
    stored = decoded(file.getvalue()).reshape(shape)
    stated = str(dataset.PhotometricInterpretation)
    return convert_color_space(stored, stated, "RGB") if stated.startswith("YBR_FULL") else stored


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
