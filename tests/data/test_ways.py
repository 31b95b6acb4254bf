"""Each way in gives the data set that a manifest written by hand would give, and tells what doesn't fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.facts import inspect
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from autoonco.errors import DataError, MissingDependencyError, UnknownNameError
from tests.dicom_files import PT, SECRETS, noise, slices, write_seg, write_series, write_structures

RNG = np.random.default_rng(0)


def picture(path: Path, *, mask: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RNG.integers(0, 255, (8, 9)).astype(np.uint8)
    Image.fromarray((values > 128).astype(np.uint8) * 255 if mask else values).save(path)
    return path


def volume(path: Path, values: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RNG.normal(size=(4, 5, 6)).astype(np.float32) if values is None else values
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def seen(data: Dataset) -> dict[str, tuple[str, str]]:
    """Case → (patient, class)."""
    assert data.y is not None
    return {case.case: (case.patient, data.classes[y]) for case, y in zip(data.cases, data.y, strict=True)}


# --- folders ------------------------------------------------------------------------------------------------


def test_folders_are_classes_and_files_cases(tmp_path: Path) -> None:
    for name in (
        "benign/a.png",
        "benign/b.jpg",
        "malignant/a.png",
        "malignant/p7/left.png",
        "malignant/p7/right.png",
    ):
        picture(tmp_path / name)
    (tmp_path / "malignant" / "notes.txt").write_text("no image")
    data = Dataset.from_folders(tmp_path)
    assert data.classes == ("benign", "malignant")
    assert seen(data) == {
        "benign/a": ("benign/a", "benign"),
        "benign/b": ("benign/b", "benign"),
        "malignant/a": ("malignant/a", "malignant"),
        "malignant/p7/left": ("p7", "malignant"),
        "malignant/p7/right": ("p7", "malignant"),
    }
    assert all(facts.error is None for facts in inspect(data))
    assert Dataset.from_path(tmp_path).identity() == data.identity()


def test_folders_below_a_patient_are_the_patients(tmp_path: Path) -> None:
    for name in ("no/p1/2024/a.png", "no/p1/2025/a.png", "yes/p2/a.png"):
        picture(tmp_path / name)
    assert seen(Dataset.from_folders(tmp_path)) == {
        "no/p1/2024/a": ("p1", "no"),
        "no/p1/2025/a": ("p1", "no"),
        "yes/p2/a": ("p2", "yes"),
    }
    assert len(Dataset.from_path(tmp_path, labelled=False)) == 3


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    for name in ("benign/a.png", "benign/a.JPG", "malignant/a.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match=r"'a\.JPG' and 'a\.png'.*\('benign'\)"):
        Dataset.from_folders(tmp_path)
    (tmp_path / "benign/a.JPG").rename(tmp_path / "benign/b.JPG")
    assert sorted(seen(Dataset.from_folders(tmp_path))) == ["benign/a", "benign/b", "malignant/a"]


def test_splits_may_be_above_or_below_classes_but_not_beside_them(tmp_path: Path) -> None:
    for name in (
        "a/no/train/1",
        "a/no/test/2",
        "a/yes/train/p/3",
        "a/yes/test/4",
        "b/train/no/5",
        "b/test/yes/6",
    ):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "b" / "notes").mkdir()
    (tmp_path / "b" / "notes" / "readme.txt").write_text("no image")
    below = Dataset.from_folders(tmp_path / "a")
    assert below.classes == ("no", "yes")
    assert below.split is not None
    found = {case.case: (case.patient, split) for case, split in zip(below.cases, below.split, strict=True)}
    assert found == {
        "no/train/1": ("no/train/1", "train"),
        "no/test/2": ("no/test/2", "test"),
        "yes/train/p/3": ("p", "train"),
        "yes/test/4": ("yes/test/4", "test"),
    }
    assert Dataset.from_folders(tmp_path / "b").classes == ("no", "yes")
    picture(tmp_path / "b" / "notes" / "x.png")
    with pytest.raises(DataError, match="holds test, a split, beside 'notes'"):
        Dataset.from_folders(tmp_path / "b")


def test_images_and_masks_of_a_split_are_no_classes(tmp_path: Path) -> None:
    for name in ("train/images/1.png", "train/masks/1.png", "test/images/2.png", "test/masks/2.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match="nothing that says their classes"):
        Dataset.from_folders(tmp_path)


def test_a_mask_whose_image_is_gone_is_no_image(tmp_path: Path) -> None:
    for name in ("b/1.png", "b/1_mask.png", "b/2_mask.png", "n/3_roi.png", "n/4_roi.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match=r"2_mask\.png' is called as a mask"):
        Dataset.from_folders(tmp_path)
    picture(tmp_path / "b" / "2.png")
    assert sorted(seen(Dataset.from_folders(tmp_path))) == ["b/1", "b/2", "n/3_roi", "n/4_roi"]


def test_masks_beside_their_images_are_joined(tmp_path: Path) -> None:
    """As BUSI has them: ``benign (1).png``, ``benign (1)_mask.png``, ``benign (1)_mask_1.png``."""
    image = picture(tmp_path / "benign" / "benign (1).png")
    parts = [picture(tmp_path / "benign" / f"benign (1)_mask{end}.png", mask=True) for end in ("", "_1")]
    picture(tmp_path / "normal" / "normal (1).png")
    data = Dataset.from_folders(tmp_path)
    assert seen(data) == {
        "benign/benign (1)": ("benign/benign (1)", "benign"),
        "normal/normal (1)": ("normal/normal (1)", "normal"),
    }
    assert data.cases[0].images["image"] == image
    scan = read_scan(data.cases[0], "image")
    both = np.maximum(*(np.asarray(Image.open(part)) for part in parts)) > 0
    assert scan.mask is not None
    assert np.array_equal(sitk.GetArrayFromImage(scan.mask), both)
    assert not data.cases[1].masks
    without = Dataset.from_folders(tmp_path, mask=()).cases[0]
    assert not without.masks


def test_a_second_part_of_a_mask_counts_in_the_identity(tmp_path: Path) -> None:
    for name in ("b/x.png", "n/y.png"):
        picture(tmp_path / name)
    for name in ("b/x_mask.png", "b/x_mask_1.png"):
        picture(tmp_path / name, mask=True)
    before = Dataset.from_folders(tmp_path)
    first = before.identity()
    picture(tmp_path / "b/x_mask_1.png", mask=True)
    assert Dataset.from_folders(tmp_path).identity() != first
    assert "x_mask_1" not in before.redact(f"can't read {tmp_path}/b/x_mask_1.png")


def test_parallel_folders_and_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("no", "yes"):
            picture(tmp_path / split / label / "images" / "1.png")
            picture(tmp_path / split / label / "masks" / "1.png", mask=True)
    data = Dataset.from_folders(tmp_path)
    assert data.classes == ("no", "yes")
    assert data.split is not None
    assert sorted(data.split.tolist()) == ["test", "test", "train", "train"]
    assert all(case.masks["mask"].parent.name == "masks" for case in data.cases)


def test_a_folder_a_case_with_several_images(tmp_path: Path) -> None:
    for label in ("low", "high"):
        for name in ("t1", "flair"):
            volume(tmp_path / label / f"{label}1" / f"{label}1_{name}.nii.gz")
        volume(tmp_path / label / f"{label}1" / f"{label}1_seg.nii.gz", np.ones((4, 5, 6), np.uint8))
    data = Dataset.from_folders(tmp_path, channels=("flair", "t1"), mask_label=1)
    assert data.channels == ("flair", "t1")
    assert [case.masks["mask"].name for case in data.cases] == ["high1_seg.nii.gz", "low1_seg.nii.gz"]
    assert all(facts.error is None for facts in inspect(data))
    with pytest.raises(DataError, match="0 files that end in 't2'"):
        Dataset.from_folders(tmp_path, channels=("t2",))


def test_a_dicom_series_is_a_case_of_its_folder(tmp_path: Path) -> None:
    for number, label in enumerate(("no", "yes")):
        write_series(tmp_path / label / f"p{number}", slices(noise(seed=number)))
        write_series(tmp_path / label / "q" / "ct", slices(noise(seed=number + 5)))
    data = Dataset.from_folders(tmp_path)
    assert sorted(seen(data)) == ["no/p0", "no/q/ct", "yes/p1", "yes/q/ct"]
    assert all(facts.error is None and facts.channels["image"].ndim == 3 for facts in inspect(data))


def test_a_folder_of_images_with_a_table(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "d" / "images" / f"{name}.png")
    picture(tmp_path / "d" / "masks" / "a_mask.png", mask=True)
    labels = pd.DataFrame({"case": ["images/b", "images/a"], "label": ["x", "y"], "age": [50, 61]})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    data = Dataset.from_path(tmp_path / "d", labels=tmp_path / "labels.csv", clinical="age")
    assert [case.case for case in data.cases] == ["images/b", "images/a"]
    assert [dict(case.clinical) for case in data.cases] == [{"age": 50.0}, {"age": 61.0}]
    assert [sorted(case.masks) for case in data.cases] == [[], ["mask"]]
    labels.loc[1, "case"] = "images/z"
    with pytest.raises(DataError, match=r"row 2 of the labels.*among the 3 found"):
        Dataset.from_folders(tmp_path / "d", labels=labels)
    with pytest.raises(DataError, match="give a table of labels"):
        Dataset.from_folders(tmp_path / "d")
    new = Dataset.from_path(tmp_path / "d", labelled=False)
    assert len(new) == 3
    assert new.y is None


def test_folders_that_name_no_classes_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match="no two folders with images"):
        Dataset.from_folders(tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        Dataset.from_folders(tmp_path / "absent")


# --- DICOM --------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three patients with CT and PET; a segmentation on the first CT, a structure set on the second, files anyhow."""
    for number in range(3):
        own = {"PatientID": f"SECRETID{number}", "StudyInstanceUID": f"1.5.{number}"}
        frame = {"FrameOfReferenceUID": f"1.6.{number}"}
        ct = slices(
            noise(seed=number),
            SeriesInstanceUID=f"1.7.{number}",
            SeriesDescription="CT thorax",
            **own,
            **frame,
        )
        pet = slices(
            np.abs(noise(seed=9 + number)),
            sop_class=PT,
            SeriesInstanceUID=f"1.8.{number}",
            SeriesNumber=8,
            **own,
            **frame,
        )
        write_series(tmp_path / f"d{number}" / "x", ct)
        write_series(tmp_path / f"d{number}" / "y", pet)
        mask = np.zeros(ct[0].pixel_array.shape, np.uint8)[None].repeat(6, 0)
        mask[2:4, 3:6, 3:6] = 1
        if number == 0:
            write_seg(tmp_path / f"d{number}" / "z" / "s.dcm", ct, {"tumour": mask})
        if number == 1:
            start, step = np.asarray(ct[2].ImagePositionPatient, float), np.array([0.7, 0.8, 0])
            corners = np.array([[1.5, 1.5, 0], [5.5, 1.5, 0], [5.5, 6.5, 0], [1.5, 6.5, 0]])
            write_structures(
                tmp_path / f"d{number}" / "z" / "r.dcm", ct[0], {"GTV": [start + corners * step]}
            )
    return tmp_path


