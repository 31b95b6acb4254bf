"""What several outer folds show of a figure: the corrected resampled t over the folds' scores.

Their models differ and their training sets overlap, so that cases pooled across folds aren't a sample that may be
resampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from autoonco.metrics.intervals import SAME, Interval

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

    Of a figure between two ends the interval holds every value that the mean lies not more than t standard errors
    from, the error being the one *at that value*: squared, it is as x (1 - x) is, x being the share of the way between
    the ends (Wilson 1927, J Am Stat Assoc 22:209, with the error that the folds show; Newcombe's (2006) AUC of a fixed
    model is made alike). For the mean of folds is skewed near an end, and their variance falls as it rises: the plain
    interval lies too high there and misses the truth on one side, and the delta method on the logit scale takes the
    error for small against the distance to the end, which it isn't: folds of 1, 1, 1, 1 and 0.9 would reach down to
    0.41. With one end it is made on the scale of the logarithm. Neither kind reaches an end.

    Folds that are all equal tell no variance: the bounds are ``nan``, as those of a single fold.

    It stays too narrow for a model that has learned nothing, whose folds go up and down together (`benchmarks
    coverage`); see Bates, Hastie and Tibshirani (2024), JASA 119:1434, on cross-validation's intervals in general.

    Examples
    --------
    >>> found = resampled_t_interval([0.8, 0.9, 0.85], 1 / 2)
    >>> round(found.value, 3), round(found.lower, 3), round(found.upper, 3)
    (0.85, 0.578, 0.959)
    """
    mean, error = corrected_error(scores, test_to_train)
    half = float(t.ppf((1 + level) / 2, degrees_of_freedom(len(scores)))) * error
    lower, upper = _bounds(mean, half, worst, best) if worst < mean < best else (mean - half, mean + half)
    return Interval(
        value=mean,
        lower=float(np.maximum(worst, lower)),
        upper=float(np.minimum(best, upper)),
        method=f"corrected resampled t, {len(scores)} folds",
    )


def _bounds(mean: float, half: float, worst: float, best: float) -> tuple[float, float]:
    """Return the values that lie `half` from `mean` in errors of their own; `half` is that of the plain interval."""
    below, above = mean - worst, best - mean
    if np.isinf(below) and np.isinf(above):
        return mean - half, mean + half
    if np.isinf(below) or np.isinf(above):  # d log(x) / dx = 1 / x
        near = min(below, above)
        bounds = near * np.exp(-half / near), near * np.exp(half / near)
        return (
            (worst + bounds[0], worst + bounds[1]) if near == below else (best - bounds[1], best - bounds[0])
        )
    # (share - x)^2 = slack x (1 - x), of which both roots lie within (0, 1)
    share, slack = below / (below + above), half**2 / (below * above)
    middle, spread = 2 * share + slack, np.sqrt(slack * (slack + 4 * share * (1 - share)))
    lower, upper = ((middle + side) / (2 * (1 + slack)) for side in (-spread, spread))
    return float(worst + (best - worst) * lower), float(worst + (best - worst) * upper)


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


def tell_no_variance(scores: Sequence[float]) -> bool:
    """Return whether folds are one, or all equal but for rounding: nothing is then known of how they vary.

    Examples
    --------
    >>> tell_no_variance([0.3, 0.1 + 0.2]), tell_no_variance([0.3, 0.31])
    (True, False)
    """
    return len(scores) < 2 or bool(np.ptp(scores) < SAME)


def corrected_error(scores: Sequence[float], test_to_train: float) -> tuple[float, float]:
    """Return the mean of the folds' scores and its corrected standard error, ``nan`` where they `tell_no_variance`."""
    values = np.asarray(scores, dtype=np.float64)
    if tell_no_variance(scores):
        return float(values.mean()), float("nan")
    return float(values.mean()), float(np.sqrt((1 / values.size + test_to_train) * values.var(ddof=1)))
