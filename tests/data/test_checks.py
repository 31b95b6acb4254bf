"""Every fault put into clean data is found under its code, and clean data have no finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.checks import CHECKS, Finding, Severity, errors_of, findings, inspect
from autoonco.data.fingerprint import Fingerprint, Intensity, fingerprint
from autoonco.data.manifest import Dataset

N = 24


def write_picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Clean data: noise pictures, a box as lesion in each, two classes, three splits."""
    rng = np.random.default_rng(0)
    for i in range(N):
        write_picture(tmp_path / "images" / f"{i}.png", rng.integers(0, 255, (20, 30)))
        mask = np.zeros((20, 30))
        mask[5:12, 6:20] = 255
        write_picture(tmp_path / "masks" / f"{i}.png", mask)
    return pd.DataFrame(
        {
            "image": [f"images/{i}.png" for i in range(N)],
            "mask": [f"masks/{i}.png" for i in range(N)],
            "patient": [f"p{i}" for i in range(N)],
            "label": [("no", "yes")[i % 2] for i in range(N)],
            "split": ["test" if i >= 18 else "train" for i in range(N)],
            "age": [40 + i for i in range(N)],
        }
    )


def diagnose(frame: pd.DataFrame, folder: Path) -> list[Finding]:
    data = Dataset.from_frame(frame, root=folder, clinical="age")
    return findings(data, inspect(data, n_jobs=2))


def test_clean_data_have_no_finding(frame: pd.DataFrame, tmp_path: Path) -> None:
    assert diagnose(frame, tmp_path) == []


Fault = Callable[[pd.DataFrame, Path], None]


def truncated(frame: pd.DataFrame, folder: Path) -> None:
    path = folder / frame.image[6]
    path.write_bytes(path.read_bytes()[:100])


def other_size(frame: pd.DataFrame, folder: Path) -> None:
    write_picture(folder / frame["mask"][6], np.full((20, 31), 255))


def empty(frame: pd.DataFrame, folder: Path) -> None:
    write_picture(folder / frame["mask"][6], np.zeros((20, 30)))


def two_voxels(frame: pd.DataFrame, folder: Path) -> None:
    mask = np.zeros((20, 30))
    mask[9, 9:11] = 255
    write_picture(folder / frame["mask"][6], mask)


def flat(frame: pd.DataFrame, folder: Path) -> None:
    write_picture(folder / frame.image[6], np.full((20, 30), 7))


def nan(frame: pd.DataFrame, folder: Path) -> None:
    values = np.random.default_rng(1).integers(0, 255, (20, 30)).astype(np.float32)
    values[2, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / "nan.nrrd"))
    frame.loc[6, "image"] = "nan.nrrd"


def a_volume(frame: pd.DataFrame, folder: Path) -> None:
    values = np.random.default_rng(1).random((4, 20, 30)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / "v.nii.gz"))
    frame.loc[6, ["image", "mask"]] = ["v.nii.gz", ""]


def colour(frame: pd.DataFrame, folder: Path) -> None:
    write_picture(folder / frame.image[6], np.random.default_rng(1).integers(0, 255, (20, 30, 3)))


def cut(frame: pd.DataFrame, folder: Path) -> None:
    mask = np.zeros((20, 30))
    mask[5:12, 20:] = 255
    write_picture(folder / frame["mask"][6], mask)


