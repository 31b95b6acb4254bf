"""Scores of grades against scipy, scikit-learn and brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import somersd
from sklearn.metrics import cohen_kappa_score

from autoonco.errors import DataError
from autoonco.metrics.ordinal import ORDINAL_METRICS, ORDINAL_STATISTICS, expected_grade, median_grade
from autoonco.metrics.scores import METRICS


def drawn(seed, n=60, k=5):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    logits = rng.normal(size=(n, k)) - 0.5 * (np.arange(k) - y[:, None]) ** 2
    proba = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2) + 1e-3
    return y, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_ordinal_auc_is_somers_d_and_the_share_of_pairs_in_order(seed):
    y, proba = drawn(seed)
    found, scores = ORDINAL_METRICS["ordinal_auc"](y, proba), expected_grade(proba)
    assert found == pytest.approx((somersd(y, scores).statistic + 1) / 2, abs=1e-12)
    pairs = [(i, j) if y[i] < y[j] else (j, i) for i, j in combinations(range(len(y)), 2) if y[i] != y[j]]
    brute = np.mean([(scores[i] < scores[j]) + 0.5 * (scores[i] == scores[j]) for i, j in pairs])
    assert found == pytest.approx(brute, abs=1e-12)


def test_of_two_grades_it_is_the_roc_auc():
    y, proba = drawn(3, k=2)
    assert ORDINAL_METRICS["ordinal_auc"](y, proba) == pytest.approx(METRICS["roc_auc"](y, proba), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_told_grade_has_the_least_expected_absolute_error(seed):
    _, proba = drawn(seed)
    cost = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    assert (proba * cost[median_grade(proba)]).sum(axis=1) == pytest.approx((proba @ cost).min(axis=1))


@pytest.mark.parametrize("name", ORDINAL_METRICS)
def test_a_reweighted_sample_scores_as_the_sample_with_its_cases_repeated(name):
    y, proba = drawn(7)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=6)
    found = ORDINAL_STATISTICS[name](y, proba, weights.astype(float))
    for value, own in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(len(y)), own)
        assert value == pytest.approx(ORDINAL_METRICS[name](y[rows], proba[rows]), abs=1e-9)


def test_kappa_is_scikit_learn_s_and_says_nothing_of_one_grade():
    y, proba = drawn(1)
    expected = cohen_kappa_score(y, median_grade(proba), weights="quadratic")
    assert ORDINAL_METRICS["quadratic_kappa"](y, proba) == pytest.approx(expected)
    alone = np.tile([0.9, 0.1], (4, 1))
    assert ORDINAL_METRICS["quadratic_kappa"](np.zeros(4, dtype=int), alone) == 0
    assert ORDINAL_STATISTICS["quadratic_kappa"](np.zeros(4, dtype=int), alone, np.ones((1, 4))) == 0


def test_perfect_and_reversed_predictions_have_the_ends_of_the_ranges():
    y = np.arange(5).repeat(3)
    right, wrong = np.eye(5)[y], np.eye(5)[4 - y]
    assert [metric(y, right) for metric in ORDINAL_METRICS.values()] == [1, 1, 0, 0]
    assert ORDINAL_METRICS["ordinal_auc"](y, wrong) == 0
    assert ORDINAL_METRICS["quadratic_kappa"](y, wrong) == pytest.approx(-1)
    assert ORDINAL_METRICS["mean_absolute_error"](y, wrong) == pytest.approx(-2.4)


def test_the_ranked_probability_score_of_two_grades_is_the_brier_score():
    y, proba = drawn(2, k=2)
    assert ORDINAL_METRICS["ranked_probability"](y, proba) == pytest.approx(METRICS["brier"](y, proba))


def test_one_grade_can_t_be_ranked():
    with pytest.raises(DataError, match="two grades; all 3 cases are of grade 1"):
        ORDINAL_METRICS["ordinal_auc"]([1, 1, 1], [[0.5, 0.5]] * 3)


@pytest.mark.parametrize("name", ORDINAL_METRICS)
def test_a_resample_without_a_case_has_no_figure(name):
    y, proba = drawn(4)
    found = ORDINAL_STATISTICS[name](y, proba, np.array([np.zeros(60), np.ones(60)]))
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_one_grade_told_of_all_agrees_as_chance_does():
    """To the last digit, so that folds that all say so are told as equal."""
    y, _ = drawn(5)
    majority = np.tile([0.1, 0.2, 0.4, 0.2, 0.1], (60, 1))
    weights = np.random.default_rng(0).integers(0, 3, (50, 60)).astype(float)
    assert set(ORDINAL_STATISTICS["quadratic_kappa"](y, majority, weights)) == {0.0}
