from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.evaluation import ensemble
from autoonco.evaluation.delivered import in_time
from autoonco.evaluation.ensemble import Candidate
from autoonco.families.contract import Fidelity
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Origin, Status, Trial


def made_trial(number, config, *, score, folds=3, family="toy"):
    return Trial(
        id=number,
        scope="final",
        family=family,
        config=config,
        budget=folds / 3,
        fidelity=Fidelity(folds=folds),
        status=Status.SUCCESS,
        seconds=1.0,
        elapsed_s=1.0,
        origin=Origin.SEARCH,
        seed=0,
        score=score,
    )


def candidate(problem, rng, *, skill, refit_s=1.0, family="toy", number=0):
    """A made trial whose probabilities know the label as well as `skill` says."""
    probas = []
    for fold in problem.folds:
        truth = problem.y[list(fold.test)]
        p = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + rng.normal(size=len(truth)))))
        probas.append(np.column_stack([1 - p, p]))
    trial = made_trial(number, {"n": number}, family=family, score=problem.score(probas))
    return Candidate(trial=trial, probas=tuple(probas), refit_s=refit_s, score=trial.score)


@pytest.fixture
def found(problem):
    rng = np.random.default_rng(0)
    items = [
        candidate(problem, rng, skill=skill, number=i) for i, skill in enumerate([0.2, 0.4, 0.5, 0.6, 0.7])
    ]
    return sorted(items, key=lambda item: -item.score)


def test_it_is_at_least_as_good_as_the_best_alone_and_its_weights_sum_to_one(problem, found):
    members = ensemble.select(problem, found, rounds=20, refit_limit_s=np.inf)
    assert ensemble.ensemble_score(problem, members) >= found[0].score
    assert sum(member.weight for member in members) == pytest.approx(1)
    assert [m.weight for m in members] == sorted((m.weight for m in members), reverse=True)


def test_each_round_takes_the_best_addition_as_brute_force_does(problem, found):
    chosen: list[int] = []
    for _ in range(4):
        sums = [
            np.mean([[found[j].probas[k] for j in [*chosen, i]] for k in range(3)], axis=1) for i in range(5)
        ]
        chosen.append(int(np.argmax([problem.score(list(s)) for s in sums])))
    scores = [
        problem.score([np.mean([found[j].probas[k] for j in chosen[:n]], axis=0) for k in range(3)])
        for n in range(1, 5)
    ]
    expected = chosen[: int(np.argmax(scores)) + 1]
    members = ensemble.select(problem, found, rounds=4, refit_limit_s=np.inf)
    got = {found.index(member.candidate): round(member.weight * len(expected)) for member in members}
    assert got == {i: expected.count(i) for i in set(expected)}


def test_what_can_not_be_refitted_in_time_stays_out(problem):
    rng = np.random.default_rng(1)
    costs = [100.0, 3.0, 3.0, 3.0]
    items = [candidate(problem, rng, skill=1.5 - 0.1 * i, refit_s=c, number=i) for i, c in enumerate(costs)]
    members = ensemble.select(problem, items, rounds=30, refit_limit_s=7.0)
    assert all(member.candidate.refit_s < 100 for member in members)
    assert sum(member.candidate.refit_s for member in members) <= 7.0
    free = ensemble.select(problem, items, rounds=30, refit_limit_s=7.0, refitted=items[:1])
    assert items[0] in [member.candidate for member in free]


def test_one_round_is_the_best_single_model(problem, found):
    members = ensemble.select(problem, found, rounds=1, refit_limit_s=np.inf)
    assert [(m.candidate, m.weight) for m in members] == [(found[0], 1.0)]


def test_only_full_trials_are_candidates_and_the_furthest_stands_in(toy, problem, tmp_path):
    store = Store(tmp_path)
    for number, folds in enumerate([1, 2]):
        config = {"act": "work", "strength": 0.1 * number}
        key = ensemble.config_key("toy", config)
        for fold in problem.folds[:folds]:
            proba = np.tile([0.5, 0.5], (20, 1))
            store.add_fold(
                FoldKey(scope="final", config_key=key, fold_key="full", fold=str(fold.index)),
                proba,
                seconds=1,
                elapsed_s=1,
            )
        store.add_trial(made_trial(number, config, folds=folds, score=0.9 - number / 10))
    assert ensemble.candidates(problem, store) == []
    furthest = ensemble.furthest(problem, store, "toy")
    # two folds with a lower score say more than one with a higher
    assert [(item.trial.id, len(item.probas)) for item in furthest] == [(1, 2), (0, 1)]
    assert ensemble.furthest(problem, store, "radiomics") == []


def test_of_a_config_that_came_further_the_furthest_trial_stands_in(toy, problem, tmp_path):
    store, config = Store(tmp_path), {"act": "work", "strength": 0.3}
    for number, folds in enumerate([1, 2]):
        for fold in problem.folds[:folds]:
            key = FoldKey(
                scope="final",
                config_key=ensemble.config_key("toy", config),
                fold_key="full",
                fold=str(fold.index),
            )
            store.add_fold(key, np.tile([0.5, 0.5], (20, 1)), seconds=1, elapsed_s=1)
        store.add_trial(made_trial(number, config, folds=folds, score=0.5))
    assert [item.trial.id for item in ensemble.furthest(problem, store, "toy")] == [1]


