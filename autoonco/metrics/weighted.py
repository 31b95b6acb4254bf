"""The scores of many reweighted samples at once: what a bootstrap needs to take milliseconds.

A resample with replacement is the same sample with integer weights. Each function takes labels
``(n_cases,)``, probabilities ``(n_cases, n_classes)`` and weights ``(n_samples, n_cases)`` and returns
``(n_samples,)`` values, ``nan`` where a class of the full sample is missing from a resample. The values are
those of `autoonco.metrics.scores` with ``sample_weight``; a predictive value of what is never called is ``nan``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from autoonco.metrics.reliability import calibration_error, calibration_intercept, calibration_slope
from autoonco.metrics.scores import Labels, Probabilities, Values, one_vs_rest_classes

Weights = Values
Statistic = Callable[[Labels, Probabilities, Weights], Values]


def _divide(over: Values, under: Values) -> Values:
    missing = np.full(np.broadcast(over, under).shape, np.nan)
    quotient: Values = np.divide(over, under, out=missing, where=under > 0)
    return quotient


def _by_score(positive: NDArray[np.bool_], scores: Values, weights: Weights) -> tuple[Values, Values]:
    """Return the weights of positives and negatives at each distinct score ``(n_distinct, n_samples)``."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    all_ = np.ascontiguousarray(weights.T)[order]
    pos = all_ * positive[order, None]
    if starts.size < len(ordered):
        all_, pos = (np.add.reduceat(part, starts, axis=0) for part in (all_, pos))
    return pos, all_ - pos


def _auc_of(positive: NDArray[np.bool_], scores: Values, weights: Weights) -> Values:
    pos, neg = _by_score(positive, scores, weights)
    below = np.cumsum(neg, axis=0) - neg / 2
    return _divide((pos * below).sum(axis=0), pos.sum(axis=0) * neg.sum(axis=0))


def _precision_of(positive: NDArray[np.bool_], scores: Values, weights: Weights) -> Values:
    pos, neg = (part[::-1] for part in _by_score(positive, scores, weights))
    found = np.cumsum(pos, axis=0)
    precision = np.nan_to_num(_divide(found, found + np.cumsum(neg, axis=0)))
    return _divide((pos * precision).sum(axis=0), found[-1])


def _one_vs_rest(score: Callable[..., Values]) -> Statistic:
    def macro(y: Labels, proba: Probabilities, weights: Weights) -> Values:
        classes = one_vs_rest_classes(y, proba.shape[1])
        values: Values = np.mean([score(y == k, proba[:, k], weights) for k in classes], axis=0)
        return values

    return macro


def confusion(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    """Return confusion matrices ``(n_samples, n_classes, n_classes)``: truth by most likely class."""
    k = proba.shape[1]
    cell = np.eye(k * k)[y * k + proba.argmax(axis=1)]
    tables: Values = (weights @ cell).reshape(-1, k, k)
    return tables


def _rate(over: Sequence[int], under: Sequence[int]) -> Statistic:
    """Return `over` / `under`, each sums of hits, misses, false alarms and the rest, one class against the others."""

    def rate(y: Labels, proba: Probabilities, weights: Weights) -> Values:
        table = confusion(y, proba, weights)
        total, out = table.sum(axis=(1, 2)), []
        for k in one_vs_rest_classes(y, proba.shape[1]):
            hits = table[:, k, k]
            missed, false = table[:, k].sum(axis=1) - hits, table[:, :, k].sum(axis=1) - hits
            counts = np.stack([hits, missed, false, total - hits - missed - false])
            own = hits + missed
            # a resample without the class, or of it alone, is not one of this task
            out.append(
                np.where(
                    (own > 0) & (own < total),
                    _divide(np.array(over) @ counts, np.array(under) @ counts),
                    np.nan,
                )
            )
        values: Values = np.mean(out, axis=0)
        return values

    return rate


def _balanced_accuracy(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    table = confusion(y, proba, weights)[:, np.unique(y)]
    hits = np.stack([table[:, i, k] for i, k in enumerate(np.unique(y))], axis=1)
    values: Values = _divide(hits, table.sum(axis=2)).mean(axis=1)
    return values


def _f1_macro(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    table = confusion(y, proba, weights)
    hits = np.diagonal(table, axis1=1, axis2=2)
    f1 = _divide(2 * hits, table.sum(axis=1) + table.sum(axis=2))
    values: Values = f1[:, np.union1d(y, proba.argmax(axis=1))].mean(axis=1)
    return values


def _mcc(y: Labels, proba: Probabilities, weights: Weights) -> Values:
    # Gorodkin (2004): the correlation of the indicator matrices of truth and prediction
    table = confusion(y, proba, weights)
    truth, called, total = table.sum(axis=2), table.sum(axis=1), table.sum(axis=(1, 2))
    cov = np.trace(table, axis1=1, axis2=2) * total - (truth * called).sum(axis=1)
    spread = [total**2 - (part**2).sum(axis=1) for part in (truth, called)]
    return np.nan_to_num(_divide(cov, np.sqrt(np.maximum(spread[0] * spread[1], 0))))


def _negated(statistic: Statistic) -> Statistic:
    return lambda y, proba, weights: -statistic(y, proba, weights)


def _mean_of(case_values: Callable[[Labels, Probabilities], Values]) -> Statistic:
    def mean(y: Labels, proba: Probabilities, weights: Weights) -> Values:
        return _divide(weights @ case_values(y, proba), weights.sum(axis=1))

    return mean


def _log_likelihood(y: Labels, proba: Probabilities) -> Values:
    eps = np.finfo(np.float64).eps
    values: Values = np.log(np.clip(proba[np.arange(len(y)), y] / proba.sum(axis=1), eps, 1 - eps))
    return values


def _negative_brier(y: Labels, proba: Probabilities) -> Values:
    total = ((proba - np.eye(proba.shape[1])[y]) ** 2).sum(axis=1)
    values: Values = -total / (2 if proba.shape[1] == 2 else 1)
    return values


STATISTICS: dict[str, Statistic] = {
    "roc_auc": _one_vs_rest(_auc_of),
    "balanced_accuracy": _balanced_accuracy,
    "average_precision": _one_vs_rest(_precision_of),
    "accuracy": _mean_of(lambda y, proba: (proba.argmax(axis=1) == y).astype(float)),
    "log_loss": _mean_of(_log_likelihood),
    "brier": _mean_of(_negative_brier),
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "sensitivity": _rate((1, 0, 0, 0), (1, 1, 0, 0)),
    "specificity": _rate((0, 0, 0, 1), (0, 0, 1, 1)),
    "ppv": _rate((1, 0, 0, 0), (1, 0, 1, 0)),
    "npv": _rate((0, 0, 0, 1), (0, 1, 0, 1)),
    "f1": _rate((2, 0, 0, 0), (2, 1, 1, 0)),
    "ece": _negated(_one_vs_rest(calibration_error)),
    "calibration_slope": _one_vs_rest(calibration_slope),
    "calibration_intercept": _one_vs_rest(calibration_intercept),
}
"""The figure of every metric of `scores.METRICS`: its score, or what is near its target (a slope itself)."""
