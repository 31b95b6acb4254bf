"""Calibration figures against scikit-learn's regression, SciPy's root finder and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from autoonco.metrics.reliability import calibration_error, calibration_intercept, calibration_slope


def draw(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    proba = expit(1.5 * rng.normal(1.0 * positive) - 0.5)
    return positive, proba, rng.integers(0, 4, size=(5, n)).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_the_slope_is_that_of_a_logistic_regression(seed: int) -> None:
    positive, proba, weights = draw(seed)
    for row, found in zip(weights, calibration_slope(positive, proba, weights), strict=True):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(logit(proba)[:, None], positive, sample_weight=row)
        assert found == pytest.approx(model.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_intercept_makes_the_mean_right(seed: int) -> None:
    positive, proba, weights = draw(seed)
    for row, found in zip(weights, calibration_intercept(positive, proba, weights), strict=True):
        x = logit(proba)
        root = brentq(lambda a, x=x, row=row: row @ (positive - expit(a + x)), -20, 20)
        assert found == pytest.approx(root, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_error_is_that_of_a_loop_over_bins(seed: int) -> None:
    positive, proba, weights = draw(seed)
    for row, found in zip(weights, calibration_error(positive, proba, weights), strict=True):
        total = 0.0
        for bin_ in range(10):
            inside = (proba >= bin_ / 10) & (proba < (bin_ + 1) / 10 + (bin_ == 9))
            if row[inside].sum():
                gap = np.average(positive[inside], weights=row[inside]) - np.average(
                    proba[inside], weights=row[inside]
                )
                total += abs(gap) * row[inside].sum() / row.sum()
        assert found == pytest.approx(total, abs=1e-12)


def test_what_can_be_said_of_edge_cases() -> None:
    ones = np.ones((1, 6))
    y = np.array([False, False, False, True, True, True])
    perfect = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    assert np.isnan(calibration_slope(y, perfect, ones))[0]  # separated: it grows without end
    assert np.isnan(calibration_slope(y, np.full(6, 0.3), ones))[0]
    assert np.isfinite(calibration_intercept(y, y.astype(float), ones))[0]
    one_class = np.zeros(6, dtype=bool)
    assert np.isnan(calibration_slope(one_class, perfect, ones))[0]
    assert np.isnan(calibration_intercept(one_class, perfect, ones))[0]
    assert calibration_error(one_class, np.full(6, 0.5), ones)[0] == 0.5
    assert calibration_error(y, np.full(6, 0.5), ones)[0] == 0.0


def test_a_shift_and_a_stretch_are_found_again() -> None:
    rng = np.random.default_rng(5)
    true = rng.normal(size=200_000)
    y = rng.random(true.size) < expit(true)
    ones = np.ones((1, true.size))
    assert calibration_slope(y, expit(true / 0.7), ones)[0] == pytest.approx(0.7, abs=0.02)
    assert calibration_intercept(y, expit(true - 0.4), ones)[0] == pytest.approx(0.4, abs=0.02)
