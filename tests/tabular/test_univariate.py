"""Univariate tests against scikit-learn, loops over pairs and Benjamini and Hochberg's own procedure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from autoonco.errors import DataError
from autoonco.tabular.univariate import KRUSKAL, MANN_WHITNEY, univariate_tests


@pytest.fixture
def table():
    """Noise, a signal, a rounded signal with ties, a signal downwards, a column with gaps, a constant one."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 40)
    x = rng.normal(size=(80, 6))
    x[:, 1] += y
    x[:, 2] = np.round(x[:, 2] + y)
    x[:, 3] -= 2 * y
    x[::7, 4] = np.nan
    x[:, 5] = 3.0
    return x, y


def test_auc_counts_pairs(table):
    x, y = table
    found = univariate_tests(x, y, list("abcdef"))["auc"].to_numpy()
    for column in range(4):
        pairs = itertools.product(x[y == 1, column], x[y == 0, column])
        expected = np.mean([(one > other) + 0.5 * (one == other) for one, other in pairs])
        assert found[column] == pytest.approx(expected, abs=1e-12)
        assert found[column] == pytest.approx(roc_auc_score(y, x[:, column]), abs=1e-12)
    known = ~np.isnan(x[:, 4])
    assert found[4] == pytest.approx(roc_auc_score(y[known], x[known, 4]), abs=1e-12)
    assert np.isnan(found[5])


def test_q_is_the_smallest_rate_of_the_step_up_procedure(table):
    """Feature i is a discovery at rate q when some rank k ≥ its own has p_(k) ≤ k q / m."""
    x, y = table
    found = univariate_tests(x, y, list("abcdef"))
    p = found["p"].dropna().to_numpy()
    assert len(p) == 5  # the constant column is no test
    order, m = np.argsort(p), len(p)
    for place, feature in enumerate(order):
        expected = min(1.0, min(p[order[k]] * m / (k + 1) for k in range(place, m)))
        assert found["q"].dropna().to_numpy()[feature] == pytest.approx(expected, rel=1e-12)


def test_statistic_and_p_are_the_tests(table):
    x, y = table
    found = univariate_tests(x, y, list("abcdef"))
    assert set(found["test"]) == {MANN_WHITNEY}
    n1, n0 = 40, 40
    u = found["auc"][1] * n1 * n0
    assert found["statistic"][1] == pytest.approx(u)
    z = (abs(u - n1 * n0 / 2) - 0.5) / np.sqrt(n1 * n0 * (n1 + n0 + 1) / 12)  # no ties in this column
    assert found["p"][1] == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)


def test_three_classes_are_compared_by_ranks():
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], 30)
    x = np.column_stack([rng.normal(size=90), y + rng.normal(size=90)])
    found = univariate_tests(x, y, ["noise", "signal"])
    assert set(found["test"]) == {KRUSKAL}
    ranks = stats.rankdata(x[:, 1])
    means = [ranks[y == k].mean() for k in range(3)]
    h = 12 / (90 * 91) * sum(30 * (mean - 91 / 2) ** 2 for mean in means)
    assert found["statistic"][1] == pytest.approx(h)
    assert found["p"][1] == pytest.approx(stats.chi2.sf(h, 2))
    assert found["auc"][1] > 0.75 > found["auc"][0]


def test_order_of_cases_and_scale_change_nothing(table):
    x, y = table
    order = np.random.default_rng(2).permutation(len(y))
    first = univariate_tests(x, y, list("abcdef"))
    second = univariate_tests(np.exp(x[order]), y[order], list("abcdef"))
    np.testing.assert_allclose(first[["auc", "p", "q"]], second[["auc", "p", "q"]], rtol=1e-12)


@pytest.mark.slow
def test_permuted_labels_give_discoveries_at_the_rate():
    """With no signal anywhere, some q is below 0.05 in 5 % of the tables, as the rate promises."""
    rng = np.random.default_rng(3)
    y = np.tile([0, 1], 25)
    names = [str(k) for k in range(20)]
    any_ = [(univariate_tests(rng.normal(size=(50, 20)), y, names)["q"] < 0.05).any() for _ in range(150)]
    assert stats.binomtest(sum(any_), 150, 0.05).pvalue > 0.001


def test_one_class_is_no_comparison():
    with pytest.raises(DataError, match="two or more, got 1"):
        univariate_tests(np.ones((3, 1)), np.zeros(3, dtype=int), ["a"])
