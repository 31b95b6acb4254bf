"""What a run says of its evaluation, and the predictions that it writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.evaluation.modes import Mode
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.predicted import COLUMNS, predictions_frame
from autoonco.evaluation.said import said, searches_json, tells_torn
from autoonco.evaluation.split_table import SplitTable
from autoonco.evaluation.splits import outer_splits
from autoonco.settings import Settings
from tests.evaluation.simulated import FINGERPRINT

SETTINGS = Settings(outer_folds=3)
TORN = {
    i + 1: ("train" if i < 31 else "test" if i < 50 else "", "test" if i < 20 else "train") for i in range(60)
}


def nested(dataset, repeats):
    mode = Mode(kind="nested", repeats=repeats, why="Because.")
    return mode, outer_splits(dataset, mode, settings=SETTINGS, seed=0)


@pytest.fixture
def torn(dataset):
    """Two cases a patient and two ready splits, the first of which parts patient 15."""
    cases = tuple(replace(case, patient=f"p{i // 2}") for i, case in enumerate(dataset.cases))
    return replace(dataset, cases=cases)


def test_every_search_has_the_same_time_and_the_run_says_so(dataset):
    mode, splits = nested(dataset, 2)
    plain = searches_json(splits, 700.0)
    assert (plain["n"], plain["seconds_each"]) == (7, 100.0)
    assert sum(each["n_test"] for each in plain["outer"]) == 2 * 60
    first, second = said(dataset, dataset.groups, splits, mode, None, limit_s=700.0)
    assert first == "How models are judged was chosen: because."
    assert "7 searches of 100 s each" in second
    assert "6 outer folds in 2 repeats" in second


def test_torn_patients_unknown_rows_and_lone_classes_are_told(torn):
    table = SplitTable(names=("torn", "whole"), roles=TORN, n_unknown=3)
    mode = Mode(kind="splits")
    lone = replace(torn, y=np.where(np.arange(60) < 20, 0, torn.y))
    splits = outer_splits(lone, mode, settings=SETTINGS, seed=0, table=table)
    text = " ".join(said(lone, lone.groups, splits, mode, table, limit_s=60.0))
    assert "3 rows of the table of splits belong to no case" in text
    assert "1 test cases have their patient or their very picture" in text
    assert "1 of 2 test parts hold a single class" in text


def test_cases_that_several_splits_test_are_told_once(torn):
    mode = Mode(kind="splits")
    table = SplitTable(names=("torn", "again"), roles={row: (role, role) for row, (role, _) in TORN.items()})
    splits = outer_splits(torn, mode, settings=SETTINGS, seed=0, table=table)
    sited = replace(torn, cases=tuple(replace(case, site="ab"[case.row > 40]) for case in torn.cases))
    notes = said(sited, sited.groups, splits, mode, table, limit_s=60.0)
    (of_patients,) = filter(tells_torn, notes)
    assert of_patients.startswith("1 test cases have their patient")
    assert any(note.startswith("10 test cases are of sites without a training case") for note in notes)


def test_predictions_name_no_one_and_say_what_was_learned_from(torn):
    table = SplitTable(names=("torn", "whole"), roles=TORN)
    marked = replace(torn, is_clean=np.arange(60) != 40)
    splits = outer_splits(marked, Mode(kind="splits"), settings=SETTINGS, seed=0, table=table)
    results = [
        ScopeResult(
            judged=(
                Judged(name="ensemble", kind="ensemble", proba=np.tile([0.3, 0.7], (len(each.test), 1))),
            ),
            delivered=(),
            fingerprint=FINGERPRINT,
        )
        for each in splits
    ]
    found = predictions_frame(marked, marked.groups, list(zip(splits, results, strict=True)))
    assert list(found) == [*COLUMNS, "p_0", "p_1"]
    first, second = (found[found["fold"] == fold].set_index("row") for fold in (0, 1))
    assert (set(first["n_train"]), set(second["n_train"])) == ({31}, {40})
    # row 32 is of the patient of row 31, which is learned from; row 41 is marked by the manifest
    assert first.index[first["is_clean"] == 0].tolist() == [32, 41]
    assert second["is_clean"].all()
    assert second.index.tolist() == list(range(1, 21))
    assert found["group"].nunique() == len({*range(15, 25), *range(10)})
    assert not found.astype(str).apply(lambda column: column.str.contains("p\\d|case")).any(axis=None)


def test_without_a_test_case_there_is_an_empty_table(dataset):
    splits = outer_splits(dataset, Mode(kind="none"), settings=SETTINGS, seed=0)
    result = ScopeResult(judged=(), delivered=(), fingerprint=FINGERPRINT)
    assert list(predictions_frame(dataset, dataset.groups, [(splits[0], result)])) == list(COLUMNS)
