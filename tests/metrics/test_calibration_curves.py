"""Reliability curves: bins that hold every case once, and bounds that hold the share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.calibration import calibration_curve

from autoonco.errors import DataError
from autoonco.metrics.calibration import reliability_curve, wilson_bounds


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 1.2, n)
    return (rng.random(n) < p).astype(int), np.c_[1 - p, p]


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_are_those_of_scikit_learn(strategy):
    y, proba = drawn(700)
    found = reliability_curve(y, proba, strategy=strategy, bins=8)
    observed, predicted = calibration_curve(y, proba[:, 1], n_bins=8, strategy=strategy)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert found.n.sum() == len(y)


def test_a_right_model_lies_within_the_bounds_about_as_often_as_they_say():
    inside = []
    for seed in range(40):
        found = reliability_curve(*drawn(1000, seed))
        inside += ((found.lower <= found.predicted) & (found.predicted <= found.upper)).tolist()
    assert 0.92 < np.mean(inside) < 0.98


def test_ties_stay_in_one_bin_and_a_constant_prediction_is_one_point():
    found = reliability_curve([0, 1, 1, 0], np.tile([0.7, 0.3], (4, 1)))
    assert found.n.tolist() == [4]
    assert found.observed.tolist() == [0.5]


def test_any_class_can_be_looked_at():
    proba = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    for k in range(3):
        found = reliability_curve([0, 1, 2], proba, target=k, bins=1)
        assert found.predicted[0] == pytest.approx(proba[:, k].mean())
        assert found.observed[0] == pytest.approx(1 / 3)


def test_wilson_covers_and_stays_within_zero_and_one():
    n, p = 25, 0.07
    hits = np.arange(n + 1)
    lower, upper = wilson_bounds(hits / n, np.full(n + 1, n))
    assert (lower >= 0).all()
    assert (upper <= 1).all()
    covered = binom.pmf(hits, n, p)[(lower <= p) & (p <= upper)].sum()
    assert 0.9 < covered < 1


def test_no_bins_are_refused():
    with pytest.raises(DataError, match="1 bin or more"):
        reliability_curve([0, 1], [[1, 0], [0, 1]], bins=0)
