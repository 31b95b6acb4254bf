from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from autoonco.errors import DataError
from autoonco.metrics.intervals import (
    auc_interval,
    bootstrap_interval,
    bootstrap_intervals,
    newcombe_bounds,
)
from autoonco.metrics.scores import METRICS


def as_proba(scores: np.ndarray) -> np.ndarray:
    p = norm.cdf(scores)
    return np.c_[1 - p, p]


def binormal(
    rng: np.random.Generator, n: int, auc: float, prevalence: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(n) < round(prevalence * n)).astype(int)
    return y, as_proba(rng.normal(np.sqrt(2) * norm.ppf(auc) * y) / 2)


def three_classes(rng: np.random.Generator, n: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n) % 3
    logits = skill * np.eye(3)[y] + rng.normal(size=(n, 3))
    return y, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold_the_value_and_stay_inside(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n = 10 + 5 * seed
    y, proba = binormal(rng, n, 0.9) if k == 2 else three_classes(rng, n, 2.0)
    groups = rng.integers(0, n // 2 + 1, n)
    found = [auc_interval(y, proba, groups), auc_interval(y, proba)]
    for interval in found:
        assert 0 <= interval.lower <= interval.value <= interval.upper <= 1
        assert interval.lower < interval.upper
    for name, interval in bootstrap_intervals(list(METRICS), y, proba, groups, resamples=100).items():
        if np.isnan(interval.value):
            assert name in ("ppv", "npv", "calibration_slope")  # nothing called, or no error to learn from
            assert np.isnan([interval.lower, interval.upper]).all()
            continue
        lowest, highest = METRICS[name].limits
        assert lowest <= interval.lower <= interval.value <= interval.upper <= highest


def test_figures_of_one_call_share_their_resamples() -> None:
    y, proba = three_classes(np.random.default_rng(9), 40)
    together = bootstrap_intervals(["log_loss", "roc_auc", "ppv"], y, proba, resamples=100, seed=3)
    for name, interval in together.items():
        assert interval == bootstrap_interval(name, y, proba, resamples=100, seed=3)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_perfect_and_constant_predictions_of_ten_cases(name: str) -> None:
    y = np.arange(10) % 2
    for proba in (
        np.eye(2)[y],
        np.eye(2)[y] * 0.6 + 0.2,
        np.full((10, 2), 0.5),
        np.tile([0.7, 0.3], (10, 1)),
    ):
        found = bootstrap_interval(name, y, proba, resamples=100)
        lowest, highest = METRICS[name].limits
        if not np.isnan(found.value):
            assert lowest <= found.lower <= found.value <= found.upper <= highest


@pytest.mark.parametrize("n", [4, 10, 40, 200])
@pytest.mark.parametrize("k", [2, 3])
def test_a_perfect_auc_is_not_certain(n: int, k: int) -> None:
    y = np.arange(n) % k
    found = auc_interval(y, np.eye(k)[y] * 0.8 + 0.2 / k)
    assert found.value == found.upper == 1
    assert found.lower < 1 - 1 / (2 * n)
    assert found.lower > (0 if n < 10 else 0.25)


def test_an_auc_of_zero_mirrors_one_of_one() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    up, down = auc_interval(y, np.eye(2)[y]), auc_interval(y, np.eye(2)[1 - y])
    assert down.value == down.lower == 0
    assert down.upper == pytest.approx(1 - up.lower)


def test_a_constant_score_says_little() -> None:
    y = np.arange(20) % 2
    found = auc_interval(y, np.full((20, 2), 0.5))
    assert found.value == 0.5
    assert found.lower < 0.3
    assert found.upper > 0.7


def test_newcombe_solves_its_equation() -> None:
    for value in (0.3, 0.75, 0.99):
        for bound in newcombe_bounds(value, 12, 30):
            q1, q2 = bound / (2 - bound), 2 * bound**2 / (1 + bound)
            # Hanley and McNeil's variance with (m + n) / 2 - 1 in place of m - 1 and n - 1
            more = (12 + 30) / 2 - 1
            var = (bound * (1 - bound) + more * (q1 - bound**2) + more * (q2 - bound**2)) / (12 * 30)
            assert abs(value - bound) / np.sqrt(var) == pytest.approx(norm.ppf(0.975), rel=1e-6)


def test_only_ranks_matter_to_delong() -> None:
    rng = np.random.default_rng(3)
    y, proba = binormal(rng, 60, 0.8)
    bent = proba[:, 1] ** 3
    assert auc_interval(y, proba) == auc_interval(y, np.c_[1 - bent, bent])


def test_swapping_the_classes_mirrors_nothing_in_the_auc() -> None:
    y, proba = binormal(np.random.default_rng(4), 60, 0.8)
    one, other = auc_interval(y, proba), auc_interval(1 - y, proba[:, ::-1])
    assert (one.value, one.lower, one.upper) == pytest.approx((other.value, other.lower, other.upper))


def test_patients_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    y, proba = binormal(rng, 60, 0.8)
    rows = np.repeat(np.arange(60), 4)
    alone, together = auc_interval(y[rows], proba[rows]), auc_interval(y[rows], proba[rows], rows)
    assert together.upper - together.lower > 1.7 * (alone.upper - alone.lower)
    once = auc_interval(y, proba)
    assert (together.lower, together.upper) == pytest.approx((once.lower, once.upper))


@pytest.mark.parametrize("name", ["accuracy", "roc_auc"])
def test_bca_is_scipys(name: str) -> None:
    rng = np.random.default_rng(6)
    y, proba = binormal(rng, 120, 0.8, 0.4)

    def statistic(rows: np.ndarray) -> float:
        return METRICS[name](y[rows.astype(int)], proba[rows.astype(int)])

    expected = bootstrap(
        (np.arange(120),),
        statistic,
        n_resamples=2000,
        method="BCa",
        vectorized=False,
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = bootstrap_interval(name, y, proba)
    width = expected.high - expected.low
    assert found.lower == pytest.approx(expected.low, abs=0.08 * width)
    assert found.upper == pytest.approx(expected.high, abs=0.08 * width)


def test_the_bootstrap_resamples_patients() -> None:
    rng = np.random.default_rng(7)
    y, proba = binormal(rng, 50, 0.75)
    rows = np.repeat(np.arange(50), 5)
    once = bootstrap_interval("accuracy", y, proba)
    again = bootstrap_interval("accuracy", y[rows], proba[rows], rows)
    assert (again.lower, again.upper) == pytest.approx((once.lower, once.upper))


def test_all_right_gives_the_exact_bound() -> None:
    y = np.arange(30) % 2
    found = bootstrap_interval("sensitivity", y, np.eye(2)[y])
    assert (found.value, found.upper) == (1, 1)
    assert found.lower == pytest.approx(0.025 ** (1 / 15))  # Clopper and Pearson, 15 of 15


def test_the_seed_decides() -> None:
    y, proba = three_classes(np.random.default_rng(8), 60)
    assert auc_interval(y, proba, seed=1) == auc_interval(y, proba, seed=1)
    assert auc_interval(y, proba, seed=1) != auc_interval(y, proba, seed=2)


def test_one_class_is_an_error() -> None:
    with pytest.raises(DataError, match="two classes"):
        auc_interval([1, 1, 1], [[0.5, 0.5]] * 3)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "prevalence"), [(30, 0.5), (30, 0.2), (100, 0.5), (100, 0.2), (500, 0.3)])
@pytest.mark.parametrize("auc", [0.8, 0.9, 0.97])
def test_coverage_of_delong(n: int, prevalence: float, auc: float) -> None:
    rng = np.random.default_rng(0)
    tries = 1500
    inside = 0
    for _ in range(tries):
        y, proba = binormal(rng, n, auc, prevalence)
        found = auc_interval(y, proba)
        inside += found.lower <= auc <= found.upper
    print(f"n = {n}, prevalence {prevalence}, AUC {auc}: coverage {inside / tries:.3f}")
    assert inside / tries > 0.93
    assert inside / tries < (0.97 if n >= 100 else 0.985)


@pytest.mark.slow
def test_coverage_with_several_lesions_a_patient() -> None:
    rng = np.random.default_rng(1)
    auc = norm.cdf(1.2 / np.sqrt(2))
    inside = ignoring = 0
    groups = np.repeat(np.arange(50), 3)
    for _ in range(800):
        y = groups % 2
        scores = 1.2 * y + np.sqrt(0.7) * rng.normal(size=50)[groups] + np.sqrt(0.3) * rng.normal(size=150)
        with_patients, without = auc_interval(y, as_proba(scores), groups), auc_interval(y, as_proba(scores))
        inside += with_patients.lower <= auc <= with_patients.upper
        ignoring += without.lower <= auc <= without.upper
    assert 0.93 < inside / 800 < 0.97
    assert ignoring / 800 < 0.87  # the test could tell


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 60, 150])
def test_coverage_of_the_bootstrap(n: int) -> None:
    rng = np.random.default_rng(2)
    truth = {
        name: METRICS[name](*three_classes(rng, 300_000))
        for name in ("roc_auc", "balanced_accuracy", "log_loss")
    }
    inside = dict.fromkeys(truth, 0)
    for seed in range(300):
        y, proba = three_classes(rng, n)
        for name, value in truth.items():
            found = bootstrap_interval(name, y, proba, resamples=1000, seed=seed)
            inside[name] += found.lower <= value <= found.upper
    print(n, {name: round(hits / 300, 3) for name, hits in inside.items()})
    assert all(0.91 <= hits / 300 <= 0.985 for hits in inside.values())  # 300 tries: 0.95 +- 0.025


