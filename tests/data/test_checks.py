"""Every fault put into clean data is found under its code, and clean data have no finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.checks import CHECKS, Finding, Severity, errors_of, findings, inspect
from autoonco.data.fingerprint import Fingerprint, Intensity, fingerprint
from autoonco.data.looks import look_alikes
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan

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


def diagnose(frame: pd.DataFrame, folder: Path, repair: str = "none") -> list[Finding]:
    data = Dataset.from_frame(frame, root=folder, clinical="age", complete=False).repaired(repair)
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


def unread_class(frame: pd.DataFrame, folder: Path) -> None:
    small_class(frame, folder)
    truncated(frame, folder)


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


def four_axes(frame: pd.DataFrame, folder: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).random((5, 6, 4, 3)), np.eye(4)), folder / "4d.nii"
    )
    frame.loc[6, ["image", "mask"]] = ["4d.nii", ""]


def several_values(frame: pd.DataFrame, folder: Path) -> None:
    mask = np.zeros((20, 30))
    mask[5:12, 6:20] = 1
    mask[5:12, 6:9] = 2
    write_picture(folder / frame["mask"][6], mask)


def as_slabs(frame: pd.DataFrame, folder: Path, **changes: list[float]) -> None:
    """Make every picture a thin volume with a place in space; row 7 and its mask get `changes` of their own."""
    for i in range(N):
        for column in ("image", "mask"):
            values = np.asarray(Image.open(folder / frame[column][i]))
            outer = values[::-1] if column == "image" else 0 * values
            values = np.stack([outer, values, values, outer])
            slab = sitk.GetImageFromArray(values)
            slab.SetSpacing(changes.get("spacing", [1.0, 1.0, 2.0]) if i == 6 else [1.0, 1.0, 2.0])
            slab.SetOrigin(changes.get(column, [0.0, 0.0, 0.0]) if i == 6 else [0.0, 0.0, 0.0])
            sitk.WriteImage(slab, str(folder / f"{column}{i}.nrrd"))
            frame.loc[i, column] = f"{column}{i}.nrrd"


def noisy_header(frame: pd.DataFrame, folder: Path) -> None:
    as_slabs(frame, folder, mask=[0.01, 0.0, 0.0])


def moved(frame: pd.DataFrame, folder: Path) -> None:
    as_slabs(frame, folder, mask=[1.0, 0.0, 0.0])


def half_outside(frame: pd.DataFrame, folder: Path) -> None:
    as_slabs(frame, folder, mask=[17.0, 0.0, 0.0])


def other_spacing(frame: pd.DataFrame, folder: Path) -> None:
    as_slabs(frame, folder, spacing=[4.0, 4.0, 2.0])


def no_label(frame: pd.DataFrame, folder: Path) -> None:
    frame.loc[6, "label"] = ""


def alone(frame: pd.DataFrame, folder: Path) -> None:
    frame["label"] = "no"


def two_labels(frame: pd.DataFrame, folder: Path) -> None:
    frame.loc[7, "patient"] = "p6"


def alike_names(frame: pd.DataFrame, folder: Path) -> None:
    frame["label"] = [("not ill", "Not_ill", "ill")[2 if i % 2 else int(i > 8)] for i in range(N)]


def text_among_numbers(frame: pd.DataFrame, folder: Path) -> None:
    frame["age"] = [("?" if i == 6 else str(40 + i)) for i in range(N)]


def decimal_commas(frame: pd.DataFrame, folder: Path) -> None:
    frame["age"] = [f"{40 + i},5" for i in range(N)]


def look_alike_of(frame: pd.DataFrame, folder: Path, row: int) -> None:
    """The picture of row 7 smaller, brighter and compressed, in place of another one's."""
    seen = Image.open(folder / frame.image[6])
    large = Image.fromarray(np.kron(np.asarray(seen), np.ones((8, 8), np.uint8)))
    large.save(folder / frame.image[6])
    for name in (frame["mask"][6], frame["mask"][row]):
        mask = np.kron(np.asarray(Image.open(folder / name)), np.ones((8, 8), np.uint8))
        write_picture(folder / name, mask)
    small = Image.fromarray((np.asarray(large) * 0.8 + 40).astype(np.uint8))
    small.save(folder / "again.jpg", quality=60)
    frame.loc[row, "image"] = "again.jpg"


def near_with_other_label(frame: pd.DataFrame, folder: Path) -> None:
    look_alike_of(frame, folder, 7)
    frame.loc[7, "patient"] = "p6"


def near_in_test(frame: pd.DataFrame, folder: Path) -> None:
    look_alike_of(frame, folder, 20)


