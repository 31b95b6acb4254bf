"""What several outer folds show of a figure: the corrected resampled t over the folds' scores.

Their models differ and their training sets overlap, so that cases pooled across folds aren't a sample that may be
resampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from scipy.stats import t

from autoonco.metrics.intervals import Interval

MOST_FREEDOM = 10
"""Degrees of freedom that any number of folds of the same cases has at most."""


def resampled_t_interval(
    scores: Sequence[float],
    test_to_train: float,
    *,
    level: float = 0.95,
    best: float = 1.0,
    worst: float = 0.0,
) -> Interval:
    """Return the mean of outer folds' scores with the corrected resampled t interval.

    Nadeau and Bengio (2003), Machine Learning 52:239: training sets overlap, so the folds' variance S^2
    counts (1/k + n_test/n_train) S^2 and not S^2/k. `test_to_train` is n_test/n_train: 1/(k-1) in a k-fold.

    The interval is made where the figure has no ends, as for a fixed model's AUC, and carried back by the delta method:
    on the logit scale between two ends (Pepe 2003, The Statistical Evaluation of Medical Tests, 5.2.4; for AUCs Qin and
    Hotilovac 2008, Stat Methods Med Res 17:207), on that of the logarithm with one. Near an end the mean of folds is
    skewed, and their variance falls as it rises: the plain interval then lies too high and misses the truth on one
    side. In [0, 1] neither reaches an end, except where every fold does.

    It stays too narrow for a model that has learned nothing, whose folds go up and down together (`benchmarks
    coverage`); see Bates, Hastie and Tibshirani (2024), JASA 119:1434, on cross-validation's intervals in general.

    Examples
    --------
    >>> found = resampled_t_interval([0.8, 0.9, 0.85], 1 / 2)
    >>> round(found.value, 3), round(found.lower, 3), round(found.upper, 3)
    (0.85, 0.548, 0.964)
    """
    mean, error = corrected_error(scores, test_to_train)
    half = float(t.ppf((1 + level) / 2, degrees_of_freedom(len(scores)))) * error
    lower, upper = (
        _carried(mean, half, worst, best) if half > 0 and worst < mean < best else (mean - half, mean + half)
    )
    return Interval(
        value=mean,
        lower=float(np.maximum(worst, lower)),
        upper=float(np.minimum(best, upper)),
        method=f"corrected resampled t, {len(scores)} folds",
    )


def _carried(mean: float, half: float, worst: float, best: float) -> tuple[float, float]:
    """Return the bounds `half` to either side of `mean` on the scale on which `worst` and `best` are infinitely far."""
    below, above = mean - worst, best - mean
    if np.isinf(below) and np.isinf(above):
        return mean - half, mean + half
    if np.isinf(below) or np.isinf(above):  # d log(x) / dx = 1 / x
        near = min(below, above)
        bounds = near * np.exp(-half / near), near * np.exp(half / near)
        return (
            (worst + bounds[0], worst + bounds[1]) if near == below else (best - bounds[1], best - bounds[0])
        )
    # d log(below / above) / dx = (below + above) / (below above)
    step = half * (below + above) / (below * above)
    lower, upper = (worst + (best - worst) * expit(np.log(below / above) + side) for side in (-step, step))
    return float(lower), float(upper)


def degrees_of_freedom(n_folds: int) -> int:
    """Return those of the folds' variance: one less than there are folds, and 10 at most.

    Repeats deal the same cases anew, so that their folds tell less of the variance than their number says: Bouckaert
    (2003), Choosing between two learning algorithms based on calibrated tests, ICML, finds 10 for ten times ten folds.

    Examples
    --------
    >>> degrees_of_freedom(5), degrees_of_freedom(50)
    (4, 10)
    """
    return int(np.clip(n_folds - 1, 1, MOST_FREEDOM))


def corrected_error(scores: Sequence[float], test_to_train: float) -> tuple[float, float]:
    """Return the mean of the folds' scores and its corrected standard error (``nan`` for a single fold)."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(np.sqrt((1 / values.size + test_to_train) * values.var(ddof=1)))
