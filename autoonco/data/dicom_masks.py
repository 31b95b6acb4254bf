"""Masks in DICOM: segmentations (SEG) by highdicom, and structure sets (RTSTRUCT) drawn onto the grid of the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.contours import fill
from autoonco.data.dicom_index import (
    MASK_CLASSES,
    STRUCTURES,
    is_dicom,
    one_series,
    read_header,
    references_of,
    structures_of,
    text_of,
)
from autoonco.data.formats import decoding
from autoonco.data.pick import Pick
from autoonco.errors import AbsentLabelError, GeometryError, ImageReadError

_HALF = 0.5  # of a fractional segmentation; of a slice
_FLAT = 0.1  # slices by which the points of a contour may leave its plane
_SPARSE = 1.5  # slices between contours that were drawn on a coarser scan
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A DICOM mask: its file, whether it is a structure set, and what it was drawn on."""

    path: Path
    is_structures: bool
    frame_of_reference: str
    references: tuple[str, ...]


def drawn_in(path: Path, pick: Pick) -> Drawn | None:
    """Return the segmentation or structure set at `path`, a file or a folder with one; None where it is no such mask.

    Raises
    ------
    ImageReadError
        If a folder holds several.
    """
    if path.is_dir():
        series = one_series(path, pick.series, of_masks=True)
        if not series.is_mask:
            return None
        if len(series.files) > 1:
            raise ImageReadError(
                f"The folder holds {len(series.files)} segmentations or structure sets, expected one: name its file."
            )
        path = series.files[0]
    elif not path.is_file() or not is_dicom(path):
        return None
    header = read_header(path)
    if text_of(header, "SOPClassUID") not in MASK_CLASSES:
        return None
    return Drawn(
        path=path,
        is_structures=text_of(header, "SOPClassUID") == STRUCTURES,
        frame_of_reference=_frame_of(header),
        references=tuple(references_of(header)),
    )


def _frame_of(header: pydicom.Dataset) -> str:
    frames: Any = header.get("ReferencedFrameOfReferenceSequence")
    return text_of(frames[0] if frames else header, "FrameOfReferenceUID")


def refuse_other_patient_space(drawn: Drawn, frame_of_reference: str) -> None:
    """Raise `GeometryError` where mask and image state different frames of reference."""
    if drawn.frame_of_reference and frame_of_reference and drawn.frame_of_reference != frame_of_reference:
        raise GeometryError(
            "The mask was drawn in another frame of reference than the image's, so that it isn't known where it lies: "
            "name the mask of this scan, or register and resample it."
        )


def read_drawn(drawn: Drawn, rois: Sequence[str], image: sitk.Image) -> sitk.Image:
    """Return a DICOM mask as uint8, 1 inside: a segmentation on its own grid, a structure set on that of `image` (3D).

    Parameters
    ----------
    rois
        Names or numbers of the segments or ROIs that are lesion; none where the file holds a single one.

    Raises
    ------
    AbsentLabelError
        If it has no such segment or ROI.
    ImageReadError
        If none is named and there are several, or the file is damaged.
    GeometryError
        If contours don't lie on the slices of the image.
    """
    with decoding("a DICOM mask"):
        numbers = _chosen(structures_of(drawn.path), rois)
        if drawn.is_structures:
            return _rasterised(_contours(drawn.path, numbers), image)
        return _segmented(drawn.path, numbers)


def _chosen(structures: Sequence[tuple[str, str]], rois: Sequence[str]) -> list[str]:
    """Return the numbers of the segments or ROIs that are meant."""
    if not structures:
        raise ImageReadError("The mask names no segment or ROI: export it again.")
    if not rois:
        if len(structures) > 1:
            raise ImageReadError(
                f"The mask holds {len(structures)} segments or ROIs, expected one: name the lesion's in a column "
                "'mask_roi' or with mask_roi= (--mask-roi); autoonco look lists them."
            )
        return [structures[0][0]]
    numbers: list[str] = []
    for wanted in rois:
        fits = [number for number, name in structures if name.casefold() == wanted.casefold()]
        fits = fits or [number for number, _ in structures if number == wanted]
        if not fits:
            raise AbsentLabelError(
                f"The mask has no segment or ROI {wanted!r} among its {len(structures)}: correct mask_roi "
                "(--mask-roi); autoonco look lists them."
            )
        numbers += fits
    return numbers


