"""The control: random configs, none twice, all at full budget, the same for a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float

from autoonco.search.clock import Clock
from autoonco.search.random_search import RandomSearch
from autoonco.search.runner import Search
from autoonco.search.store import Store
from autoonco.search.trial import Origin
from autoonco.settings import Settings
from tests.search.test_source import Idle


def space() -> ConfigurationSpace:
    made = ConfigurationSpace()
    root, depth = Categorical("family", ["a", "b"]), Float("a:depth", (0.0, 1.0))
    kind = Categorical("b:kind", ["x", "y", "z"])
    made.add(root, depth, kind, EqualsCondition(depth, root, "a"), EqualsCondition(kind, root, "b"))
    return made


def test_draws_are_uniform_distinct_and_those_of_the_seed():
    def drawn(seed: int):
        search = RandomSearch(space(), seed=seed)
        return [search.ask() for _ in range(200)]

    first = drawn(0)
    assert [(p.family, p.config) for p in first] == [(p.family, p.config) for p in drawn(0)]
    assert [p.config for p in first] != [p.config for p in drawn(1)]
    assert {p.budget for p in first} == {1.0}
    keys = Counter((p.family, tuple(p.config.items())) for p in first)
    assert max(keys.values()) == 1
    depths = [p.config["depth"] for p in first if p.family == "a"]
    assert abs(np.mean(depths) - 0.5) < 4 * np.sqrt(1 / 12 / len(depths))  # four standard errors


def test_a_family_can_be_asked_for_until_its_space_is_used_up():
    search = RandomSearch(space(), seed=0)
    kinds = [search.ask(families=["b"]).config["kind"] for _ in range(3)]
    assert sorted(kinds) == ["x", "y", "z"]
    assert search.ask(families=["b"]) is None
    assert search.ask(families=["a"]).family == "a"


def test_a_search_takes_it_in_the_optimisers_place(toy, problem, tmp_path):
    toy.setenv("TOY_DEFAULTS", "work,nan")
    settings = Settings(search="random")
    search = Search(problem, pool=Idle(), store=Store(tmp_path), settings=settings, seed=0, clock=Clock(60.0))
    met = [search._source.next() for _ in range(12)]
    assert [c.origin for c in met[:2]] == [Origin.DEFAULT] * 2
    assert {(c.origin, c.budget) for c in met[2:]} == {(Origin.SEARCH, 1.0)}
    assert not list(tmp_path.rglob("runhistory.json"))