def labels_by(key: str, values: list[str]) -> pd.DataFrame:
    return pd.DataFrame({key: values, "label": ["no", "yes", "no"], "site": ["a", "b", "b"]})


def test_a_tree_is_matched_by_patient_study_or_series(tree: Path) -> None:
    by_patient = Dataset.from_dicom(
        tree, labels_by("patient", [f"SECRETID{n}" for n in range(3)]), channels="CT"
    )
    by_study = Dataset.from_dicom(tree, labels_by("study", [f"1.5.{n}" for n in range(3)]), channels="thorax")
    by_series = Dataset.from_path(tree, labels=labels_by("series", [f"1.7.{n}" for n in range(3)]))
    assert by_patient.identity() == by_study.identity() == by_series.identity()
    assert by_patient.groups.tolist() == [f"SECRETID{n}" for n in range(3)]
    assert by_patient.sites is not None
    facts = inspect(by_patient)
    assert [one.error for one in facts] == [None] * 3
    lesions = [one.channels["image"].lesion for one in facts]
    assert [lesion and lesion.voxels for lesion in lesions] == [18, 20, None]


def test_ct_and_pet_are_channels_of_a_case(tree: Path) -> None:
    labels = labels_by("patient", [f"SECRETID{n}" for n in range(3)])
    data = Dataset.from_dicom(tree, labels, channels={"ct": "CT", "pet": "PT"})
    assert data.channels == ("ct", "pet")
    assert [sorted(case.masks) for case in data.cases] == [["mask"], ["mask"], []]
    assert all(facts.error is None for facts in inspect(data))
    in_suv = Dataset.from_dicom(tree, labels, channels={"ct": "CT", "pet": "PT"}, suv="pet")
    assert all("SUV needs the element Units" in str(facts.error) for facts in inspect(in_suv))
    assert in_suv.identity() != data.identity()


