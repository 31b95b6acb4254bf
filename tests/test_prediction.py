"""Many cases at once: their order, their status, their memory; arrays, missing masks, and a table that grows."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

import autoonco
from autoonco.bundle import Bundle
from autoonco.data.case import Case
from autoonco.data.readers import read_scan
from autoonco.errors import DataError, ImageReadError, UnknownNameError
from autoonco.prediction import BATCH
from autoonco.progress import write_predictions
from tests.fingerprints import PICTURES


class Mean:
    """Class 1 is as probable as the picture is bright."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        self.batches.append(len(cases))
        p = np.array([sitk.GetArrayFromImage(read_scan(case, "image").image).mean() / 255 for case in cases])
        return np.column_stack([1 - p, p])


class Masked(Mean):
    """Looks at the lesion alone."""

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        found = []
        for case in cases:
            scan = read_scan(case, "image")
            if scan.mask is None:
                raise DataError(f"row {case.row}: no mask: give one.")
            values = sitk.GetArrayFromImage(scan.image)[sitk.GetArrayFromImage(scan.mask) > 0]
            found.append(values.mean() / 255)
        return np.column_stack([1 - np.array(found), found])


def model(
    *members: tuple[float, Any], channels: tuple[str, ...] = ("image",), **facts
) -> autoonco.AutoOncoClassifier:
    found = autoonco.AutoOncoClassifier()
    bundle = Bundle(
        classes=("no", "yes"),
        fingerprint=replace(PICTURES, n_cases=2, n_patients=2, class_counts=(1, 1), channels=channels),
        members=members,
        facts=facts,
        families=tuple(type(member).__name__ for _, member in members),
    )
    found._predict_with(bundle, Path("x.onco"))
    return found


def write(path: Path, level: int, side: int = 6) -> Path:
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"s{i}.png", i % 250) for i in range(100)]


def test_rows_come_in_the_order_given_and_in_batches(scans: list[Path]) -> None:
    member = Mean()
    order = np.random.default_rng(0).permutation(len(scans))
    proba = model((1.0, member)).predict_proba([scans[i] for i in order])
    np.testing.assert_allclose(proba[:, 1], order % 250 / 255, atol=1e-6)
    assert max(member.batches) == BATCH
    assert sum(member.batches) == 100


def test_bad_scans_among_many_lose_nobody_else_their_answer(scans: list[Path], tmp_path: Path) -> None:
    scans[7].write_bytes(b"no picture")
    scans[50].unlink()
    frame = pd.DataFrame({"case": [path.stem for path in scans], "image": [str(path) for path in scans]})
    table = model((1.0, Mean())).predict_table(frame)
    assert table["case"].tolist() == [path.stem for path in scans]
    bad = table[table["status"] == "error"]
    assert bad.index.tolist() == [7, 50]
    assert bad["message"].str.match(r"row (8|51), image 'image': .+\.").all()
    assert bad["prediction"].isna().all()
    good = table.drop(index=[7, 50])
    np.testing.assert_allclose(good["probability_yes"], good.index / 255, atol=1e-6)
    with pytest.raises(ImageReadError, match=r"^row 8"):
        model((1.0, Mean())).predict_proba(frame)


def test_a_row_that_is_not_understood_loses_nobody_else_their_answer(scans: list[Path]) -> None:
    n = 6
    frame = pd.DataFrame(
        {
            "case": ["a", "b", "c", "a", "e", "f"],
            "patient": ["p", "", "q", "r", "s", "t"],
            "image": [*map(str, scans[10 : 10 + n - 1]), ""],
            "split": ["test", "", "somewhere", "train", "test", ""],
            "spacing_mm": ["", "", "wide", "", "", ""],
            "lesion_x": ["", "", "", "", "left", ""],
            "lesion_y": ["", "", "", "", "2", ""],
        }
    )
    table = model((1.0, Mean())).predict_table(frame)
    assert table["case"].tolist() == frame["case"].tolist()
    assert table["status"].tolist() == ["ok", "ok", "error", "ok", "error", "error"]
    assert table["message"][2].startswith("row 3: spacing_mm is 'wide'")
    assert table["message"][4].startswith("row 5, columns lesion_x")
    assert table["message"][5].startswith("row 6: no image")
    assert ["another row has the same" in message for message in table["message"]] == [1, 0, 0, 1, 0, 0]
    np.testing.assert_allclose(table["probability_yes"][[0, 1, 3]] * 255, [10, 11, 13], atol=1e-4)
    with pytest.raises(DataError, match=r"^row 3: spacing_mm"):
        model((1.0, Mean())).predict_proba(frame)


