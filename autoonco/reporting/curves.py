"""ROC and precision-recall curves of a model with their bands, as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from autoonco.evaluation.tables import probability_columns
from autoonco.metrics.scores import one_vs_rest_classes

GRID = np.linspace(0, 1, 401)
RESAMPLES = 200
LEVEL = 0.95

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]
Kind = Callable[[NDArray[np.bool_], Floats], Curve]


def roc_of(positive: NDArray[np.bool_], scores: Floats) -> Curve:
    """Return false and true positive rates by falling threshold."""
    false, true, _ = roc_curve(positive, scores)
    return false, true


def precision_of(positive: NDArray[np.bool_], scores: Floats) -> Curve:
    """Return recall, rising, and the precision of the largest threshold that reaches it."""
    precision, recall, _ = precision_recall_curve(positive, scores)
    return recall[::-1], precision[::-1]


def mean_curve(cases: pd.DataFrame, kind: Kind = roc_of) -> Curve | None:
    """Return a model's curve averaged over folds and classes; exact steps if there is only one."""
    curves = list(_curves(cases, kind))
    if len(curves) < 2:
        return curves[0] if curves else None
    averaged = np.mean([_at_grid(curve, kind) for curve in curves], axis=0)
    return (np.r_[0, GRID], np.r_[0, averaged]) if kind is roc_of else (GRID, averaged)


def band(cases: pd.DataFrame, kind: Kind = roc_of, *, seed: int = 0) -> tuple[Floats, Floats, Floats] | None:
    """Return positions, lower and upper edge of a model's band.

    Of several outer folds one standard deviation over them to either side; of one test set the pointwise 95 %
    interval of resampled patients.
    """
    if cases["fold"].nunique() > 1:
        each = [_mean_of(fold, kind) for _, fold in cases.groupby("fold")]
        found = np.array([curve for curve in each if curve is not None])
        if len(found) < 2:
            return None
        mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
        return GRID, np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
    weights = _resampled(cases["group"].to_numpy(), seed=seed)
    drawn = [_weighted(positive, scores, weights, kind) for positive, scores in _one_against_rest(cases)]
    if not drawn:
        return None
    low, high = np.nanquantile(np.mean(drawn, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return GRID, low, high


def _resampled(groups: NDArray[Any], *, seed: int) -> Floats:
    """Return how often each case is in each resample of patients ``(RESAMPLES, n_cases)``."""
    codes = np.unique(groups, return_inverse=True)[1]
    return _counts(int(codes.max()) + 1, seed)[:, codes].astype(np.float64)


@lru_cache(maxsize=1)
def _counts(n: int, seed: int) -> NDArray[np.int64]:
    """Return how often each of `n` patients is in each resample: the same for every model of a figure."""
    counts: NDArray[np.int64] = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return counts


def _weighted(positive: NDArray[np.bool_], scores: Floats, weights: Floats, kind: Kind) -> Floats:
    """Return the curve of weighted cases at `GRID`, a row a resample; nan where one class was not drawn."""
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]  # of each group of equal scores
    drawn = weights[:, order]
    hits = np.cumsum(drawn * positive[order], axis=1)[:, last]
    false = np.cumsum(drawn * ~positive[order], axis=1)[:, last]
    rows = np.full((len(weights), len(GRID)), np.nan)
    for k, (true, wrong) in enumerate(zip(hits, false, strict=True)):
        if true[-1] > 0 and wrong[-1] > 0:
            recall = true / true[-1]
            if kind is roc_of:
                curve = np.r_[0, wrong / wrong[-1]], np.r_[0, recall]
            else:
                curve = np.r_[0, recall], np.r_[1, true / np.maximum(true + wrong, 1e-12)]
            rows[k] = _at_grid(curve, kind)
    return rows


def average_precision(cases: pd.DataFrame) -> float:
    """Return the average precision, mean over folds and over classes against the rest."""
    found = [average_precision_score(positive, scores) for positive, scores in _one_against_rest(cases)]
    return float(np.mean(found)) if found else float("nan")


def prevalence(cases: pd.DataFrame) -> float:
    """Return the precision of a model that knows nothing."""
    found = [positive.mean() for positive, _ in _one_against_rest(cases)]
    return float(np.mean(found)) if found else float("nan")


def _one_against_rest(cases: pd.DataFrame) -> Iterator[tuple[NDArray[np.bool_], Floats]]:
    columns = probability_columns(cases)
    for _, fold in cases.groupby("fold"):
        y, proba = fold["truth"].to_numpy(), fold[columns].to_numpy()
        if np.unique(y).size > 1:
            for k in one_vs_rest_classes(y, len(columns)):
                yield y == k, proba[:, k]


def _curves(cases: pd.DataFrame, kind: Kind) -> Iterator[Curve]:
    for positive, scores in _one_against_rest(cases):
        yield kind(positive, scores)


def _mean_of(cases: pd.DataFrame, kind: Kind) -> Floats | None:
    curves = [_at_grid(curve, kind) for curve in _curves(cases, kind)]
    return np.mean(curves, axis=0) if curves else None


def _at_grid(curve: Curve, kind: Kind) -> Any:
    x, y = curve
    if kind is roc_of:
        # the upper end of each vertical step, as a step's height at its own false positive rate
        return np.interp(GRID, x + np.arange(len(x)) * 1e-12, y)
    # the precision of the first threshold that reaches a recall
    return y[np.minimum(np.searchsorted(x, GRID - 1e-12), len(y) - 1)]
