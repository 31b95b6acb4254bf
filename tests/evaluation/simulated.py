"""A scope whose seconds are made up: families, an executor and a clock that pass no time."""

from __future__ import annotations

import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ConfigSpace import ConfigurationSpace, Constant, Float

from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.folds import stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.evaluation.judge import Judge
from autoonco.evaluation.splits import OuterSplit
from autoonco.families.contract import ModelState
from autoonco.families.networks import plan_epochs
from autoonco.families.state import write_state
from autoonco.families.tables import plan_folds
from autoonco.metrics.scores import get_metric
from autoonco.search import clock
from autoonco.search.problem import Problem
from autoonco.search.trial import Closing, Ended, FoldTask, Status


class Made:
    """A family of which only the seconds are real: `fold_s` a fold of `n` cases, `first_s` more for the first one."""

    def __init__(self, name, *, fold_s, first_s=0.0, epochs=None, varied=True):
        self.name, self.fold_s, self.first_s, self.epochs, self.varied = name, fold_s, first_s, epochs, varied

    def why_not(self, fingerprint):
        return None

    def space(self, fingerprint):
        space = ConfigurationSpace(name=self.name)
        space.add(Float("skill", (0.0, 1.0), default=0.5))
        # a config of size 2 takes four times as long as one of size 1
        space.add(Float("size", (0.5, 2.0), default=1.0) if self.varied else Constant("size", 1.0))
        if self.epochs:
            space.add(Constant("epochs", self.epochs))
        return space

    def defaults(self, fingerprint):
        config = {"skill": 0.5, "size": 1.0} | ({"epochs": self.epochs} if self.epochs else {})
        return [config]

    def wants_gpu(self, config):
        return False

    def plan(self, config, budget, *, inner_folds, n_train):
        if self.epochs:
            return plan_epochs(self.epochs, budget, inner_folds)
        return plan_folds(budget, inner_folds=inner_folds, n_train=n_train)

    def seconds(self, config, fidelity):
        share = fidelity.epochs / self.epochs if self.epochs and fidelity.epochs else 1.0
        return self.fold_s * config["size"] ** 2 * share

    def prior_seconds(self, config, fidelity, fingerprint):
        return self.first_s + fidelity.folds * self.seconds(config, fidelity)


class Time:
    """What `time.monotonic` says."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Stopped(BaseException):
    """Kill -9, as far as it goes in a process that lives on."""


class Pool(Closing):
    """Workers that fit in no time and say how long it took; `slow` times as long as the families say.

    With `dies_at`, everything stops when so many tasks have begun.
    """

    def __init__(self, time, families, y, *, n_workers=2, slow=1.0, dies_at=None):
        self.time, self.families, self.y, self.n, self.slow = time, families, y, n_workers, slow
        self.refits_slow = 1.0
        self.running, self.warm, self.begun, self.dies_at = {}, set(), [], dies_at

    def n_idle(self, *, gpu):
        return self.n - len(self.running)

    def submit(self, task, *, timeout_s):
        if len(self.begun) == self.dies_at:
            raise Stopped
        self.begun.append(task)
        family = self.families[task.family]
        n = len(task.fold.train)
        took = self.slow * family.seconds(task.config, task.fidelity) * n / 80
        if task.family not in self.warm:
            self.warm.add(task.family)
            took += self.slow * family.first_s
        took *= self.refits_slow if task.save_to is not None else 1.0
        self.running[task.id] = task, self.time.now, took, timeout_s

    def poll(self):
        if not self.running:
            self.time.now += 0.5
            return
        number = min(self.running, key=lambda i: self.running[i][1] + min(self.running[i][2:]))
        task, start, took, timeout_s = self.running.pop(number)
        self.time.now = start + min(took, timeout_s)
        if took > timeout_s:
            yield Ended(task_id=number, status=Status.TIMEOUT, seconds=timeout_s, reason="its time limit")
        else:
            if task.save_to is not None:
                write_state(Path(task.save_to), ModelState(meta={}))
            yield Ended(task_id=number, status=Status.SUCCESS, seconds=took, proba=self.proba(task))

    def proba(self, task):
        test = np.array(task.fold.test, dtype=int)
        rng = np.random.default_rng([round(1e6 * task.config["skill"]), task.fold.index])
        logits = rng.normal(size=(len(test), 3)) + 3 * task.config["skill"] * np.eye(3)[self.y[test]]
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class MadeJudge(Judge):
    """A judge of cases without a picture."""

    def problem(self, split: OuterSplit) -> Problem:
        y = self.dataset.y

        def folds(seed, first):
            rows = split.train
            found = stratified_group_folds(
                y[rows],
                self.dataset.groups[rows],
                self.settings.inner_folds,
                seed=seed,
                class_names=self.dataset.classes,
            )
            return tuple(
                FoldTask(index=first + i, train=tuple(rows[a].tolist()), test=tuple(rows[b].tolist()))
                for i, (a, b) in enumerate(found)
            )

        k = self.settings.inner_folds
        return Problem(
            scope=split.scope,
            y=y,
            folds=folds(0, 0),
            fresh=folds(1, k) if self.settings.finalists else (),
            fingerprint=replace(FINGERPRINT, n_cases=len(split.train), n_patients=len(split.train)),
            metric=get_metric("roc_auc"),
            families=self.families,
        )


FINGERPRINT = Fingerprint(
    n_cases=134, n_patients=134, classes=("a", "b", "c"), class_counts=(45, 45, 44), ndim=3, channels=(),
    is_colour=False, has_mask=False, clinical=("x",), has_site=False, spacing_mm=(1.0, 1.0, 1.0),
    shape=(8, 8, 8), lesion_mm=None, lesion_voxels=None, intensity={},
)  # fmt: skip


def made_dataset(n=134):
    y = np.arange(n) % 3
    cases = tuple(
        Case(case=f"c{i}", patient=f"p{i}", images={}, clinical={"x": 0.0}, row=i + 1) for i in range(n)
    )
    return Dataset(cases=cases, classes=("a", "b", "c"), y=y, clinical=("x",))


def simulate(monkeypatch, families):
    """Let these families be all there are, and return the time that passes for searches and refits."""
    time = Time()
    monkeypatch.setattr(
        "autoonco.families.all_families", lambda: {family.name: family for family in families}
    )
    monkeypatch.setattr(clock, "time", types.SimpleNamespace(monotonic=time.monotonic))
    return time


def made_judge(families, pool, store, settings, *, limit_s, dataset=None):
    dataset = dataset or made_dataset()
    return MadeJudge(
        dataset=dataset,
        facts=[CaseFacts(row=case.row) for case in dataset.cases],
        families=tuple(family.name for family in families),
        metric=get_metric("roc_auc"),
        settings=settings,
        seed=0,
        pool=pool,
        store=store,
        artefacts=None,
        n_workers=pool.n,
        n_threads=1,
        limit_s=limit_s,
    )