def test_a_list_of_files_is_answered_file_by_file(scans: list[Path], tmp_path: Path) -> None:
    given = [scans[3], tmp_path / "absent.png", scans[3], ""]
    table = model((1.0, Mean())).predict_table(given)
    assert table["status"].tolist() == ["ok", "error", "ok", "error"]
    assert "does not exist" in table["message"][1]
    assert table["case"][0] == table["case"][2] == str(scans[3])
    for none in ([tmp_path / "absent.png", tmp_path / "gone.png"], tmp_path / "absent.png"):
        with pytest.raises(DataError, match=r"^row 1.*does not exist"):
            model((1.0, Mean())).predict_table(none)


def test_an_error_that_nobody_foresaw_is_the_answer_of_its_case_alone(scans: list[Path]) -> None:
    class Fragile(Mean):
        def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
            if any(case.case == "s40" for case in cases):
                raise ZeroDivisionError("no size")
            return super().predict_proba(cases)

    table = model((1.0, Fragile())).predict_table(scans)
    assert table.index[table["status"] == "error"].tolist() == [40]
    assert table["message"][40].startswith("row 41: it can't be predicted (ZeroDivisionError: no size)")
    with pytest.raises(ZeroDivisionError):
        model((1.0, Fragile())).predict_proba(scans)


def test_a_missing_mask_is_told_with_what_can_be_done_without(tmp_path: Path) -> None:
    image, mask = write(tmp_path / "a.png", 100), write(tmp_path / "m.png", 1)
    frame = pd.DataFrame({"image": [str(image)] * 2, "mask": [str(mask), ""]})
    both = model((0.75, Masked()), (0.25, Mean()))
    told = both.predict_table(frame)
    assert told["status"].tolist() == ["ok", "error"]
    assert "no mask" in told["message"][1]
    assert "Without a mask Mean could predict it" in told["message"][1]
    part = both.predict_table(frame, missing_mask="partial")
    assert part["status"].tolist() == ["ok", "partial"]
    assert "by Mean alone" in part["message"][1]
    np.testing.assert_allclose(part["probability_yes"], 100 / 255, atol=1e-6)
    assert both.predict_proba(frame, missing_mask="partial").shape == (2, 2)
    alone = model((1.0, Masked())).predict_table(frame, missing_mask="partial")
    assert alone["status"].tolist() == ["ok", "error"]
    assert "Without a mask" not in alone["message"][1]
    with pytest.raises(UnknownNameError, match="partial"):
        both.predict_table(frame, missing_mask="partly")


