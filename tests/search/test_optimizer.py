from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter, defaultdict

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float

from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, OptimizerSettings
from autoonco.search.space import config_key, join, split

FAMILIES = ("cheap", "middle", "dear")
OFFSETS = {"cheap": 0.2, "middle": 0.1, "dear": 0.0}


def make_space():
    space = ConfigurationSpace(seed=0)
    root = Categorical("family", FAMILIES)
    space.add(root)
    for name in FAMILIES:
        sub = ConfigurationSpace()
        kind, only_a = Categorical("kind", ["a", "b"]), Float("only_a", (0.0, 1.0))
        sub.add(kind, only_a, Float("x", (0.0, 1.0)), EqualsCondition(only_a, kind, "a"))
        space.add_configuration_space(
            name, sub, delimiter=":", parent_hyperparameter={"parent": root, "value": name}
        )
    return space


@pytest.fixture
def space():
    return make_space()


def make(space, *, seed=0, seconds=None, **arguments):
    """An optimiser; what is no setting goes to it directly."""
    direct = {
        name: arguments.pop(name)
        for name in ("starts", "known", "candidates", "folder", "spent")
        if name in arguments
    }
    settings = OptimizerSettings(**{"min_budget": 1 / 9} | arguments)
    return Optimizer(space, settings=settings, seed=seed, seconds=seconds, **direct)


def loss_of(family, config, budget):
    """The distance of x to 0.2, with noise that more budget takes away."""
    noise = 0.05 * (1 - budget) * (int(config_key(family, config), 16) % 7)
    return OFFSETS[family] + abs(config["x"] - 0.2) + noise


def answer(optimizer, proposal):
    loss = loss_of(proposal.family, proposal.config, proposal.budget)
    optimizer.tell(proposal, loss=loss, seconds=1.0)


def play(optimizer, n):
    found = []
    for _ in range(n):
        found.append(optimizer.ask())
        answer(optimizer, found[-1])
    return found


def trial(proposal):
    return config_key(proposal.family, proposal.config), round(proposal.budget, 6)


def budgets(proposals):
    return [round(1 / proposal.budget) for proposal in proposals]


def test_the_first_rung_is_the_starts_and_unique_configs_at_the_smallest_budget(space):
    starts = space.sample_configuration(2)
    first = play(make(space, starts=[*starts, starts[0]]), 9)
    assert budgets(first) == [9] * 9
    assert len(set(map(trial, first))) == 9
    assert [(p.family, p.config) for p in first[:2]] == [split(start) for start in starts]


def test_a_round_of_brackets_has_hyperbands_rungs(space):
    found = play(make(space), 9 + 3 + 1 + 5 + 1 + 3)
    assert Counter(budgets(found)) == {9: 9, 3: 3 + 5, 1: 1 + 1 + 3}


def test_rungs_of_a_small_budget_lose_none_to_rounding(space):
    assert budgets([make(space, min_budget=1 / 243).ask()]) == [243]


def test_without_family_promotion_the_best_of_a_rung_are_promoted(space):
    found = play(make(space, family_promotion=False), 13)
    losses = {trial(p)[0]: loss_of(p.family, p.config, 1 / 9) for p in found[:9]}
    best = sorted(losses, key=losses.__getitem__)[:3]
    assert budgets(found[9:]) == [3, 3, 3, 1]
    assert {trial(p)[0] for p in found[9:12]} == set(best)


def test_with_family_promotion_the_slots_are_shared_and_a_family_sends_its_best(space):
    rest = space.sample_configuration(100)
    starts = [c for name in FAMILIES for c in [c for c in rest if c["family"] == name][:3]]
    found = play(make(space, starts=starts), 12)
    assert Counter(p.family for p in found[:9]) == Counter(p.family for p in found[9:] * 3)
    for promoted in found[9:]:
        rivals = [loss_of(p.family, p.config, 1 / 9) for p in found[:9] if p.family == promoted.family]
        assert loss_of(promoted.family, promoted.config, 1 / 9) == min(rivals)


@pytest.mark.parametrize("seed", range(3))
def test_no_trial_is_proposed_twice(space, seed):
    proposals = play(make(space, seed=seed, known=space.sample_configuration(10)), 150)
    assert max(Counter(map(trial, proposals)).values()) == 1


def test_what_an_earlier_session_tried_is_met_again_before_anything_new(space):
    known = space.sample_configuration(14)
    found = play(make(space, known=known), 18)  # a bracket of 9, 3, 1 and the first 5 of the next
    new = [split(config) for config in known]
    assert [(p.family, p.config) for p in found[:9]] == new[:9]
    assert [(p.family, p.config) for p in found[13:18]] == new[9:]