def test_cases_of_a_table_may_be_folders_or_identifiers(tree: Path) -> None:
    """With ``patient`` a name of the user's own, or PatientID, where ``case`` tells its studies apart."""
    plain = labels_by("patient", [f"SECRETID{n}" for n in range(3)])
    expected = [list(case.images.values()) for case in Dataset.from_dicom(tree, plain, channels="CT").cases]
    for names in ("d{}", "d{}\\x", "SECRETID{}"):
        cases = [names.format(n) for n in range(3)]
        for labels in (plain[["label"]], plain[["label"]].assign(patient=["p", "p", "q"])):
            labels = labels.assign(case=cases)
            data = Dataset.from_path(tree, labels=labels, channels=["CT"])
            assert [list(case.images.values()) for case in data.cases] == expected
            assert [case.case for case in data.cases] == cases
            if "patient" in labels:
                assert data.groups.tolist() == ["p", "p", "q"]
    both = pd.DataFrame({"case": ["d0/x", "d0/y"], "patient": ["SECRETID0"] * 2, "label": ["no", "yes"]})
    data = Dataset.from_dicom(tree, both)
    assert [case.images["image"].name for case in data.cases] == ["x", "y"]
    assert data.groups.tolist() == ["SECRETID0"] * 2
    swapped = plain.assign(case=["d1", "d2", "d0"])  # names that happen to be folders of others
    found = Dataset.from_dicom(tree, swapped, channels="CT")
    assert [list(case.images.values()) for case in found.cases] == expected


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (
            labels_by("patient", ["SECRETID0", "SECRETID1", "nobody"]),
            {"channels": "CT"},
            "row 3 of the labels",
        ),
        (
            labels_by("patient", ["SECRETID0", "SECRETID1", "SECRETID2"]),
            {},
            "2 series of images, expected one",
        ),
        (
            labels_by("patient", ["SECRETID0", "SECRETID1", "SECRETID2"]),
            {"channels": "MR"},
            "0 series of images that",
        ),
        (labels_by("person", ["SECRETID0", "SECRETID1", "SECRETID2"]), {"channels": "CT"}, "keyed by series"),
    ],
)
def test_what_does_not_fit_a_tree_is_told(
    tree: Path, labels: pd.DataFrame, options: dict, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Dataset.from_dicom(tree, labels, **options)
    assert not [secret for secret in SECRETS.values() if secret in str(caught.value)]


def test_new_scans_of_a_tree_are_found_without_labels(tree: Path) -> None:
    data = Dataset.from_path(tree, labelled=False)
    assert len(data) == 6
    assert len({case.case for case in data.cases}) == 6
    both = Dataset.from_path(tree, labelled=False, channels=("ct=CT", "pet=PT"))
    assert [case.case for case in both.cases] == [f"SECRETID{n}" for n in range(3)]
    assert both.channels == ("ct", "pet")


def test_identifiers_of_a_tree_are_redacted(tree: Path) -> None:
    data = Dataset.from_dicom(tree, labels_by("patient", [f"SECRETID{n}" for n in range(3)]), channels="CT")
    assert data.redact(f"SECRETID1 at {tree / 'd1' / 'x'}") == "row 2 at row 2"


# --- nnU-Net ------------------------------------------------------------------------------------------------


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    for case in ("a_1", "b", "c"):
        for channel in range(2):
            volume(tmp_path / "imagesTr" / f"{case}_000{channel}.nii.gz")
        volume(tmp_path / "labelsTr" / f"{case}.nii.gz", RNG.integers(0, 3, (4, 5, 6)).astype(np.uint8))
    volume(tmp_path / "imagesTs" / "n_0000.nii.gz")
    volume(tmp_path / "imagesTs" / "n_0001.nii.gz")
    description = {
        "channel_names": {"0": "T2", "1": "ADC map"}, "labels": {"background": 0, "organ": 1, "tumour": 2},
        "file_ending": ".nii.gz",
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    return tmp_path


def test_nnunet_folders_with_a_table(nnunet: Path) -> None:
    labels = pd.DataFrame({"case": ["c", "a_1"], "label": ["x", "y"]})
    data = Dataset.from_nnunet(nnunet, labels, mask_label="tumour")
    assert data.channels == ("t2", "adc_map")
    assert [case.case for case in data.cases] == ["c", "a_1"]
    scan = read_scan(data.cases[1], "adc_map")
    drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(nnunet / "labelsTr" / "a_1.nii.gz")))
    assert scan.mask is not None
    assert np.array_equal(sitk.GetArrayFromImage(scan.mask), drawn == 2)
    assert Dataset.from_path(nnunet, labels=labels, mask_label="2").identity() == data.identity()
    assert Dataset.from_path(nnunet, labels=labels).identity() != data.identity()
    new = Dataset.from_path(nnunet, labelled=False)
    assert [case.case for case in new.cases] == ["n"]


