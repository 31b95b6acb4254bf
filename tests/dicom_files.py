"""DICOM objects that tests write: series, enhanced objects, segmentations, structure sets of values that they know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
PT = "1.2.840.10008.5.1.4.1.1.128"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

SECRETS = {
    "PatientName": "Doe^Jane^SECRETNAME",
    "PatientBirthDate": "19511231",
    "OtherPatientIDs": "SECRETOTHERID",
    "PatientAddress": "SECRETSTREET 7",
    "ReferringPhysicianName": "Who^SECRETDOCTOR",
    "InstitutionName": "SECRETHOSPITAL",
    "AccessionNumber": "SECRETACCESSION",
    "StudyDescription": "SECRETSTUDY of Jane",
    "PatientComments": "SECRETCOMMENT",
    "OperatorsName": "SECRETOPERATOR",
    "StationName": "SECRETSTATION",
}
"""What a header holds and no output may."""


def base(sop_class: str, **elements: Any) -> Dataset:
    """A dataset with identifiers, and a file header."""
    uid = generate_uid()
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
    named = {
        "PatientID": "P1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": 4,
    }
    named |= {
        "FrameOfReferenceUID": "1.2.3.9",
        "StudyDate": "20260102",
        "StudyTime": "101112",
        "StudyID": "1",
    }
    named |= {"PatientSex": "F", "Manufacturer": "none", "SeriesDescription": "", "InstanceNumber": 1}
    for name, value in (named | SECRETS | elements).items():
        setattr(ds, name, value)
    return ds


def with_pixels(ds: Dataset, stored: np.ndarray, *, bits: int | None = None) -> Dataset:
    """Give `ds` stored values ``([frames,] rows, columns[, 3])``."""
    colours = stored.ndim >= 3 and stored.shape[-1] == 3 and stored.dtype == np.uint8
    size = stored.shape[-3:-1] if colours else stored.shape[-2:]
    ds.Rows, ds.Columns = size
    ds.SamplesPerPixel = 3 if colours else 1
    ds.PhotometricInterpretation = ds.get("PhotometricInterpretation") or (
        "RGB" if colours else "MONOCHROME2"
    )
    if colours:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = stored.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    n_frames = stored.size // (size[0] * size[1] * ds.SamplesPerPixel)
    if n_frames > 1:
        ds.NumberOfFrames = n_frames
    ds.PixelData = np.ascontiguousarray(stored).tobytes()
    ds["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def slices(
    volume: np.ndarray,
    *,
    spacing: tuple[float, float] = (0.8, 0.7),
    step: float = 2.5,
    heights: list[float] | None = None,
    turn: tuple[float, ...] = AXIAL,
    origin: tuple[float, float, float] = (-10.0, -20.0, 30.0),
    lean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    sop_class: str = CT,
    **elements: Any,
) -> list[Dataset]:
    """Datasets of a series with the stored values `volume` ``(slices, rows, columns)``, from low to high.

    `lean` is added to a slice's position for each millimetre along the normal, as a tilted gantry does.
    """
    normal = np.cross(turn[:3], turn[3:])
    heights = [step * index for index in range(len(volume))] if heights is None else heights
    found = []
    for index, (height, stored) in enumerate(zip(heights, volume, strict=True)):
        place = np.asarray(origin) + (normal + np.asarray(lean)) * height
        ds = base(
            sop_class,
            Modality="PT" if sop_class == PT else "CT",
            ImagePositionPatient=[f"{value:.6f}" for value in place],
            ImageOrientationPatient=[f"{value:.8f}" for value in turn],
            PixelSpacing=list(spacing),
            SliceThickness=step,
            InstanceNumber=index + 1,
            **elements,
        )
        found.append(with_pixels(ds, stored))
    return found


def write_series(folder: Path, datasets: list[Dataset], *, seed: int | None = 0) -> Path:
    """Write a series in an order of names that says nothing; the folder comes back."""
    order = (
        np.arange(len(datasets)) if seed is None else np.random.default_rng(seed).permutation(len(datasets))
    )
    for name, index in enumerate(order):
        save(datasets[index], folder / f"IM{name:04d}.dcm")
    return folder


def noise(shape: tuple[int, ...] = (6, 12, 10), *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def write_seg(
    path: Path, sources: list[Dataset], masks: dict[str, np.ndarray], *, kind: str = "BINARY", **options: Any
) -> Path:
    """Write a DICOM SEG with a segment for each of `masks` ``(slices, rows, columns)`` on the slices of `sources`."""
    code = highdicom.sr.CodedConcept("108369006", "SCT", "Neoplasm")
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=highdicom.sr.CodedConcept("49755003", "SCT", "Abnormal structure"),
            segmented_property_type=code,
            algorithm_type="MANUAL",
        )
        for number, label in enumerate(masks, start=1)
    ]
    seg = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack(list(masks.values()), axis=-1),
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=90,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path


def write_structures(
    path: Path, source: Dataset, rois: dict[str, list[np.ndarray]], *, kind: str = "CLOSED_PLANAR"
) -> Path:
    """Write an RTSTRUCT with contours ``(n_points, 3)`` in patient coordinates, by the name of the ROI."""
    ds = base(
        STRUCTURES,
        Modality="RTSTRUCT",
        SeriesInstanceUID=generate_uid(),
        SeriesNumber=91,
        PatientID=source.PatientID,
        StudyInstanceUID=source.StudyInstanceUID,
    )
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = source.FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{value:.6g}" for value in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return save(ds, path)


def read_back(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path)
