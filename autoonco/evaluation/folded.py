"""Figures of cases that several models predicted, one a fold: the mean of the models' figures, never pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.errors import DataError
from autoonco.evaluation.tables import probability_columns
from autoonco.metrics.intervals import FIGURES, SAME, STATISTIC_OF, exact_slack
from autoonco.metrics.resampling import patient_codes
from autoonco.metrics.scores import Labels, Values

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FoldedCases:
    """Test cases ``(n_cases,)`` and their probabilities ``(n_cases, n_classes)``, by one model a fold."""

    y: Labels
    proba: Values
    fold: Labels
    patients: Labels
    row: Labels

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> FoldedCases:
        """Return the cases of one model's rows of `predicted.predictions_frame`."""
        return cls(
            y=predictions["truth"].to_numpy(dtype=np.int64),
            proba=predictions[probability_columns(predictions)].to_numpy(dtype=np.float64),
            fold=predictions["fold"].to_numpy(dtype=np.int64),
            patients=patient_codes(predictions["group"], len(predictions)),
            row=predictions["row"].to_numpy(dtype=np.int64),
        )

    def figures(self, metrics: Sequence[str], inside: NDArray[np.bool_], weights: Values) -> Values:
        """Return figures ``(n_metrics, n_samples)`` of the cases `inside`, weighed ``(n_samples, n_cases)``."""
        total = np.zeros((len(metrics), len(weights)))
        share = np.zeros_like(total)
        for k in np.unique(self.fold[inside]):
            rows = inside & (self.fold == k)
            size = weights[:, rows].sum(axis=1)
            for place, name in enumerate(metrics):
                found = _figure(name, self.y[rows], self.proba[rows], weights[:, rows])
                told = np.isfinite(found)
                total[place, told] += (size * found)[told]
                share[place, told] += size[told]
        return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)

    def exact_bounds(self, metric: str, value: float, inside: NDArray[np.bool_], level: float) -> Bounds:
        """Return the bounds of a figure of the cases `inside` by their number alone, see `intervals.exact_slack`."""
        lowest, highest = FIGURES[metric].limits
        slack = exact_slack(self.y[inside], self.patients[inside], level) if np.isfinite(lowest) else np.inf
        return max(lowest, value - slack), min(highest, value + slack)


def _figure(name: str, y: Labels, proba: Values, weights: Values) -> Values:
    try:
        return STATISTIC_OF[name](y, proba, weights)
    except DataError:  # cases of one class can't be ranked
        return np.full(len(weights), np.nan)


def bounds_of(draws: Values, value: float, level: float, *, if_equal: Bounds = (np.nan, np.nan)) -> Bounds:
    """Return the percentile bounds of bootstrap `draws`, which hold the value; ``nan`` where there is none.

    `if_equal` are those where all draws are the same, of perfect cases say: then the bootstrap knows nothing.
    """
    draws = draws[np.isfinite(draws)]
    if not draws.size or not np.isfinite(value):
        return np.nan, np.nan
    if np.ptp(draws) < SAME:
        return if_equal
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return min(float(lower), value), max(float(upper), value)


def apart(one: Bounds, two: Bounds) -> Bounds:
    """Return the bounds of a difference that hold whatever two figures are within theirs."""
    return one[0] - two[1], one[1] - two[0]


def p_of(gaps: Values) -> float:
    """Return the two-sided p value of no difference; never 0, for so many resamples can't show less.

    ``nan`` where there are none, or all have the same difference: then they know nothing of how sure it is.
    """
    if not gaps.size or (np.ptp(gaps) < SAME and abs(gaps[0]) > SAME):
        return np.nan
    below, above = ((np.sum(hit) + 1) / (gaps.size + 1) for hit in (gaps <= 0, gaps >= 0))
    return float(min(1.0, 2 * min(below, above)))
