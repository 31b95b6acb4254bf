from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from autoonco.families.contract import Fidelity, Runtime
from autoonco.search.clock import Clock
from autoonco.search.runner import Search
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Ended, Origin, Status, Trial
from autoonco.search.worker import run_fold
from autoonco.search.workers import WorkerPool
from autoonco.settings import Settings

pytestmark = pytest.mark.alone


def run(problem, setup, folder, *, limit_s=60.0, n_workers=1, memory_gb=None, **settings):
    store = Store(folder)
    with WorkerPool(setup, n_workers=n_workers, memory_limit_gb=memory_gb) as pool:
        Search(
            problem,
            pool=pool,
            store=store,
            settings=Settings(**{"min_budget": 1 / 9, **settings}),
            seed=0,
            clock=Clock(limit_s, spent_s=store.elapsed_s(problem.scope)),
        ).run()
    return store


def test_search_beats_its_default_and_keeps_what_it_found(toy, problem, setup, tmp_path):
    store = run(problem, setup, tmp_path, max_trials=40)
    default, *others = store.trials
    assert default.origin is Origin.DEFAULT
    assert default.budget == 1.0
    full = [trial for trial in others if trial.fidelity.folds == 3 and trial.status is Status.SUCCESS]
    assert max(trial.score for trial in full) > default.score
    again = Store(tmp_path)
    assert [trial.to_json() for trial in again.trials] == [trial.to_json() for trial in store.trials]
    assert {trial.id for trial in again.trials} == set(range(len(again.trials)))


def test_a_resumed_search_repeats_nothing(toy, problem, setup, tmp_path):
    first = run(problem, setup, tmp_path, max_trials=15)
    both = run(problem, setup, tmp_path, max_trials=30)
    assert [t.to_json() for t in both.trials[:15]] == [t.to_json() for t in first.trials]
    pairs = [(json.dumps(t.config, sort_keys=True), t.budget) for t in both.trials]
    assert len(pairs) == len(set(pairs)) == 30


def test_a_trial_is_measured_by_all_its_folds_not_only_by_those_it_had_left_to_fit(
    toy, problem, setup, tmp_path
):
    """A promotion and a session after a kill fit the rest: their seconds are not those of the whole."""
    store, config = Store(tmp_path), {"act": "work", "strength": 0.3}
    for fold in problem.folds:
        key = FoldKey(
            scope="final", config_key=config_key("toy", config), fold_key="full", fold=str(fold.index)
        )
        store.add_fold(key, np.full((len(fold.test), 2), 0.5), seconds=1.0, elapsed_s=1.0)
    store.add_trial(
        Trial(
            id=0, scope="final", family="toy", config=config, budget=1.0, fidelity=Fidelity(folds=3),
            status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=Origin.SEARCH, seed=0, loss=0.5, score=0.5,
        )
    )  # fmt: skip
    with WorkerPool(setup) as pool:
        search = Search(problem, pool=pool, store=store, settings=Settings(), seed=0, clock=Clock(60))
    assert search._seconds.predict("toy", prior_s=0.3) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("act", "status", "words"),
    [
        ("raise", Status.FAILED, "ValueError: cannot fit row 21 of row 21"),
        ("crash", Status.FAILED, "SIGABRT"),
        ("nan", Status.FAILED, "not finite"),
        ("hang", Status.TIMEOUT, "time limit"),
        ("eat", Status.MEMORY, "of memory"),
    ],
)
def test_a_failing_trial_is_recorded_and_the_search_goes_on(
    toy, problem, setup, tmp_path, act, status, words
):
    toy.setenv("TOY_DEFAULTS", f"{act},work")
    memory_gb = 1.5 if act == "eat" else None
    store = run(
        problem,
        setup,
        tmp_path,
        limit_s=50 if act == "hang" else 60,
        trial_share=0.2,
        max_trials=2,
        memory_gb=memory_gb,
    )
    bad, good = store.trials
    assert bad.status is status
    assert bad.score is None
    assert words in bad.reason
    assert "Jane" not in (tmp_path / "journal.jsonl").read_text()
    assert good.status is Status.SUCCESS


class Lingering:
    """A worker in this process that never ends any fold but the first."""

    def __init__(self, dataset):
        self.dataset, self.given = dataset, None

    def n_idle(self, *, gpu):
        return int(self.given is None)

    def submit(self, task, *, timeout_s):
        self.given = task, timeout_s

    def poll(self):
        (task, timeout_s), self.given = self.given, None
        if task.fold.index:
            yield Ended(task_id=task.id, status=Status.TIMEOUT, seconds=timeout_s, reason="too long")
        else:
            proba = run_fold(task, self.dataset, Runtime(artefacts=None))
            yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=0.1, proba=proba)