def near_of_other_patient(frame: pd.DataFrame, folder: Path) -> None:
    look_alike_of(frame, folder, 8)


def telling_clinical(frame: pd.DataFrame, folder: Path) -> None:
    frame["age"] = [40 + 20 * (i % 2) + i / 10 for i in range(N)]


def telling_column(frame: pd.DataFrame, folder: Path) -> None:
    frame["stage"] = [("T0", "T2")[i % 2] for i in range(N)]


def telling_site(frame: pd.DataFrame, folder: Path) -> None:
    frame["site"] = [("Lyon", "Oslo")[i % 2 if i != 4 else 1] for i in range(N)]


def telling_size(frame: pd.DataFrame, folder: Path) -> None:
    for i in range(0, N, 2):
        for column in ("image", "mask"):
            Image.open(folder / frame[column][i]).crop((0, 0, 29 - i % 3, 20)).save(folder / frame[column][i])


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
    (unread_class, "AO307", None),
    (small_class, "AO302", None),
    (torn_patient, "AO401", None),
    (copy_with_other_label, "AO402", None),
    (copy_in_test, "AO403", None),
    (copy_of_other_patient, "AO404", None),
    (telling_mask, "AO405", None),
    (telling_age, "AO405", None),
    (four_axes, "AO109", 7),
    (several_values, "AO108", None),
    (noisy_header, "AO110", None),
    (moved, "AO102", 7),
    (other_spacing, "AO205", None),
    (no_label, "AO303", 7),
    (alone, "AO304", None),
    (alike_names, "AO305", None),
    (text_among_numbers, "AO306", None),
    (decimal_commas, "AO306", None),
    (two_labels, "AO406", None),
    (near_with_other_label, "AO407", None),
    (near_in_test, "AO408", None),
    (near_of_other_patient, "AO409", None),
    (telling_clinical, "AO501", None),
    (telling_column, "AO502", None),
    (telling_site, "AO503", None),
    (telling_size, "AO503", None),
]
ELSEWHERE = {"AO107", "AO111", "AO112"}  # each has a test of its own below
"""Codes of faults that need more than a manifest: a value that stands for the lesion, or a repair."""


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
    also = {
        copy_in_test: {"AO404"},
        near_in_test: {"AO409"},
        copy_with_other_label: {"AO406"},
        near_with_other_label: {"AO406"},
        a_volume: {"AO204"},
        alike_names: {"AO302"},
        unread_class: {"AO101"},
    }
    allowed = {code} | also.get(fault, set())
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
    assert {check.code for check in CHECKS} == {code for _, code, _ in FAULTS} | ELSEWHERE
    assert len({check.code for check in CHECKS}) == len(CHECKS)


def test_a_class_that_can_not_be_read_is_no_want_of_patients(frame: pd.DataFrame, tmp_path: Path) -> None:
    unread_class(frame, tmp_path)
    (found,) = [one for one in diagnose(frame, tmp_path) if one.code == "AO307"]
    assert (
        "test split 1 can be read, expected two or more: 1 of its cases can't be (rows 7)." in found.message
    )
    frame["split"] = ["test" if i == 8 else "train" for i in range(N)]
    (found,) = [one for one in diagnose(frame, tmp_path) if one.code in ("AO301", "AO307")]
    assert (found.code, "has 1 patient(s) outside of the test split" in found.message) == ("AO301", True)


def test_errors_come_first_and_rule_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    for fault in (colour, torn_patient):
        fault(frame, tmp_path)
    (tmp_path / frame.image[3]).write_bytes(b"no picture")
    found = diagnose(frame, tmp_path)
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=list(Severity).index)
    assert [finding.row for finding in errors_of(found)] == [4]


