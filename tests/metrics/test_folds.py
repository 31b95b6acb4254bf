"""Intervals of the mean of outer folds: their formula, their scale near the ends of a range, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import t

from autoonco.metrics.comparison import compare_folds
from autoonco.metrics.folds import MOST_FREEDOM, degrees_of_freedom, resampled_t_interval

SCORES = [0.81, 0.92, 0.85, 0.88, 0.79]
HALF = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1 / 4) * np.var(SCORES, ddof=1))


def test_an_unbounded_score_has_the_plain_interval() -> None:
    found = resampled_t_interval(SCORES, 1 / 4, worst=-np.inf, best=np.inf)
    assert found.value == pytest.approx(0.85)
    assert (found.lower, found.upper) == pytest.approx((0.85 - HALF, 0.85 + HALF))
    assert np.isnan(resampled_t_interval([0.9], 1.0).lower)


@pytest.mark.parametrize("shift", [0.0, 0.07, -0.35])
def test_the_bounds_of_a_share_lie_so_many_errors_of_their_own_away(shift: float) -> None:
    found, mean = resampled_t_interval([each + shift for each in SCORES], 1 / 4), 0.85 + shift
    for bound in (found.lower, found.upper):
        own = HALF * np.sqrt(bound * (1 - bound) / (mean * (1 - mean)))
        assert abs(bound - mean) == pytest.approx(own)


def test_away_from_the_ends_of_a_range_it_is_the_interval_of_the_logit() -> None:
    found = resampled_t_interval([0.58, 0.61, 0.60, 0.59, 0.62], 1 / 4)
    half = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1 / 4) * np.var([0.58, 0.61, 0.60, 0.59, 0.62], ddof=1))
    half /= 0.6 * 0.4
    assert (logit(found.lower), logit(found.upper)) == pytest.approx(
        (logit(0.6) - half, logit(0.6) + half), rel=0.01
    )


@pytest.mark.parametrize("worse", [0.99, 0.95, 0.9, 0.8])
def test_one_fold_that_is_not_perfect_does_not_make_the_others_chance(worse: float) -> None:
    found = resampled_t_interval([1.0, 1.0, 1.0, 1.0, worse], 1 / 4)
    assert 1 - 20 * (1 - found.value) < found.lower < 1 - 3 * (1 - found.value)
    assert found.value < found.upper < 1


def test_a_loss_has_the_same_interval_as_its_logarithm() -> None:
    found = resampled_t_interval([-each for each in SCORES], 1 / 4, worst=-np.inf, best=0.0)
    assert (found.lower, found.upper) == pytest.approx(
        (-0.85 * np.exp(HALF / 0.85), -0.85 * np.exp(-HALF / 0.85))
    )


def test_a_mirrored_range_has_the_mirrored_interval() -> None:
    found = resampled_t_interval(SCORES, 1 / 4)
    mirrored = resampled_t_interval([-each for each in SCORES], 1 / 4, worst=-1.0, best=0.0)
    stretched = resampled_t_interval([2 * each - 1 for each in SCORES], 1 / 4, worst=-1.0)
    assert (-mirrored.upper, -mirrored.lower) == pytest.approx((found.lower, found.upper))
    assert ((stretched.lower + 1) / 2, (stretched.upper + 1) / 2) == pytest.approx((found.lower, found.upper))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("worst", "best"), [(0.0, 1.0), (-1.0, 1.0), (-np.inf, 0.0), (0.0, np.inf)])
def test_bounds_hold_the_mean_and_stay_inside(seed: int, worst: float, best: float) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.beta(4, 0.3, size=rng.integers(2, 12)).round(2)  # many at the very end
    scores = inside if best == 1 else -inside if best == 0 else 50 * inside
    found = resampled_t_interval(scores.tolist(), 1 / 4, worst=worst, best=best)
    assert np.isnan(found.lower) == np.isnan(found.upper) == (np.ptp(scores) == 0)
    if np.ptp(scores) > 0:
        assert worst < found.lower < found.value < found.upper < best


@pytest.mark.parametrize("scores", [[1.0] * 5, [0.3, 0.1 + 0.2], [0.0, 0.0]])
def test_equal_folds_tell_no_variance_and_are_not_certain(scores: list[float]) -> None:
    found = resampled_t_interval(scores, 1 / 4)
    assert found.value == pytest.approx(scores[0])
    assert np.isnan([found.lower, found.upper]).all()
    assert np.isnan(compare_folds(scores, 1 / 4).p)


def test_many_repeats_of_the_same_cases_have_no_more_than_ten_degrees_of_freedom() -> None:
    assert [degrees_of_freedom(n) for n in (1, 2, 5, 11, 12, 500)] == [1, 1, 4, 10, 10, MOST_FREEDOM]
    rng = np.random.default_rng(0)
    differences = rng.normal(0.05, 0.1, 50)
    error = np.sqrt((1 / 50 + 1 / 4) * np.var(differences, ddof=1))
    found = compare_folds(differences.tolist(), 1 / 4)
    assert found.p == pytest.approx(2 * t.sf(abs(differences.mean()) / error, 10))
    assert found.upper - found.difference == pytest.approx(t.ppf(0.975, 10) * error)
