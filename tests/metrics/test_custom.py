"""Scores of the user's own: what they get, what they may not do, and by what they are known again."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from autoonco.errors import AutoOncoError
from autoonco.metrics.custom import metric_from, tried
from autoonco.metrics.scores import get_metric

Y = np.array([0, 1, 1, 0])
PROBA = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.9, 0.1]])


def weighed(y, proba, miss=5.0):
    called = proba.argmax(axis=1)
    return -float(np.sum((called != y) * np.where(y == 1, miss, 1.0)))


def made(threshold):
    return lambda y, proba: float(((proba[:, 1] > threshold) == y).mean())


class Cost:
    def __init__(self, miss):
        self.miss = miss

    def __call__(self, y, proba):
        return weighed(y, proba, self.miss)


def test_it_is_called_with_positions_and_probabilities_and_higher_is_better():
    metric = metric_from(weighed)
    assert metric(Y, PROBA) == -5.0
    assert metric.name.endswith("test_custom.weighed")
    assert metric.title == "weighed"
    assert (
        metric.loss(-5.0) > metric.loss(-1.0) > metric.loss(3.0)
    )  # no bound, so no score is the best there is


def test_a_metric_is_taken_as_it_is():
    assert metric_from(get_metric("brier")) is get_metric("brier")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda y, proba: 1 / 0, "ZeroDivisionError"),
        (lambda y: 0.0, "TypeError"),
        (lambda y, proba: proba, "TypeError"),
        (lambda y, proba: None, "TypeError"),
        (lambda y, proba: float("nan"), "gave nan on 4 cases"),
    ],
)
def test_what_fails_is_told_before_the_search(function, said):
    with pytest.raises(AutoOncoError, match=said):
        tried(metric_from(function), Y, 2)


def test_it_may_write_into_what_it_is_given():
    def careless(y, proba):
        y[:], proba[:] = 0, 0.5
        return 1.0

    y, proba = Y.copy(), PROBA.copy()
    metric_from(careless)(y, proba)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(proba, PROBA)


def test_what_it_does_is_its_identity():
    same = metric_from(made(0.5)).identity
    assert metric_from(made(0.5)).identity == same
    assert metric_from(made(0.6)).identity != same
    assert (
        metric_from(Cost(2.0)).identity == metric_from(Cost(2.0)).identity != metric_from(Cost(3.0)).identity
    )
    assert metric_from(partial(weighed, miss=2)).identity != metric_from(partial(weighed, miss=3)).identity
    assert metric_from(partial(weighed, miss=2)).name == metric_from(weighed).name
    assert metric_from(Cost(2.0).__call__).identity != metric_from(Cost(3.0).__call__).identity
    source = "def own(y, proba):\n    return float(y.mean() {} 1)"
    spaces = []
    for sign in "+-":
        exec(source.format(sign), space := {"__name__": "mine"})
        spaces.append(metric_from(space["own"]))
    assert spaces[0].name == spaces[1].name == "mine.own"
    assert spaces[0].identity != spaces[1].identity


def test_another_process_gives_the_same_identity():
    code = (
        "from functools import partial\n"
        "def own(y, proba, names={'b', 'a', 'c'}, table={'x': 1}):\n    return max({'q', 'r'}, key=len) and 1.0\n"
        "from autoonco.metrics.custom import metric_from\nprint(metric_from(partial(own, k={'u', 'v'})).identity)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
