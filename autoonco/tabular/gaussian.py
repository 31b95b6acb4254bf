"""Discriminant analysis with shrunk covariances, linear and quadratic, at any number of columns.

scikit-learn's solves systems as wide as the table, which takes minutes from some thousand columns on, and its
quadratic form refuses classes of fewer cases than columns. Here the covariance is kept as what it is, few directions
plus a multiple of the identity, so both cost as much as a singular value decomposition of the cases.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

_TINY = 1e-12


class ShrunkGaussians(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""One normal distribution a class, with covariance :math:`(1 - s) S + s \mu I`.

    `S` is the maximum-likelihood covariance, :math:`\mu` the mean of the pooled variances of the columns: what Ledoit
    and Wolf (J Multivar Anal 2004) shrink to, with the intensity searched. With :math:`S = V D V^T` of rank `r`, the
    directions `V` have variances :math:`(1 - s) d_i + s \mu`, all others :math:`s \mu`, which gives determinant and
    Mahalanobis distance without a matrix of all columns.

    Parameters
    ----------
    pooled
        True: all classes share `S` (linear). False: a covariance for each class (quadratic).
    shrinkage
        `s`, in (0, 1].
    class_weight
        None: classes are as frequent as in training. ``"balanced"``: equally frequent.
    """

    def __init__(
        self, *, pooled: bool = True, shrinkage: float = 0.1, class_weight: str | None = None
    ) -> None:
        self.pooled = pooled
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Learn means and covariances from `X` ``(n_cases, n_features)`` and labels `y` ``(n_cases,)``."""
        X = validate_data(self, X, dtype=np.float64)
        self.classes_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.means_ = np.stack([X[codes == code].mean(axis=0) for code in range(len(counts))])
        share = np.full(len(counts), 1 / len(counts)) if self.class_weight == "balanced" else counts / len(y)
        self.log_priors_ = np.log(share)
        centred = X - self.means_[codes]
        # Classes that are constant in themselves leave nothing to measure: any equal variance does.
        self.floor_ = self.shrinkage * (float(np.mean(centred**2)) or 1.0)
        groups = [centred] if self.pooled else [centred[codes == code] for code in range(len(counts))]
        spectra = [self._spectrum(rows) for rows in groups]
        self.directions_ = [directions for directions, _ in spectra]
        self.variances_ = [variances for _, variances in spectra]
        return self

    def _spectrum(self, centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return directions ``(n_features, r)`` and their shrunk variances ``(r,)``."""
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        kept = singular > _TINY * max(singular[0], _TINY)
        spread = singular[kept] ** 2 / len(centred)
        return directions[kept].T.copy(), (1 - self.shrinkage) * spread + self.floor_

    def predict_proba(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `classes_`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores = np.empty((len(X), len(self.classes_)))
        for code, mean in enumerate(self.means_):
            place = 0 if self.pooled else code
            scores[:, code] = self.log_priors_[code] + self._log_density(X - mean, place)
        return np.asarray(softmax(scores, axis=1), dtype=np.float64)

    def _log_density(self, offsets: NDArray[np.float64], place: int) -> NDArray[np.float64]:
        """Return the log density of each row of `offsets`, up to a constant that all classes share."""
        directions, variances = self.directions_[place], self.variances_[place]
        along = offsets @ directions
        distance = np.sum(offsets**2, axis=1) / self.floor_
        distance += np.sum(along**2 * (1 / variances - 1 / self.floor_), axis=1)
        log_determinant = np.sum(np.log(variances / self.floor_))
        return np.asarray(-(distance + log_determinant) / 2, dtype=np.float64)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each row ``(n_cases,)``."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
