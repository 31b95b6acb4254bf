"""Structures of TotalSegmentator become masks: by file, by the label table of one file, several joined."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from autoonco.data.totalsegmentator import structures_in
from autoonco.errors import DataError, UnknownNameError
from tests.dicom_files import noise, slices, write_series

SHAPE = (8, 9, 6)  # x, y, z
TUMOUR, CYST = (slice(2, 5), slice(2, 6), slice(1, 4)), (slice(6, 7), slice(6, 8), slice(4, 5))


def write(path: Path, values: np.ndarray, names: dict[int, str] | None = None) -> Path:
    """Write a NIfTI file, with a label table in its extended header as TotalSegmentator's ``--ml`` leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.5, 1.0]))
    if names is not None:
        rows = "".join(
            f'<Label Key="{value}" Red="1.0" Green="0.0" Blue="0.0" Alpha="1"><![CDATA[{name}]]></Label>\n'
            for value, name in names.items()
        )
        text = f'<?xml version="1.0"?> <CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>'
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, path)
    return path


def drawn(place: tuple[slice, ...], value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[place] = value
    return mask


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def inside(data: Dataset, row: int) -> np.ndarray:
    """The mask of a case as (x, y, z)."""
    mask = read_scan(data.cases[row], "image").mask
    assert mask is not None
    return np.array([[[mask[x, y, z] for z in range(6)] for y in range(9)] for x in range(8)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """TotalSegmentator's own data set: a folder a case with ``ct.nii.gz`` and ``segmentations``."""
    for name in ("s01", "s02"):
        write(tmp_path / name / "ct.nii.gz", scan())
        write(tmp_path / name / "segmentations" / "liver_tumor.nii.gz", drawn(TUMOUR))
        write(tmp_path / name / "segmentations" / "liver_cyst.nii.gz", drawn(CYST))
    return tmp_path


LABELS = pd.DataFrame({"case": ["s02", "s01"], "label": ["a", "b"], "age": [50, 60]})


def test_a_file_a_structure(home: Path) -> None:
    data = Dataset.from_totalsegmentator(home, labels=LABELS, structures="liver_tumor", clinical=["age"])
    assert [case.case for case in data.cases] == ["s02", "s01"]
    assert data.cases[0].clinical == {"age": 50.0}
    np.testing.assert_array_equal(inside(data, 0), drawn(TUMOUR))
    both = Dataset.from_totalsegmentator(home, structures=["liver_tumor", "liver_cyst"])
    np.testing.assert_array_equal(inside(both, 0), drawn(TUMOUR) | drawn(CYST))


def test_any_way_in_knows_the_folders(home: Path) -> None:
    data = Dataset.from_path(home, labels=LABELS, mask_roi="liver_tumor | liver_cyst")
    np.testing.assert_array_equal(inside(data, 1), drawn(TUMOUR) | drawn(CYST))
    assert len(Dataset.from_path(home, labelled=False, mask_roi="liver_cyst")) == 2
    with pytest.raises(DataError, match="--mask-roi"):
        Dataset.from_path(home, labels=LABELS)
    with pytest.raises(DataError, match="--labels"):
        Dataset.from_path(home, mask_roi="liver_cyst")


def test_one_file_with_all_structures(tmp_path: Path) -> None:
    names = {5: "liver_tumor", 7: "liver_cyst", 1: "liver & more"}
    together = drawn(TUMOUR, 5) + drawn(CYST, 7)
    for name, mask in (
        ("a", tmp_path / "seg" / "a.nii.gz"),
        ("b", tmp_path / "seg" / "b" / "segmentation.nii.gz"),
    ):
        write(tmp_path / "ct" / f"{name}.nii.gz", scan())
        write(mask, together, names)
    assert structures_in(tmp_path / "seg" / "a.nii.gz") == {name: value for value, name in names.items()}
    for structures, expected in (("liver_cyst", drawn(CYST)), ("liver_tumor|liver_cyst", (together > 0) * 1)):
        data = Dataset.from_totalsegmentator(tmp_path / "ct", tmp_path / "seg", structures=structures)
        assert [case.case for case in data.cases] == ["a", "b"]
        for row in (0, 1):
            np.testing.assert_array_equal(inside(data, row), expected)


def test_scans_may_be_dicom(tmp_path: Path) -> None:
    stored = noise((6, 12, 10))
    write_series(tmp_path / "ct" / "p1", slices(stored, spacing=(1.0, 1.0), step=2.5, origin=(0.0, 0.0, 0.0)))
    mask = np.zeros((10, 12, 6), np.uint8)
    mask[3:6, 4:9, 2:4] = 1
    image = nibabel.Nifti1Image(mask, np.diag([-1.0, -1.0, 2.5, 1.0]))  # RAS, as NIfTI is
    (tmp_path / "seg" / "p1").mkdir(parents=True)
    nibabel.save(image, tmp_path / "seg" / "p1" / "tumor.nii.gz")
    data = Dataset.from_totalsegmentator(tmp_path / "ct", tmp_path / "seg", structures="tumor")
    found = read_scan(data.cases[0], "image").mask
    assert found is not None
    assert all(found[x, y, z] == mask[x, y, z] for x in range(10) for y in range(12) for z in range(6))


def test_what_does_not_fit_is_told(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'liver_tumor'"):
        Dataset.from_totalsegmentator(home, structures="liver_tumour")
    with pytest.raises(DataError, match="No structure"):
        Dataset.from_totalsegmentator(home, structures=" ")
    with pytest.raises(DataError, match="no folder"):
        Dataset.from_totalsegmentator(home / "gone", structures="liver_tumor")
    wrong = LABELS.assign(case=["s02", "s09"])
    with pytest.raises(DataError, match="row 2 of the labels"):
        Dataset.from_totalsegmentator(home, labels=wrong, structures="liver_tumor")
    write(home / "s00" / "ct.nii.gz", scan())
    with pytest.raises(DataError, match=r"Scan 1 .* no segmentation"):
        Dataset.from_totalsegmentator(home, structures="liver_tumor")
    assert len(Dataset.from_totalsegmentator(home, labels=LABELS, structures="liver_tumor")) == 2
    bare = write(tmp_path / "x.nii.gz", drawn(TUMOUR))
    with pytest.raises(DataError, match="--mask-label"):
        structures_in(bare)


def test_other_folders_with_segmentations_are_read_as_before(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        for kind, values in (("images", scan()), ("segmentations", drawn(TUMOUR))):
            write(tmp_path / "classes" / name / kind / f"{name}.nii.gz", values)
        write(tmp_path / "cases" / name / "imaging.nii.gz", scan())
        write(tmp_path / "cases" / name / "segmentation.nii.gz", drawn(TUMOUR))
    assert Dataset.from_path(tmp_path / "classes").classes == ("benign", "malignant")
    labels = pd.DataFrame({"case": ["benign", "malignant"], "label": ["no", "yes"]})
    for given in (None, labels):
        how = {"labels": given, "labelled": given is not None, "channels": ["imaging"]}
        data = Dataset.from_path(tmp_path / "cases", **how)
        assert [case.masks["mask"].name for case in data.cases] == ["segmentation.nii.gz"] * 2
    alone = Dataset.from_path(
        tmp_path / "cases", labelled=False
    )  # a file that names no structures is no sign
    assert len(alone) == 4


def test_a_scan_of_another_name_among_structures_is_no_dicom(tmp_path: Path) -> None:
    for name in ("liver", "spleen", "thorax"):
        write(tmp_path / "s1" / f"{name}.nii.gz", drawn(TUMOUR))
    with pytest.raises(DataError, match=r"3 images.*name the scan ct\.nii\.gz"):
        Dataset.from_totalsegmentator(tmp_path, structures="liver")
