"""Selections against loops, against other implementations and against what is known of the columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, f_oneway, mannwhitneyu
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.svm import SVC

from autoonco.errors import UnknownNameError
from autoonco.tabular.selectors import (
    BORUTA_ALPHA,
    Boruta,
    Elimination,
    Mrmr,
    Relief,
    Significant,
    Stable,
    decide,
    mrmr_order,
    p_values,
    relief_weights,
)

ALL = (
    Significant(p=0.01),
    Significant(score="mann_whitney", p=0.01),
    Relief(n_features=6),
    Mrmr(n_features=6),
    Boruta(n_trees=30),
    Stable(),
    Elimination(share=0.2),
)


def table(n_classes: int = 2, n_cases: int = 90):
    return make_classification(
        n_cases, 30, n_informative=4, n_redundant=0, n_classes=n_classes, n_clusters_per_class=1, shuffle=False,
        class_sep=2, random_state=0,
    )  # fmt: skip


def relief_by_loops(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Figure 2 of Robnik-Sikonja and Kononenko, line by line."""
    n, n_columns = X.shape
    span = X.max(axis=0) - X.min(axis=0)
    weights = np.zeros(n_columns)
    for i in range(n):
        for label in np.unique(y):
            others = [j for j in range(n) if j != i and y[j] == label]
            others.sort(key=lambda j: sum(abs(X[i, a] - X[j, a]) / span[a] for a in range(n_columns)))
            near = others[:k]
            for a in range(n_columns):
                diff = sum(abs(X[i, a] - X[j, a]) / span[a] for j in near) / (n * len(near))
                if label == y[i]:
                    weights[a] -= diff
                else:
                    weights[a] += np.mean(y == label) / (1 - np.mean(y == y[i])) * diff
    return weights


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("k", [2, 6])
def test_relief_against_loops(n_classes, k):
    X, y = table(n_classes, 40)
    np.testing.assert_allclose(relief_weights(X, y, n_neighbors=k), relief_by_loops(X, y, k), atol=1e-12)


def test_relief_sees_an_exclusive_or_that_no_single_column_shows():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 8))
    y = ((X[:, 2] > 0) ^ (X[:, 5] > 0)).astype(int)
    assert set(np.argsort(relief_weights(X, y, n_neighbors=5))[-2:]) == {2, 5}


def mrmr_by_loops(X: np.ndarray, y: np.ndarray, n: int) -> list[int]:
    relevance = [f_oneway(*(X[y == label, a] for label in np.unique(y))).statistic for a in range(X.shape[1])]
    taken: list[int] = []
    while len(taken) < n:
        scores = {}
        for a in set(range(X.shape[1])) - set(taken):
            pairs = [abs(np.corrcoef(X[:, a], X[:, b])[0, 1]) for b in taken]
            scores[a] = relevance[a] / max(np.mean(pairs), 1e-3) if taken else relevance[a]
        taken.append(max(scores, key=lambda a: scores[a]))
    return taken


@pytest.mark.parametrize("seed", range(4))
def test_mrmr_against_loops(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 20)) + rng.normal(size=(60, 20)) + 0.3 * y[:, None]
    assert mrmr_order(X, y, 9) == mrmr_by_loops(X, y, 9)


def test_mrmr_takes_no_copy_before_something_new():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    noise = rng.normal(size=(200, 2))
    strong, weaker = 2 * y + noise[:, 0], 1.8 * y + noise[:, 1]
    assert mrmr_order(np.column_stack([strong, 1 - 3 * strong, weaker]), y, 2) in ([0, 2], [1, 2])


@pytest.mark.parametrize("n_columns", [1, 40, 1000])
def test_boruta_decides_as_the_binomial_test_with_bonferroni(n_columns):
    for rounds in (1, 7, 20):
        for hits in range(rounds + 1):
            limit = BORUTA_ALPHA / n_columns
            often = binomtest(hits, rounds, 0.5, "greater").pvalue < limit
            seldom = binomtest(hits, rounds, 0.5, "less").pvalue < limit
            assert decide(np.array([hits]), rounds, n_columns)[0] == int(often) - int(seldom)


def test_boruta_confirms_all_that_tells_and_hardly_what_does_not():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 100)
    X = rng.normal(size=(200, 60))
    X[:, :5] += y[:, None]
    kept = Boruta(seed=1).fit(X, y).get_support(indices=True)
    assert set(range(5)) <= set(kept)
    assert len(kept) <= 6


def test_p_values_against_scipy_column_by_column():
    X, y = table()
    groups = X[y == 0], X[y == 1]
    expected = [f_oneway(groups[0][:, a], groups[1][:, a]).pvalue for a in range(30)]
    np.testing.assert_allclose(p_values("anova", X, y), expected, rtol=1e-7)
    expected = [mannwhitneyu(groups[1][:, a], groups[0][:, a], method="asymptotic").pvalue for a in range(30)]
    np.testing.assert_allclose(p_values("mann_whitney", X, y), expected, rtol=1e-9)


def test_significance_keeps_what_is_below_its_threshold_or_one():
    X, y = table()
    for score in ("anova", "mann_whitney"):
        found = p_values(score, X, y)
        kept = Significant(score=score, p=0.05).fit(X, y).get_support()
        np.testing.assert_array_equal(kept, found < 0.05)
        assert Significant(score=score, p=0.0).fit(X, y).get_support(indices=True) == [np.argmin(found)]
    with pytest.raises(UnknownNameError, match="anova"):
        Significant(score="anovva").fit(X, y)


def test_stable_columns_are_the_ones_that_tell():
    X, y = table(n_cases=200)
    kept = Stable(threshold=0.9).fit(X, y).get_support(indices=True)
    assert 1 <= len(kept) <= 6
    assert set(kept) & {0, 1, 2, 3}
    loose = Stable(threshold=0.55).fit(X, y).get_support()
    assert loose[kept].all()


def test_elimination_keeps_its_share_and_what_a_machine_needs():
    X, y = table()
    found = Elimination(share=0.1).fit(X, y)
    assert found.get_support().sum() == 3
    assert SVC().fit(found.transform(X), y).score(found.transform(X), y) > 0.9


@pytest.mark.parametrize("selector", ALL, ids=repr)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_finds_columns_that_tell_and_repeats(selector, n_classes):
    X, y = table(n_classes)
    one, other = (clone(selector).fit(X, y).get_support() for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one[:4].any()
    assert one[:4].mean() > one[4:].mean()


@pytest.mark.parametrize("selector", ALL, ids=repr)
@pytest.mark.parametrize("columns", [1, 3])
def test_columns_without_information_leave_one_at_least(selector, columns):
    X = np.zeros((20, columns))
    X[:, -1] = np.arange(20)
    assert clone(selector).fit(X, np.tile([0, 1, 2, 1], 5)).get_support().any()


@pytest.mark.parametrize("selector", ALL, ids=repr)
def test_a_class_of_one_case_ends_no_selection(selector):
    X, _ = table()
    y = np.r_[1, np.zeros(29, int)]
    assert clone(selector).fit(X[:30], y).get_support().any()