def test_a_mask_that_lies_elsewhere_is_put_onto_its_image_where_that_is_asked_for(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    moved(frame, tmp_path)
    (found,) = diagnose(frame, tmp_path, repair="resample-mask")
    assert (found.code, found.severity) == ("AO111", Severity.NOTE)
    assert "1 masks were resampled onto the grid of their image (rows 7)" in found.message
    data = Dataset.from_frame(frame, root=tmp_path).repaired("resample-mask")
    scan = read_scan(data.cases[6], "image")
    drawn = np.argwhere(sitk.GetArrayFromImage(scan.mask))
    # the mask drawn at columns 6..19 lies one pixel to the right in space
    np.testing.assert_array_equal(drawn.min(axis=0), [1, 5, 7])
    np.testing.assert_array_equal(drawn.max(axis=0), [2, 11, 20])


def test_a_value_that_is_not_in_the_mask_is_told(frame: pd.DataFrame, tmp_path: Path) -> None:
    several_values(frame, tmp_path)
    frame["mask_label"] = "255"
    frame.loc[6, "mask_label"] = "3"
    (found,) = diagnose(frame, tmp_path)
    assert (found.code, found.row, found.severity) == ("AO107", 7, Severity.ERROR)
    frame.loc[6, "mask_label"] = "2"
    assert diagnose(frame, tmp_path) == []  # one value of several was meant


def test_a_mask_half_outside_its_image_is_told_after_the_repair(frame: pd.DataFrame, tmp_path: Path) -> None:
    half_outside(frame, tmp_path)
    found = {each.code: each for each in diagnose(frame, tmp_path, repair="resample-mask")}
    assert set(found) == {"AO111", "AO112", "AO203"}
    assert found["AO112"].message.startswith("row 7: 50% of the mask of 'image' lies in the image")


def test_pictures_of_unequal_size_have_no_place_in_space_and_are_not_repaired(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    other_size(frame, tmp_path)
    (found,) = diagnose(frame, tmp_path, repair="resample-mask")
    assert found.code == "AO102"


def test_a_missing_file_a_missing_cell_and_a_missing_label_are_all_told(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / frame.image[2]).unlink()
    frame.loc[4, "image"] = ""
    frame.loc[6, "label"] = None
    found = diagnose(frame, tmp_path)
    assert [(each.code, each.row) for each in found] == [("AO101", 3), ("AO101", 5), ("AO303", 7)]


def test_the_table_of_findings_says_what_was_found_and_expected(frame: pd.DataFrame, tmp_path: Path) -> None:
    empty(frame, tmp_path)
    copy_in_test(frame, tmp_path)
    table = Dataset.from_frame(frame, root=tmp_path, clinical="age").check(n_jobs=2)
    assert list(table.columns) == ["code", "severity", "row", "case", "found", "expected", "remedy"]
    first = table.iloc[0].to_dict()
    assert (first["code"], first["severity"], first["row"], first["case"]) == ("AO103", "error", 7, "7")
    assert first["found"] == "the mask of 'image' is empty."
    assert table["row"].isna().tolist() == [False, True, True]
    assert (table[["expected", "remedy"]].map(len) > 0).all(axis=None)


def test_what_names_patients_or_studies_tells_no_label(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Two cases a patient: an id predicts the label of its own second case, not of another patient."""
    frame["patient"] = [f"p{4 * (i // 4) + i % 2}" for i in range(N)]
    frame["split"] = "train"
    frame["study"] = frame["patient"] + "-study"
    frame["id"] = range(N)
    assert diagnose(frame, tmp_path) == []


def test_a_column_made_from_finer_classes_is_told(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["label"] = [("a", "b", "c", "d")[i % 4] for i in range(N)]
    frame["malignant"] = [str(int(i % 4 > 1)) for i in range(N)]
    found = [each for each in diagnose(frame, tmp_path) if each.code.startswith("AO5")]
    assert [each.code for each in found] == ["AO502"]
    assert "'malignant' is made from the label" in found[0].message


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
    assert "'finding' alone predicts the label" in codes["AO502"]


@pytest.mark.shared
@pytest.mark.slow
def test_busi_look_alikes_hold_all_that_are_known_of(shared_data: Path) -> None:
    """Each pair of pictures that its `patient` joins is found, and no group grows by chains into a heap."""
    data = Dataset.from_csv(shared_data / "busi" / "all_with_masks.csv")
    looks = [case.channels["image"].look for case in inspect(data, n_jobs=2)]
    alike = look_alikes(looks, [str(row) for row in range(len(data))])
    group = {position: number for number, members in enumerate(alike) for position in members}
    known = [np.flatnonzero(data.groups == name) for name in np.unique(data.groups)]
    for members in known:
        if len(members) > 1:
            assert len({group.get(int(position), -1 - position) for position in members}) == 1
    assert max(map(len, alike)) <= 6


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("task", ["skin", "lidc3d"])
def test_distinct_images_of_one_kind_are_not_alike(shared_data: Path, task: str) -> None:
    data = Dataset.from_csv(shared_data / task / "labels.csv")
    looks = [case.channels["image"].look for case in inspect(data, n_jobs=2)]
    assert look_alikes(looks, data.groups.tolist()) == []


@pytest.mark.shared
@pytest.mark.slow
def test_skin_site_goes_with_the_label(shared_data: Path) -> None:
    found = Dataset.from_csv(shared_data / "skin" / "labels.csv").check(n_jobs=2)
    told = dict(zip(found["code"], found["found"], strict=True))
    assert "The label goes with the site" in told["AO503"]
    assert "'malignant' is made from the label" in told["AO502"]


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