class AtHand(Lingering):
    """A worker in this process, and a clock by which every fold takes a second."""

    def __init__(self, dataset, limit_s):
        super().__init__(dataset)
        self.limit_s, self.n_done = limit_s, 0

    def elapsed(self):
        return float(self.n_done)

    def remaining(self):
        return self.limit_s - self.n_done

    def poll(self):
        (task, _), self.given = self.given, None
        self.n_done += 1
        proba = run_fold(task, self.dataset, Runtime(artefacts=None))
        yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=1.0, proba=proba)


@pytest.mark.parametrize(("paid_s", "is_completed"), [(10.0, True), (0.0, False)])
def test_folds_that_cost_next_to_nothing_follow_at_once(
    toy, problem, dataset, tmp_path, paid_s, is_completed
):
    """Unless the first is worse than any of the best config's, or they cost as much as that."""
    import toy_family

    toy.setattr(
        toy_family.ToyFamily,
        "prior_seconds",
        lambda _, config, fidelity, fingerprint: paid_s + 0.1 * fidelity.folds,
    )
    store = Store(tmp_path)
    pool, settings = AtHand(dataset, 60), Settings(min_budget=1 / 9)
    Search(problem, pool=pool, store=store, settings=settings, seed=0, clock=pool).run()
    default, *others = store.trials
    rungs = [
        (trial.score, after.budget == 1 and after.config == trial.config)
        for trial, after in itertools.pairwise(others)
        if trial.budget < 1 / 3 and trial.config != default.config
    ]
    perfect = [is_followed for score, is_followed in rungs if score == 1]
    hopeless = [is_followed for score, is_followed in rungs if score < 0.7]
    assert len(perfect) >= 2
    assert len(hopeless) >= 2
    assert set(perfect) == {is_completed}
    assert not any(hopeless)


def test_the_folds_that_a_stopped_trial_finished_count(toy, problem, dataset, tmp_path):
    store, settings = Store(tmp_path), Settings(max_trials=2)
    Search(problem, pool=Lingering(dataset), store=store, settings=settings, seed=0, clock=Clock(600)).run()
    stopped, salvaged = store.trials
    assert (stopped.status, stopped.fidelity.folds, stopped.score) == (Status.TIMEOUT, 3, None)
    assert (salvaged.status, salvaged.fidelity.folds) == (Status.SUCCESS, 1)
    assert not salvaged.dear  # the clock ended it, and nobody knows whether that was fair
    assert salvaged.config == stopped.config
    assert salvaged.score is not None
    assert salvaged.seconds == 0


class Slow:
    """A worker in this process that says of each fold that it took half a minute."""

    def __init__(self, dataset):
        self.dataset, self.given = dataset, None

    def n_idle(self, *, gpu):
        return int(self.given is None)

    def submit(self, task, *, timeout_s):
        self.given = task

    def poll(self):
        task, self.given = self.given, None
        proba = run_fold(task, self.dataset, Runtime(artefacts=None))
        yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=30.0, proba=proba)


def test_a_second_default_that_is_dearer_than_thought_does_not_go_beforehand(toy, problem, dataset, tmp_path):
    toy.setenv("TOY_DEFAULTS", "work,nothing")
    store, settings = Store(tmp_path), Settings(max_trials=4, seconds="measured")
    Search(problem, pool=Slow(dataset), store=store, settings=settings, seed=0, clock=Clock(600)).run()
    assert [trial.config["act"] for trial in store.trials if trial.origin is Origin.DEFAULT] == ["work"]
    assert len(store.trials) == 4


def test_no_worker_outlives_the_pool(toy, problem, setup, tmp_path):
    run(problem, setup, tmp_path, max_trials=3, n_workers=2)
    assert not [
        p
        for p in psutil.Process().children(recursive=True)
        if "autoonco.search.worker" in " ".join(p.cmdline())
    ]


class Two:
    """Two workers in this process, of which the one with the first default ends its folds last."""

    def __init__(self, dataset):
        self.dataset, self.running, self.begun, self.search, self.n_met = dataset, [], [], None, 0

    def n_idle(self, *, gpu):
        return 2 - len(self.running)

    def submit(self, task, *, timeout_s):
        self.running.append(task)
        self.begun.append((config_key(task.family, task.config), task.fidelity.fold_key, task.fold.index))

    def poll(self):
        keys = {config_key(task.family, task.config) for task in self.running}
        self.n_met += any(item.key in keys for item in self.search._waiting)
        # the first fold of all goes on until its config was proposed a second time
        task = self.running.pop(0 if self.n_met else -1)
        proba = run_fold(task, self.dataset, Runtime(artefacts=None))
        yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=0.1, proba=proba)