def test_nnunet_mistakes_are_told(nnunet: Path) -> None:
    labels = pd.DataFrame({"case": ["a_1", "zz"], "label": ["x", "y"]})
    with pytest.raises(DataError, match="row 2 of the labels"):
        Dataset.from_nnunet(nnunet, labels)
    with pytest.raises(UnknownNameError, match=r"structure 'tumor'.*'tumour'"):
        Dataset.from_nnunet(nnunet, labels[:1], mask_label="tumor")
    with pytest.raises(DataError, match="give a table"):
        Dataset.from_path(nnunet)
    whole = json.loads((nnunet / "dataset.json").read_text())
    for damage, told in (
        ({"channel_names": {"T2": "0", "ADC": "1"}}, "expected numbers from 0"),
        ({"labels": ["background", "tumour"]}, "of no kind of nnU-Net"),
        ({"labels": {"background": 0, "tumour": "two"}}, "of no kind of nnU-Net"),
    ):
        (nnunet / "dataset.json").write_text(json.dumps(whole | damage))
        with pytest.raises(DataError, match=told):
            Dataset.from_nnunet(nnunet, labels[:1], mask_label="tumour")
    (nnunet / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        Dataset.from_nnunet(nnunet, labels)


# --- MedMNIST -----------------------------------------------------------------------------------------------


def medmnist(path: Path, *, shape: tuple[int, ...] = (28, 28), n: int = 6, n_labels: int = 1) -> Path:
    arrays = {}
    for split, count in (("train", n), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = RNG.integers(0, 255, (count, *shape)).astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count * n_labels).reshape(count, n_labels) % 2).astype(
            np.uint8
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (28, 28, 28)], ids=["grey", "colour", "volumes"])
def test_medmnist_is_read_picture_by_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = medmnist(tmp_path / "somemnist.npz", shape=shape)
    data = Dataset.from_medmnist("somemnist", root=tmp_path, names={0: "malignant", 1: "other"})
    assert data.classes == ("malignant", "other")
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 3
    with np.load(path) as arrays:
        for case, expected in (
            (data.cases[4], arrays["train_images"][4]),
            (data.cases[9], arrays["test_images"][1]),
        ):
            assert np.array_equal(sitk.GetArrayFromImage(read_scan(case, "image").image), expected)
    assert Dataset.from_path(path).identity() == Dataset.from_medmnist(path).identity()
    assert len({facts.channels["image"].content for facts in inspect(data)}) == len(data)


