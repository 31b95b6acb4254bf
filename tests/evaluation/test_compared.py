"""What is compared: every family that some outer fold judged, whether the final search came to a model of it or not."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.evaluation.compared import missing_notes, models_json
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.pairs import comparison_table
from autoonco.evaluation.predicted import predictions_frame
from autoonco.evaluation.splits import OuterSplit
from autoonco.evaluation.verdict import verdict
from tests.evaluation.simulated import FINGERPRINT

SCOPES = ("outer0", "outer1", "outer2", "final")
N_TEST = 20
MEMBERS = [{"family": "of it", "config": {}, "weight": 1.0, "inner_score": 0.8}]
SKILL = {"radiomics": 0.0, "pretrained2d": 6.0, "ensemble": 3.0, "baseline: majority class": 0.0}


@pytest.fixture
def splits():
    rows = np.arange(3 * N_TEST)
    tests = [rows[k * N_TEST : (k + 1) * N_TEST] for k in range(3)] + [rows[:0]]
    return [
        OuterSplit(scope=scope, train=np.setdiff1d(rows, test), test=test)
        for scope, test in zip(SCOPES, tests, strict=True)
    ]


def judged(name, y, rng):
    p = 1 / (1 + np.exp(-rng.normal((y - 0.5) * SKILL[name])))
    kind = name if name == "ensemble" else name.split(":")[0] if ":" in name else "family"
    proba = np.column_stack([1 - p, p])
    return Judged(
        name=name, kind=kind, proba=proba, inner_score=0.8, members=MEMBERS, refit_s=2.0, search_s=8.0
    )


def results_of(splits, y, without):
    """Return scopes that judged every model but those that are `without` one."""
    rng = np.random.default_rng(0)
    return [
        ScopeResult(
            judged=tuple(
                judged(name, y[split.test], rng) for name in SKILL if (name, split.scope) not in without
            ),
            delivered=(),
            fingerprint=FINGERPRINT,
        )
        for split in splits
    ]


@pytest.fixture
def labelled(dataset):
    assert len(dataset) >= 3 * N_TEST
    return dataset.subset(np.arange(3 * N_TEST))


def test_a_family_without_a_final_model_is_compared_and_is_told_not_to_be_in_the_model(splits, labelled):
    results = results_of(splits, labelled.y, {("pretrained2d", "final")})
    models = models_json(results)
    assert [m["name"] for m in models] == [
        "radiomics",
        "ensemble",
        "pretrained2d",
        "baseline: majority class",
    ]
    known = {m["name"]: m for m in models}
    assert [m["in_final"] for m in models] == [True, True, False, True]
    assert (known["pretrained2d"]["members"], known["radiomics"]["members"]) == ([], MEMBERS)
    assert known["pretrained2d"]["fold_scores"] == [0.8, 0.8, 0.8, None]
    (note,) = missing_notes(splits, results)
    assert note.startswith(
        "pretrained2d has a model in 3 of 3 outer folds, but the final search came to none of it"
    )

    predictions = predictions_frame(labelled, labelled.groups, list(zip(splits, results, strict=True)))
    table = comparison_table(predictions, models)
    pairs = set(zip(table["first"], table["second"], strict=True))
    assert ("radiomics", "pretrained2d") in pairs
    found = verdict(predictions, models, {"radiomics": None, "pretrained2d": None})
    assert found.figures is not None
    assert found.figures["n_folds"] == 3
    assert found.seconds == {"pretrained2d": 30.0, "radiomics": 40.0}


def test_folds_without_a_model_are_counted_and_left_out_of_its_pairs(splits, labelled):
    results = results_of(splits, labelled.y, {("pretrained2d", "outer1")})
    (note,) = missing_notes(splits, results)
    assert note.startswith("pretrained2d has a model in 2 of 3 outer folds, on which it is compared")
    predictions = predictions_frame(labelled, labelled.groups, list(zip(splits, results, strict=True)))
    table = comparison_table(predictions, models_json(results)).set_index(["first", "second"])
    assert table.loc[("radiomics", "pretrained2d"), "n_folds"] == 2
    assert table.loc[("radiomics", "ensemble"), "n_folds"] == 3


def test_a_run_whose_scopes_have_every_model_says_nothing_of_it(splits, labelled):
    results = results_of(splits, labelled.y, set())
    assert missing_notes(splits, results) == []
    assert all(m["in_final"] for m in models_json(results))