def test_arrays_are_predicted_with_their_spacing_and_leave_no_file(tmp_path: Path, monkeypatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[float, ...]] = []

    class Sees(Mean):
        def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
            for case in cases:
                scan = read_scan(case, "image")
                seen.append(scan.image.GetSpacing())
                assert scan.mask is None or sitk.GetArrayFromImage(scan.mask).sum() == 4
            return super().predict_proba(cases)

    mask = np.zeros((3, 4, 5))
    mask[1, 1:3, 2:4] = 7
    given = [
        autoonco.ArrayScan(np.full((4, 5), 51.0), (0.5, 0.7)),
        autoonco.ArrayScan(np.full((3, 4, 5), 102.0), (2.5, 0.5, 0.7), mask=mask, case="b"),
        autoonco.ArrayScan(np.full((4, 5, 3), 204, np.uint8), (0.6, 0.4), mask=mask[1]),
    ]
    table = model((1.0, Sees())).predict_table(given)
    np.testing.assert_allclose(table["probability_yes"], [0.2, 0.4, 0.8], atol=1e-6)
    assert table["case"].tolist() == ["1", "b", "3"]
    np.testing.assert_allclose(seen[0], (0.7, 0.5))
    np.testing.assert_allclose(seen[1], (0.7, 0.5, 2.5))
    np.testing.assert_allclose(seen[2], (0.4, 0.6))
    assert model((1.0, Mean())).predict(given[0]).tolist() == ["no"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (autoonco.ArrayScan(np.zeros((4, 5)), (1.0,)), "expected 2 positive lengths"),
        (autoonco.ArrayScan(np.zeros((4, 5)), (1.0, 0.0)), "expected 2 positive lengths"),
        (autoonco.ArrayScan(np.zeros((2, 3, 4, 5)), (1, 1, 1, 1)), "4 axes"),
        (autoonco.ArrayScan(np.zeros((4, 5, 3)), (1, 1)), "expected bytes"),
        (autoonco.ArrayScan(np.array([["a", "b"]]), (1, 1)), "expected numbers"),
        (autoonco.ArrayScan(np.zeros((4, 5)), (1, 1), mask=np.zeros((5, 4))), r"mask has shape \(5, 4\)"),
        (np.zeros((3, 4, 5)), "has no spacing"),
    ],
)
def test_an_array_that_is_no_scan_is_told(scan, words: str) -> None:
    with pytest.raises(DataError, match=words):
        model((1.0, Mean())).predict_proba(scan)


def test_the_one_image_of_a_case_is_taken_for_the_one_of_the_model(tmp_path: Path) -> None:
    class Ct(Mean):
        def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
            assert all(list(case.images) == ["ct"] for case in cases)
            return np.tile([0.4, 0.6], (len(cases), 1))

    assert model((1.0, Ct()), channels=("ct",)).predict(write(tmp_path / "a.png", 9)).tolist() == ["yes"]


def test_masks_on_another_grid_are_repaired_where_the_training_ones_were(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.full((4, 6, 6), 51, np.float32))
    mask = sitk.GetImageFromArray(np.ones((2, 3, 3), np.uint8))
    mask.SetSpacing([2, 2, 2])
    for name, one in (("a", image), ("m", mask)):
        sitk.WriteImage(one, str(tmp_path / f"{name}.nrrd"))
    frame = pd.DataFrame({"image": [str(tmp_path / "a.nrrd")], "mask": [str(tmp_path / "m.nrrd")]})
    assert model((1.0, Masked())).predict_table(frame)["status"].tolist() == ["error"]
    repaired = model((1.0, Masked()), repair="resample-mask").predict_table(frame)
    assert repaired["status"].tolist() == ["ok"]


def test_a_table_is_written_as_it_grows(scans: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out" / "p.csv"
    rows: list[int] = []

    def on_progress(done: int, of: int) -> None:
        assert of == 100
        rows.append(len(pd.read_csv(output)) if output.stat().st_size else 0)

    tables = model((1.0, Mean())).predict_tables(scans, on_progress=on_progress)
    written = write_predictions(tables, output)
    assert rows == [32, 64, 96, 100]
    assert (written.n_cases, written.n_failed) == (100, 0)
    assert pd.read_csv(output)["case"].tolist() == [path.stem for path in scans]


def test_a_wrong_option_leaves_an_earlier_table_alone(scans: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    output.write_text("of yesterday")
    with pytest.raises(UnknownNameError, match="way with a missing mask 'partail'"):
        write_predictions(model((1.0, Mean())).predict_tables(scans, missing_mask="partail"), output)
    assert output.read_text() == "of yesterday"
    assert write_predictions(iter(()), output).n_cases == 0


@pytest.mark.alone
def test_memory_is_flat_in_the_number_of_scans(tmp_path: Path) -> None:
    """Four hundred pictures of a megabyte as floats: held all at once they would be 400 MB."""
    path = write(tmp_path / "large.png", 90, side=500)
    frame = pd.DataFrame({"case": range(400), "image": [str(path)] * 400})
    fitted = model((1.0, Mean()))
    fitted.predict_table(frame[:40])
    peaks = []
    for n in (40, 400):
        tracemalloc.start()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fitted.predict_table(frame[:n])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB
    assert peaks[1] < peaks[0] + 10e6
