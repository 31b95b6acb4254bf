from __future__ import annotations

import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Float

from autoonco.search.optimizer import Optimizer
from autoonco.search.space import config_key


@pytest.fixture
def space():
    space = ConfigurationSpace(seed=0)
    space.add(Categorical("family", ["toy"]), Float("toy:x", (0.0, 1.0)))
    return space


def play(optimizer, n):
    """Ask and tell `n` times; the loss is the distance of x to 0.2, with noise that more budget takes away."""
    found = []
    for _ in range(n):
        proposal = optimizer.ask()
        found.append(proposal)
        noise = 0.05 * (1 - proposal.budget) * (int(config_key("toy", proposal.config), 16) % 7)
        optimizer.tell(proposal, loss=abs(proposal.config["x"] - 0.2) + noise, seconds=1.0)
    return found


def optimizer(space, folder, **arguments):
    return Optimizer(space, folder=folder, seed=0, min_budget=1 / 9, eta=3, **{"starts": []} | arguments)


def test_the_first_rung_is_the_starts_and_unique_configs_at_the_smallest_budget(space, tmp_path):
    starts = space.sample_configuration(2)
    first = play(optimizer(space, tmp_path, starts=starts), 9)
    assert {round(p.budget, 6) for p in first} == {round(1 / 9, 6)}
    assert len({p.config["x"] for p in first}) == 9
    assert {s["toy:x"] for s in starts} <= {p.config["x"] for p in first}


def test_the_best_of_a_rung_are_promoted(space, tmp_path):
    found = play(optimizer(space, tmp_path), 13)
    losses = {p.config["x"]: abs(p.config["x"] - 0.2) for p in found[:9]}
    promoted = {p.config["x"] for p in found[9:12]}
    assert [round(p.budget, 4) for p in found[9:13]] == [0.3333, 0.3333, 0.3333, 1.0]
    assert promoted <= set(losses)


def test_what_an_earlier_session_tried_is_met_again_before_anything_new(space, tmp_path):
    known = space.sample_configuration(4)
    found = play(
        optimizer(space, tmp_path, known=known), 18
    )  # a bracket of 9, 3, 1 and the first 5 of the next
    assert {c["toy:x"] for c in known} <= {p.config["x"] for p in found}
    assert {p.config["x"] for p in found[13:17]} == {c["toy:x"] for c in known}


def test_the_written_history_names_no_folder(space, tmp_path):
    search = optimizer(space, tmp_path / "smac")
    play(search, 3)
    search.save()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"runhistory.json", "scenario.json"} <= {path.name for path in files}
    assert not [path for path in files if str(tmp_path).encode() in path.read_bytes()]