def test_a_failed_trial_is_never_promoted(space):
    optimizer = make(space)
    failed = set()
    for number in range(9):
        proposal = optimizer.ask()
        if number < 7:
            failed.add(trial(proposal)[0])
            loss = [1.0, float("nan"), float("inf")][number % 3]
            optimizer.tell(proposal, loss=loss, seconds=1.0, failed=number % 3 == 0)
        else:
            answer(optimizer, proposal)
    promoted = play(optimizer, 2)
    assert budgets(promoted) == [3, 3]
    assert not failed & {trial(p)[0] for p in promoted}


def test_a_dropped_proposal_holds_up_nothing_and_is_not_promoted(space):
    optimizer = make(space)
    dropped = [optimizer.ask() for _ in range(4)]
    for proposal in dropped:
        optimizer.drop(proposal)
    found = play(optimizer, 5 + 3)
    assert budgets(found) == [9] * 5 + [3] * 3
    assert not {trial(p)[0] for p in dropped} & {trial(p)[0] for p in found}


def test_answers_may_come_late_and_in_any_order(space):
    optimizer, rng = make(space), np.random.default_rng(0)
    open_, done = [], []
    for _ in range(200):
        while len(open_) < 16:
            open_.append(optimizer.ask())
        proposal = open_.pop(rng.integers(len(open_)))
        answer(optimizer, proposal)
        done.append(proposal)
    assert max(Counter(map(trial, done)).values()) == 1
    assert {1, 3, 9} == set(budgets(done))
    below = defaultdict(set)  # whoever is promoted was tried one rung below
    for proposal in sorted(done + open_, key=lambda p: p.budget):
        below[trial(proposal)[0]].add(round(1 / proposal.budget))
    assert all(
        len(rungs) == 1 or max(rungs) == 3 * min(rungs) or rungs == {1, 3, 9} for rungs in below.values()
    )


def test_a_restricted_ask_returns_only_those_families_and_loses_nothing(space):
    optimizer, rng = make(space), np.random.default_rng(0)
    found = []
    for number in range(120):
        wanted = [list(FAMILIES[:2]), ["dear"], None][number % 3] if number < 90 else None
        proposal = optimizer.ask(wanted)
        assert wanted is None or proposal.family in wanted
        found.append(proposal)
        if rng.random() < 0.9:
            answer(optimizer, found.pop())
    for proposal in found:
        answer(optimizer, proposal)
    rungs = optimizer._brackets._rungs
    assert all(len(rung.losses) + len(rung.waiting) == len(rung.configs) for rung in rungs)
    n_waiting = sum(len(rung.waiting) for rung in rungs)
    served = [optimizer.ask() for _ in range(n_waiting)]
    assert len(set(map(trial, served))) == n_waiting


def test_what_waits_for_a_family_is_served_when_it_is_asked_for(space):
    rest = space.sample_configuration(100)
    starts = [c for name in FAMILIES for c in [c for c in rest if c["family"] == name][:3]]
    optimizer = make(space, starts=starts)
    first = play(optimizer, 9)  # one of each family is promoted now
    for family in ("middle", "dear", "cheap"):
        proposal = optimizer.ask([family])
        assert (proposal.family, budgets([proposal])) == (family, [3])
    met = {trial(proposal)[0] for proposal in first}
    assert trial(optimizer.ask(["cheap"]))[0] not in met  # nothing waits any more: this one is new


def test_a_family_that_has_nothing_new_is_none_and_the_others_go_on(space):
    table = space.sample_configuration(30)
    optimizer = make(space, candidates=[c for c in table if c["family"] != "dear"])
    assert optimizer.ask(["dear"]) is None
    assert optimizer.ask().family != "dear"
    assert optimizer.ask(["dear"]) is None
    assert optimizer.ask(["cheap"]).family == "cheap"


@pytest.mark.parametrize("n", [5, 40])
def test_a_table_is_searched_to_its_end_and_no_further(space, n):
    table = space.sample_configuration(n)
    optimizer = make(space, candidates=table)
    found = []
    while (proposal := optimizer.ask()) is not None:
        found.append(proposal)
        answer(optimizer, proposal)
    expected = {config_key(*split(config)) for config in table}
    assert {trial(p)[0] for p in found} == expected
    assert max(Counter(map(trial, found)).values()) == 1
    assert 1 in budgets(found)


