from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp
from sklearn.metrics import roc_auc_score

from autoonco.metrics.comparison import compare_auc, compare_folds, holm


def as_proba(scores: np.ndarray) -> np.ndarray:
    p = norm.cdf(scores / 3)
    return np.c_[1 - p, p]


def correlated(
    rng: np.random.Generator, n: int, aucs: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two binormal scores of the same cases with a correlation of one half."""
    y = np.arange(n) % 2
    shared = rng.normal(size=n)
    one, two = (np.sqrt(2) * norm.ppf(auc) * y + np.sqrt(0.5) * (shared + rng.normal(size=n)) for auc in aucs)
    return y, as_proba(one), as_proba(two)


def paired_error(y: np.ndarray, one: np.ndarray, two: np.ndarray) -> float:
    """DeLong's covariance matrix of two AUCs by double loops, then the error of their difference."""
    v10, v01 = [], []
    for proba in (one, two):
        psi = np.array(
            [[(x > z) + 0.5 * (x == z) for z in proba[y == 0, 1]] for x in proba[y == 1, 1]], dtype=float
        )
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    cov = np.cov(v10) / (y == 1).sum() + np.cov(v01) / (y == 0).sum()
    return float(np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_paired_delong_is_that_of_all_pairs(seed: int) -> None:
    y, one, two = correlated(np.random.default_rng(seed), 50, (0.85, 0.75))
    found = compare_auc(y, one, two)
    error = paired_error(y, one, two)
    assert found.difference == pytest.approx(roc_auc_score(y, one[:, 1]) - roc_auc_score(y, two[:, 1]))
    half = (found.upper - found.lower) / 2
    freedom_of = t.ppf(0.975, np.arange(20, 50))  # Satterthwaite: between 24 and 48 for two classes of 25
    assert freedom_of.min() <= half / error <= freedom_of.max()


@pytest.mark.parametrize("k", [2, 3])
def test_swapping_the_models_mirrors_the_comparison(k: int) -> None:
    rng = np.random.default_rng(1)
    y = np.arange(90) % k
    one, two = (rng.dirichlet(np.ones(k), 90) * 0.5 + a * np.eye(k)[y] + (0.5 - a) / k for a in (0.2, 0.1))
    ahead, behind = compare_auc(y, one, two), compare_auc(y, two, one)
    assert ahead.difference == pytest.approx(-behind.difference)
    assert (ahead.lower, ahead.upper) == pytest.approx((-behind.upper, -behind.lower), abs=1e-12)
    assert (ahead.p, ahead.p_equivalent) == pytest.approx((behind.p, behind.p_equivalent))


def test_only_ranks_matter() -> None:
    y, one, two = correlated(np.random.default_rng(2), 60, (0.85, 0.75))
    bent = two[:, 1] ** 5
    assert compare_auc(y, one, np.c_[1 - bent, bent]) == compare_auc(y, one, two)


@pytest.mark.parametrize("k", [2, 3])
def test_a_model_is_equivalent_to_itself(k: int) -> None:
    rng = np.random.default_rng(3)
    y, proba = np.arange(30) % k, rng.dirichlet(np.ones(k), 30)
    found = compare_auc(y, proba, proba.copy())
    assert (found.difference, found.lower, found.upper) == (0, 0, 0)
    assert found.p == 1
    assert found.p_equivalent < 0.05


@pytest.mark.parametrize("k", [2, 3])
def test_two_perfect_models_on_few_cases_prove_nothing(k: int) -> None:
    rng = np.random.default_rng(4)
    y = np.arange(12) % k
    one, two = (0.6 * np.eye(k)[y] + 0.4 * rng.dirichlet(np.ones(k), 12) for _ in range(2))
    found = compare_auc(y, one, two)
    assert found.difference == 0
    assert found.p == pytest.approx(1)
    assert found.p_equivalent > 0.2
    assert found.lower < -0.1
    assert found.upper > 0.1


@pytest.mark.parametrize("k", [2, 3])
def test_a_single_patient_is_no_evidence(k: int) -> None:
    rng = np.random.default_rng(10)
    y, (one, two) = np.arange(12) % k, rng.dirichlet(np.ones(k), (2, 12))
    found = compare_auc(y, one, two, np.zeros(12))
    assert found.p > 0.05
    assert found.p_equivalent > 0.05
    assert found.lower < found.difference < found.upper


def test_perfect_against_inverted_is_certain_without_a_variance() -> None:
    y = np.arange(20) % 2
    found = compare_auc(y, np.eye(2)[y], np.eye(2)[1 - y])
    assert found.difference == found.upper == 1
    assert found.lower > 0
    assert found.p < 0.001


def test_patients_count_once() -> None:
    y, one, two = correlated(np.random.default_rng(5), 60, (0.9, 0.75))
    rows = np.repeat(np.arange(60), 4)
    once = compare_auc(y, one, two)
    again = compare_auc(y[rows], one[rows], two[rows], rows)
    ignoring = compare_auc(y[rows], one[rows], two[rows])
    assert (again.lower, again.upper, again.p) == pytest.approx((once.lower, once.upper, once.p))
    assert ignoring.p < once.p / 10


@pytest.mark.parametrize("k", [2, 3])
def test_interval_and_p_agree(k: int) -> None:
    rng = np.random.default_rng(6)
    for lead in (0.0, 0.02, 0.05, 0.1):
        y = np.arange(80) % k
        one, two = (
            rng.dirichlet(np.ones(k), 80) * 0.6 + a * np.eye(k)[y] + (0.4 - a) / k for a in (0.1 + lead, 0.1)
        )
        found = compare_auc(y, one, two)
        assert (found.p < 0.05) == (found.lower > 0 or found.upper < 0)
        assert -1 <= found.lower <= found.difference <= found.upper <= 1


def test_equivalence_needs_many_cases() -> None:
    rng = np.random.default_rng(7)
    few, many = (compare_auc(*correlated(rng, n, (0.9, 0.9))) for n in (40, 2000))
    assert few.p_equivalent > 0.05
    assert many.p_equivalent < 0.001


def test_folds_without_correction_are_students_t() -> None:
    differences = [0.03, 0.05, -0.01, 0.04, 0.02]
    found = compare_folds(differences, 0.0)
    assert found.p == pytest.approx(ttest_1samp(differences, 0).pvalue)
    corrected = compare_folds(differences, 1 / 4)
    assert corrected.p > found.p
    ratio = (corrected.upper - corrected.difference) / (found.upper - found.difference)
    assert ratio == pytest.approx(np.sqrt((1 / 5 + 1 / 4) / (1 / 5)))


def test_folds_that_cannot_vary_prove_nothing() -> None:
    assert np.isnan(compare_folds([0.1, 0.1, 0.1], 0.5).p)
    assert np.isnan(compare_folds([0.1], 0.5).p)
    equal = compare_folds([0.0, 0.0, 0.0], 0.5)
    assert equal.difference == 0
    assert np.isnan([equal.p, equal.p_equivalent, equal.lower, equal.upper]).all()


def test_holm() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with_unknown = holm([0.01, np.nan, 0.04])
    assert with_unknown[::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(with_unknown[1])


@pytest.mark.slow
@pytest.mark.parametrize(("n", "auc"), [(30, 0.8), (60, 0.9), (160, 0.95), (300, 0.85)])
def test_false_differences_are_rare(n: int, auc: float) -> None:
    rng = np.random.default_rng(8)
    hits = sum(compare_auc(*correlated(rng, n, (auc, auc))).p < 0.05 for _ in range(1500))
    print(f"n = {n}, AUC {auc}: p < 0.05 in {hits / 1500:.3f} of null tasks")
    assert hits / 1500 < 0.065


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400])
def test_false_equivalence_is_rare(n: int) -> None:
    rng = np.random.default_rng(9)
    hits = sum(compare_auc(*correlated(rng, n, (0.90, 0.85))).p_equivalent < 0.05 for _ in range(1000))
    print(f"n = {n}: equivalence claimed in {hits / 1000:.3f} of tasks that differ by the margin")
    assert hits / 1000 < 0.07
