from __future__ import annotations

import pytest

from autoonco.search.clock import Clock
from autoonco.search.runner import Search
from autoonco.search.store import Store
from autoonco.search.trial import Origin
from autoonco.settings import Settings


class Idle:
    """An executor that is never asked to do anything."""

    def n_idle(self, *, gpu):
        return 1

    def submit(self, task, *, timeout_s):
        raise AssertionError

    def poll(self):
        raise AssertionError


@pytest.mark.parametrize(("limit_s", "acts"), [(6.1, ["work", "nan"]), (5.9, ["work"]), (0.1, ["work"])])
def test_a_second_default_comes_first_only_within_a_twentieth_of_the_time_and_a_first_one_always(
    toy, problem, tmp_path, limit_s, acts
):
    """The toy guesses 0.3 s for a full training."""
    toy.setenv("TOY_DEFAULTS", "work,nan")
    store = Store(tmp_path)
    search = Search(problem, pool=Idle(), store=store, settings=Settings(), seed=0, clock=Clock(limit_s))
    met = [search._source.next() for _ in range(3)]
    assert [c.config["act"] for c in met if c.origin is Origin.DEFAULT] == acts
    assert [c.origin for c in met[len(acts) :]] == [Origin.SEARCH] * (3 - len(acts))
