"""How far probabilities are from the frequencies that they promise, of many reweighted samples at once.

Each function takes which cases are positive ``(n_cases,)``, their probabilities ``(n_cases,)`` and weights
``(n_samples, n_cases)``, and returns ``(n_samples,)`` values, ``nan`` where they are undefined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

BINS = 10
"""Bins of equal width of the calibration error, as in the paper that named it."""
_SURE = 1e-6  # a probability of 0 or 1 has no logit
_ROUNDS, _NEAR, _STEP = 60, 1e-7, 2.0
_STEEP = (
    100.0  # of a slope for one standard deviation of the logits: the classes are told apart without an error
)


def calibration_error(positive: Flags, proba: Values, weights: Values) -> Values:
    """Return the expected calibration error: how far bins lie from the diagonal, by the cases in them.

    Naeini, Cooper and Hauskrecht (2015), AAAI, with `BINS` bins of equal width. It is never negative, so that
    few cases give a value above that of many.

    Examples
    --------
    >>> positive = np.array([True, False, False, False])
    >>> calibration_error(positive, np.full(4, 0.35), np.ones((1, 4)))
    array([0.1])
    """
    error: Values = np.abs(calibration_gaps(positive, proba, weights)).sum(axis=1)
    return error


def calibration_gaps(positive: Flags, proba: Values, weights: Values) -> Values:
    """Return how far each bin lies from the diagonal, times its share of the cases ``(n_samples, BINS)``."""
    cells = np.eye(BINS)[np.minimum((proba * BINS).astype(int), BINS - 1)]
    gaps, total = weights @ (cells * (proba - positive)[:, None]), weights.sum(axis=1, keepdims=True)
    shares: Values = np.divide(gaps, total, out=np.full(gaps.shape, np.nan), where=total > 0)
    return shares


def error_bounds(gaps: Values, draws: Values, *, level: float = 0.95) -> tuple[float, float]:
    """Return bounds of the calibration error sum |gap|, which of few cases is above that of many.

    Chance moves each bin's gap either way and the error up: of 50 cases a model that errs by 0.04 shows 0.14, and
    resamples show more. Where e are the errors of the gaps, sum |gap + e| lies between sum |gap| + sum sign(gap) e and
    sum |gap| + sum |e|. So the true error is not below what was found less a quantile of sum |e|, nor above it plus
    one of - sum sign(gap) e, both of resampled patients: the bounds hold more often than they are asked to
    (`benchmarks coverage`), and reach 0 where chance alone explains what is seen.

    Parameters
    ----------
    gaps, draws
        As `calibration_gaps` has them, ``(n_bins,)`` of the cases and ``(n_bins, n_resamples)``.

    Examples
    --------
    >>> rng, gaps = np.random.default_rng(0), np.array([0.01, -0.02])
    >>> lower, upper = error_bounds(gaps, gaps[:, None] + rng.normal(0, 0.01, (2, 2000)))
    >>> lower, 0.05 < upper < 0.07
    (0.0, True)
    """
    moved, share = draws - gaps[:, None], (1 + level) / 2
    found = float(np.abs(gaps).sum())
    down = float(np.quantile(np.abs(moved).sum(axis=0), share))
    up = float(np.quantile(-(np.sign(gaps) @ moved), share))
    return max(0.0, found - down), min(1.0, found + max(0.0, up))


def calibration_slope(positive: Flags, proba: Values, weights: Values) -> Values:
    """Return b of the logistic regression logit P(positive) = a + b logit(p): 1 is right, below 1 too extreme.

    Cox (1958), Biometrika 45:562; level 3 of Van Calster et al. (2016), J Clin Epidemiol 74:167. ``nan`` where
    all probabilities are equal, or where they tell the classes apart without an error.

    Examples
    --------
    >>> y, p = np.array([0, 0, 0, 1, 0, 1, 1, 1]) == 1, np.repeat([0.1, 0.9], 4)
    >>> calibration_slope(y, p, np.ones((1, 8))).round(2)
    array([0.5])
    """
    logits = _logits(proba)
    spread = logits.std()
    slopes = np.full(len(weights), np.nan)
    usable = _has_both(positive, weights)
    if spread < 1e-9 or not usable.any():
        return slopes
    x, w = (logits - logits.mean()) / spread, weights[usable]
    share = float(np.mean(positive))
    # of the sample as it is first: its resamples lie near, so that Newton's method needs half the rounds
    a, b, right = _regression(positive, x, np.ones((1, len(x))), (float(logit(share)), 0.0))
    start = (float(a[0]), float(b[0])) if right[0] else (float(logit(share)), 0.0)
    _, found, right = _regression(positive, x, w, start)
    steep = ~right | (np.abs(found) > _STEEP)
    slopes[usable] = np.where(steep, np.nan, found / spread)
    return slopes


def calibration_intercept(positive: Flags, proba: Values, weights: Values) -> Values:
    """Return a of logit P(positive) = a + logit(p): 0 is right, above 0 the probabilities are too low.

    Calibration in the large, level 2 of Van Calster et al. (2016).

    Examples
    --------
    >>> y = np.array([False, False, False, True])
    >>> calibration_intercept(y, np.full(4, 0.5), np.ones((1, 4))).round(3)  # log(0.25 / 0.75)
    array([-1.099])
    """
    logits, out = _logits(proba), np.full(len(weights), np.nan)
    usable = _has_both(positive, weights)
    # of the sample as it is first: its resamples lie near, so that Newton's method needs half the rounds
    start = _intercepts(positive, logits, np.ones((1, len(logits))), np.zeros(1))
    out[usable] = _intercepts(positive, logits, weights[usable], np.repeat(start, int(usable.sum())))
    return out


def _intercepts(positive: Flags, logits: Values, weights: Values, a: Values) -> Values:
    """Return the intercepts of weighted logistic regressions with a slope of 1, from `a` on (Newton's method)."""
    for _ in range(_ROUNDS):
        mu = expit(a[:, None] + logits)
        rest, bend = weights * (positive - mu), weights * mu * (1 - mu)
        step = np.clip(rest.sum(axis=1) / np.maximum(bend.sum(axis=1), 1e-12), -_STEP, _STEP)
        a = a + step
        if np.abs(step).max(initial=0.0) < _NEAR:
            break
    return a


def _logits(proba: Values) -> Values:
    values: Values = logit(np.clip(proba, _SURE, 1 - _SURE))
    return values


def _has_both(positive: Flags, weights: Values) -> Flags:
    of_positive = weights @ positive
    both: Flags = (of_positive > 0) & (weights.sum(axis=1) > of_positive)
    return both


def _regression(
    positive: Flags, x: Values, weights: Values, start: tuple[float, float]
) -> tuple[Values, Values, Flags]:
    """Return intercepts and slopes of weighted logistic regressions on `x`, and which converged (Newton's method)."""
    a, b = (np.full(len(weights), value) for value in start)
    right, left = np.zeros(len(weights), dtype=bool), np.arange(len(weights))
    powers = np.column_stack([np.ones_like(x), x, x**2])
    for _ in range(_ROUNDS):
        w = weights[left]
        mu = expit(a[left, None] + b[left, None] * x)
        rest, bend = w * (positive - mu), w * mu * (1 - mu)
        h00, h01, h11 = (bend @ powers).T
        g0, g1 = (rest @ powers[:, :2]).T
        det = h00 * h11 - h01**2
        flat = det < 1e-12
        det = np.where(flat, 1.0, det)
        step_a, step_b = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        length = np.maximum(np.abs(step_a), np.abs(step_b))
        shrink = np.where(flat, 0.0, np.minimum(1.0, _STEP / np.maximum(length, 1e-300)))
        a[left] += shrink * step_a
        b[left] += shrink * step_b
        right[left] = ~flat & (length < _NEAR)
        # what is steep by now grows without end: no line tells more than that the classes lie apart
        left = left[~flat & (length >= _NEAR) & (np.abs(b[left]) < _STEEP)]
        if not left.size:
            break
    return a, b, right
