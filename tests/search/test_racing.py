from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.search.execution import Candidate, fold_key
from autoonco.search.racing import Race
from autoonco.search.store import Store
from autoonco.search.trial import Origin


@pytest.fixture
def race(toy, problem, tmp_path):
    return Race(problem, Store(tmp_path))


def test_a_config_that_ends_as_the_best_is_never_stopped_on_the_way(race):
    """Nor is any whose every fold is at least as good as the best one's worst: brute force over random races."""
    rng = np.random.default_rng(0)
    best = rng.random(5)
    race.finish(list(best))
    for _ in range(500):
        other = best.min() + (1 - best.min()) * rng.random(5)
        assert not any(race.is_hopeless(list(other[:n])) for n in range(1, 6))


def test_only_a_mean_below_the_worst_fold_of_the_best_config_is_hopeless(race):
    race.finish([0.9, 0.7, 0.8])
    race.finish([0.6, 0.95, 0.6])  # worse on average: changes nothing
    assert not race.is_hopeless([0.71])
    assert not race.is_hopeless([0.5, 0.95])
    assert race.is_hopeless([0.69])
    assert race.is_hopeless([0.9, 0.4])


def test_nothing_is_hopeless_before_any_config_has_finished(race):
    assert not race.is_hopeless([0.0])


def test_defaults_run_to_their_end(toy, problem, tmp_path):
    store = Store(tmp_path)
    race = Race(problem, store)
    race.finish([0.99, 0.99, 0.99])
    config = {"act": "work", "strength": 0.3}
    fidelity = problem.plan("toy", config, 1.0)
    candidate = Candidate(family="toy", config=config, budget=1.0, fidelity=fidelity, origin=Origin.SEARCH)
    upside_down = np.tile([0.5, 0.5], (20, 1))
    store.add_fold(fold_key(problem, candidate, problem.folds[0]), upside_down, seconds=1.0, elapsed_s=1.0)
    assert "after 1 of 3 folds" in race.why_hopeless(candidate)
    assert race.why_hopeless(replace(candidate, origin=Origin.DEFAULT)) is None