def test_quick_finalists_do_not_shut_out_a_better_one_that_was_too_slow_to_be_scored_again(problem):
    rng = np.random.default_rng(1)
    fresh = tuple(replace(fold, index=3 + k) for k, fold in enumerate(problem.folds))
    problem = replace(problem, fresh=fresh)
    slow = candidate(problem, rng, skill=3.0, number=1)
    quick = candidate(problem, rng, skill=0.2, number=2)
    quick = replace(quick, probas=(*quick.probas, *quick.probas), passes=(quick.score,))
    assert slow.score > quick.score
    members = ensemble.select(problem, [slow, quick], rounds=1, refit_limit_s=np.inf)
    assert [m.candidate.trial.id for m in members] == [1]
    assert ensemble.by_family([slow, quick])["toy"] == [slow, quick]
    # and once the best was scored again, the fresh folds decide
    both = [replace(slow, probas=(*slow.probas, *slow.probas), passes=(0.1,), score=0.1), quick]
    assert ensemble.by_family(both)["toy"] == [quick, both[0]]


def test_a_family_is_chosen_from_by_the_passes_that_its_best_have_had(problem):
    rng = np.random.default_rng(0)
    base = [candidate(problem, rng, skill=1.0, number=i) for i in range(5)]
    scores = [0.9, 0.8, 0.7, 0.6, 0.95]

    def by_passes(*passes):
        items = [
            replace(item, passes=p, trial=replace(item.trial, score=score))
            for item, p, score in zip(base, passes, scores, strict=True)
        ]
        return [base.index(replace(c, passes=(), trial=base[i].trial)) for i, c in ranked(items)]

    def ranked(items):
        chosen = ensemble.by_family(items)["toy"]
        return [(items.index(item), item) for item in chosen]

    assert by_passes((), (), (), (), ()) == [4, 0, 1, 2, 3]
    assert by_passes((0.5,), (0.6,), (), (), (0.4,)) == [1, 0, 4]
    # those that had two are chosen from by two, and the third's luck on its only one does not count
    assert by_passes((0.6, 0.55), (0.7, 0.5), (0.5,), (), (0.4,)) == [0, 1]
    # time ended before the best of the first pass had its second
    assert by_passes((0.6, 0.9), (0.7,), (0.5,), (), (0.4,)) == [1, 0, 2, 4]


def test_an_ensemble_is_scored_on_fresh_folds_where_all_members_have_them(problem):
    rng = np.random.default_rng(2)
    fresh = tuple(replace(fold, index=3 + k) for k, fold in enumerate(problem.folds))
    problem = replace(problem, fresh=fresh)
    one, two = (candidate(problem, rng, skill=skill, number=i) for i, skill in enumerate((0.2, 0.9)))
    probas = (*two.probas, *one.probas)  # good on the search's folds, poor on the fresh ones
    member = ensemble.Member(candidate=replace(two, probas=probas, passes=(one.score,)), weight=1.0)
    assert ensemble.ensemble_score(problem, [member]) == pytest.approx(one.score)
    # also where there would have been another pass
    more = replace(problem, fresh=(*fresh, *(replace(fold, index=6 + k) for k, fold in enumerate(fresh))))
    assert ensemble.ensemble_score(more, [member]) == pytest.approx(one.score)


def test_the_plain_mean_is_of_the_best_at_equal_weights(problem, found):
    members = ensemble.select(problem, found, rounds=20, refit_limit_s=np.inf, mean_of=3)
    assert [m.candidate for m in members] == found[:3]
    assert [m.weight for m in members] == pytest.approx([1 / 3] * 3)
    expected = [sum(item.probas[k] for item in found[:3]) / 3 for k in range(3)]
    assert ensemble.ensemble_score(problem, members) == pytest.approx(problem.score(expected))
    few = ensemble.select(problem, found, rounds=20, refit_limit_s=2.0, mean_of=5)
    assert len(few) == 2


def test_members_leave_until_a_case_is_predicted_in_time(problem, found):
    members = ensemble.select(problem, found, rounds=20, refit_limit_s=np.inf, mean_of=3)
    seconds = {item.key: 1.0 + number for number, item in enumerate(found)}
    kept, note = in_time(members, found, seconds, 10.0)
    assert [m.candidate for m in kept] == found[:3]
    assert note is None
    kept, note = in_time(members, found, seconds, 3.5)
    assert [m.candidate for m in kept] == found[:2]  # 3 s for a third of the weight was the dearest
    assert sum(m.weight for m in kept) == pytest.approx(1)
    assert "1 of 3 members" in note


def test_a_quick_spare_stands_in_for_an_ensemble_that_is_too_slow(problem, found):
    members = ensemble.select(problem, found, rounds=20, refit_limit_s=np.inf, mean_of=2)
    seconds = {item.key: 5.0 for item in found} | {found[3].key: 0.5, found[4].key: 0.1}
    kept, note = in_time(members, found, seconds, 1.0)
    assert [m.candidate for m in kept] == [found[3]]  # the best of those that are quick enough
    assert "single toy model" in note
    kept, note = in_time(members, found, seconds, 0.01)
    assert [m.candidate for m in kept] == [found[4]]
    assert "No refitted model" in note
