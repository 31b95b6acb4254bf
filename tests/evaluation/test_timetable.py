from __future__ import annotations

import itertools

import numpy as np
import pytest

from autoonco.evaluation.ensemble import Candidate
from autoonco.evaluation.timetable import Needed, arrange, ends, fitting, makespan
from autoonco.families.contract import Fidelity
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Origin, Status, Trial


def item(family, number, refit_s):
    trial = Trial(
        id=number, scope="final", family=family, config={"n": number}, budget=1.0, fidelity=Fidelity(folds=3),
        status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=Origin.SEARCH, seed=0, loss=0.1, score=0.9,
    )  # fmt: skip
    return Candidate(trial=trial, probas=(), refit_s=refit_s, score=1 - number / 100)


def test_ends_are_those_of_a_queue_played_second_by_second():
    rng = np.random.default_rng(0)
    for n_workers in (1, 2, 3):
        seconds = rng.integers(1, 9, 7).tolist()
        queue, left, found, now = list(enumerate(seconds)), {}, {}, 0
        while queue or left:
            while queue and len(left) < n_workers:
                number, left[number] = queue[0][0], queue.pop(0)[1]
            now += 1
            left = {number: s - 1 for number, s in left.items()}
            found |= {number: now for number, s in left.items() if s == 0}
            left = {number: s for number, s in left.items() if s > 0}
        assert ends(seconds, n_workers) == [found[i] for i in range(7)]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_where_a_choice_fits_one_is_found_and_the_best_of_all_is_taken_where_it_fits(n_workers):
    rng = np.random.default_rng(1)
    for _ in range(200):
        ladders = {name: [item(name, i, float(rng.integers(1, 30))) for i in range(4)] for name in "abc"}
        limit_s = float(rng.integers(5, 60))
        found = fitting(ladders, limit_s=limit_s, n_workers=n_workers)
        every = list(itertools.product(*ladders.values()))
        possible = [choice for choice in every if makespan(choice, n_workers) <= limit_s]
        assert (makespan(found.values(), n_workers) <= limit_s) == bool(possible)
        if possible and makespan(every[0], n_workers) <= limit_s:
            assert tuple(found.values()) == every[0]
        if not possible:
            quickest = [min(ladder, key=lambda c: c.refit_s).refit_s for ladder in ladders.values()]
            assert [c.refit_s for c in found.values()] == quickest


def test_members_begin_first_and_as_many_families_as_can_be_end_in_time():
    members = [item("a", 1, 5.0), item("a", 2, 2.0)]
    others = [item("b", 1, 20.0), item("c", 1, 4.0), item("d", 1, 3.0)]

    def order(limit_s):
        found = arrange(members, others, limit_s=limit_s, n_workers=2)
        assert [c.refit_s for c in found[:2]] == [2.0, 5.0]
        return [c.refit_s for c in found[2:]]

    assert order(22.0) == [20.0, 4.0, 3.0]  # only with the longest first does all of it fit
    assert order(15.0) == [3.0, 4.0, 20.0]  # and here the longest is what is left out
    assert order(1.0) == [3.0, 4.0, 20.0]


def test_what_is_needed_follows_the_trials_one_by_one(toy, problem, tmp_path):
    """Folds of equal length: a refit takes 3/2 of one, three folds being two thirds of the cases each."""
    store, needed = Store(tmp_path), None
    needed = Needed(problem, store, n_test=0, n_workers=1)

    def tried(number, strength, *, folds, fold_s, status=Status.SUCCESS, scope="final"):
        config = {"act": "work", "strength": strength}
        key = config_key("toy", config)
        for fold in problem.folds[:folds]:
            name = FoldKey(scope=scope, config_key=key, fold_key="full", fold=str(fold.index))
            store.add_fold(name, np.full((20, 2), 0.5), seconds=fold_s, elapsed_s=0.0)
        store.add_trial(
            Trial(
                id=number, scope=scope, family="toy", config=config, budget=folds / 3, fidelity=Fidelity(folds=folds),
                status=status, seconds=1.0, elapsed_s=1.0, origin=Origin.SEARCH, seed=0, loss=0.5, score=0.5,
            )
        )  # fmt: skip

    assert needed() == 0
    tried(0, 0.1, folds=1, fold_s=40.0)
    assert needed() == 60
    tried(1, 0.2, folds=1, fold_s=10.0, status=Status.STOPPED)
    tried(2, 0.2, folds=1, fold_s=10.0, scope="outer0")
    assert needed() == 60
    tried(3, 0.3, folds=1, fold_s=20.0)
    assert needed() == 30
    tried(4, 0.4, folds=3, fold_s=30.0)
    assert needed() == 45  # once something was fully trained, that is what is refitted
