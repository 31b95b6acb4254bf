"""What an evaluation can show before a single model is fitted: the smallest difference, the smallest margin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from autoonco.metrics.folds import degrees_of_freedom

AUC, CORRELATION = 0.8, 0.5
"""What is assumed of the models: the AUC of the weaker one, and how the two AUCs of one test set correlate."""
ALPHA, POWER = 0.05, 0.8
_HIGHEST = 0.9999


@dataclass(frozen=True, kw_only=True)
class Power:
    """What can be told apart with so many cases, under the assumptions that it holds.

    Attributes
    ----------
    difference
        The smallest difference in AUC that is called one with probability `power`; ``nan`` where not even a perfect
        model would be.
    margin
        The smallest margin within which two equally good models are called equivalent with that probability.
    auc, correlation
        AUC of the weaker model, and the correlation of the two AUCs over test sets.
    alpha, power
        Error of the two-sided test, and the probability of a right answer.
    """

    difference: float
    margin: float
    auc: float = AUC
    correlation: float = CORRELATION
    alpha: float = ALPHA
    power: float = POWER


def auc_variance(auc: float, n_positive: float, n_negative: float) -> float:
    """Return the variance of an AUC of so many independent cases.

    Hanley and McNeil (1982), Radiology 143:29, equation 1, with their exponential model for the pairs.

    Examples
    --------
    >>> round(auc_variance(0.9, 50, 50) ** 0.5, 4)
    0.0321
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (n_positive - 1) * (q1 - auc**2) + (n_negative - 1) * (q2 - auc**2)
    return float(spread / (n_positive * n_negative))


def power_of_test(sizes: Sequence[tuple[float, float]], *, auc: float = AUC) -> Power:
    """Return what paired DeLong on one test set can show.

    Parameters
    ----------
    sizes
        Patients of a class and of the others: one pair for two classes, one a class for more. The variance of a macro
        AUC is then taken as the mean of its classes', which it can't exceed.
    """
    z, more = norm.ppf(1 - ALPHA / 2), norm.ppf(POWER)
    return Power(
        difference=_smallest(lambda d: (z + more) * _error(sizes, auc, auc + d), auc),
        margin=(norm.ppf(1 - ALPHA) + norm.ppf((1 + POWER) / 2)) * _error(sizes, auc, auc),
        auc=auc,
    )


def power_of_folds(
    sizes: Sequence[tuple[float, float]], n_folds: int, test_to_train: float, *, auc: float = AUC
) -> Power:
    """Return what the corrected resampled t (Nadeau and Bengio 2003) of `n_folds` outer folds can show.

    The variance of a fold's difference is that of its test cases alone: how models vary with their training cases is
    not known beforehand, so that the true smallest difference is rather larger.

    Parameters
    ----------
    sizes
        As for `power_of_test`, of one fold.
    n_folds
        Folds of all repeats together.
    test_to_train
        n_test / n_train of a fold.
    """
    if n_folds < 2:
        return Power(difference=float("nan"), margin=float("nan"), auc=auc)
    freedom, inflate = degrees_of_freedom(n_folds), float(np.sqrt(1 / n_folds + test_to_train))
    critical = t.ppf(1 - ALPHA / 2, freedom)
    centre = brentq(lambda delta: nct.sf(critical, freedom, delta) - POWER, 0, 10 * critical)
    # Two one-sided tests of equal models succeed where |mean| + t s < margin: each side by the noncentral t, and
    # both with `POWER` where neither fails more often than half of the rest.
    one_sided = t.ppf(1 - ALPHA, freedom)
    apart = brentq(lambda delta: nct.sf(one_sided, freedom, delta) - (1 + POWER) / 2, 0, 20 * critical)
    return Power(
        difference=_smallest(lambda d: centre * inflate * _error(sizes, auc, auc + d), auc),
        margin=apart * inflate * _error(sizes, auc, auc),
        auc=auc,
    )


def _error(sizes: Sequence[tuple[float, float]], one: float, two: float) -> float:
    """Return the standard error of the difference of two correlated AUCs (Hanley and McNeil 1983)."""
    a, b = (np.mean([auc_variance(value, m, n) for m, n in sizes]) for value in (one, min(two, _HIGHEST)))
    return float(np.sqrt(a + b - 2 * CORRELATION * np.sqrt(a * b)))


def _smallest(needed: Callable[[float], float], auc: float) -> float:
    """Return the difference that is as large as what is `needed` to see it."""
    most = _HIGHEST - auc
    if needed(most) > most:
        return float("nan")
    return float(brentq(lambda d: d - needed(d), 0.0, most))
