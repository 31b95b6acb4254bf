"""The columns of a table as smooth curves: what makes a logistic regression an additive model."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

_DEGREE = 3


class SplineColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Each column as the values of cubic B-splines, constant beyond the range of the training cases.

    Knots lie at quantiles; equal ones count once, so that a column of few values (0 and 1, a grade) has few splines,
    where scikit-learn's `SplineTransformer` divides by zero. A constant column has none.

    Parameters
    ----------
    n_knots
        Knots of a column, both ends included, at least 2.

    References
    ----------
    Eilers and Marx, Statistical Science 1996 (splines of a regression, held back by a penalty).
    """

    def __init__(self, *, n_knots: int = 5) -> None:
        self.n_knots = n_knots

    def fit(self, X: NDArray[Any], y: NDArray[Any] | None = None) -> Self:  # noqa: ARG002 - scikit-learn's form
        """Learn the knots of each column of `X` ``(n_cases, n_features)``."""
        X = validate_data(self, X, dtype=np.float64)
        quantiles = np.quantile(X, np.linspace(0, 1, self.n_knots), axis=0)
        self.knots_ = [np.unique(column) for column in quantiles.T]
        return self

    def transform(self, X: NDArray[Any]) -> sparse.csr_matrix:
        """Return the splines' values ``(n_cases, n_splines)``, four a row and column at most."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        parts = [
            _splines(column, knots) for column, knots in zip(X.T, self.knots_, strict=True) if len(knots) > 1
        ]
        if not parts:
            return sparse.csr_matrix((len(X), 1))
        return sparse.csr_matrix(sparse.hstack(parts, format="csr"))


def _splines(column: NDArray[np.float64], knots: NDArray[np.float64]) -> Any:
    """Return the values of a column's splines ``(n_cases, len(knots) + 2)``."""
    ends = np.repeat(knots[[0, -1]], _DEGREE)
    padded = np.concatenate([ends[:_DEGREE], knots, ends[_DEGREE:]])
    return BSpline.design_matrix(np.clip(column, knots[0], knots[-1]), padded, _DEGREE)
