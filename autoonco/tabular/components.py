"""Principal components, straight and by a kernel, as many as were asked for or as there are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, KernelPCA
from sklearn.utils.validation import check_is_fitted, validate_data


class Components(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first principal components of scaled columns.

    Parameters
    ----------
    n_components
        How many; of fewer cases or columns, as many as there are.
    kernel
        ``"linear"``, or ``"rbf"`` with a width of the square root of half the number of columns.

    References
    ----------
    Schoelkopf, Smola and Mueller, Neural Computation 1998 (components by a kernel).
    """

    def __init__(self, n_components: int = 10, kernel: str = "linear") -> None:
        self.n_components = n_components
        self.kernel = kernel

    def fit(self, X: NDArray[Any], y: NDArray[Any] | None = None) -> Self:  # noqa: ARG002 - scikit-learn's form
        """Learn the components of `X` ``(n_cases, n_features)``."""
        X = validate_data(self, X, dtype=np.float64)
        if self.kernel == "linear":
            model: BaseEstimator = PCA(min(self.n_components, *X.shape), svd_solver="full")
        else:
            # The last component of centred cases is rounding only.
            n = max(1, min(self.n_components, len(X) - 1))
            model = KernelPCA(n, kernel=self.kernel, eigen_solver="dense")
        self.model_ = model.fit(X)
        return self

    def transform(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the components ``(n_cases, n_components)``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(self.model_.transform(X), dtype=np.float64)
