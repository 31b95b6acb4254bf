"""Learners of scikit-learn that take class weights, which it offers only as weights of cases."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.class_weight import compute_sample_weight


def case_weights(class_weight: str | None, y: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return the weight of each case ``(n_cases,)`` that `class_weight` gives it: None or ``"balanced"``."""
    return None if class_weight is None else np.asarray(compute_sample_weight(class_weight, y))


class WeightedAdaBoost(AdaBoostClassifier):  # type: ignore[misc]
    """AdaBoost of trees of `max_depth`, whose first weights of cases are those of `class_weight`."""

    def __init__(
        self,
        *,
        max_depth: int = 1,
        n_estimators: int = 50,
        learning_rate: float = 1.0,
        class_weight: str | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(n_estimators=n_estimators, learning_rate=learning_rate, random_state=random_state)
        self.max_depth = max_depth
        self.class_weight = class_weight

    def _validate_estimator(self) -> None:
        self.estimator_ = DecisionTreeClassifier(max_depth=self.max_depth)

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Fit on `X` ``(n_cases, n_features)``, cases weighted by `class_weight`."""
        super().fit(X, y, sample_weight=case_weights(self.class_weight, y))
        return self


class WeightedNaiveBayes(GaussianNB):  # type: ignore[misc]
    """Gaussian naive Bayes; balanced weights make the classes equally frequent beforehand."""

    def __init__(self, *, var_smoothing: float = 1e-9, class_weight: str | None = None) -> None:
        super().__init__(var_smoothing=var_smoothing)
        self.class_weight = class_weight

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Fit on `X` ``(n_cases, n_features)``, cases weighted by `class_weight`."""
        super().fit(X, y, sample_weight=case_weights(self.class_weight, y))
        return self


class SmallNetwork(MLPClassifier):  # type: ignore[misc]
    """A perceptron of one or two hidden layers that keeps of its training nothing but the weights."""

    def __init__(
        self,
        *,
        width: int = 32,
        layers: int = 1,
        alpha: float = 1e-3,
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        class_weight: str | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=(width,) * layers,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            random_state=random_state,
        )
        self.width = width
        self.layers = layers
        self.class_weight = class_weight

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Fit on `X` ``(n_cases, n_features)``, cases weighted by `class_weight`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ending early is a penalty, and it is judged
            super().fit(X, y, sample_weight=case_weights(self.class_weight, y))
        # The optimiser's moments and the generator are of no use to a model that is stored.
        for name in ("_optimizer", "_random_state"):
            self.__dict__.pop(name, None)
        return self
