"""Learners whose time or neighbours would run out of hand, held to what the training cases allow."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.validation import check_is_fitted, validate_data


class OrderedForest(RandomForestClassifier):  # type: ignore[misc]
    """A random forest that sums its trees in order: scikit-learn's sums differ by which thread is done first."""

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, equal to the last bit on every call."""
        with parallel_config(backend="sequential"):
            return np.asarray(super().predict_proba(X))


class OrderedExtraTrees(ExtraTreesClassifier):  # type: ignore[misc]
    """Extra trees whose votes are summed in order, as those of `OrderedForest`."""

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, equal to the last bit on every call."""
        with parallel_config(backend="sequential"):
            return np.asarray(super().predict_proba(X))


class _Wrapped(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What stands around a classifier that is put together when the training cases are known."""

    def _fit(self, model: BaseEstimator, X: NDArray[Any], y: NDArray[Any]) -> Self:
        self.model_ = model.fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `classes_`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(self.model_.predict_proba(X), dtype=np.float64)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each row ``(n_cases,)``."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class Neighbours(_Wrapped):
    """The nearest neighbours, as many as there are at most.

    Parameters
    ----------
    n_neighbors
        How many cases vote; with fewer training cases, all of them.
    weights
        ``"uniform"`` or ``"distance"``.
    metric
        ``"euclidean"``, ``"manhattan"`` or ``"cosine"``.
    """

    def __init__(self, *, n_neighbors: int = 5, weights: str = "uniform", metric: str = "euclidean") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Keep the cases of `X` ``(n_cases, n_features)`` with labels `y` ``(n_cases,)``."""
        X = validate_data(self, X, dtype=np.float64)
        model = KNeighborsClassifier(
            n_neighbors=min(self.n_neighbors, len(X)),
            weights=self.weights,
            metric=self.metric,
            algorithm="brute",
        )
        return self._fit(model, X, y)


class CappedGaussianProcess(_Wrapped):
    """A Gaussian process with a fixed kernel, on `max_cases` at most: its time grows with their third power.

    The kernel's length and height are hyperparameters of the search, which judges them out of fold; scikit-learn's
    ascent on the likelihood would take thirty times as long.

    Parameters
    ----------
    length
        Length scale as a share of the square root of the number of columns, the distance of z-scored cases.
    height
        Variance of the latent function: how far probabilities may go from one half.
    max_cases
        Of more cases a random part is taken, classes in proportion, each with one case at least.
    seed
        Seed of the part.

    References
    ----------
    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithms 3.1 and 3.2.
    """

    def __init__(
        self, *, length: float = 1.0, height: float = 1.0, max_cases: int = 500, seed: int = 0
    ) -> None:
        self.length = length
        self.height = height
        self.max_cases = max_cases
        self.seed = seed

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Fit on `X` ``(n_cases, n_features)`` with labels `y` ``(n_cases,)``."""
        X, y = validate_data(self, X, dtype=np.float64), np.asarray(y)
        rows = proportional_part(y, self.max_cases, seed=self.seed)
        kernel = ConstantKernel(self.height) * RBF(self.length * np.sqrt(X.shape[1]))
        model = GaussianProcessClassifier(kernel, optimizer=None, random_state=self.seed)
        return self._fit(model, X[rows], y[rows])


def proportional_part(y: NDArray[Any], n_rows: int, *, seed: int) -> NDArray[np.int64]:
    """Return `n_rows` rows at most, in order, classes in proportion and each with one row at least.

    Examples
    --------
    >>> y = np.repeat([0, 1], [90, 10])
    >>> np.bincount(y[proportional_part(y, 20, seed=0)])
    array([18,  2])
    """
    if len(y) <= n_rows:
        return np.arange(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        rows = order[y[order] == label]
        place[rows] = np.arange(len(rows)) / len(rows)
    return np.sort(order[np.argsort(place[order], kind="stable")[:n_rows]])
