from __future__ import annotations

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
    trial = Trial(
        id=0, scope="final", family="toy", config={"act": "work", "strength": 0.3}, budget=1.0,
        fidelity=Fidelity(folds=3), status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=Origin.DEFAULT, seed=0,
        loss=0.1, score=0.9,
    )  # fmt: skip
    split = OuterSplit(scope="outer0", train=np.arange(40), test=np.arange(40, 60))
    pool, notes = Mortal(reasons), []
    store, clock = Store(tmp_path), Clock(60)
    refit = Refit(problem=problem, split=split, pool=pool, store=store, seed=0, clock=clock, notes=notes)
    done = refit.run([Candidate(trial=trial, probas=(), refit_s=1.0, score=0.9)], stop_s=60)
    assert (pool.n_tasks, len(done)) == (n_tasks, n_done)
    assert len(notes) == 1 - n_done
