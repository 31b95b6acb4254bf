"""Data that break a method: each a recorded, explained degradation, and nothing of the rest is lost.

One class and a class of one patient are told before a search, see `tests/test_evaluations.py`.
"""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from autoonco.data.cache import digest
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.pairs import comparison_table
from autoonco.evaluation.said import constant, said
from autoonco.evaluation.splits import OuterSplit, groups_of, outer_splits
from autoonco.evaluation.tables import evaluation_table
from autoonco.evaluation.verdict import verdict
from autoonco.families.radiomics import RadiomicsModel
from autoonco.prediction import tables
from autoonco.settings import Settings
from autoonco.tabular.pipeline import build_pipeline, complete, fit_pipeline, tabular_space
from tests.evaluation.simulated import FINGERPRINT
from tests.leaks.harness import drawn
from tests.leaks.house import dataset_of

SPACE = tabular_space()


@pytest.mark.parametrize("impute", SPACE["impute"].choices)
@pytest.mark.parametrize("learner", ["logistic_regression", "random_forest"])
def test_a_feature_without_a_value_changes_nothing(impute, learner):
    """Be it in all cases or in those of a training fold; beside one with gaps."""
    small = {"random_forest:n_estimators": 10} if learner == "random_forest" else {}
    config = complete(SPACE, {"learner": learner, "impute": impute, **small})
    data = drawn(0, signal=1.0, gaps=0.05)
    train, test = np.arange(60), np.arange(60, 80)

    def proba(X):
        built = build_pipeline(config, n_features=X.shape[1], n_classes=2, n_train=60, seed=0)
        return fit_pipeline(built, X[train], data.y[train], groups=data.groups[train]).predict_proba(X[test])

    empty, seen_in_test = np.full((80, 1), np.nan), np.full((80, 1), np.nan)
    seen_in_test[test] = 3.0
    found = [proba(np.hstack([data.X, column])) for column in (empty, seen_in_test)]
    assert all(np.isfinite(p).all() for p in found)
    if learner == "logistic_regression" and impute != "knn":
        for p in found:
            np.testing.assert_allclose(p, proba(data.X), atol=1e-6)


def judged(proba, name="ensemble"):
    return Judged(name=name, kind="family", proba=np.asarray(proba))


def test_columns_without_a_value_and_new_sites_are_told_before_the_search():
    dataset, facts = dataset_of(drawn(0))
    cases = tuple(replace(case, features={**case.features, "f3": np.nan}) for case in dataset.cases)
    dataset = replace(dataset, cases=cases)
    mode = Mode(kind="leave_one_site_out")
    splits = outer_splits(dataset, mode, settings=Settings(), seed=0)
    sentences = said(dataset, groups_of(dataset, facts), splits, mode, None, limit_s=60)
    assert any("Features without a value in any training case (1 of 20): f3." in each for each in sentences)
    assert any("80 test cases are of sites without a training case" in each for each in sentences)


def test_a_model_that_predicts_one_thing_is_told_and_judged():
    """Its AUC is one half with bounds around it, and the comparison and the verdict are made."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    telling = np.clip(rng.normal(0.3 + 0.4 * y, 0.2), 0.01, 0.99)
    models = {"radiomics": np.full(40, 0.5), "pretrained2d": telling}
    split = OuterSplit(scope="final", train=np.arange(40, 80), test=np.arange(40))
    result = ScopeResult(
        judged=tuple(judged(np.c_[1 - p, p], name) for name, p in models.items()),
        delivered=(),
        fingerprint=FINGERPRINT,
    )
    (sentence,) = constant([split], [result])
    assert "'radiomics' gave every test case of a fold the same" in sentence
    frames = [
        pd.DataFrame(
            {
                "fold": 0,
                "repeat": 0,
                "n_train": 40,
                "row": range(40),
                "group": range(40),
                "truth": y,
                "is_clean": 1,
            }
            | {"model": name, "p_0": 1 - p, "p_1": p}
        )
        for name, p in models.items()
    ]
    predictions = pd.concat(frames, ignore_index=True)
    table = evaluation_table(predictions, ["no", "yes"]).set_index("model")
    assert table.loc["radiomics", "auc"] == 0.5
    assert 0 <= table.loc["radiomics", "auc_lower"] < 0.5 < table.loc["radiomics", "auc_upper"] <= 1
    kinds = [{"name": name, "kind": "family", "inner_score": 0.6} for name in models]
    pair = comparison_table(predictions, kinds).iloc[0]
    assert np.isfinite([pair["difference"], pair["lower"], pair["upper"], pair["p"]]).all()
    assert verdict(predictions, kinds, dict.fromkeys(models)).kind.value == "better"


class Model:
    """Harmonises sites and knows only site ``a``."""

    classes = ("no", "yes")
    families = ("radiomics",)

    def predict_proba(self, cases):
        return np.tile([0.4, 0.6], (len(cases), 1))

    def told(self, proba):
        return proba.argmax(axis=1)

    def unharmonised(self, case):
        return case.site != "a"

    def able(self, case):
        return None

    def prediction_sets(self, proba):
        return None

    def odd_parts(self, cases):
        return [None] * len(cases)


def test_a_site_that_training_did_not_have_is_predicted_and_told(dataset):
    cases = [replace(case, site=site) for case, site in zip(dataset.cases, "ab", strict=False)]
    (table,) = tables(Model(), cases)
    assert table["status"].tolist() == ["ok", "ok"]
    assert table["probability_yes"].tolist() == [0.6, 0.6]
    assert table["message"].iloc[0] == ""
    assert "not harmonised" in table["message"].iloc[1]


def test_a_radiomics_model_knows_the_sites_that_it_harmonised(dataset):
    """Site ``b`` had too few training cases for ComBat, ``c`` none."""
    combat = types.SimpleNamespace(sites_=np.array([0.0]))
    model = RadiomicsModel(
        spec=None,
        names=(),
        pipeline=types.SimpleNamespace(named_steps={"combat": combat}),
        labels=(0, 1),
        n_classes=2,
        backend="",
        runtime=None,
        sites=[digest("a"), digest("b")],
    )
    cases = [replace(dataset.cases[0], site=site) for site in ("a", "b", "c", None)]
    assert [model.unharmonised(case) for case in cases] == [False, True, True, True]
    plain = types.SimpleNamespace(named_steps={})
    model.pipeline = plain
    assert not any(model.unharmonised(case) for case in cases)