def test_medmnist_files_are_found_by_size_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medmnist(tmp_path / "somemnist_64.npz", shape=(64, 64))
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path))
    assert len(Dataset.from_medmnist("somemnist", size=64)) == 11
    with pytest.raises(DataError, match=r"somemnist\.npz.*download=True"):
        Dataset.from_medmnist("somemnist")


def test_medmnist_is_fetched_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(*, split: str, download: bool, size: int, root: str) -> None:
        asked.append((split, download, size))
        medmnist(Path(root) / "breastmnist.npz")

    fake = SimpleNamespace(INFO={"breastmnist": {"python_class": "BreastMNIST"}}, BreastMNIST=fetch)
    monkeypatch.setitem(sys.modules, "medmnist", fake)
    with pytest.raises(DataError):
        Dataset.from_medmnist("breastmnist", root=tmp_path / "m")
    assert not asked
    assert len(Dataset.from_medmnist("breastmnist", root=tmp_path / "m", download=True)) == 11
    assert asked == [("train", True, 28)]
    with pytest.raises(DataError, match="no data set 'bonemnist'; it has breastmnist"):
        Dataset.from_medmnist("bonemnist", root=tmp_path / "m", download=True)
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(MissingDependencyError, match=r"autoonco\[medmnist\]"):
        Dataset.from_medmnist("bloodmnist", root=tmp_path / "m", download=True)


