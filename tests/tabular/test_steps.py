"""Filters and selections against loops and against what is known of the columns."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_classification

from autoonco.errors import UnknownNameError
from autoonco.tabular.steps import SCORES, CorrelationFilter, TopShare, build_steps


def brute_force(X: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for column in range(X.shape[1]):
        pairs = [np.corrcoef(X[:, column], X[:, other])[0, 1] for other in kept]
        if all(not abs(r) > threshold for r in pairs):
            kept.append(column)
    return kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.95])
def test_correlation_filter_against_a_loop(seed, threshold):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 6)) @ rng.normal(size=(6, 25)) * 10 ** rng.uniform(-9, 9, 25)
    found = CorrelationFilter(threshold=threshold).fit(X)
    assert list(found.get_support(indices=True)) == brute_force(X, threshold)
    left = (
        np.abs(np.corrcoef(found.transform(X), rowvar=False)) if found.get_support().sum() > 1 else np.eye(1)
    )
    assert (left - np.eye(len(left))).max() <= threshold + 1e-9


def test_correlation_filter_keeps_columns_without_variance_and_a_threshold_of_1_keeps_all():
    X = np.column_stack([np.arange(5.0), np.full(5, 3.0), np.full(5, 3.0), -np.arange(5.0)])
    assert CorrelationFilter(threshold=0.9).fit(X).get_support().tolist() == [True, True, True, False]
    assert CorrelationFilter(threshold=1.0).fit(X).get_support().all()


@pytest.fixture(scope="module")
def table():
    return make_classification(
        120,
        40,
        n_informative=4,
        n_redundant=0,
        n_clusters_per_class=1,
        shuffle=False,
        class_sep=2,
        random_state=0,
    )


@pytest.mark.parametrize("score", SCORES)
def test_informative_columns_are_found(table, score):
    X, y = table
    found = TopShare(score=score, share=0.1).fit(X, y).get_support(indices=True)
    assert len(found) == 4
    assert len(set(found) & {0, 1, 2, 3}) >= 3


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("share", [0.02, 0.33, 1.0])
def test_share_is_kept_and_never_nothing(table, score, share):
    X, y = table
    for columns in (1, 3, 40):
        kept = TopShare(score=score, share=share).fit(X[:, :columns], y).get_support().sum()
        assert kept == max(1, round(share * columns))


@pytest.mark.parametrize("score", SCORES)
def test_columns_without_information_do_not_end_the_trial(score):
    X = np.zeros((20, 6))
    X[:, 5] = np.arange(20)
    y = np.tile([0, 1, 2, 1], 5)
    assert TopShare(score=score, share=0.5).fit(X, y).get_support().sum() == 3


@pytest.mark.parametrize("score", SCORES)
def test_equal_seeds_select_equally(table, score):
    X, y = table
    one, other = (TopShare(score=score, share=0.4, seed=3).fit(X, y).get_support() for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_perfect_column_is_the_best_by_anova():
    y = np.tile([0, 1], 10)
    X = np.column_stack(
        [np.random.default_rng(0).normal(size=20), y, np.random.default_rng(1).normal(size=20)]
    )
    assert TopShare(score="anova", share=0.3).fit(X, y).get_support().tolist() == [False, True, False]


def test_unknown_names_are_told():
    with pytest.raises(UnknownNameError, match="anova"):
        TopShare(score="anovva").fit(np.ones((4, 2)), np.array([0, 1, 0, 1]))
    with pytest.raises(UnknownNameError, match="zscore"):
        build_steps({"scale": "zscores"}, n_features=3, n_train=10, seed=0)


def names(config, **more) -> list[str]:
    return [name for name, _ in build_steps(config, **({"n_features": 50, "n_train": 60, "seed": 0} | more))]


def test_absent_hyperparameters_leave_steps_out():
    assert names({}) == ["variance"]
    full = {
        "impute": "mean",
        "scale": "zscore",
        "correlation": 0.9,
        "selection": "anova",
        "selection_share": 0.2,
    }
    assert names(full) == ["impute", "variance", "scale", "correlation", "select"]
    assert names(full | {"selection": "none"})[-1] == "correlation"
    assert "correlation" not in names(full, n_features=5001)


def test_components_are_of_scaled_columns():
    assert names({"selection": "pca", "pca_variance": 0.9}) == ["variance", "standardise", "select"]
    assert names({"scale": "power", "selection": "pca", "pca_variance": 0.9}) == [
        "variance",
        "scale",
        "select",
    ]
