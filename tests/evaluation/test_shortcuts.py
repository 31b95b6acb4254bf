"""The table of shortcuts: a size shortcut is seen among matched cases, and a probe is held against its own cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from autoonco.evaluation.shortcuts import CALIPER, COLUMNS, MATCHED, match_by_size, shortcut_table


def frame(y, scores, *, model="ensemble", fold=None, rows=None):
    p = 1 / (1 + np.exp(-scores))
    rows = np.arange(len(y)) + 1 if rows is None else rows
    return pd.DataFrame(
        {"fold": 0 if fold is None else fold, "repeat": 0, "n_train": 200, "row": rows, "group": rows, "truth": y,
         "is_clean": 1, "model": model, "p_0": 1 - p, "p_1": p}
    )  # fmt: skip


def drawn(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng, y, rng.normal(size=n) + y


def test_a_probe_is_compared_on_the_cases_that_it_has():
    rng, y, scores = drawn()
    rows = np.arange(1, 61)
    changed = rng.normal(size=60)
    table = pd.concat([frame(y, scores), frame(y[:60], changed, model="lesion masked out", rows=rows)])
    found = shortcut_table(table, ["lesion masked out"], {"lesion masked out": "60 of 200"}, None)
    assert tuple(found) == COLUMNS
    row = found.iloc[0]
    assert row["n"] == 60
    assert row["value"] == pytest.approx(roc_auc_score(y[:60], changed))
    own = roc_auc_score(y[:60], scores[:60])
    assert row["difference"] == pytest.approx(row["value"] - own)
    assert row["difference_lower"] < row["difference"] < row["difference_upper"]
    assert row["note"] == "60 of 200"


def test_the_same_predictions_differ_by_nothing():
    _, y, scores = drawn()
    table = pd.concat([frame(y, scores), frame(y, scores, model="mask shifted")])
    row = shortcut_table(table, ["mask shifted"], {}, None).iloc[0]
    assert row["difference"] == 0


def test_over_folds_differences_are_those_of_the_folds():
    rng, y, scores = drawn()
    fold = np.arange(len(y)) // 2 % 4
    changed = scores - rng.normal(1, 1, len(y)) * y
    table = pd.concat([frame(y, scores, fold=fold), frame(y, changed, model="mask eroded", fold=fold)])
    row = shortcut_table(table, ["mask eroded"], {}, None).iloc[0]
    by_fold = [
        roc_auc_score(y[fold == k], changed[fold == k]) - roc_auc_score(y[fold == k], scores[fold == k])
        for k in range(4)
    ]
    assert row["difference"] == pytest.approx(np.mean(by_fold))


def test_a_model_of_size_alone_falls_to_chance_among_matched_sizes():
    _, y, size = drawn(400)
    sizes = dict(enumerate(size, start=1))
    row = shortcut_table(frame(y, size), [], {}, sizes).iloc[0]
    assert row["probe"] == MATCHED
    assert abs(row["value"] - 0.5) < 0.06
    assert row["difference"] < -0.15
    assert row["difference_upper"] < 0


def test_a_model_that_knows_more_than_size_keeps_it():
    rng, y, size = drawn(400)
    other = rng.normal(size=400) + 1.5 * y
    row = shortcut_table(frame(y, other), [], {}, dict(enumerate(size, start=1))).iloc[0]
    assert abs(row["difference"]) < 0.05


def test_what_cannot_be_told_has_a_note_and_no_figure():
    _, y, scores = drawn()
    found = shortcut_table(
        frame(y, scores), ["mask shifted"], {"mask shifted": "the cases have no lesion masks"}, None
    )
    assert found["note"].tolist() == [
        "the cases have no lesion masks",
        "the size of the lesions is not known",
    ]
    assert found["value"].isna().all()
    assert found["n"].tolist() == [0, 0]


@pytest.mark.parametrize("n_folds", [1, 3])
def test_a_probe_that_changes_no_perfect_answer_is_not_certain(n_folds):
    rng, y, _ = drawn(60)
    perfect, fold = np.where(y == 1, 3.0, -3.0), np.arange(60) // 2 % n_folds
    table = pd.concat(
        [frame(y, perfect + rng.random(60), model=name, fold=fold) for name in ("ensemble", "mask dilated")]
    )
    found = shortcut_table(table, ["mask dilated"], {}, dict(enumerate(rng.normal(size=60), start=1)))
    assert (found["value"] == 1).all()
    assert (found["lower"] < 0.97).all()
    matched = found.iloc[-1]
    assert matched["difference_lower"] < 0 < matched["difference_upper"]


@pytest.mark.parametrize("k", [2, 3])
def test_matched_classes_are_as_many_and_as_large(k):
    rng = np.random.default_rng(k)
    y = rng.choice(k, 300, p=[0.6, 0.4] if k == 2 else [0.5, 0.3, 0.2])
    size = rng.normal(size=300) + 0.7 * y
    stays = match_by_size(y, size)
    counts = [int(stays[y == c].sum()) for c in range(k)]
    assert len(set(counts)) == 1
    assert counts[0] > 20
    gaps = [abs(size[stays & (y == c)].mean() - size[stays & (y == 0)].mean()) for c in range(1, k)]
    assert max(gaps) < CALIPER * size.std()
    assert not match_by_size(np.zeros(5, dtype=int), np.arange(5.0)).any()