def test_two_workers_fit_no_fold_twice(toy, problem, dataset, tmp_path):
    """The default in full and the first of the brackets are the same config, asked for at the same time."""
    pool, store = Two(dataset), Store(tmp_path)
    settings = Settings(max_trials=12, min_budget=1 / 9)
    pool.search = Search(problem, pool=pool, store=store, settings=settings, seed=0, clock=Clock(600))
    pool.search.run()
    assert pool.n_met
    assert len(pool.begun) == len(set(pool.begun)) > 3
    both = [trial.origin for trial in store.trials if trial.config["strength"] == 0.3]
    assert {Origin.DEFAULT, Origin.SEARCH} <= set(both)


def test_the_time_limit_holds(toy, problem, setup, tmp_path):
    toy.setenv("TOY_SECONDS", "0.3")
    start = time.monotonic()
    # A trial has a third of it, its worker's start included.
    store = run(problem, setup, tmp_path, limit_s=24)
    assert time.monotonic() - start < 24 * 1.05 + 2  # a poll and the end of a process on top
    assert len(store.trials) > 5


SCRIPT = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from test_runner import run
import conftest
dataset = conftest.dataset.__wrapped__()
problem = conftest.problem.__wrapped__(dataset)
setup = conftest.setup.__wrapped__(dataset, Path({folder!r}))
run(problem, setup, Path({folder!r}) / "run", max_trials=25, limit_s=3600)
"""


def seen_lines(journal):
    return journal.read_bytes().splitlines() if journal.exists() else []


@pytest.mark.slow
def test_kill_9_loses_no_finished_trial(toy, problem, setup, tmp_path):
    toy.setenv("TOY_SECONDS", "0.2")
    script = SCRIPT.format(
        tests=[str(Path(__file__).parent), str(Path(__file__).parents[1])], folder=str(tmp_path)
    )
    seen: list[str] = []
    journal = tmp_path / "run" / "journal.jsonl"
    for n_more in (4, 7, 5):
        n_lines = len(seen_lines(journal)) + n_more
        process = subprocess.Popen(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.environ["PYTHONPATH"]}
        )
        while len(seen_lines(journal)) < n_lines:
            assert process.poll() is None
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive, "a worker outlived its killed parent"
        lines = [json.dumps(t.to_json(), sort_keys=True) for t in Store(tmp_path / "run").trials]
        assert lines[: len(seen)] == seen
        seen = lines
    assert len(seen) > 3
    toy.setenv("TOY_SECONDS", "0")
    store = run(problem, setup, tmp_path / "run", max_trials=25, limit_s=3600)
    lines = [json.dumps(t.to_json(), sort_keys=True) for t in store.trials]
    assert lines[: len(seen)] == seen
    assert len({(json.dumps(t.config, sort_keys=True), t.budget) for t in store.trials}) == len(lines) == 25


@pytest.mark.slow
def test_a_reproducible_search_cut_anywhere_goes_on_as_if_it_never_was(toy, problem, setup, tmp_path):
    def search(folder):
        store = Store(folder)
        settings, clock = Settings(max_trials=14), Clock(600.0)
        with WorkerPool(setup) as pool:
            Search(
                problem, pool=pool, store=store, settings=settings, seed=0, clock=clock, reproducible=True
            ).run()
        return [(t.origin, dict(t.config), t.budget, t.loss, t.status) for t in store.trials]

    whole = search(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    for n in (2, 7, 12, 17):
        folder = tmp_path / f"cut{n}"
        shutil.copytree(tmp_path / "whole" / "trials", folder / "trials")
        (folder / "journal.jsonl").write_text("".join(lines[:n]))
        assert search(folder) == whole


class TwoKinds:
    """An executor with one slot of each kind whose tasks never end by themselves."""

    def __init__(self):
        self.tasks = []

    def n_idle(self, *, gpu):
        return 1 - sum(task.gpu is gpu for task in self.tasks)

    def submit(self, task, *, timeout_s):
        self.tasks.append(task)

    def poll(self):
        raise KeyboardInterrupt


def test_a_cpu_slot_does_not_stand_idle_while_a_gpu_trial_runs(toy, problem, tmp_path):
    from autoonco.families import get_family

    toy.setattr(get_family("toy"), "wants_gpu", lambda config: config["strength"] >= 0.3, raising=False)
    pool = TwoKinds()
    search = Search(problem, pool=pool, store=Store(tmp_path), settings=Settings(), seed=0, clock=Clock(60.0))
    source, strengths = search._source, iter([0.9, 0.8, 0.7, 0.1])

    def candidates(**_):
        config = {"act": "work", "strength": next(strengths)}
        return source._candidate("toy", config, 1.0, Origin.SEARCH)

    toy.setattr(source, "next", candidates)
    with pytest.raises(KeyboardInterrupt):
        search.run()
    assert sorted(task.config["strength"] for task in pool.tasks) == [0.1, 0.9]