def test_one_misranked_pair_is_not_told_as_surer_than_none() -> None:
    y = np.repeat([0, 1], [90, 40])
    perfect = np.concatenate([np.linspace(0.0, 0.4, 90), np.linspace(0.6, 1.0, 40)])
    swapped = perfect.copy()
    swapped[[89, 90]] = perfect[[90, 89]]
    bounds = [auc_interval(y, np.column_stack([1 - p, p])) for p in (perfect, swapped)]
    assert bounds[1].value < bounds[0].value == 1.0
    assert bounds[1].lower <= bounds[0].lower


@pytest.mark.parametrize(("n", "scale"), [(50, 1.0), (200, 1.0), (50, 2.5), (200, 2.5)])
def test_the_calibration_error_of_few_cases_is_not_taken_for_that_of_many(n: int, scale: float) -> None:
    def drawn(rng: np.random.Generator, size: int) -> tuple[Any, Any]:
        logits = rng.normal(0, 1.5, size)
        y = (rng.random(size) < 1 / (1 + np.exp(-logits))).astype(int)
        p = 1 / (1 + np.exp(-scale * logits))  # calibrated, or far too sure
        return y, np.c_[1 - p, p]

    rng = np.random.default_rng(n)
    many, proba = drawn(rng, 200_000)
    truth = METRICS["ece"](many, proba)
    found = [bootstrap_interval("ece", *drawn(rng, n), resamples=300, seed=k) for k in range(40)]
    assert sum(each.lower <= truth <= each.upper for each in found) >= 36
    assert all(-1 <= each.lower <= each.value <= each.upper <= 0 for each in found)
    if scale > 1:  # what is wrong beyond chance is seen
        assert np.mean([each.upper < 0 for each in found]) > (0.2 if n == 50 else 0.9)


def test_a_calibration_error_without_any_error_is_not_certain() -> None:
    y = np.repeat([0, 1], 10)
    found = bootstrap_interval("ece", y, np.eye(2)[y])
    assert (found.value, found.upper) == (0, 0)
    assert found.lower < -0.2


def test_the_calibration_error_of_several_classes_has_its_bounds_too() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    found = bootstrap_interval("ece", y, rng.dirichlet(np.ones(3), 90), resamples=300)
    assert -1 < found.lower < found.value < found.upper <= 0
