"""Whether a predicted probability happens as often as it says: the points of a reliability curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from autoonco.errors import DataError
from autoonco.metrics.scores import Labels, Values, checked


@dataclass(frozen=True, kw_only=True)
class ReliabilityCurve:
    """Bins of cases by predicted probability, empty ones left out; every array is ``(n_bins,)``.

    Attributes
    ----------
    predicted
        Mean predicted probability of the class.
    observed
        Share of the cases that are of the class; `lower` and `upper` are its Wilson bounds.
    n
        Cases in the bin.
    """

    predicted: Values
    observed: Values
    lower: Values
    upper: Values
    n: Labels


def reliability_curve(
    y: ArrayLike,
    proba: ArrayLike,
    *,
    target: int = -1,
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "quantile",
    level: float = 0.95,
) -> ReliabilityCurve:
    """Return how often class `target` happens where it is predicted with a probability.

    Parameters
    ----------
    y, proba
        Class indices ``(n_cases,)`` and probabilities ``(n_cases, n_classes)``.
    target
        The class looked at, by default the last.
    bins
        Number of bins at most.
    strategy
        Bins of equal width, or of equally many cases (equal probabilities stay together).
    level
        Of the bounds: Wilson (1927), J Am Stat Assoc 22:209.

    Raises
    ------
    DataError
        If labels and probabilities don't fit together, or `bins` is less than 1.

    Examples
    --------
    >>> found = reliability_curve([0, 1, 1, 1], [[0.8, 0.2], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9]], bins=2)
    >>> found.predicted.tolist(), found.observed.tolist(), found.n.tolist()
    ([0.2, 0.9], [0.5, 1.0], [2, 2])
    """
    labels, values = checked(y, proba)
    if bins < 1:
        raise DataError(f"A reliability curve has 1 bin or more, got bins={bins}.")
    p = values[:, target]
    hit = labels == np.arange(values.shape[1])[target]
    shares = np.linspace(0, 1, bins + 1)
    edges = shares[1:-1] if strategy == "uniform" else np.quantile(p, shares[1:-1])
    bin_of = np.searchsorted(np.unique(edges), p, side="left")
    n = np.bincount(bin_of)
    used = np.flatnonzero(n)
    n = n[used]
    observed = np.bincount(bin_of, weights=hit)[used] / n
    predicted = np.bincount(bin_of, weights=p)[used] / n
    lower, upper = wilson_bounds(observed, n, level=level)
    return ReliabilityCurve(predicted=predicted, observed=observed, lower=lower, upper=upper, n=n)


def wilson_bounds(share: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[Values, Values]:
    """Return the bounds of shares `share` of `n` cases after Wilson (1927), within [0, 1].

    Examples
    --------
    >>> lower, upper = wilson_bounds([0.5], [10])
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.237], [0.763])
    """
    found, cases = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z = norm.ppf((1 + level) / 2)
    centre = (found + z**2 / (2 * cases)) / (1 + z**2 / cases)
    half = z / (1 + z**2 / cases) * np.sqrt(found * (1 - found) / cases + z**2 / (4 * cases**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
