"""What is too dear for all inner folds is judged by the first one where that is large: in simulated seconds."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Constant, EqualsCondition, Float

from autoonco.evaluation.choice import choose, contenders, ladders, partial_notes
from autoonco.evaluation.decisions import decide_on, out_of_fold, with_sets
from autoonco.evaluation.ensemble import Member, ahead, candidates, select
from autoonco.evaluation.judged import judged_family
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tables import leaderboard_table
from autoonco.evaluation.timetable import Needed
from autoonco.families.contract import Fidelity
from autoonco.search.execution import candidate_of, fold_key
from autoonco.search.store import Store
from autoonco.search.trial import Origin, Status
from autoonco.settings import Settings
from tests.evaluation.simulated import Made, Pool, made_dataset, made_judge, simulate

FOLD_S, FROZEN_S = 266.0, 8.0  # of a fine-tuning on 1,444 photographs, and of a head on a frozen network
LIMIT_S = 1200.0
SETTINGS = Settings(portfolio="none", seconds="measured", ensemble_rounds=10, finalists=3)


class Network(Made):
    """A network that is frozen or trained; the frozen one is its first default."""

    def space(self, fingerprint):
        space = ConfigurationSpace(name=self.name)
        space.add(Float("skill", (0.0, 1.0), default=0.5))
        space.add(Categorical("mode", ["frozen", "trained"], default="frozen"), Constant("epochs", 6))
        space.add(EqualsCondition(space["epochs"], space["mode"], "trained"))
        return space

    def defaults(self, fingerprint):
        return [{"skill": 0.5, "mode": "frozen"}, {"skill": 0.5, "mode": "trained", "epochs": 6}]

    def wants_gpu(self, config):
        return config["mode"] == "trained"

    def plan(self, config, budget, *, inner_folds, n_train):
        self.epochs = 6 if config["mode"] == "trained" else None
        return super().plan(config, budget, inner_folds=inner_folds, n_train=n_train)

    def seconds(self, config, fidelity):
        return FROZEN_S if fidelity.epochs is None else self.fold_s * fidelity.epochs / 6


class Skilled(Pool):
    """Trained networks know as much as `trained` says, frozen ones less than half of what they could."""

    def __init__(self, *args, trained, **kwargs):
        super().__init__(*args, **kwargs)
        self.trained = trained

    def proba(self, task):
        config = task.config
        skill = self.trained if config["mode"] == "trained" else 0.4 * config["skill"]
        return super().proba(replace(task, config={**config, "skill": skill}))


def searched(monkeypatch, folder, *, trained=0.8, n=1444, fold_s=FOLD_S, **settings):
    """A scope of `n` training cases, and 300 to judge by."""
    limit_s = LIMIT_S
    family = Network("net", fold_s=fold_s)
    time, store, dataset = simulate(monkeypatch, [family]), Store(folder), made_dataset(n + 300)
    pool = Skilled(time, {"net": family}, dataset.y, trained=trained, slow=100 / n)
    settings = SETTINGS.model_copy(update=settings)
    judge = made_judge([family], pool, store, settings, limit_s=limit_s, dataset=dataset)
    split = OuterSplit(scope=FINAL, train=np.arange(n), test=np.arange(n, n + 300))
    begun = time.now
    result = judge.run(split)
    assert time.now - begun <= 1.05 * limit_s
    return judge, split, result


def trained_of(store):
    return [trial for trial in store.trials if trial.config["mode"] == "trained"]


def test_the_better_training_is_delivered_that_five_folds_would_have_kept_out(monkeypatch, tmp_path):
    judge, split, result = searched(monkeypatch, tmp_path)
    whole = [trial for trial in trained_of(judge.store) if trial.fidelity.epochs == 6]
    assert [(trial.dear, trial.fidelity.folds, trial.status) for trial in whole][:1] == [
        (True, 1, Status.SUCCESS)
    ]
    assert not any(judge.problem(split).is_full(trial) for trial in whole)
    judged = {item.name: item for item in result.judged}
    assert judged["net"].members[0]["config"]["mode"] == "trained"
    assert any(member["config"]["mode"] == "trained" for member in judged["ensemble"].members)
    assert any("of 5, of 289 cases each, and so was the ensemble." in note for note in judge.notes)
    board = leaderboard_table([trial.to_json() for trial in judge.store.trials])
    assert "mode=trained" in board["config"][0]  # first of all, for it is what is delivered
    y = judge.dataset.y[split.test]
    assert np.mean(judged["net"].proba.argmax(axis=1) == y) > 0.7


def test_families_are_compared_on_the_folds_that_both_bests_had(run):
    problem, store = run
    (part, *_), whole = ahead(problem, store), candidates(problem, store)[0]
    refitted = np.full((3, 3), 1 / 3), 1.0

    def inner_score(best, n_folds):
        how = {"search_s": 0.0, "n_folds": n_folds}
        return judged_family(problem, "net", best, refitted, SETTINGS, **how).inner_score

    n = len(part.probas)
    assert inner_score(part, n) == part.score
    assert inner_score(whole, n) == pytest.approx(np.mean(whole.trial.fold_scores[:n]))
    assert inner_score(whole, None) == whole.score != inner_score(whole, n)


def test_a_training_that_does_not_lead_changes_nothing(monkeypatch, tmp_path):
    judge, split, result = searched(monkeypatch, tmp_path, trained=0.05)
    assert any(trial.dear for trial in judge.store.trials)
    problem = judge.problem(split)
    assert ahead(problem, judge.store) == []
    modes = {member["config"]["mode"] for item in result.judged for member in item.members}
    assert modes == {"frozen"}
    assert not any("289 cases" in note for note in judge.notes)


def test_small_folds_tell_nothing_alone(monkeypatch, tmp_path):
    """Of a hundred cases each; all else is the same."""
    judge, split, _ = searched(monkeypatch, tmp_path, n=500, max_trials=40)
    assert not judge.problem(split).each_fold_tells
    assert not any(trial.fidelity.epochs == 6 for trial in trained_of(judge.store))


def test_where_all_folds_fit_all_are_trained(monkeypatch, tmp_path):
    judge, _, _ = searched(monkeypatch, tmp_path, fold_s=4.0, max_trials=8)
    (default,) = [trial for trial in trained_of(judge.store) if trial.origin is Origin.DEFAULT]
    assert (default.fidelity, default.dear) == (Fidelity(folds=5, epochs=6), False)


def test_with_three_folds_a_rung_of_one_fold_is_enough_to_go_on_with(monkeypatch, tmp_path):
    """There a third of the budget is one fold: what it scored before it was known to be too dear counts."""
    judge, split, _ = searched(monkeypatch, tmp_path, inner_folds=3, fold_s=200.0)
    problem = judge.problem(split)
    whole = [trial for trial in trained_of(judge.store) if trial.fidelity.epochs == 6]
    assert {trial.fidelity.folds for trial in whole} == {1}
    assert any(problem.tells_in_part(trial) for trial in whole)


def test_nothing_is_cut_by_the_clock_where_a_run_must_be_repeatable(monkeypatch, tmp_path):
    judge, _, _ = searched(monkeypatch, tmp_path, seconds="prior", max_trials=6)
    assert not any(trial.dear for trial in judge.store.trials)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        judge, split, _ = searched(patch, folder)
        return judge.problem(split), folder


@pytest.fixture
def run(finished, monkeypatch, tmp_path):
    """A problem and the store of its search, for each test its own."""
    problem, folder = finished
    simulate(monkeypatch, [Network("net", fold_s=FOLD_S)])
    shutil.copytree(folder, tmp_path / "run")
    return problem, Store(tmp_path / "run")


def test_a_fold_tells_with_two_hundred_patients_and_enough_of_the_rarer_classes(run):
    problem, _ = run
    assert problem.each_fold_tells
    few = replace(problem.fingerprint, n_patients=999)  # the same pictures of fewer patients
    assert not replace(problem, fingerprint=few).each_fold_tells
    common = np.where(np.arange(len(problem.y)) % 10 == 0, problem.y, 0)
    assert not replace(problem, y=common).each_fold_tells
    rare = np.where((problem.y == 2) & (np.arange(len(problem.y)) > 60), 1, problem.y)
    assert not replace(problem, y=rare).each_fold_tells


def scored(store, trial, scores, *, number=None, status=Status.SUCCESS, dear=True, family="net"):
    """Return a trial like `trial` that scored so on its folds, of which the store has what it had."""
    n = len(scores)
    fidelity = replace(trial.fidelity, folds=n)
    return replace(
        trial, id=trial.id if number is None else number, fidelity=fidelity, budget=n / 5, status=status, dear=dear,
        fold_scores=tuple(scores), score=float(np.mean(scores)), family=family,
    )  # fmt: skip


@pytest.fixture
def first(run):
    """A problem, its store without any dear trial, one, and the best score of the others on the first fold."""
    problem, store = run
    dear = next(trial for trial in store.trials if trial.dear)
    store.trials = [trial for trial in store.trials if trial.config != dear.config]
    best = max(trial.fold_scores[0] for trial in store.trials if problem.is_full(trial))
    return problem, store, dear, best


@pytest.mark.parametrize(("margin", "leads"), [(0.001, True), (-0.001, False)])
def test_it_is_compared_with_the_others_on_the_fold_it_had(first, margin, leads):
    """Not on all of theirs: another fold may be easier."""
    problem, store, dear, best = first
    full = list(store.trials)
    store.trials = [*full, scored(store, dear, [best + margin])]
    assert bool(ahead(problem, store)) is leads
    # an older journal has no scores of single folds: the probabilities tell them
    store.trials = [replace(trial, fold_scores=()) for trial in full] + store.trials[-1:]
    assert bool(ahead(problem, store)) is leads


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.STOPPED])
def test_a_second_fold_can_refute_the_first_whoever_asked_for_it(first, status):
    problem, store, dear, best = first
    store.trials.append(scored(store, dear, [best + 0.01]))
    assert ahead(problem, store)
    second = scored(store, dear, [best + 0.01, 0.5], number=9999, status=status, dear=False)
    store.add_fold(
        fold_key(problem, candidate_of(second), problem.folds[1]),
        np.full((289, 3), 1 / 3),
        seconds=1,
        elapsed_s=1,
    )
    store.trials.append(second)
    assert ahead(problem, store) == []


def test_a_family_that_has_nothing_in_full_leads_nothing(first):
    problem, store, dear, best = first
    store.trials = [trial for trial in store.trials if not problem.is_full(trial)]
    store.trials.append(scored(store, dear, [best + 0.01]))
    assert ahead(problem, store) == []


def test_what_is_not_in_the_ensemble_does_not_take_folds_from_it(run):
    """Among families too: one poor candidate of one fold, and all would have been chosen by that fold."""
    problem, store = run
    whole = [item for item in contenders(problem, store, n_test=0) if problem.is_full(item.trial)]
    (part, *_) = ahead(problem, store)
    poor = replace(part, probas=(np.full_like(part.probas[0], 1 / 3),), score=0.5)

    def members(found):
        chosen = select(problem, found, rounds=10, refit_limit_s=np.inf)
        return [(member.candidate.key, member.weight) for member in chosen]

    assert members([poor, *whole]) == members(whole)
    assert members([part, *whole]) != members(whole)


def test_probabilities_of_one_fold_are_calibrated_by_parts_of_it(run):
    problem, store = run
    (part, *_) = ahead(problem, store)
    part = replace(part, probas=part.probas[:1])
    patients = np.arange(len(problem.y)) // 2
    cases = out_of_fold(problem, [Member(candidate=part, weight=1.0)], patients)
    assert len(cases.y) == 289
    assert np.bincount(cases.fold).min() > 30
    for patient in np.unique(cases.patient):
        assert len(set(cases.fold[cases.patient == patient])) == 1
    wanted = Settings(calibration="sigmoid")
    decided = with_sets(decide_on(cases, wanted, problem.fingerprint.classes), cases, calibrated_on="these")
    assert decided.record["calibration"]["method"] == "sigmoid"
    assert decided.record["conformal"]["cross_fitted"]["mean_size"] < 3


def test_its_refit_is_waited_for_and_where_it_can_not_end_the_others_are_chosen_on_all_folds(run):
    problem, store = run
    (leading, *_) = ahead(problem, store)
    assert Needed(problem, store, n_test=0, n_workers=1)() == pytest.approx(leading.refit_s)
    own, found = ladders(problem, store, n_test=0), contenders(problem, store, n_test=0)
    assert own["net"][0].key == leading.key

    def chosen(plan_s):
        return choose(problem, own, found, rounds=10, plan_s=plan_s, n_workers=1)

    with_it, without = chosen(1000.0), chosen(100.0)
    assert leading.key in {member.candidate.key for member in with_it.members}
    assert all(problem.is_full(item.trial) for item in without.order)
    alone = choose(
        problem,
        {"net": own["net"][1:]},
        [item for item in found if problem.is_full(item.trial)],
        rounds=10,
        plan_s=100.0,
        n_workers=1,
    )
    assert [(m.candidate.key, m.weight) for m in without.members] == [
        (m.candidate.key, m.weight) for m in alone.members
    ]
    assert partial_notes(problem, without.bests.values()) == []
