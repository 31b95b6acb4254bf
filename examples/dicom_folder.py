"""A tree of DICOM studies and a table of labels, as they come from a PACS.

    python examples/dicom_folder.py studies/ labels.csv       # columns: patient (or study, or series) and label
    python examples/dicom_folder.py

Segmentations (SEG) and structure sets (RTSTRUCT) in the tree become the masks of the series that they refer to.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Read the tree, fit without masks, and predict a study that has no label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", nargs="?", type=Path)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--time-limit", default="20min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    tree, labels = options.tree, options.labels
    if tree is None:
        tree, labels = made_up(options.out)

    dataset = autoonco.Dataset.from_dicom(tree, labels)
    print(f"{len(dataset)} series, {len(set(dataset.groups))} patients, classes {', '.join(dataset.classes)}")
    clf = autoonco.fit(
        dataset,
        time_limit=options.time_limit,
        families=["pretrained2d"],
        evaluation="holdout",
        run_dir=options.out / "run",
    )
    print(clf.result_.evaluation())
    one = next(path.parent for path in sorted(tree.rglob("*.dcm")))
    print(clf.predict_table(one))  # a folder of slices is a case


def made_up(folder: Path) -> tuple[Path, Path]:
    """Write phantoms as DICOM series, one a patient, with a table of labels."""
    table = pd.read_csv(make_phantoms(folder / "phantoms", n=30, ndim=3))
    rows = []
    for row, (image, label) in enumerate(zip(table["image"], table["label"], strict=True)):
        write_series(
            sitk.ReadImage(str(folder / "phantoms" / image)), folder / "studies" / f"{row:02}", f"P{row:02}"
        )
        rows.append({"patient": f"P{row:02}", "label": label})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder / "studies", folder / "labels.csv"


def write_series(scan: sitk.Image, folder: Path, patient: str) -> None:
    """Write a volume as a series of CT slices."""
    folder.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    columns, rows, depth = scan.GetSize()
    spacing, origin = scan.GetSpacing(), scan.GetOrigin()
    voxels = sitk.GetArrayFromImage(scan).astype(np.int16)
    for number in range(depth):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.PatientID, slice_.PatientName, slice_.Modality = patient, "made^up", "CT"
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
        slice_.Rows, slice_.Columns, slice_.InstanceNumber = rows, columns, number + 1
        slice_.PixelSpacing, slice_.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        slice_.ImagePositionPatient = [origin[0], origin[1], origin[2] + number * spacing[2]]
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.PixelData = voxels[number].tobytes()
        pydicom.dcmwrite(folder / f"{number:03}.dcm", slice_, enforce_file_format=True)


if __name__ == "__main__":
    main()
