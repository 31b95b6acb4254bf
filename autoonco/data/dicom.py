"""DICOM in, images out: single objects, series of slices, and objects of many frames.

What leaves is values and where they lie in the patient: spacing, origin and directions. Of the header nothing else
does, so no image made here can carry a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from autoonco.data import dicom_suv
from autoonco.data.dicom_index import MASK_CLASSES, one_series, read_header, text_of
from autoonco.data.dicom_layout import Layout, Plane, image_of, lay_out
from autoonco.data.dicom_pixels import PIXELS, functional_group, values_of
from autoonco.data.files import is_dicom_source
from autoonco.data.formats import decoding, picture_of, position_in
from autoonco.data.pick import Pick
from autoonco.errors import ImageReadError

_ORDER = (
    "TemporalPositionIdentifier", "AcquisitionNumber", "EchoTime", "DiffusionBValue", "TriggerTime", "AcquisitionTime",
    "InstanceNumber",
)  # fmt: skip
"""What tells volumes at the same place apart, in the order in which they are counted."""
_IN_SPACE = ("CT", "MR", "PT", "NM", "RTDOSE")
_CENTIMETRES = 3  # PhysicalUnitsXDirection of an ultrasound region (PS3.3 C.8.5.5.1.15)


def read_dicom(path: Path, pick: Pick, *, flat: bool = True) -> sitk.Image:
    """Return a DICOM file or the series in a folder as an image, 2D or 3D.

    Parameters
    ----------
    path
        A file, or a folder with one series, or several of which `pick` names one.
    pick
        Series, frame or volume, and whether PET becomes SUV.
    flat
        Whether a file of a single frame is a picture; else it is a volume of one slice.

    Returns
    -------
    SimpleITK.Image
        float32 in the unit of the file (rescaled), a coloured picture a vector of three uint8. Slices are ordered by
        where they lie, duplicates left out, a tilted gantry straightened and uneven spacing evened.

    Raises
    ------
    ImageReadError
        If it can't be read, no single series is meant, slices are missing, or SUV can't be computed.
    """
    with decoding("DICOM"):
        if not path.is_dir():
            return _object(path, pick, flat=flat)
        files = one_series(path, pick.series).files
        return _object(files[0], pick, flat=False) if len(files) == 1 else _stack(files, pick)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a mask refers to its image by; empty where the image is no DICOM."""

    series: str = ""
    frame_of_reference: str = ""


def origin_of(path: Path, pick: Pick) -> Origin:
    """Return the series and frame of reference of an image."""
    if path.is_dir():
        found = one_series(path, pick.series)
        return Origin(series=found.uid, frame_of_reference=found.frame_of_reference)
    if not path.is_file() or not is_dicom_source(path):
        return Origin()
    header = read_header(path)
    return Origin(
        series=text_of(header, "SeriesInstanceUID"), frame_of_reference=text_of(header, "FrameOfReferenceUID")
    )


# --- one object ---------------------------------------------------------------------------------------------


def _object(path: Path, pick: Pick, *, flat: bool) -> sitk.Image:
    dataset = read_object(path)
    if dataset.get("SOPClassUID") in MASK_CLASSES:
        raise ImageReadError("The file is a segmentation or a structure set: name it in a column of masks.")
    factor = dicom_suv.suv_factor([dataset]) if pick.suv else 1.0
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    planes = _planes(dataset, n_frames)
    if planes is not None and (n_frames > 1 or not flat):
        return _volume(
            planes,
            lambda frame: values_of(dataset, path, frame),
            pick.index,
            order=list(range(n_frames)),
            thickness_mm=_thickness(dataset),
            factor=factor,
        )
    if n_frames > 1 and pick.index is None:
        raise ImageReadError(
            f"The file holds {n_frames} frames without a place in the patient, moments of a film or several "
            "pictures: name one as file.dcm[0]."
        )
    frame = position_in(n_frames, pick.index, "frames")
    values = values_of(dataset, path, frame if n_frames > 1 else None)
    values = values.reshape(values.shape[-2:] if values.dtype == np.float32 else values.shape[-3:])
    return picture_of(values * factor if factor != 1 else values, _pixel_spacing(dataset) or pick.spacing_mm)


