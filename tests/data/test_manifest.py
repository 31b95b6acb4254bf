"""Manifests: what columns mean, which mistakes are told and how, and what a data set is identical to."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoonco.arguments import as_cases
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "d.png", "m.png"):
        (tmp_path / name).write_bytes(name.encode())  # a manifest reads no pixel
    return tmp_path


def table(**changes: Any) -> pd.DataFrame:
    columns = {
        "case": ["ca", "cb", "cc", "cd"],
        "patient": ["p1", "p1", "p2", "p3"],
        "image": ["a.png", "b.png", "c.png", "d.png"],
        "label": ["no", "no", "yes", "yes"],
    }
    return pd.DataFrame({name: values for name, values in (columns | changes).items() if values is not None})


def test_a_manifest_becomes_cases(folder: Path) -> None:
    frame = table(
        mask=["m.png", "", None, "m.png"],
        split=["train", "VAL", "test", "train"],
        split_clean=["train", "val", "excluded", "train"],
        site=["x", "x", "", "y"],
        age=[61, None, 50.5, 7],
        sex=["f", "m", "", "f"],
        grade=["1", "2", "3", "4"],
    )
    frame.to_csv(folder / "m.csv", index=False)
    data = Dataset.from_csv(folder / "m.csv", clinical=("age", "sex"))
    assert data.classes == ("no", "yes")
    assert data.y is not None
    assert data.y.tolist() == [0, 0, 1, 1]
    assert data.groups.tolist() == ["p1", "p1", "p2", "p3"]
    assert data.split is not None
    assert data.split.tolist() == ["train", "val", "test", "train"]
    assert data.is_clean is not None
    assert data.is_clean.tolist() == [True, True, False, True]
    assert [sorted(case.masks) for case in data.cases] == [["mask"], [], [], ["mask"]]
    assert data.cases[0].images["image"] == folder / "a.png"
    assert [case.row for case in data.cases] == [1, 2, 3, 4]
    assert [dict(case.clinical) for case in data.cases][1:3] == [
        {"age": None, "sex": "m"},
        {"age": 50.5, "sex": None},
    ]
    assert data.sites is not None
    assert data.sites.tolist() == ["x", "x", "", "y"]


def test_defaults_without_case_patient_and_split(folder: Path) -> None:
    data = Dataset.from_frame(table(case=None, patient=None), root=folder)
    assert [case.case for case in data.cases] == ["1", "2", "3", "4"]
    assert len(set(data.groups)) == 4
    assert data.split is None
    assert data.is_clean is None
    assert data.sites is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_and_byte_order_mark(folder: Path, separator: str, encoding: str) -> None:
    table().to_csv(folder / "m.csv", sep=separator, index=False, encoding=encoding)
    assert Dataset.from_csv(folder / "m.csv").cases[0].case == "ca"


def test_a_table_as_spreadsheets_write_it(folder: Path) -> None:
    """Windows line ends, the line that tells Excel the separator, decimal commas, umlauts and backslashes."""
    (folder / "Über Sicht").mkdir()
    for name in ("ä 1.png", "b.png", "m.png"):
        (folder / "Über Sicht" / name).write_bytes(b"1")
    lines = [
        "sep=;",
        "case;image;mask;mask_label;label;alter;größe;code;other",
        'Ä 1;Über Sicht\\ä 1.png;"Über Sicht\\m.png | Über Sicht\\b.png";1,2;gut;61,5;170;1,5;a,b',
        "B;Über Sicht/b.png;;;böse;n/a;181;2,5;c",
        "C;Über Sicht/b.png;;;böse;-3;;x;1,5",
    ]
    path = folder / "Tabelle (1).csv"
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    data = Dataset.from_csv(path, clinical=("alter", "größe", "code"))
    assert [case.case for case in data.cases] == ["Ä 1", "B", "C"]
    assert data.classes == ("böse", "gut")
    assert [case.clinical["alter"] for case in data.cases] == [61.5, None, -3.0]
    assert [case.clinical["größe"] for case in data.cases] == [170.0, 181.0, None]
    assert [case.clinical["code"] for case in data.cases] == ["1,5", "2,5", "x"]
    assert data.others["other"] == ("a,b", "c", "1,5")
    assert data.cases[0].images["image"] == folder / "Über Sicht" / "ä 1.png"
    pick = data.cases[0].mask_picks["mask"]
    assert (pick.labels, [one.name for one in pick.also]) == ((1, 2), ["b.png"])


def test_what_excel_is_told_of_may_be_a_tab(folder: Path) -> None:
    (folder / "m.csv").write_text("sep=\t\nimage\tlabel\na.png\tno\nb.png\tyes\n")
    assert Dataset.from_csv(folder / "m.csv").classes == ("no", "yes")


def test_a_name_that_begins_as_one_of_ours_has_decimal_commas_too(folder: Path) -> None:
    (folder / "m.csv").write_text("image;label;patient_age\na.png;no;61,5\nb.png;yes;7\n")
    data = Dataset.from_csv(folder / "m.csv", clinical=["patient_age"])
    assert [case.clinical["patient_age"] for case in data.cases] == [61.5, 7.0]


def test_a_column_that_is_there_twice_is_told(folder: Path) -> None:
    frame = table()
    twice = pd.concat([frame, frame[["label"]].rename(columns={"label": " label"})], axis=1)
    with pytest.raises(DataError, match="2 columns are called 'label'"):
        Dataset.from_frame(twice, root=folder)
    twice.to_csv(folder / "m.csv", index=False)
    with pytest.raises(DataError, match="2 columns are called 'label'"):
        Dataset.from_csv(folder / "m.csv")


def test_identifiers_keep_their_leading_zeros(folder: Path) -> None:
    table(patient=["007", "07", "7", "8"]).to_csv(folder / "m.csv", index=False)
    assert len(set(Dataset.from_csv(folder / "m.csv").groups)) == 4


@pytest.mark.parametrize("values", [[0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], ["0", "0.0", "1", "1.0"]])
def test_numeric_labels_are_whole_numbers(folder: Path, values: list[Any]) -> None:
    assert Dataset.from_frame(table(label=values), root=folder).classes == ("0", "1")


def test_classes_pick_and_order(folder: Path) -> None:
    frame = table(label=["b", "a", "c", "a"])
    data = Dataset.from_frame(frame, root=folder, classes=["c", "a"])
    assert data.classes == ("c", "a")
    assert data.y is not None
    assert data.y.tolist() == [1, 0, 1]
    assert [case.row for case in data.cases] == [2, 3, 4]


CHANNELS = {"image": None, "image_ct": ["a.png"] * 4, "image_pet": ["b.png"] * 4, "mask_ct": ["m.png"] * 4}


@pytest.mark.parametrize(
    ("changes", "options", "images", "masks"),
    [
        (CHANNELS, {}, ["ct", "pet"], {"ct"}),
        (CHANNELS, {"image": "image_pet"}, ["pet"], set()),
        (CHANNELS, {"image": ["image_pet", "image_ct"]}, ["pet", "ct"], {"ct"}),
        (CHANNELS, {"image": "image_pet", "mask": "mask_ct"}, ["pet"], {"mask"}),
        (
            {"scan": ["c.png"] * 4, "roi": ["m.png"] * 4},
            {"image": "scan", "mask": "roi"},
            ["image"],
            {"mask"},
        ),
        ({**CHANNELS, "mask": ["m.png"] * 4}, {}, ["ct", "pet"], {"ct", "mask"}),
        (
            {"t1": ["c.png"] * 4, "t2": ["d.png"] * 4, "r1": ["a.png"] * 4, "r2": ["b.png"] * 4},
            {"image": ["t1", "t2"], "mask": ["r1", "r2"]},
            ["t1", "t2"],
            {"t1", "t2"},
        ),
    ],
)
def test_channels_and_their_masks(
    folder: Path, changes: dict[str, Any], options: dict[str, Any], images: list[str], masks: set[str]
) -> None:
    data = Dataset.from_frame(table(**changes), root=folder, **options)
    assert list(data.channels) == images
    assert set(data.cases[0].masks) == masks


MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "label column": ({}, {"label": "lable"}, "Unknown column 'lable'. Did you mean 'label'"),
    "clinical column": ({}, {"clinical": ("age",)}, "Unknown column 'age'"),
    "label as clinical": ({}, {"clinical": "label"}, "'label' can't be clinical"),
    "split column": ({}, {"split": "fold"}, "Unknown column 'fold'"),
    "missing label": ({"label": ["no", "", "yes", None]}, {}, r"^row 2 \(and 1 more\): column 'label' is empty"),
    "one class": ({"label": ["no"] * 4}, {}, "gives the class no"),
    "class that is not there": ({}, {"classes": ["no", "maybe"]}, "Unknown class 'maybe'"),
    "class named twice": ({}, {"classes": ["no", "no"]}, "two different"),
    "regression target": ({"label": [0.5, 1.2, 3.3, 2.0]}, {}, "'label' holds decimals"),
    "image missing": ({"image": ["a.png", "b.png", "", "d.png"]}, {}, "^row 3: column 'image' is empty"),
    "image absent": ({"image": ["a.png", "x.png", "c.png", "d.png"]}, {}, "^row 2: .*'image' does not exist"),
    "mask absent": ({"mask": ["m.png", "", "x.png", ""]}, {}, "^row 3: .*'mask' does not exist"),
    "no image column": ({"image": None}, {}, "Unknown column 'image'"),
    "duplicate case": ({"case": ["ca", "cb", "ca", "cd"]}, {}, "^row 3: .* row 1"),
    "patient missing": ({"patient": ["p", "", "q", "r"]}, {}, "^row 2: column 'patient' is empty"),
    "wrong split": ({"split": ["train", "training", "test", "test"]}, {}, "^row 2: .*'training'.*train, val, test"),
    "masks do not pair": (CHANNELS | {"r1": ["m.png"] * 4, "r2": ["m.png"] * 4, "r3": ["m.png"] * 4},
                          {"mask": ["r1", "r2", "r3"]}, "3 mask columns are named for 2"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_sentence(folder: Path, mistake: str) -> None:
    changes, options, words = MISTAKES[mistake]
    with pytest.raises(DataError, match=words) as caught:
        Dataset.from_frame(table(**changes), root=folder, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) not in text
    assert "x.png" not in text


def test_a_label_of_many_values_is_doubted(folder: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png"] * 60, "label": [f"v{i}" for i in range(60)]})
    with pytest.raises(DataError, match="60 different values"):
        Dataset.from_frame(frame, root=folder)
    assert len(Dataset.from_frame(frame, root=folder, classes=["v1", "v2"])) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b"image,label\n", "no rows"),
        ("image,label\na.png,b\xf6se\n".encode("latin-1"), "not UTF-8"),
        (b"image,label\na.png,no\na.png,yes,more\n", "not a table"),
        (b"image,label\n1,a.png,no\n2,b.png,yes\n", "not a table"),  # as R writes row names
        ("image\tlabel\na.png\tno\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_files_that_are_no_manifest(folder: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (folder / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        Dataset.from_csv(folder / "m.csv")
    assert "\n" not in str(caught.value)


def test_a_spreadsheet_is_told_whatever_it_is_for(folder: Path) -> None:
    (folder / "m.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match="save it as 'CSV UTF-8'"):
        Dataset.from_path(folder / "m.xlsx")
    with pytest.raises(DataError, match="save it as 'CSV UTF-8'"):
        as_cases(folder / "m.xlsx")


def test_a_data_set_can_not_be_changed(folder: Path) -> None:
    data = Dataset.from_frame(table(), root=folder)
    assert data.y is not None
    with pytest.raises(ValueError, match="read-only"):
        data.y[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.classes = ()  # type: ignore[misc]


def test_subset_keeps_rows_classes_and_sides(folder: Path) -> None:
    data = Dataset.from_frame(table(split=["train", "val", "test", "train"]), root=folder)
    for rows in ([2, 0], np.array([False, True, False, True]), np.array([], dtype=int)):
        part = data.subset(rows)
        kept = np.arange(4)[np.asarray(rows, dtype=None)]
        assert part.classes == data.classes
        assert part.y is not None
        assert data.y is not None
        assert part.split is not None
        assert data.split is not None
        assert part.y.tolist() == data.y[kept].tolist()
        assert part.split.tolist() == data.split[kept].tolist()
        assert [case.row for case in part.cases] == (kept + 1).tolist()
        assert part.groups.tolist() == data.groups[kept].tolist()


def test_unlabelled_reads_and_keeps_no_label(folder: Path) -> None:
    labelled = Dataset.from_frame(table(), root=folder).unlabelled()
    never = Dataset.from_frame(table(label=None), root=folder, labelled=False)
    for data in (labelled, never):
        assert data.y is None
        assert data.classes == ()
    assert labelled.identity() == never.identity()


def test_identity_follows_what_is_learned_from(folder: Path) -> None:
    frame = table(split=["train", "val", "test", "train"], age=[1, 2, 3, 4])
    first = Dataset.from_frame(frame, root=folder, clinical="age").identity()
    renamed = frame.assign(case=["w", "x", "y", "z"], finding=list("abcd"))
    assert Dataset.from_frame(renamed, root=folder, clinical="age").identity() == first
    changed = [
        frame.assign(label=["yes", "no", "yes", "yes"]),
        frame.assign(patient=["p1", "p2", "p2", "p3"]),
        frame.assign(split=["train", "train", "test", "train"]),
        frame.assign(age=[1, 2, 3, 5]),
        frame.assign(image=["b.png", "a.png", "c.png", "d.png"]),
    ]
    hashes = {Dataset.from_frame(other, root=folder, clinical="age").identity() for other in changed}
    (folder / "a.png").write_bytes(b"other pixels")
    hashes.add(Dataset.from_frame(frame, root=folder, clinical="age").identity())
    assert len(hashes | {first}) == len(changed) + 2


def test_scans_alone(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.png").write_bytes(b"1")
    (folder / "v.nii.gz").write_bytes(b"1")
    data = Dataset.from_scans([folder / "a.png", folder / "sub" / "a.png", folder / "v.nii.gz"])
    assert len({case.case for case in data.cases}) == 3
    assert data.cases[2].case == "v"
    assert data.y is None
    assert not data.cases[0].masks
    with pytest.raises(DataError, match=r"^row 2"):
        Dataset.from_scans([folder / "a.png", folder / "none.png"])


def test_redact_leaves_no_identifier(folder: Path) -> None:
    (folder / "DOE^JOHN.png").write_bytes(b"1")
    frame = table(
        case=["DOE_JOHN_1", "DOE_JOHN", "4", "12"],
        patient=["MRN-00123", "MRN-0012", "77777", "p3"],
        image=["a.png", "DOE^JOHN.png", "c.png", "c.png"],
    )
    data = Dataset.from_frame(frame, root=folder)
    text = (
        f"{folder}/DOE^JOHN.png: DOE_JOHN_1, DOE_JOHN; (MRN-00123) MRN-0012 'a.png' patient=77777 "
        f"loss 0.77777 after 12 trials, DOE_JOHNSON, c.png, MRN-00123_mask, t2_MRN-0012"
    )
    redacted = data.redact(text)
    assert redacted == (
        "row 2: row 1, row 2; (row 1) row 2 'row 1' patient=row 3 "
        "loss 0.77777 after 12 trials, DOE_JOHNSON, c.png, row 1_mask, t2_row 2"
    )
    assert data.redact("nothing here") == "nothing here"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "options", "counts"),
    [
        ("busi/labels.csv", {}, {"malignant": 210, "not_malignant": 570}),
        ("busi/lesions.csv", {}, {"benign": 437, "malignant": 210}),
        ("lidc3d/labels.csv", {"classes": ["benign", "malignant"]}, {"benign": 26, "malignant": 67}),
        ("sarcoma3d/labels.csv", {"clinical": ("age", "sex")}, {"lung_mets": 19, "no_lung_mets": 32}),
    ],
)
def test_real_manifests(
    shared_data: Path, file: str, options: dict[str, Any], counts: dict[str, int]
) -> None:
    data = Dataset.from_csv(shared_data / file, **options)
    assert data.y is not None
    assert Counter(data.classes[label] for label in data.y) == counts
