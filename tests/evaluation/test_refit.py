from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.evaluation.ensemble import Candidate
from autoonco.evaluation.refit import Refit
from autoonco.evaluation.splits import OuterSplit
from autoonco.families.contract import Fidelity
from autoonco.search.clock import Clock
from autoonco.search.store import Store
from autoonco.search.trial import Ended, Origin, Status, Trial
from autoonco.search.workers import DIED


def item(strength, refit_s):
    trial = Trial(
        id=0, scope="final", family="toy", config={"act": "work", "strength": strength}, budget=1.0,
        fidelity=Fidelity(folds=3), status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=Origin.DEFAULT,
        seed=0, loss=0.1, score=0.9,
    )  # fmt: skip
    return Candidate(trial=trial, probas=(), refit_s=refit_s, score=0.9)


class Mortal:
    """An executor of one slot whose first tasks end as they are told to, and all others well."""

    def __init__(self, reasons):
        self.reasons, self.task, self.n_tasks = list(reasons), None, 0

    def n_idle(self, *, gpu):
        return int(self.task is None)

    def submit(self, task, *, timeout_s):
        self.task, self.n_tasks = task, self.n_tasks + 1

    def poll(self):
        task, self.task = self.task, None
        if self.reasons:
            reason = self.reasons.pop(0)
            yield Ended(task_id=task.id, status=Status.FAILED, seconds=1.0, reason=reason)
        else:
            proba = np.full((len(task.fold.test), 2), 0.5)
            yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=2.0, proba=proba)


@pytest.mark.parametrize(
    ("reasons", "n_tasks", "n_done"),
    [
        ([], 1, 1),
        ([f"{DIED} (signal SIGKILL): no message"], 2, 1),
        ([f"{DIED} (signal SIGKILL): no message"] * 2, 2, 0),
        (["ValueError: cannot fit"], 1, 0),
    ],
    ids=["well", "worker died once", "worker died twice", "fails by itself"],
)
def test_a_refit_whose_worker_died_is_begun_once_more(toy, problem, tmp_path, reasons, n_tasks, n_done):
    split = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))
    pool, notes = Mortal(reasons), []
    store, clock = Store(tmp_path), Clock(60)
    refit = Refit(problem=problem, split=split, pool=pool, store=store, seed=0, clock=clock, notes=notes)
    done = refit.run([item(0.3, 1.0)], stop_s=60)
    assert (pool.n_tasks, len(done)) == (n_tasks, n_done)
    assert len(notes) == 1 - n_done


class Timed:
    """An executor of one slot that takes `slow` times what it is said to, on a clock of its own."""

    def __init__(self, clock, expected, *, slow):
        self.clock, self.expected, self.slow, self.task, self.begun = clock, expected, slow, None, []

    def n_idle(self, *, gpu):
        return int(self.task is None)

    def submit(self, task, *, timeout_s):
        self.task, self.timeout_s = task, timeout_s
        self.begun.append(task.config["strength"])

    def poll(self):
        task, self.task = self.task, None
        took = self.slow * self.expected[task.config["strength"]]
        self.clock.now += min(took, self.timeout_s)
        if took > self.timeout_s:
            yield Ended(task_id=task.id, status=Status.TIMEOUT, seconds=self.timeout_s, reason="too long")
        else:
            proba = np.full((len(task.fold.test), 2), 0.5)
            yield Ended(task_id=task.id, status=Status.SUCCESS, seconds=took, proba=proba)


class Now:
    now = 0.0

    def elapsed(self):
        return self.now


