from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from autoonco.evaluation import own_metric
from autoonco.evaluation.own_metric import OWN_FILE, own_figures, with_own_figures
from autoonco.evaluation.tables import evaluation_table, fold_ratio
from autoonco.metrics.custom import metric_from
from autoonco.metrics.folds import resampled_t_interval
from autoonco.metrics.intervals import bootstrap_interval
from autoonco.metrics.scores import METRICS
from tests.evaluation.test_tables import of, predictions

BRIER = METRICS["brier"]


def squares(y, proba):
    return BRIER(y, proba)


@pytest.mark.parametrize("folds", [1, 4])
def test_a_function_that_is_a_known_figure_has_its_interval(folds, monkeypatch):
    monkeypatch.setattr(own_metric, "RESAMPLES", 500)
    table = predictions(n=40, folds=folds, unclean=8)
    table = table[table["model"].isin(["radiomics", "pretrained2d"])]
    found = own_figures(table, metric_from(squares), limit_s=1000.0).set_index(["model", "subset"])
    expected = evaluation_table(table, ["a", "b"], figures=("brier",), resamples=500).set_index(
        ["model", "subset"]
    )
    assert set(found.index) == set(expected.index)
    for key, row in found.iterrows():
        assert row["value"] == pytest.approx(-expected.loc[key, "brier"])
        bounds = -expected.loc[key, "brier_upper"], -expected.loc[key, "brier_lower"]
        if (
            folds > 1
        ):  # the ends of a user's function aren't known, so its bounds of folds keep away from none
            model, subset = key
            own = of(table, model)
            own = own[own["is_clean"] == 1] if subset == "test, clean" else own
            every = [fold for _, fold in own.groupby("fold")]
            scores = [BRIER(fold["truth"], fold[["p_0", "p_1"]]) for fold in every]
            plain = resampled_t_interval(scores, fold_ratio(every), worst=-np.inf, best=np.inf)
            bounds = plain.lower, plain.upper
        assert (row["lower"], min(row["upper"], 0.0)) == pytest.approx((bounds[0], min(bounds[1], 0.0)))
    one = of(table, "radiomics")
    if folds == 1:
        direct = bootstrap_interval("brier", one["truth"], one[["p_0", "p_1"]], one["group"], resamples=500)
        assert found.loc[("radiomics", "test"), "lower"] == pytest.approx(direct.lower)


def test_a_slow_function_has_no_bounds_and_a_failing_one_no_value():
    def slow(y, proba):
        time.sleep(0.02)
        return 1.0

    table = predictions(n=20)
    found = own_figures(table, metric_from(slow), limit_s=1.0)
    assert (found["value"] == 1).all()
    assert found["lower"].isna().all()
    assert (found["method"] == "too slow for a bootstrap").all()
    failing = own_figures(table, metric_from(lambda y, proba: 1 / 0))
    assert failing["value"].isna().all()


def test_columns_stand_beside_the_others_and_only_of_that_metric(tmp_path):
    table = predictions(n=20)
    evaluation = evaluation_table(table, ["a", "b"], figures=())
    (tmp_path / "evaluation").mkdir()
    own_figures(table, metric_from(squares), limit_s=0.0).to_csv(tmp_path / OWN_FILE, index=False)
    found = with_own_figures(evaluation, tmp_path, "mylab.squares")
    assert list(found)[-4:] == ["squares", "squares_lower", "squares_upper", "method"]
    assert np.isfinite(found["squares"]).all()
    twin = with_own_figures(evaluation, tmp_path, "mylab.auc")
    np.testing.assert_array_equal(twin["auc"], evaluation["auc"])
    np.testing.assert_array_equal(twin["own_auc"], found["squares"])
    pd.testing.assert_frame_equal(with_own_figures(evaluation, tmp_path, "roc_auc"), evaluation)
    pd.testing.assert_frame_equal(
        with_own_figures(evaluation, tmp_path / "none", "mylab.squares"), evaluation
    )


def test_equal_folds_are_not_certain():
    found = own_figures(predictions(n=20, folds=2), metric_from(lambda y, proba: 0.75))
    assert (found["value"] == 0.75).all()
    assert found[["lower", "upper"]].isna().all(axis=None)
