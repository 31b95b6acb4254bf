from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from autoonco.metrics.mcnemar import mcnemar


@pytest.mark.parametrize(("b", "c"), [(0, 5), (3, 9), (7, 7), (12, 1)])
def test_it_is_the_sign_test_of_discordant_cases(b: int, c: int) -> None:
    first = np.r_[np.ones(b), np.zeros(c), np.ones(20), np.zeros(4)].astype(bool)
    second = np.r_[np.zeros(b), np.ones(c), np.ones(20), np.zeros(4)].astype(bool)
    tail = binom.cdf(min(b, c), b + c, 0.5)
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(first, second) == mcnemar(second, first)


def test_equal_models_differ_in_nothing() -> None:
    right = np.array([True, False, True])
    assert mcnemar(right, right) == 1.0
    assert mcnemar(right, right, [0, 0, 1]) == 1.0


def test_repeating_every_case_of_a_patient_adds_no_knowledge() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 60)) < [[0.8], [0.6]]
    rows = np.repeat(np.arange(60), 5)
    twice = np.repeat(np.arange(60), 2)
    many = mcnemar(first[rows], second[rows], rows)
    assert many == pytest.approx(mcnemar(first[twice], second[twice], twice))
    assert many > 100 * mcnemar(first[rows], second[rows])


def test_false_alarms_are_rare_with_several_cases_a_patient() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 3)
    found = []
    for _ in range(600):
        own = rng.random((2, 60))[:, groups] + 0.3 * rng.random((2, 180))
        found.append(mcnemar(*(own < 0.8), groups))
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.085