def other_unit(frame: pd.DataFrame, folder: Path) -> None:
    for i in (6, 9):
        values = np.random.default_rng(i).random((20, 30)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{i}.nrrd"))
        frame.loc[i, "image"] = f"{i}.nrrd"


def lonely_class(frame: pd.DataFrame, folder: Path) -> None:
    frame["label"] = ["rare" if i == 6 else ("no", "yes")[i % 2] for i in range(N)]


def small_class(frame: pd.DataFrame, folder: Path) -> None:
    frame["label"] = ["rare" if i in (6, 8) else ("no", "yes")[i % 2] for i in range(N)]


def torn_patient(frame: pd.DataFrame, folder: Path) -> None:
    frame.loc[20, "patient"] = "p6"


def copy_of(frame: pd.DataFrame, folder: Path, row: int) -> None:
    (folder / "other").mkdir()
    target = folder / "other" / "copy.bmp"
    Image.open(folder / frame.image[6]).save(target)  # another format, the same pixels
    frame.loc[row, "image"] = "other/copy.bmp"


def copy_with_other_label(frame: pd.DataFrame, folder: Path) -> None:
    copy_of(frame, folder, 7)
    frame.loc[7, "patient"] = "p6"


def copy_in_test(frame: pd.DataFrame, folder: Path) -> None:
    copy_of(frame, folder, 20)


def copy_of_other_patient(frame: pd.DataFrame, folder: Path) -> None:
    copy_of(frame, folder, 8)


def telling_mask(frame: pd.DataFrame, folder: Path) -> None:
    frame.loc[frame.label == "no", "mask"] = ""


def telling_age(frame: pd.DataFrame, folder: Path) -> None:
    frame["age"] = [None if i % 2 else 40.0 for i in range(N)]


FAULTS: list[tuple[Fault, str, int | None]] = [
    (truncated, "AO101", 7),
    (other_size, "AO102", 7),
    (empty, "AO103", 7),
    (two_voxels, "AO104", 7),
    (nan, "AO105", 7),
    (flat, "AO106", 7),
    (a_volume, "AO201", 7),
    (colour, "AO202", None),
    (cut, "AO203", None),
    (other_unit, "AO204", None),
    (lonely_class, "AO301", None),
    (small_class, "AO302", None),
    (torn_patient, "AO401", None),
    (copy_with_other_label, "AO402", None),
    (copy_in_test, "AO403", None),
    (copy_of_other_patient, "AO404", None),
    (telling_mask, "AO405", None),
    (telling_age, "AO405", None),
]


@pytest.mark.parametrize(("fault", "code", "row"), FAULTS, ids=[fault.__name__ for fault, _, _ in FAULTS])
def test_fault_is_found(
    frame: pd.DataFrame, tmp_path: Path, fault: Fault, code: str, row: int | None
) -> None:
    fault(frame, tmp_path)
    found = diagnose(frame, tmp_path)
    mine = [finding for finding in found if finding.code == code]
    assert [finding.row for finding in mine] == [row], found
    # a copy in the test part is under another patient too, and no volume counts as a picture of bytes;
    # nothing else may come with a fault
    allowed = {code} | {copy_in_test: {"AO404"}, a_volume: {"AO204"}}.get(fault, set())
    assert {finding.code for finding in found} <= allowed
    if row is not None:
        assert mine[0].message.startswith(f"row {row}")
    assert str(tmp_path) not in "".join(finding.message for finding in found)


def test_images_of_another_unit_are_named_up_to_eight(frame: pd.DataFrame, tmp_path: Path) -> None:
    other_unit(frame, tmp_path)
    (found,) = diagnose(frame, tmp_path)
    assert "2 of 24 images of 'image'" in found.message
    assert "byte (rows 7, 10)." in found.message
    for i in range(10):
        values = np.random.default_rng(i).normal(0, 9, (20, 30))
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"{i}.nrrd"))
        frame.loc[i, "image"] = f"{i}.nrrd"
    (found,) = diagnose(frame, tmp_path)
    assert "(rows 1, 2, 3, 4, 5, 6, 7, 8, …)" in found.message


def test_every_check_has_a_fault_that_shows_it() -> None:
    assert {check.code for check in CHECKS} == {code for _, code, _ in FAULTS}
    assert len({check.code for check in CHECKS}) == len(CHECKS)


def test_errors_come_first_and_rule_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    for fault in (colour, torn_patient):
        fault(frame, tmp_path)
    (tmp_path / frame.image[3]).write_bytes(b"no picture")
    found = diagnose(frame, tmp_path)
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=list(Severity).index)
    assert [finding.row for finding in errors_of(found)] == [4]