# --- segmentations ------------------------------------------------------------------------------------------


def _segmented(path: Path, numbers: Sequence[str]) -> sitk.Image:
    """Return the union of segments on the grid that the segmentation itself states."""
    import highdicom  # slow to import, and only segmentations need it

    segmentation = highdicom.seg.segread(path)
    volume = segmentation.get_volume(segment_numbers=[int(number) for number in numbers])
    inside = (volume.array >= _HALF).any(axis=-1)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    axes = np.asarray(volume.direction)  # columns: along slices, rows, columns of the array
    mask.SetDirection(axes[:, ::-1].ravel().tolist())
    mask.SetSpacing([float(step) for step in reversed(volume.spacing)])
    mask.SetOrigin([float(value) for value in volume.position])
    return mask if np.linalg.det(axes[:, ::-1]) > 0 else sitk.Flip(mask, [False, False, True], False)


# --- structure sets -----------------------------------------------------------------------------------------


def _contours(path: Path, numbers: Sequence[str]) -> list[NDArray[np.float64]]:
    """Return the closed contours of ROIs, each ``(n_points, 3)`` in patient coordinates."""
    header: Any = read_header(path)
    found = []
    for roi in header.get("ROIContourSequence") or ():
        if str(roi.ReferencedROINumber) not in numbers:
            continue
        for contour in roi.get("ContourSequence") or ():
            points = np.asarray(contour.get("ContourData") or (), np.float64).reshape(-1, 3)
            if contour.ContourGeometricType in _CLOSED and len(points) >= 3:
                found.append(points)
    if not found:
        raise ImageReadError("The ROI has no closed contour: draw it, or leave the cell of the mask empty.")
    return found


def _rasterised(contours: Sequence[NDArray[np.float64]], image: sitk.Image) -> sitk.Image:
    """Return contours filled on the slices of `image`; of two on a slice, one within the other is a hole."""
    size, spacing = np.asarray(image.GetSize()), np.asarray(image.GetSpacing())
    axes = np.asarray(image.GetDirection()).reshape(3, 3)
    start = np.asarray(image.GetOrigin())
    on_slice: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    heights = []
    for points in contours:
        index = (points - start) @ axes / spacing
        height = float(index[:, 2].mean())
        if np.ptp(index[:, 2]) > 2 * _FLAT:
            raise GeometryError(
                "A contour of the mask crosses the slices of the image, expected one drawn on them: name the "
                "scan that it was drawn on."
            )
        heights.append(height)
        on_slice[int(np.rint(height))].append(index[:, :2])
    _refuse_coarse(heights, float(spacing[2]))
    mask = np.zeros(size[::-1], np.uint8)
    for place, polygons in on_slice.items():
        if 0 <= place < size[2]:
            mask[place] = fill(polygons, (int(size[1]), int(size[0])))
    if not any(0 <= place < size[2] for place in on_slice):
        raise GeometryError("The contours of the mask lie outside of the image: name the mask of this scan.")
    result = sitk.GetImageFromArray(mask)
    result.CopyInformation(image)
    return result


def _refuse_coarse(heights: Sequence[float], spacing_mm: float) -> None:
    """Contours of a coarser scan would leave every other slice of this one empty."""
    steps = np.diff(np.unique(np.round(heights, 2)))
    if len(steps) >= 2 and steps.min() >= _SPARSE:
        raise GeometryError(
            f"The contours lie {steps.min() * spacing_mm:.2f} mm apart and the slices {spacing_mm:.2f} mm: name "
            "the scan that they were drawn on, or draw them on every slice."
        )
