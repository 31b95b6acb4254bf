"""Scores of grades: classes with an order, from the lowest to the highest, as probabilities ``(n_cases, n_grades)``.

A model of any family gives a probability for each grade; its **expected grade** ranks the cases, its **median grade**,
which has the least expected absolute error, is the one that is told. Both follow from class probabilities, so networks,
radiomics and their mean are judged alike. (Frank and Hall 2001 fit one two-class model for each threshold instead:
as many more trainings, and probabilities that may cross.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from autoonco.errors import DataError
from autoonco.metrics.scores import METRICS, Labels, Metric, Probabilities, Values
from autoonco.metrics.weighted import STATISTICS, Statistic, Weights

_ROUNDING = 1e-9


def expected_grade(proba: ArrayLike) -> Values:
    """Return the mean grade of each case ``(n_cases,)``, the lowest grade being 0.

    Examples
    --------
    >>> expected_grade([[0.5, 0.25, 0.25]])
    array([0.75])
    """
    values = np.asarray(proba, dtype=np.float64)
    grades: Values = values @ np.arange(values.shape[1])
    return grades


def median_grade(proba: ArrayLike) -> Labels:
    """Return the lowest grade of each case that is reached with a probability of one half ``(n_cases,)``.

    Examples
    --------
    >>> median_grade([[0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    array([1, 2])
    """
    reached = np.cumsum(np.asarray(proba, dtype=np.float64), axis=1) >= 0.5 - _ROUNDING
    return np.asarray(reached.argmax(axis=1), dtype=np.int64)


def _two_columns(proba: Probabilities) -> Probabilities:
    share = np.clip(expected_grade(proba) / (proba.shape[1] - 1), 0.0, 1.0)
    return np.column_stack([1 - share, share])


def _present(y: Labels) -> Labels:
    grades = np.unique(y)
    if grades.size < 2:
        raise DataError(
            f"Ranking grades needs cases of two grades; all {y.size} cases are of grade {grades[0]}. "
            "Add cases of another grade, or choose mean_absolute_error."
        )
    return grades


def _ordinal_auc(y: Labels, proba: Probabilities) -> float:
    # The share of pairs of unlike grades whose expected grades are in that order, ties half: for two grades the ROC
    # AUC, for more (D + 1) / 2 of Somers (1962). Pairs are counted by the higher of their grades.
    scores, auc = _two_columns(proba), METRICS["roc_auc"]
    total = pairs = 0.0
    for grade in _present(y)[1:]:
        rows, n = y <= grade, float((y == grade).sum() * (y < grade).sum())
        total += n * auc((y[rows] == grade).astype(np.int64), scores[rows])
        pairs += n
    return total / pairs


def _kappa(y: Labels, proba: Probabilities) -> float:
    told = median_grade(proba)
    if np.union1d(y, told).size == 1:
        return 0.0  # no agreement beyond chance can be told, as MCC has it
    return float(cohen_kappa_score(y, told, weights="quadratic", labels=range(proba.shape[1])))


def _ranked_probability(y: Labels, proba: Probabilities) -> Values:
    # Epstein (1969): the Brier score of each threshold, averaged over thresholds; 0 is perfect.
    steps = np.arange(proba.shape[1] - 1)
    scores: Values = ((np.cumsum(proba, axis=1)[:, :-1] - (y[:, None] <= steps)) ** 2).mean(axis=1)
    return scores


ORDINAL_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="ordinal_auc", title="Ordinal AUC", scorer=_ordinal_auc),
        Metric(name="quadratic_kappa", title="Quadratic weighted kappa", scorer=_kappa, worst=-1.0),
        Metric(
            name="mean_absolute_error",
            title="Mean absolute error in grades (negative)",
            scorer=lambda y, p: -float(mean_absolute_error(y, median_grade(p))),
            best=0.0,
            worst=-np.inf,
            negated=True,
        ),
        Metric(
            name="ranked_probability",
            title="Ranked probability score (negative)",
            scorer=lambda y, p: -float(_ranked_probability(y, p).mean()),
            best=0.0,
            worst=-1.0,
            negated=True,
        ),
    )
}
"""The scores of grades by name, higher is better."""


def _weighted_auc(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    scores, auc = _two_columns(proba), STATISTICS["roc_auc"]
    total, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for grade in _present(y)[1:]:
        rows = y <= grade
        own = weights[:, rows]
        n = own[:, y[rows] == grade].sum(axis=1) * own[:, y[rows] < grade].sum(axis=1)
        total += n * np.nan_to_num(auc((y[rows] == grade).astype(np.int64), scores[rows], own))
        pairs += n
    share: Values = np.divide(total, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return share


def _weighted_kappa(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    # Cohen (1968) with weights (i - j)^2: what is seen over what is expected of independent raters, in moments.
    told = median_grade(proba).astype(np.float64)
    mean = [_weighted_mean(grades, weights) for grades in (y, told)]
    expected = _weighted_mean(y**2 + told**2, weights) - 2 * mean[0] * mean[1]
    seen = _weighted_mean((y - told) ** 2, weights)
    nothing = np.where(np.isnan(expected), np.nan, 1.0)
    # what is told by chance has exactly 0, not what rounding leaves of it
    kappas: Values = (
        np.round(1 - np.divide(seen, expected, out=nothing, where=expected > _ROUNDING), 12) + 0.0
    )
    return kappas


def _weighted_mean(values: Any, weights: Weights) -> Values:
    """Return the mean of each sample, ``nan`` of one without a case: of a few cases a resample may draw none."""
    total = weights.sum(axis=1)
    means: Values = np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
    return means


ORDINAL_STATISTICS: dict[str, Statistic] = {
    "ordinal_auc": _weighted_auc,
    "quadratic_kappa": _weighted_kappa,
    "mean_absolute_error": lambda y, p, w: -_weighted_mean(np.abs(y - median_grade(p)).astype(float), w),
    "ranked_probability": lambda y, p, w: -_weighted_mean(_ranked_probability(y, p), w),
}
"""The same scores of many reweighted samples at once, see `autoonco.metrics.weighted`."""
