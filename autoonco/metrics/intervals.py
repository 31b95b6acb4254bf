"""Confidence intervals of scores on test cases; never outside the range of the score.

One test set, one AUC of two classes: DeLong's variance, by patient, on the logit scale. Anything else on
one test set: BCa bootstrap over patients. Several outer folds have intervals of their own, see `folds`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, t

from autoonco.metrics.delong import components, variance
from autoonco.metrics.ordinal import ORDINAL_METRICS, ORDINAL_STATISTICS
from autoonco.metrics.reliability import calibration_gaps, error_bounds
from autoonco.metrics.resampling import evaluate_left_out, evaluate_resamples, patient_codes
from autoonco.metrics.scores import (
    METRICS,
    Labels,
    Metric,
    Probabilities,
    Values,
    checked,
    one_vs_rest_classes,
)
from autoonco.metrics.weighted import STATISTICS, Statistic, Weights

FIGURES: dict[str, Metric] = METRICS | ORDINAL_METRICS
"""Every figure that has an interval, by name."""
STATISTIC_OF: dict[str, Statistic] = STATISTICS | ORDINAL_STATISTICS

RESAMPLES = 2000
RESAMPLED = "BCa bootstrap of patients"
SAME = 1e-12
"""Resamples, or folds, that differ by less are equal."""
_TINY = 1e-9  # at 0 and 1 the value itself is a root, and not the one that bounds
_FEW_PAIRS = (
    60  # with more pairs in the wrong order the simulated coverage on the logit scale is near nominal
)
_PRIOR_PAIRS, _HANDFUL = 10, 5


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its bounds and the name of the method that made them."""

    value: float
    lower: float
    upper: float
    method: str