@pytest.mark.slow
def test_it_finds_a_small_region_that_random_search_misses():
    space = ConfigurationSpace(seed=0)
    space.add(Categorical("family", ["only"]), *[Float(f"only:x{i}", (0.0, 1.0)) for i in range(6)])

    def best(**settings):
        optimizer, losses = make(space, **settings), []
        for _ in range(120):
            proposal = optimizer.ask()
            loss = sum((value - 0.3) ** 2 for value in proposal.config.values())
            optimizer.tell(proposal, loss=loss + 0.3 * (1 - proposal.budget), seconds=1.0)
            losses.append(loss)
        return min(losses)

    searched = np.mean([best(seed=seed) for seed in range(5)])
    random = np.mean([best(seed=seed, random_share=1.0) for seed in range(5)])
    assert searched < 0.7 * random


def test_cheap_configs_come_first_while_the_budget_is_fresh(space):
    def n_dear(spent):
        seconds = SecondsModel(prior=lambda family, config: {"cheap": 2, "middle": 600, "dear": 7200}[family])
        optimizer = make(space, seconds=seconds, spent=lambda: spent, random_share=0.0)
        proposals = play(optimizer, 100)
        new = {trial(p)[0]: p.family for p in proposals[13:]}
        return Counter(new.values())["dear"]

    assert n_dear(0.0) < n_dear(1.0)


def test_what_is_learned_informs_predictions_and_no_bracket(space):
    optimizer = make(space)
    for config in space.sample_configuration(40):
        family, plain = split(config)
        optimizer.learn(family, plain, 1.0, loss=loss_of(family, plain, 1.0))
    mean, std = optimizer.predict([("dear", {"kind": "b", "x": 0.2}), ("cheap", {"kind": "b", "x": 0.9})])
    assert mean.shape == std.shape == (2,)
    assert mean[0] < mean[1]
    assert budgets(play(optimizer, 13)) == [9] * 9 + [3] * 3 + [1]


def test_no_config_of_another_family_can_be_predicted(space):
    optimizer = make(space)
    play(optimizer, 1)
    with pytest.raises(ValueError, match="not in its space"):
        optimizer.predict([("dear", {"unknown": 1})])


def test_the_incumbent_is_the_best_at_full_budget(space):
    optimizer = make(space)
    proposals = play(optimizer, 60)
    incumbent = optimizer._smac.intensifier.get_incumbent()
    full = [p for p in proposals if p.budget == 1]
    best = min(full, key=lambda p: loss_of(p.family, p.config, 1.0))
    assert split(incumbent) == (best.family, best.config)
    assert join(space, best.family, best.config)["family"] == best.family


def test_the_written_history_names_no_folder_and_has_every_trial(space, tmp_path):
    optimizer = make(space, folder=tmp_path / "smac")
    play(optimizer, 15)
    optimizer.ask()
    optimizer.save()
    files = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    assert {"runhistory.json", "scenario.json", "intensifier.json", "configspace.json"} <= set(files)
    assert not [name for name, path in files.items() if str(tmp_path).encode() in path.read_bytes()]
    rows = json.loads(files["runhistory.json"].read_text())["data"]
    assert len(rows) == 16
    assert all(row["starttime"] > 0 and row["endtime"] >= row["starttime"] for row in rows[:15])


def test_without_a_folder_nothing_is_written(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optimizer = make(space)
    play(optimizer, 2)
    optimizer.save()
    assert not list(tmp_path.iterdir())


_PLAY = """
    import json, sys
    sys.path[:0] = [{here!r}]
    import test_optimizer as t
    space = t.make_space()
    prior = lambda family, config: {{"cheap": 2, "middle": 600, "dear": 7200}}[family] * (1 + config["x"])
    done = 0
    optimizer = t.make(
        space, seed=5, starts=[space.get_default_configuration()],
        seconds=t.SecondsModel(prior=prior, mode="prior"), spent=lambda: done / 60,
    )
    for done in range(60):
        proposal = optimizer.ask(["middle", "dear"] if done % 7 == 6 else None)
        t.answer(optimizer, proposal)
        print(json.dumps([t.trial(proposal), proposal.config], sort_keys=True))
"""


def test_the_same_seed_and_answers_give_the_same_proposals_in_any_process():
    here = os.path.dirname(__file__)  # noqa: PTH120
    script = textwrap.dedent(_PLAY).format(here=here)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (run.communicate(timeout=60)[0] for run in runs)
    assert len(first.splitlines()) == 60
    assert first == second
