"""What is too dear for all inner folds is judged by the first one where that is large: in simulated seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Constant, EqualsCondition, Float

from autoonco.evaluation.choice import choose, contenders, ladders, partial_notes
from autoonco.evaluation.ensemble import ahead
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.timetable import Needed
from autoonco.families.contract import Fidelity
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


def searched(monkeypatch, folder, *, trained=0.8, n=1444, limit_s=LIMIT_S, fold_s=FOLD_S):
    """A scope of `n` training cases, and 300 to judge by."""
    family = Network("net", fold_s=fold_s)
    time, store, dataset = simulate(monkeypatch, [family]), Store(folder), made_dataset(n + 300)
    pool = Skilled(time, {"net": family}, dataset.y, trained=trained, slow=100 / n)
    judge = made_judge([family], pool, store, SETTINGS, limit_s=limit_s, dataset=dataset)
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
    assert any("of 5, of 289 cases each" in note for note in judge.notes)
    y = judge.dataset.y[split.test]
    assert np.mean(judged["net"].proba.argmax(axis=1) == y) > 0.7


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
    judge, split, _ = searched(monkeypatch, tmp_path, n=500)
    assert not judge.problem(split).each_fold_tells
    assert not any(trial.fidelity.epochs == 6 for trial in trained_of(judge.store))


def test_where_all_folds_fit_all_are_trained(monkeypatch, tmp_path):
    judge, _, _ = searched(monkeypatch, tmp_path, fold_s=4.0)
    (default,) = [trial for trial in trained_of(judge.store) if trial.origin is Origin.DEFAULT]
    assert (default.fidelity, default.dear) == (Fidelity(folds=5, epochs=6), False)


@pytest.fixture
def run(monkeypatch, tmp_path):
    judge, split, _ = searched(monkeypatch, tmp_path)
    return judge.problem(split), judge.store


def test_a_fold_tells_with_two_hundred_patients_and_enough_of_the_rarer_classes(run):
    problem, _ = run
    assert problem.each_fold_tells
    few = replace(problem.fingerprint, n_patients=999)  # the same pictures of fewer patients
    assert not replace(problem, fingerprint=few).each_fold_tells
    rare = np.where(np.arange(len(problem.y)) % 10 == 0, problem.y, 0)
    assert not replace(problem, y=rare).each_fold_tells


def test_it_is_compared_with_the_others_on_the_fold_it_had(run):
    """Not on all of theirs: another fold may be easier."""
    problem, store = run
    first = problem.folds[0]
    best = max(
        (trial for trial in store.trials if problem.is_full(trial)), key=lambda trial: trial.fold_scores[0]
    )
    for margin, leads in ((0.001, True), (-0.001, False)):
        store.trials = [
            replace(trial, fold_scores=(best.fold_scores[0] + margin,)) if trial.dear else trial
            for trial in store.trials
        ]
        assert bool(ahead(problem, store)) is leads
    assert len(first.test) == 289


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
    assert partial_notes(problem, without.bests) == []