def auc_interval(
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the ROC AUC of probabilities ``(n_cases, n_classes)`` with its interval on one test set.

    Two classes: DeLong's variance, patient-clustered (Obuchowski 1997), on the logit scale with a t
    quantile (Satterthwaite). Where less than 60 pairs are out of order the logit scale covers too much: DeLong's
    variance then stands at the AUC that was found and is carried to other AUCs as in Newcombe's (2006) method 5,
    which it becomes where no variance can be had (an AUC of 0 or 1, a constant score, a class with one patient).
    More classes: macro one-against-rest with the patient bootstrap.

    Parameters
    ----------
    groups
        Patients ``(n_cases,)``; every case is its own where None.

    Raises
    ------
    DataError
        If labels and probabilities don't fit together, or all cases are of one class.

    Examples
    --------
    >>> found = auc_interval([0, 0, 0, 1, 1], [[1, 0], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0, 1]])
    >>> found.value, found.upper, found.method
    (1.0, 1.0, 'Newcombe')
    """
    labels, values = checked(y, proba)
    if values.shape[1] > 2:
        return bootstrap_interval("roc_auc", labels, values, groups, level=level, seed=seed)
    value = METRICS["roc_auc"](labels, values)
    positive = labels == 1
    patients = patient_codes(groups, len(labels))
    m, n = (np.unique(patients[part]).size for part in (positive, ~positive))
    var, freedom = variance(positive, components(positive, values[:, 1]), patients)
    if not var > 0 or value in (0.0, 1.0):
        lower, upper = newcombe_bounds(value, m, n, level=level)
        return Interval(value=value, lower=lower, upper=upper, method="Newcombe")
    misplaced = min(value, 1 - value) * m * n
    if misplaced < _FEW_PAIRS:
        # of few pairs the variance comes out too small: a prior as of ten pairs holds it, and a handful of them
        # may not narrow the bounds, for one misplaced pair would be told as surer than none
        ratio = (misplaced * var / _error_squared(value, m, n) + _PRIOR_PAIRS) / (misplaced + _PRIOR_PAIRS)
        ratio = max(1.0, ratio) if misplaced < _HANDFUL else ratio
        lower, upper = newcombe_bounds(value, m, n, level=level, ratio=ratio)
        return Interval(value=value, lower=lower, upper=upper, method="DeLong, Newcombe")
    # d logit(A) / dA = 1 / (A (1 - A))
    half = t.ppf((1 + level) / 2, freedom) * np.sqrt(var) / (value * (1 - value))
    odds = value / (1 - value)
    lower, upper = (float(1 / (1 + np.exp(-step) / odds)) for step in (-half, half))
    return Interval(value=value, lower=lower, upper=upper, method="DeLong, logit")


def newcombe_bounds(
    value: float, m: int, n: int, *, level: float = 0.95, ratio: float = 1.0
) -> tuple[float, float]:
    """Return bounds of an AUC from its value and the sizes `m`, `n` of the two classes alone.

    Newcombe (2006), Statistics in Medicine 25:559, method 5: the AUCs that `value` lies not more than z
    standard errors from, the error being the Hanley-McNeil one *at that AUC*, so that 0 and 1 have a bound
    too. `ratio` multiplies its square, where more is known of it.

    Examples
    --------
    >>> lower, upper = newcombe_bounds(1.0, 20, 20)
    >>> round(lower, 3), upper
    (0.899, 1.0)
    """
    z = norm.ppf((1 + level) / 2)

    def beyond(theta: float) -> float:
        return float((value - theta) ** 2 - z**2 * ratio * _error_squared(theta, m, n))

    lower = 0.0 if value <= 0 else brentq(beyond, 0, value - _TINY)
    upper = 1.0 if value >= 1 else brentq(beyond, value + _TINY, 1)
    return float(lower), float(upper)


def _error_squared(theta: float, m: int, n: int) -> float:
    """Return Hanley and McNeil's variance of an AUC, m - 1 and n - 1 being their mean, as Newcombe has it."""
    more = (m + n) / 2 - 1
    return theta * (1 - theta) * (1 + more * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (m * n)


def bootstrap_interval(
    metric: str,
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a score with its BCa interval over resampled patients; see `bootstrap_intervals`."""
    found = bootstrap_intervals([metric], y, proba, groups, level=level, resamples=resamples, seed=seed)
    return found[metric]


def bootstrap_intervals(
    metrics: Sequence[str],
    y: ArrayLike,
    proba: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the figures of `metrics` with BCa intervals over resampled patients, all from the same resamples.

    `metrics` are names in `FIGURES`. Resamples in which a figure is undefined (a class is missing) are
    left out. Bias and skewness are corrected after Efron (1987). Where every resample gives the same value (all
    cases right, say) the bootstrap knows nothing: the bounds then lie 1 - (alpha/2)^(1/n) away, n being the
    patients of the smaller class (an infinity, where the score has no worst value), which for a value of 1 is
    Clopper and Pearson's exact lower bound. A figure that is undefined on these cases has no bounds (``nan``). The
    calibration error has bounds of its own, see `reliability.error_bounds`.

    Raises
    ------
    DataError
        If labels and probabilities don't fit together.
    """
    labels, values = checked(y, proba)
    patients = patient_codes(groups, len(labels))

    def statistics(weights: Weights) -> Values:
        return np.stack([STATISTIC_OF[name](labels, values, weights) for name in metrics])

    points = statistics(np.ones((1, len(labels))))[:, 0]
    draws = evaluate_resamples(statistics, patients, resamples=resamples, seed=seed)
    left_out = evaluate_left_out(statistics, patients)
    slack = exact_slack(labels, patients, level)
    found = {
        name: _bootstrapped(
            float(point), _finite(drawn), _finite(without), FIGURES[name].limits, level=level, slack=slack
        )
        for name, point, drawn, without in zip(metrics, points, draws, left_out, strict=True)
    }
    if "ece" in found and found["ece"].method == RESAMPLED:
        how: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
        found["ece"] = _ece_interval(labels, values, patients, **how)
    return found


def _ece_interval(
    labels: Labels, values: Probabilities, patients: Labels, *, level: float, resamples: int, seed: int
) -> Interval:
    """Return the calibration error with `reliability.error_bounds`, the macro mean of more classes than two."""
    classes = one_vs_rest_classes(labels, values.shape[1])

    def gaps(weights: Weights) -> Values:
        found = [calibration_gaps(labels == k, values[:, k], weights).T / len(classes) for k in classes]
        return np.concatenate(found)

    point = gaps(np.ones((1, len(labels))))
    draws = evaluate_resamples(gaps, patients, resamples=resamples, seed=seed)
    lower, upper = error_bounds(point[:, 0], draws, level=level)
    method = "resampled bins, conservative"
    return Interval(value=-float(np.abs(point).sum()), lower=-upper, upper=-lower, method=method)


def resampled_interval(
    statistic: Callable[[Weights], Values],
    y: ArrayLike,
    groups: ArrayLike | None,
    limits: tuple[float, float],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the interval, as by `bootstrap_intervals`, of any ``statistic(weights)`` with values within `limits`."""
    labels = np.asarray(y)
    patients = patient_codes(groups, len(labels))
    point = float(statistic(np.ones((1, len(labels))))[0])
    draws = evaluate_resamples(statistic, patients, resamples=resamples, seed=seed)
    left_out = evaluate_left_out(statistic, patients)
    slack = exact_slack(labels, patients, level)
    return _bootstrapped(point, _finite(draws), _finite(left_out), limits, level=level, slack=slack)


def exact_slack(labels: Labels, patients: Labels, level: float = 0.95) -> float:
    """Return how far bounds lie where every resample of cases is alike: 1 - (alpha/2)^(1/n), n of the rarest class.

    Examples
    --------
    >>> round(exact_slack(np.repeat([0, 1], 10), np.arange(20)), 3)
    0.308
    """
    fewest = min(np.unique(patients[labels == k]).size for k in np.unique(labels))
    return float(1 - ((1 - level) / 2) ** (1 / fewest))


def _finite(values: Values) -> Values:
    found: Values = values[np.isfinite(values)]
    return found


def _bootstrapped(
    value: float,
    draws: Values,
    left_out: Values,
    limits: tuple[float, float],
    *,
    level: float,
    slack: float,
) -> Interval:
    """Return the BCa interval of one figure, from its resamples and its jackknife; `slack` where they all agree."""
    if not np.isfinite(value):
        return Interval(value=value, lower=np.nan, upper=np.nan, method="undefined")
    lowest, highest = limits
    if draws.size == 0 or np.ptp(draws) < SAME:
        slack = slack if np.isfinite(lowest) else np.inf
        lower, upper, method = value - slack, value + slack, "exact bound"
    else:
        lower, upper = _bca(value, draws, left_out, level)
        method = RESAMPLED
    return Interval(
        value=value,
        lower=max(lowest, min(lower, value)),
        upper=min(highest, max(upper, value)),
        method=method,
    )


def _bca(value: float, draws: Values, left_out: Values, level: float) -> tuple[float, float]:
    # ties count half: a discrete statistic is then not taken for a biased one
    below = (draws < value).mean() + (draws == value).mean() / 2
    bias = norm.ppf(np.clip(below, 0.5 / draws.size, 1 - 0.5 / draws.size))
    pull = left_out.mean() - left_out if left_out.size else np.zeros(1)
    scale = float((pull**2).sum() ** 1.5)
    accel = float((pull**3).sum()) / (6 * scale) if scale > 0 else 0.0
    z = bias + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    lower, upper = np.quantile(draws, norm.cdf(bias + z / (1 - accel * z)))
    return float(lower), float(upper)