def read_object(path: Path) -> pydicom.Dataset:
    """Return a DICOM object with its pixels; a missing file header is completed from how its elements are written."""
    dataset = pydicom.dcmread(path, force=True)
    if "SOPClassUID" not in dataset and not any(name in dataset for name in PIXELS):
        raise ImageReadError("The file is no DICOM object: name another, or export it again.")
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    return dataset


def _planes(dataset: pydicom.Dataset, n_frames: int) -> list[Plane] | None:
    """Return where each frame lies, None where the object doesn't say."""
    if "PerFrameFunctionalGroupsSequence" in dataset or "SharedFunctionalGroupsSequence" in dataset:
        found = [_enhanced_plane(dataset, frame) for frame in range(n_frames)]
        return (
            None if any(plane is None for plane in found) else [plane for plane in found if plane is not None]
        )
    first = plane_of(dataset)
    if first is None or n_frames == 1:
        return None if first is None else [first]
    offsets = _frame_offsets(dataset, n_frames)
    if offsets is None:
        return None
    start, normal = np.asarray(first.position), first.normal
    return [
        Plane(
            position=tuple(start + normal * offset),
            rows_to=first.rows_to,
            columns_to=first.columns_to,
            spacing_mm=first.spacing_mm,
            size=first.size,
        )
        for offset in offsets
    ]


def _frame_offsets(dataset: pydicom.Dataset, n_frames: int) -> Sequence[float] | None:
    """Return how far frames of an object without functional groups lie along the normal, in millimetres."""
    stated = dataset.get("GridFrameOffsetVector")
    if stated is not None and len(stated) == n_frames:
        return [float(offset) - float(stated[0]) for offset in stated]
    step = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    if dataset.get("Modality") not in _IN_SPACE or not step:
        return None
    return [abs(float(step)) * frame for frame in range(n_frames)]


def _enhanced_plane(dataset: pydicom.Dataset, frame: int) -> Plane | None:
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    groups = [functional_group(dataset, name, frame) for name in names]
    if any(group is None for group in groups):
        return None
    position, turn, measures = groups
    return _plane(
        position.get("ImagePositionPatient") if position else None,
        turn.get("ImageOrientationPatient") if turn else None,
        measures.get("PixelSpacing") if measures else None,
        dataset,
    )


def plane_of(header: pydicom.Dataset) -> Plane | None:
    """Return where a slice lies, None where its header doesn't say."""
    detectors: Any = header.get("DetectorInformationSequence")
    inner = detectors[0] if detectors else pydicom.Dataset()
    return _plane(
        header.get("ImagePositionPatient") or inner.get("ImagePositionPatient"),
        header.get("ImageOrientationPatient") or inner.get("ImageOrientationPatient"),
        header.get("PixelSpacing"),
        header,
    )


def _plane(position: Any, turn: Any, spacing: Any, header: pydicom.Dataset) -> Plane | None:
    if position is None or turn is None or spacing is None:
        return None
    place, axes, steps = (tuple(float(number) for number in values) for values in (position, turn, spacing))
    if len(place) != 3 or len(axes) != 6 or len(steps) != 2:
        return None
    rows_to, columns_to = np.asarray(axes[:3]), np.asarray(axes[3:])
    lengths = np.linalg.norm(rows_to), np.linalg.norm(columns_to)
    is_sound = np.isfinite([*place, *axes, *steps]).all() and min(steps) > 0 and min(lengths) > 0
    if not is_sound or abs(rows_to @ columns_to) > 0.01 * lengths[0] * lengths[1]:
        raise ImageReadError(
            "The header gives a spacing of zero or directions that are none; export the file again."
        )
    rows_to = rows_to / lengths[0]
    columns_to = columns_to - (columns_to @ rows_to) * rows_to  # float text is never quite at right angles
    columns_to = columns_to / np.linalg.norm(columns_to)
    return Plane(
        position=place,
        rows_to=tuple(rows_to),
        columns_to=tuple(columns_to),
        spacing_mm=(steps[0], steps[1]),
        size=(int(header.Rows), int(header.Columns)),
    )


def _thickness(header: pydicom.Dataset) -> float:
    """Return the spacing of a lone slice in millimetres, 1 where nobody says."""
    measures = functional_group(header, "PixelMeasuresSequence", 0) or header
    stated = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0
    return abs(float(stated)) or 1.0


