"""What a family notes of a fit is in the trial's record, and is kept to when the trial is made again."""

from __future__ import annotations

from dataclasses import replace

from autoonco.families.contract import FitContext, Runtime
from autoonco.search.clock import Clock
from autoonco.search.runner import Search
from autoonco.search.store import Store
from autoonco.search.trial import Task, Trial
from autoonco.search.worker import run_fold
from autoonco.search.workers import WorkerPool
from autoonco.settings import Settings


def run(problem, setup, folder, **settings):
    store = Store(folder)
    with WorkerPool(setup) as pool:
        how = {"settings": Settings(min_budget=1 / 9, **settings), "seed": 0, "clock": Clock(60.0)}
        Search(problem, pool=pool, store=store, **how).run()
    return store


def test_notes_travel_from_the_worker_into_the_journal(toy, problem, setup, tmp_path):
    toy.setenv("TOY_DEFAULTS", "work,raise")
    found = run(problem, setup, tmp_path, max_trials=2)
    by_act = {trial.config["act"]: trial for trial in found.trials}
    assert by_act["work"].notes == {"act": "work"}
    assert by_act["raise"].notes == {}
    read = Store(tmp_path).trials
    assert {trial.id: trial.notes for trial in read} == {trial.id: trial.notes for trial in found.trials}


def test_a_journal_from_before_there_were_notes_is_read(toy, problem, setup, tmp_path):
    trial = run(problem, setup, tmp_path, max_trials=1).trials[0]
    plain = trial.to_json()
    del plain["notes"]
    assert Trial.from_json(plain) == replace(trial, notes={})


def test_a_fit_sees_what_was_noted_before(toy, problem, dataset, monkeypatch):
    from autoonco.families import get_family

    seen = []
    family = get_family("toy")
    original = type(family).fit

    def fit(self, config, cases, y, *, fidelity, context: FitContext):
        seen.append(dict(context.notes))
        return original(self, config, cases, y, fidelity=fidelity, context=context)

    monkeypatch.setattr(type(family), "fit", fit)
    fold = problem.folds[0]
    task = Task(
        id=0,
        family="toy",
        config={"act": "work", "strength": 0.3},
        fidelity=family.plan({}, 0.1, inner_folds=3, n_train=10),
        fold=fold,
        fingerprint=problem.fingerprint.to_json(),
        seed=0,
    )
    run_fold(task, dataset, Runtime(artefacts=None), {"pace": "slow"})
    run_fold(task, dataset, Runtime(artefacts=None))
    assert seen == [{"pace": "slow"}, {}]