@pytest.mark.parametrize(
    ("slow", "begun", "done"),
    [
        (1.0, [0.1, 0.2], {0.1, 0.2}),  # as planned
        (2.0, [0.1, 0.4], {0.1, 0.4}),  # twice as slow: of the second family a quicker one is taken
        (6.0, [0.1, 0.2], {0.1}),  # and where none would end in time, it is tried all the same
    ],
)
def test_a_family_s_quicker_config_stands_in_where_the_machine_is_slower_than_it_was(
    toy, problem, tmp_path, slow, begun, done
):
    first, ladder = item(0.1, 5.0), [item(0.2, 20.0), item(0.3, 19.0), item(0.4, 6.0), item(0.5, 5.0)]
    clock, notes = Now(), []
    pool = Timed(clock, {0.1: 5.0} | {c.trial.config["strength"]: c.refit_s for c in ladder}, slow=slow)
    split = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))
    refit = Refit(
        problem=problem, split=split, pool=pool, store=Store(tmp_path), seed=0, clock=clock, notes=notes
    )
    found = refit.run([first, ladder[0]], stop_s=32.0, spares={ladder[0].key: ladder})
    assert pool.begun == begun
    assert set(found) == {c.key for c in (first, *ladder) if c.trial.config["strength"] in done}
    assert clock.now <= 33.0
    assert len(notes) == 2 - len(done)


def test_what_ran_out_of_time_gives_way_to_a_quicker_one_while_there_is_some(toy, problem, tmp_path):
    """A failure leaves the time for the next best."""
    best, other = item(0.3, 5.0), replace(item(0.4, 2.0), score=0.8)
    split = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))
    refit = Refit(
        problem=problem,
        split=split,
        pool=Mortal(["ValueError: cannot fit"]),
        store=Store(tmp_path),
        seed=0,
        clock=Clock(60),
    )
    assert set(refit.run([best], stop_s=60, spares={best.key: [best, other]})) == {other.key}


SPLIT = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))


def test_a_member_that_is_also_the_spare_of_a_slow_one_is_fitted_once(toy, problem, tmp_path):
    """Nor is a spare that an earlier session fitted."""
    member, best, spare = item(0.1, 5.0), item(0.2, 50.0), item(0.3, 4.0)
    for ladder, begun in (([best, member], [0.1]), ([best, spare], [0.3]), ([best, spare], [])):
        clock = Now()
        pool = Timed(clock, {0.1: 5.0, 0.2: 50.0, 0.3: 4.0}, slow=1.0)
        refit = Refit(problem=problem, split=SPLIT, pool=pool, store=Store(tmp_path), seed=0, clock=clock)
        found = refit.run([member, best], stop_s=20.0, spares={best.key: ladder})
        assert set(found) == {one.key for one in (member, ladder[1])}
        assert pool.begun == begun


class Deserted(Timed):
    """A cluster that has lost its last worker."""

    def n_idle(self, *, gpu):
        return 0

    def poll(self):
        self.clock.now += 0.5
        if self.clock.now > 100:
            raise TimeoutError
        yield from ()


def test_refits_do_not_wait_for_ever_for_a_worker(toy, problem, tmp_path):
    clock, notes = Now(), []
    pool = Deserted(clock, {}, slow=1.0)
    store = Store(tmp_path)
    refit = Refit(problem=problem, split=SPLIT, pool=pool, store=store, seed=0, clock=clock, notes=notes)
    assert refit.run([item(0.1, 5.0)], stop_s=20.0) == {}
    assert clock.now < 25
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("slow", "begun", "took_s"),
    [(80.0, [0.3], 80.0), (120.0, [0.3, 0.1], 400.0), (0.5, [0.3], 0.5)],
    ids=["overloaded", "hangs", "idle"],
)
def test_one_model_comes_however_late_unless_it_hangs(toy, problem, tmp_path, slow, begun, took_s):
    own = {"one": [item(0.1, 3.0), item(0.4, 9.0)], "other": [item(0.2, 5.0), item(0.3, 1.0)]}
    every = [candidate for ladder in own.values() for candidate in ladder]
    clock = Now()
    pool = Timed(clock, {c.trial.config["strength"]: c.refit_s for c in every}, slow=slow)
    split = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))
    refit = Refit(problem=problem, split=split, pool=pool, store=Store(tmp_path), seed=0, clock=clock)
    found = refit.at_least_one(own, limit_s=10.0)
    assert pool.begun == begun
    assert clock.now == took_s
    assert len(found) == (took_s < 400.0)
