"""Thresholds against a search over all of them, and net benefit against its definition, case by case."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.errors import DataError
from autoonco.metrics.decisions import decision_curve, sensitivity_threshold, youden_threshold


def drawn(seed, n=60, rounded=2):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    p = np.round(1 / (1 + np.exp(-rng.normal(1.2 * y - 0.6))), rounded)
    return y, np.c_[1 - p, p]


def figures(y, proba, threshold):
    called = proba[:, 1] >= threshold
    return called[y == 1].mean(), (~called[y == 0]).mean()


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_beats_youdens(seed):
    y, proba = drawn(seed)
    found = youden_threshold(y, proba)
    assert figures(y, proba, found.value) == pytest.approx((found.sensitivity, found.specificity))
    best = max(sum(figures(y, proba, t)) for t in np.linspace(-0.01, 1.01, 2000))
    assert found.sensitivity + found.specificity == pytest.approx(best)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_the_sensitivity_is_kept_and_no_larger_threshold_keeps_it(seed, wanted):
    y, proba = drawn(seed)
    found = sensitivity_threshold(y, proba, wanted)
    assert figures(y, proba, found.value) == pytest.approx((found.sensitivity, found.specificity))
    assert found.sensitivity >= wanted
    above = np.unique(proba[:, 1])
    above = above[above >= found.value]
    assert all(figures(y, proba, np.nextafter(t, 2))[0] < wanted for t in above)


def test_neighbours_without_a_number_between_them_are_told_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    y, p = np.array([0, 1]), np.array([low, high])
    found = youden_threshold(y, np.c_[1 - p, p])
    assert figures(y, np.c_[1 - p, p], found.value) == (1, 1)


def test_certain_probabilities_have_thresholds_beyond_them():
    proba = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert youden_threshold([1, 0], proba).specificity in (0.0, 1.0)  # all or nobody: no threshold is better
    assert youden_threshold([0, 1], proba).value == 0.5


def test_net_benefit_is_what_its_definition_says():
    y, proba = drawn(3)
    at = np.array([0.05, 0.3, 0.5, 0.8])
    found = decision_curve(y, proba, at)
    for place, t in enumerate(at):
        called = proba[:, 1] >= t
        true, false = (called & (y == 1)).sum(), (called & (y == 0)).sum()
        assert found.model[place] == pytest.approx(true / len(y) - false / len(y) * t / (1 - t))
        everyone = y.mean() - (1 - y.mean()) * t / (1 - t)
        assert found.treat_all[place] == pytest.approx(everyone)
    assert not found.treat_none.any()


def test_nobody_does_better_than_knowing():
    y, proba = drawn(4)
    perfect = decision_curve(y, np.eye(2)[y])
    assert (decision_curve(y, proba).model <= perfect.model + 1e-12).all()
    np.testing.assert_allclose(perfect.model, y.mean())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: youden_threshold([1, 1], [[0.5, 0.5], [0.1, 0.9]]), "both classes"),
        (lambda: youden_threshold([0, 1, 2], np.eye(3)), "two classes"),
        (lambda: sensitivity_threshold([0, 1], np.eye(2), 0), "above 0"),
        (lambda: decision_curve([0, 1], np.eye(2), [1.0]), "between 0 and 1"),
    ],
)
def test_what_cannot_be_decided_is_told(call, words):
    with pytest.raises(DataError, match=words):
        call()