def _pixel_spacing(dataset: pydicom.Dataset) -> tuple[float, ...]:
    """Return (between rows, between columns) of a picture, empty where it doesn't say."""
    measures = functional_group(dataset, "PixelMeasuresSequence", 0) or dataset
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        stated = measures.get(name)
        if stated is not None and len(stated) == 2:
            return float(stated[0]), float(stated[1])
    regions: Any = dataset.get("SequenceOfUltrasoundRegions") or ()
    sizes = {
        (abs(float(one.PhysicalDeltaY)) * 10, abs(float(one.PhysicalDeltaX)) * 10)
        for one in regions
        if one.get("PhysicalUnitsXDirection") == one.get("PhysicalUnitsYDirection") == _CENTIMETRES
    }
    return sizes.pop() if len(sizes) == 1 else ()


# --- a stack ------------------------------------------------------------------------------------------------


def _stack(files: Sequence[Path], pick: Pick) -> sitk.Image:
    """Return the volume of a series of single slices."""
    headers = [read_header(file) for file in files]
    if any(int(header.get("NumberOfFrames") or 1) > 1 for header in headers):
        raise ImageReadError(
            f"The series has {len(files)} objects of several frames each, expected one: name the file of one of them."
        )
    planes = _planes_of(headers)
    return _volume(
        planes,
        lambda index: values_of(read_object(files[index]), files[index]),
        pick.index,
        order=[_count(header) for header in headers],
        thickness_mm=_thickness(headers[0]),
        factor=dicom_suv.suv_factor(headers) if pick.suv else 1.0,
    )


def _planes_of(headers: Sequence[pydicom.Dataset]) -> list[Plane]:
    found = [plane_of(header) for header in headers]
    missing = sum(plane is None for plane in found)
    if missing:
        raise ImageReadError(
            f"{missing} of {len(headers)} slices don't say where they lie (ImagePositionPatient, "
            "ImageOrientationPatient, "
            "PixelSpacing): name the file of one picture, or export the series again."
        )
    return [plane for plane in found if plane is not None]


def _count(header: pydicom.Dataset) -> tuple[float, ...]:
    """Return what orders volumes at the same place."""
    numbers = []
    for name in _ORDER:
        try:
            numbers.append(float(header.get(name) or 0))
        except (TypeError, ValueError):
            numbers.append(0.0)
    return tuple(numbers)


def _volume(
    planes: Sequence[Plane],
    read: Callable[[int], NDArray[Any]],
    index: int | None,
    *,
    order: Sequence[Any],
    thickness_mm: float,
    factor: float,
) -> sitk.Image:
    """Return the volume of slices that are read one by one; of several at the same places, number `index`."""
    layout = lay_out(planes)
    chosen = _chosen(layout, read, index, order)
    values = np.empty((len(chosen), *layout.first.size), np.float32)
    for place, position in enumerate(chosen):
        layer = read(position)
        if layer.shape != layout.first.size or layer.dtype != np.float32:
            raise ImageReadError("The slices have colour or differ in size: save grey values of one size.")
        values[place] = layer
    if factor != 1.0:
        values *= factor
    return image_of(values, layout, thickness_mm)


def _chosen(
    layout: Layout, read: Callable[[int], NDArray[Any]], index: int | None, order: Sequence[Any]
) -> list[int]:
    """Return which slice to take at each place."""
    if index is None and all(_are_equal(group, read) for group in layout.groups):
        return [group[0] for group in layout.groups]
    counts = {len(group) for group in layout.groups}
    if len(counts) > 1:
        raise ImageReadError(
            "Some slices of the series are there more than once with different pixels: export one acquisition "
            "as a series of its own."
        )
    if index is None:
        n = counts.pop()
        raise ImageReadError(
            f"The series holds {n} volumes at the same place (echoes, b-values, phases): name one as folder[0] to "
            f"folder[{n - 1}], or export each as a series of its own."
        )
    number = position_in(counts.pop(), index, "volumes")
    return [sorted(group, key=lambda one: order[one])[number] for group in layout.groups]


def _are_equal(group: Sequence[int], read: Callable[[int], NDArray[Any]]) -> bool:
    if len(group) == 1:
        return True
    first = read(group[0])
    return all(np.array_equal(first, read(other)) for other in group[1:])
