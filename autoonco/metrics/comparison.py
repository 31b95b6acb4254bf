"""Whether one model's AUC differs from another's on the same cases, or is equivalent to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from autoonco.metrics.delong import components, variance
from autoonco.metrics.folds import corrected_error, degrees_of_freedom
from autoonco.metrics.intervals import RESAMPLES, STATISTIC_OF, auc_interval, bootstrap_interval
from autoonco.metrics.resampling import evaluate_resamples, patient_codes
from autoonco.metrics.scores import METRICS, Labels, Probabilities, Values, checked
from autoonco.metrics.weighted import Weights

MARGIN = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The AUC of one model minus that of another.

    `p` tests that there is no difference; `p_equivalent` (two one-sided tests, TOST) that the difference is
    `margin` or more either way: a small one shows equivalence. Both are ``nan`` where nothing can be
    said.
    """

    difference: float
    lower: float
    upper: float
    p: float
    p_equivalent: float
    margin: float
    method: str


def compare_auc(
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    seed: int = 0,
    metric: str = "roc_auc",
) -> Comparison:
    """Return the AUC of `first` minus that of `second`, both ``(n_cases, n_classes)``, on one test set.

    Two classes: paired DeLong, patient-clustered where `groups` repeat. More classes (macro one-against-rest), or
    another `metric` that ranks, such as the ordinal AUC: a paired bootstrap of patients, percentile bounds and the p
    value that goes with them.

    Raises
    ------
    DataError
        If labels and probabilities don't fit together, or all cases are of one class.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 100)
    >>> good, chance = rng.normal(2 * y), rng.normal(size=200)
    >>> def proba(s): return np.c_[1 / (1 + np.exp(s)), 1 / (1 + np.exp(-s))]
    >>> found = compare_auc(y, proba(good), proba(chance))
    >>> found.difference > 0.3, found.p < 0.001, found.p_equivalent > 0.5
    (True, True, True)
    """
    labels, one = checked(y, first)
    two = checked(y, second)[1]
    if one.shape[1] > 2 or metric != "roc_auc":
        return _by_bootstrap(labels, one, two, groups, metric, margin=margin, level=level, seed=seed)
    patients, positive = patient_codes(groups, len(labels)), labels == 1
    auc = METRICS["roc_auc"]
    difference = auc(labels, one) - auc(labels, two)
    parts = components(positive, one[:, 1]) - components(positive, two[:, 1])
    var, freedom = variance(positive, parts, patients)
    error, method = float(np.sqrt(var)), "paired DeLong"
    if np.array_equal(one, two):
        error, method = 0.0, "the same predictions"
    elif not var > 0:
        error, method = _error_of_bounds(labels, one, two, patients), "bounds of both, squared and added"
    freedom = freedom if np.isfinite(freedom) else np.inf
    return _from_error(difference, error, freedom, margin=margin, level=level, method=method)


def compare_folds(
    differences: Sequence[float], test_to_train: float, *, margin: float = MARGIN, level: float = 0.95
) -> Comparison:
    """Return the comparison of two models from their AUC differences on the same outer folds.

    Corrected resampled t (Nadeau and Bengio 2003); see `folds.resampled_t_interval`. Folds that all
    differ by the same amount, 0 included, leave no variance to test with: bounds and p values are ``nan``.

    Examples
    --------
    >>> found = compare_folds([0.05, 0.07, 0.06, 0.05, 0.07], 1 / 4)
    >>> round(found.difference, 3), found.p < 0.01, found.p_equivalent > 0.05
    (0.06, True, True)
    """
    mean, error = corrected_error(differences, test_to_train)
    k = len(differences)
    method = f"corrected resampled t, {k} folds"
    return _from_error(mean, error, degrees_of_freedom(k), margin=margin, level=level, method=method)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number after Holm (1979); a ``nan`` stays one and isn't counted.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * (known.size - np.arange(known.size))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1) if known.size else steps
    return [float(value) for value in out]


def _from_error(
    difference: float, error: float, freedom: float, *, margin: float, level: float, method: str
) -> Comparison:
    if error == 0:  # the same predictions
        p, p_equivalent = 1.0, 0.0
    else:
        p = float(2 * t.sf(abs(difference) / error, freedom))
        p_equivalent = float(t.sf((margin - abs(difference)) / error, freedom))
    half = t.ppf((1 + level) / 2, freedom) * error
    return Comparison(
        difference=difference,
        lower=float(np.maximum(difference - half, -1)),
        upper=float(np.minimum(difference + half, 1)),
        p=p,
        p_equivalent=p_equivalent,
        margin=margin,
        method=method,
    )


def _error_of_bounds(
    labels: Labels, one: Probabilities, two: Probabilities, patients: Labels, metric: str = "roc_auc"
) -> float:
    # Two perfect models have no variance to estimate. Square and add (Zou and Donner 2008) takes it from the
    # bounds of each AUC; as if independent, which for models of the same cases errs on the wide side.
    if metric == "roc_auc":
        a, b = (auc_interval(labels, values, patients) for values in (one, two))
    else:
        a, b = (bootstrap_interval(metric, labels, values, patients) for values in (one, two))
    down = np.hypot(a.value - a.lower, b.upper - b.value)
    up = np.hypot(a.upper - a.value, b.value - b.lower)
    return float(max(down, up) / norm.ppf(0.975))


def _by_bootstrap(
    labels: Labels,
    one: Probabilities,
    two: Probabilities,
    groups: ArrayLike | None,
    metric: str,
    *,
    margin: float,
    level: float,
    seed: int,
) -> Comparison:
    auc = STATISTIC_OF[metric]

    def statistic(weights: Weights) -> Values:
        values: Values = auc(labels, one, weights) - auc(labels, two, weights)
        return values

    difference = float(statistic(np.ones((1, len(labels))))[0])
    patients = patient_codes(groups, len(labels))
    draws = evaluate_resamples(statistic, patients, resamples=RESAMPLES, seed=seed)
    draws = draws[np.isfinite(draws)]

    def share(hits: NDArray[np.bool_]) -> float:  # never 0: so many resamples can't show less
        return float((hits.sum() + 1) / (hits.size + 1))

    if draws.size == 0 or (np.ptp(draws) < 1e-12 and not np.array_equal(one, two)):
        error = _error_of_bounds(labels, one, two, patients, metric)
        method = "bounds of both, squared and added"
        return _from_error(difference, error, np.inf, margin=margin, level=level, method=method)
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Comparison(
        difference=difference,
        lower=float(lower),
        upper=float(upper),
        p=min(1.0, 2 * min(share(draws <= 0), share(draws >= 0))),
        p_equivalent=max(share(draws >= margin), share(draws <= -margin)),
        margin=margin,
        method="paired bootstrap of patients",
    )