def test_medmnist_that_is_no_task_of_classes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="14 labels a picture"):
        Dataset.from_medmnist(medmnist(tmp_path / "chestmnist.npz", n_labels=14))
    np.savez(tmp_path / "other.npz", images=np.zeros((2, 3)))
    with pytest.raises(DataError, match="no train_images"):
        Dataset.from_medmnist(tmp_path / "other.npz")
    with pytest.raises(DataError, match="Label 1 has no name"):
        Dataset.from_medmnist(medmnist(tmp_path / "a.npz"), names={0: "x"})


# --- all of them --------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from autoonco.data.facts import inspect
from autoonco.data.manifest import Dataset
data = Dataset.from_path(sys.argv[1], labelled=False).subset(range(int(sys.argv[2])))
assert not [facts.error for facts in inspect(data) if facts.error]
print(len(data), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("kind", ["NIfTI", "DICOM", "stack"])
def test_reading_many_volumes_costs_the_memory_of_one(tmp_path: Path, kind: str) -> None:
    """Peak memory, in kilobytes, with 3 and with 60 volumes of 1.3 MB (float32) a piece."""
    n, one_kb = 60, 1_300
    values = RNG.integers(0, 1000, (20, 128, 128)).astype(np.int16)
    if kind == "NIfTI":
        for number in range(n):
            volume(tmp_path / f"{number}.nii", np.roll(values, number, axis=2))
    elif kind == "DICOM":
        for number in range(n):
            made = slices(np.roll(values, number, axis=2), SeriesInstanceUID=f"1.2.{number}")
            write_series(tmp_path / str(number), made)
    else:
        stack = np.stack([np.roll(values, number, axis=2) for number in range(n)])
        np.savez(tmp_path / "s.npz", train_images=stack, train_labels=np.arange(n) % 2)

    def peak(count: int) -> int:
        path = tmp_path / "s.npz" if kind == "stack" else tmp_path
        code = PEAK.replace("labelled=False", f"labelled={kind == 'stack'}")
        command = [sys.executable, "-c", code, str(path), str(count)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        read, kilobytes = map(int, done.stdout.split())
        assert read == count
        return kilobytes

    assert peak(n) - peak(3) < 15 * one_kb  # all of them: 57 * one_kb
