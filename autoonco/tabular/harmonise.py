"""ComBat: what a site adds to each feature and multiplies it by is estimated on training cases and taken away."""

from __future__ import annotations

import logging
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

FEWEST_OF_SITE = 3
"""Training cases of a site below which its spread can't be told: its cases stay as they are."""
UNKNOWN_SITE = -1
_MAX_ROUNDS = 100
_TOLERANCE = 1e-6
_log = logging.getLogger(__name__)


class ComBat(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Harmonise features by site with empirical Bayes estimates; the last column of `X` is the site's code.

    The label is no covariate: at prediction there is none. Gaps are left out of the estimates and stay gaps. Cases
    of a site that training didn't have are measured by the pooled mean and spread, so they stay as they are; this
    is logged.

    References
    ----------
    Johnson, Li and Rabinovic, Biostatistics 2007, equations 2 and 3 and the supplement (moments of the priors).
    """

    def fit(self, X: NDArray[Any], y: NDArray[Any] | None = None) -> Self:  # noqa: ARG002 - scikit-learn's form
        """Estimate mean, spread and the sites' effects from `X` ``(n_cases, n_features + 1)``."""
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        values, codes = X[:, :-1], X[:, -1]
        found, counts = np.unique(codes[codes != UNKNOWN_SITE], return_counts=True)
        self.sites_ = found[counts >= FEWEST_OF_SITE]
        # Cases of other sites tell nothing of these sites' effects.
        used = np.isin(codes, self.sites_)
        self.mean_, self.spread_ = _pooled(values[used], codes[used], self.sites_)
        scaled = self._scaled(values)
        effects = [_effect(scaled[codes == site]) for site in self.sites_]
        shape = (len(self.sites_), values.shape[1])
        self.shift_ = np.array([shift for shift, _ in effects]).reshape(shape)
        self.scale_ = np.array([scale for _, scale in effects]).reshape(shape)
        return self

    def transform(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the features without the sites' effects and without the column of codes."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite="allow-nan")
        values, codes = X[:, :-1].copy(), X[:, -1]
        for site, shift, scale in zip(self.sites_, self.shift_, self.scale_, strict=True):
            rows = codes == site
            harmonised = (self._scaled(values[rows]) - shift) / scale * self.spread_ + self.mean_
            values[rows] = np.where(self.spread_ > 0, harmonised, values[rows])
        n_unseen = int((~np.isin(codes, self.sites_)).sum())
        if n_unseen:
            _log.info("%d cases of sites with too few training cases were not harmonised", n_unseen)
        return values

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((values - self.mean_) / np.where(self.spread_ > 0, self.spread_, 1.0))


def _pooled(
    values: NDArray[np.float64], codes: NDArray[np.float64], sites: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each feature's mean and its spread within sites; both 0 where nothing is known."""
    known = ~np.isnan(values)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / n
    squares = np.zeros(values.shape[1])
    for site in sites:
        rows = codes == site
        inside = np.where(known[rows], values[rows], 0)
        centre = inside.sum(axis=0) / np.maximum(known[rows].sum(axis=0), 1)
        squares += np.where(known[rows], (values[rows] - centre) ** 2, 0).sum(axis=0)
    spread = np.sqrt(squares / n)
    # What rounding alone makes of a constant column is no spread.
    return mean, np.where(spread > 1e-12 * np.abs(mean), spread, 0.0)


def _effect(scaled: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shrunk shift and the shrunk factor of one site by feature, 0 and 1 where they can't be told."""
    known = ~np.isnan(scaled)
    n = known.sum(axis=0)
    filled = np.where(known, scaled, 0)
    mean = filled.sum(axis=0) / np.maximum(n, 1)
    variance = np.where(known, (scaled - mean) ** 2, 0).sum(axis=0) / np.maximum(n - 1, 1)
    shift, squared = np.zeros(len(n)), np.ones(len(n))
    usable = (n >= FEWEST_OF_SITE) & (variance > 1e-12)
    if usable.sum() >= 2:
        shift[usable], squared[usable] = _shrunk(
            filled[:, usable], known[:, usable], mean[usable], variance[usable]
        )
    else:
        # One feature has no others to learn a prior from.
        shift[usable], squared[usable] = mean[usable], variance[usable]
    return shift, np.sqrt(squared)


def _shrunk(
    scaled: NDArray[np.float64],
    known: NDArray[np.bool_],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return posterior shift and variance of each feature: equation 3, iterated."""
    n = known.sum(axis=0)
    prior_mean, prior_variance = mean.mean(), mean.var(ddof=1)
    centre, width = variance.mean(), max(float(variance.var(ddof=1)), 1e-12)
    a, b = (2 * width + centre**2) / width, (centre * width + centre**3) / width
    shift, squared = mean, variance
    for _ in range(_MAX_ROUNDS):
        new_shift = (n * prior_variance * mean + squared * prior_mean) / (n * prior_variance + squared)
        left = np.where(known, (scaled - new_shift) ** 2, 0).sum(axis=0)
        new_squared = (b + left / 2) / (n / 2 + a - 1)
        change = max(np.abs(new_shift - shift).max(), np.abs(new_squared - squared).max())
        shift, squared = new_shift, new_squared
        if change < _TOLERANCE:
            break
    return shift, squared