def test_missingness_by_chance_is_no_finding(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[[0, 1, 4, 5, 10, 13], "mask"] = ""
    assert diagnose(frame, tmp_path) == []


def test_facts_are_plain_json_and_name_nobody(frame: pd.DataFrame, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = Dataset.from_frame(frame, root=tmp_path)
    facts = inspect(data, on_progress=lambda done, n: seen.append((done, n)))
    assert seen == [(i + 1, N) for i in range(N)]
    text = json.dumps([asdict(case) for case in facts])
    assert str(tmp_path) not in text
    assert ".png" not in text
    assert "p6" not in text
    lesion = facts[0].channels["image"].lesion
    assert lesion is not None
    assert (lesion.voxels, lesion.extent_mm, lesion.touches_border) == (7 * 14, (14.0, 7.0), False)


def test_fingerprint_measures_and_survives_json(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = Dataset.from_frame(frame, root=tmp_path, clinical="age")
    print_ = fingerprint(data, inspect(data))
    assert (print_.n_cases, print_.n_patients, print_.ndim, print_.shape) == (N, N, 2, (30, 20))
    assert print_.class_counts == (12, 12)
    assert print_.lesion_mm == (14.0, 7.0)
    assert print_.has_mask
    assert not print_.is_colour
    assert print_.intensity == {"image": Intensity.BYTE}
    assert Fingerprint.from_json(json.loads(json.dumps(print_.to_json()))) == print_
    frame.loc[3, "mask"] = ""
    part = Dataset.from_frame(frame, root=tmp_path)
    assert not fingerprint(part, inspect(part)).has_mask


@pytest.mark.parametrize(
    ("low", "high", "whole", "unit"),
    [
        (-1024, 1500, True, Intensity.HOUNSFIELD),
        (-1024, 1500, False, Intensity.ARBITRARY),
        (-2000, 30000, True, Intensity.ARBITRARY),
        (0, 1800, True, Intensity.ARBITRARY),
        (0, 8, False, Intensity.SUV),
        (0, 800, False, Intensity.ARBITRARY),
        (-3, 8, False, Intensity.ARBITRARY),
        (0, 1, False, Intensity.UNIT),
    ],
)
def test_units_of_volumes_are_measured(
    tmp_path: Path, low: float, high: float, whole: bool, unit: Intensity
) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        values = rng.uniform(low, high, (6, 10, 10))
        values.flat[:2] = low, high
        image = sitk.GetImageFromArray((np.rint(values) if whole else values).astype(np.float32))
        image.SetSpacing([0.5, 0.5, 3.0])
        sitk.WriteImage(image, str(tmp_path / f"{i}.nii.gz"))
    data = Dataset.from_frame(
        pd.DataFrame({"image": [f"{i}.nii.gz" for i in range(4)], "label": ["a", "b"] * 2}), root=tmp_path
    )
    print_ = fingerprint(data, inspect(data))
    assert print_.intensity == {"image": unit}


@pytest.mark.shared
def test_busi_faults_that_its_authors_left(shared_data: Path) -> None:
    data = Dataset.from_csv(shared_data / "busi" / "all_with_masks.csv")
    found = findings(data, inspect(data, n_jobs=2))
    assert not errors_of(found)
    codes = {finding.code: finding.message for finding in found}
    twins = [f"{case.row}" for case in data.cases if case.case in ("benign_433", "malignant_145")]
    assert all(row in codes["AO402"] for row in twins)
    assert "0% of malignant" in codes["AO405"]
    assert "0 of them are also without" in codes["AO401"]


@pytest.mark.shared
def test_brain_duplicates_are_those_of_its_column(shared_data: Path) -> None:
    manifest = shared_data / "brain_leaky" / "labels.csv"
    data = Dataset.from_csv(manifest)
    found = [finding for finding in findings(data, inspect(data, n_jobs=2)) if finding.code == "AO404"]
    assert len(found) == 22


@pytest.mark.shared
def test_sarcoma_units_are_measured_for_each_channel(shared_data: Path) -> None:
    data = Dataset.from_csv(shared_data / "sarcoma3d" / "labels.csv").subset(range(8))
    units = fingerprint(data, inspect(data, n_jobs=2)).intensity
    assert units == {
        "ct": Intensity.HOUNSFIELD,
        "pet": Intensity.SUV,
        "mr_t1": Intensity.ARBITRARY,
    }
