"""What is said before a search, against simulations of the very tests that come after it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from autoonco.metrics.comparison import compare_auc, compare_folds
from autoonco.metrics.power import auc_variance, power_of_folds, power_of_test


@pytest.mark.parametrize("auc", [0.6, 0.75, 0.9])
def test_hanley_and_mcneils_variance_is_that_of_their_own_model(auc: float) -> None:
    rng = np.random.default_rng(0)
    rate = auc / (1 - auc)  # negatives exponential with rate 1, positives with rate 1 / rate: P(x > z) = auc
    aucs = []
    for _ in range(4000):
        x, z = rng.exponential(rate, 25), rng.exponential(1.0, 40)
        aucs.append((x[:, None] > z).mean())
    assert np.mean(aucs) == pytest.approx(auc, abs=0.005)
    assert np.var(aucs) == pytest.approx(auc_variance(auc, 25, 40), rel=0.1)


def test_more_cases_and_folds_show_more() -> None:
    tests = [power_of_test([(n, n)]) for n in (20, 60, 200, 1000)]
    assert sorted((each.difference for each in tests[1:]), reverse=True) == [t.difference for t in tests[1:]]
    assert sorted((each.margin for each in tests), reverse=True) == [each.margin for each in tests]
    folds = [power_of_folds([(20, 20)], 5 * repeats, 1 / 4) for repeats in (1, 2, 10)]
    assert folds[0].difference > folds[1].difference > folds[2].difference
    assert folds[0].margin > folds[1].margin > folds[2].margin


def test_a_handful_of_cases_can_show_nothing() -> None:
    assert np.isnan(power_of_test([(3, 3)]).difference)
    assert np.isnan(power_of_folds([(20, 20)], 1, 1.0).difference)


def test_several_classes_are_bounded_by_the_mean_of_theirs() -> None:
    one, other = power_of_test([(20, 80)]), power_of_test([(50, 50)])
    both = power_of_test([(20, 80), (50, 50)])
    assert other.margin < both.margin < one.margin


def test_folds_with_that_difference_are_called_with_the_power_said() -> None:
    """Folds' differences correlate by n_test / n, as the correction of Nadeau and Bengio supposes."""
    rng, k, rho = np.random.default_rng(1), 10, 0.2
    said = power_of_folds([(20, 20)], k, rho / (1 - rho))
    a, b = auc_variance(said.auc, 20, 20), auc_variance(said.auc + said.difference, 20, 20)
    sigma = np.sqrt((a + b - 2 * said.correlation * np.sqrt(a * b)) / (1 - rho))
    better = equivalent = 0
    for _ in range(1500):
        noise = sigma * (np.sqrt(rho) * rng.normal() + np.sqrt(1 - rho) * rng.normal(size=k))
        better += compare_folds(list(said.difference + noise), rho / (1 - rho)).p < 0.05
        null = np.sqrt(2 * a * (1 - said.correlation) / (1 - rho)) / sigma * noise
        equivalent += compare_folds(list(null), rho / (1 - rho), margin=said.margin).p_equivalent < 0.05
    assert better / 1500 == pytest.approx(0.8, abs=0.05)
    assert equivalent / 1500 == pytest.approx(0.8, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n", [80, 200])
def test_paired_delong_has_the_power_said(n: int) -> None:
    rng, said = np.random.default_rng(2), power_of_test([(n, n)])
    y = np.repeat([0, 1], n)
    shifts = np.sqrt(2) * norm.ppf([said.auc, said.auc + said.difference])
    hits, aucs = 0, []
    for _ in range(600):
        shared = rng.normal(size=2 * n)
        proba = []
        for shift in shifts:
            p = norm.cdf((shift * y + np.sqrt(0.52) * shared + np.sqrt(0.48) * rng.normal(size=2 * n)) / 3)
            proba.append(np.c_[1 - p, p])
        found = compare_auc(y, *proba)
        hits += found.p < 0.05
        aucs.append([(p[y == 1, 1][:, None] > p[y == 0, 1]).mean() for p in proba])
    assert np.corrcoef(np.array(aucs).T)[0, 1] == pytest.approx(said.correlation, abs=0.1)
    assert hits / 600 == pytest.approx(0.8, abs=0.08)
