from __future__ import annotations

import json

import pytest
from ConfigSpace import ConfigurationSpace

from autoonco.search.clock import Clock
from autoonco.search.space import build_space, config_key, join, space_json, split


def test_a_point_of_the_common_space_splits_and_joins_unchanged(toy, problem):
    space = build_space(["toy"], problem.fingerprint, seed=0)
    for point in space.sample_configuration(20):
        family, config = split(point)
        assert join(space, family, config) == point
        assert json.loads(json.dumps(config)) == config


def test_what_is_no_point_of_the_space_is_told(toy, problem):
    space = build_space(["toy"], problem.fingerprint)
    with pytest.raises(ValueError, match="family 'toy' is not in its space"):
        join(space, "toy", {"act": "work"})


def test_equal_configs_have_equal_keys_whatever_their_order():
    assert config_key("a", {"x": 1, "y": 2}) == config_key("a", {"y": 2, "x": 1})
    assert config_key("a", {"x": 1}) != config_key("b", {"x": 1})


def test_the_space_as_json_is_the_whole_space(toy, problem):
    space = build_space(["toy"], problem.fingerprint)
    again = ConfigurationSpace.from_serialized_dict(json.loads(space_json(space)))
    assert again == space


def test_a_clock_counts_earlier_sessions():
    clock = Clock(100, spent_s=99.5)
    assert clock.elapsed() >= 99.5
    assert clock.remaining() <= 0.5
