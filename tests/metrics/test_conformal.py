"""Coverage over many draws, in each class by itself, and the thresholds against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.errors import DataError
from autoonco.metrics.conformal import EVERY, class_thresholds, coverage, prediction_sets


def drawn(rng, n, k=3):
    y = rng.choice(k, n, p=np.array([0.6, 0.3, 0.1])[:k] / np.array([0.6, 0.3, 0.1])[:k].sum())
    logits = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y]
    proba = np.exp(logits)
    return y, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("k", [2, 3])
def test_each_class_is_covered_as_asked(level, k):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        thresholds = class_thresholds(*drawn(rng, 400, k), level)
        y, proba = drawn(rng, 2000, k)
        sets = prediction_sets(proba, thresholds)
        found.append([coverage(y[y == c], sets[y == c]) for c in range(k)])
    # the expectation is between level and level + 1 / (n + 1), n being the calibrating cases of the class
    mean = np.mean(found, axis=0)
    assert (mean > level - 0.01).all()
    assert (mean < level + 0.04).all()


def test_a_threshold_is_the_smallest_that_covers_its_own_cases_and_one_more():
    y, proba = drawn(np.random.default_rng(1), 300)
    for c, threshold in enumerate(class_thresholds(y, proba, 0.9)):
        scores = 1 - proba[y == c, c]
        wanted = 0.9 * (len(scores) + 1)
        assert (scores <= threshold).sum() >= wanted - 1e-9
        assert (scores < threshold).sum() < wanted


def test_a_class_of_too_few_cases_is_in_every_set():
    y = np.repeat([0, 1], [50, 8])  # 90 % of 9 is the ninth of eight
    proba = np.tile([0.99, 0.01], (58, 1))
    thresholds = class_thresholds(y, proba, 0.9)
    assert thresholds[1] == EVERY
    assert prediction_sets([[1.0, 0.0]], thresholds).tolist() == [[True, True]]


def test_more_coverage_never_makes_a_set_smaller():
    y, proba = drawn(np.random.default_rng(2), 500)
    small, large = (prediction_sets(proba, class_thresholds(y, proba, level)) for level in (0.7, 0.95))
    assert (large | ~small).all()
    assert large.sum() > small.sum()


def test_a_level_of_one_is_refused():
    with pytest.raises(DataError, match="between 0 and 1"):
        class_thresholds([0, 1], np.eye(2), 1.0)
