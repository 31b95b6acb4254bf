"""Shapley values add up to the prediction, and agree with a brute-force sum over all coalitions."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline

from autoonco.tabular.attributions import LOG_ODDS, attributions
from autoonco.tabular.pipeline import build_pipeline, complete, fit_pipeline, tabular_space

NAMES = [f"f{k}" for k in range(6)]


def data(n_classes: int = 2, n: int = 80) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    X = rng.normal(size=(n, len(NAMES)))
    X[:, 0] += y
    X[:, 1] -= 0.7 * y * (X[:, 2] > 0)
    return X, y


def fitted(learner: str, n_classes: int = 2, **values: object) -> Pipeline:
    X, y = data(n_classes)
    config = complete(tabular_space(), {"learner": learner, "selection": "none", **values})
    pipeline = build_pipeline(config, n_features=X.shape[1], n_classes=n_classes, n_train=len(y), seed=0)
    return fit_pipeline(pipeline, X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "learner", ["logistic_regression", "random_forest", "xgboost", "svm", "lightgbm", "knn"]
)
def test_values_add_up_to_the_prediction(learner: str, n_classes: int) -> None:
    if learner == "lightgbm":
        pytest.importorskip("lightgbm")
    X, _ = data(n_classes)
    pipeline = fitted(learner, n_classes)
    found = attributions(pipeline, NAMES, X, X[:5])
    told = found.base + found.values.sum(axis=1)
    proba = pipeline.predict_proba(X[:5])
    if found.unit == LOG_ODDS and n_classes == 2:
        expected = logit(proba[:, 1:])
    elif found.unit == LOG_ODDS:  # a softmax allows any constant
        told, expected = told - told.mean(1, keepdims=True), np.log(proba)
        expected = expected - expected.mean(1, keepdims=True)
    else:
        expected = proba[:, 1:] if n_classes == 2 else proba
    np.testing.assert_allclose(told, expected, atol=2e-5)
    assert found.values.shape == (5, len(found.names), 1 if n_classes == 2 else n_classes)


def brute_force(
    pipeline: Pipeline, everybody: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Shapley's sum over every coalition of columns, the others taken from `everybody`."""
    n = len(x)

    def worth(present: tuple[int, ...]) -> float:
        table = everybody.copy()
        table[:, list(present)] = x[list(present)]
        return float(pipeline.predict_proba(table)[:, 1].mean())

    values = np.zeros(n)
    for k in range(n):
        others = [i for i in range(n) if i != k]
        for size in range(n):
            share = factorial(size) * factorial(n - size - 1) / factorial(n)
            for rest in combinations(others, size):
                values[k] += share * (worth((*rest, k)) - worth(rest))
    return values


def test_permutations_agree_with_all_coalitions() -> None:
    X, _ = data()
    pipeline = fitted("naive_bayes", correlation=1.0)
    found = attributions(pipeline, NAMES, X[:20], X[:1])
    assert found.names == tuple(NAMES)
    expected = brute_force(pipeline, X[:20], X[0])
    # one pair of orders of the columns: near, and never far
    np.testing.assert_allclose(found.values[0, :, 0], expected, atol=0.06)


def test_columns_before_a_projection_are_explained() -> None:
    X, y = data()
    plain = fitted("logistic_regression")
    pipeline = Pipeline([*plain.steps[:-1], ("pca", PCA(3)), plain.steps[-1]]).fit(X, y)
    found = attributions(pipeline, NAMES, X, X[:2])
    assert set(found.names) <= set(NAMES)
    told = found.base + found.values.sum(axis=1)
    np.testing.assert_allclose(told, pipeline.predict_proba(X[:2])[:, 1:], atol=1e-6)
    np.testing.assert_array_equal(found.data, X[:2][:, [NAMES.index(name) for name in found.names]])


def test_the_time_is_kept_and_one_case_is_explained() -> None:
    X, _ = data()
    found = attributions(fitted("knn"), NAMES, X, X, limit_s=0.0)
    assert len(found.values) == len(found.data) == 1
