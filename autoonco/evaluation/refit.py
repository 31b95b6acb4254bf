"""Fit the chosen configs once more on all training cases, and predict the test cases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from autoonco.evaluation.ensemble import Candidate
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.families import get_family
from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Ended, Executor, FoldTask, Task, next_task_id
from autoonco.search.workers import DIED

_REFIT = "refit"

Refitted = dict[str, tuple[NDArray[Any], float]]
"""Probabilities of the test cases and seconds, by config key."""


@dataclass(frozen=True, kw_only=True)
class Refit:
    """Refits of one scope; the final scope keeps the fitted models' states, the others only judge.

    A refit whose worker died is begun once more, for the run may hang on it: there is no other model of that config.
    `notes` takes a sentence for each config that could not be refitted.
    """

    problem: Problem
    split: OuterSplit
    pool: Executor
    store: Store
    seed: int
    notes: list[str] = field(default_factory=list)

    def run(self, wanted: Sequence[Candidate], *, stop_s: float) -> Refitted:
        """Return what could be refitted within `stop_s` seconds, what an earlier session did included."""
        end = time.monotonic() + stop_s
        queue = {key_of(item): item for item in wanted}
        done = {key: found for key, item in queue.items() if (found := self._stored(key, item)) is not None}
        queue = {key: item for key, item in queue.items() if key not in done}
        tasks: dict[int, tuple[str, Candidate]] = {}
        lost: set[str] = set()
        while queue or tasks:
            for key, item in list(queue.items()):
                task = self._task(key, item)
                if self.pool.n_idle(gpu=task.gpu):
                    del queue[key]
                    tasks[task.id] = key, item
                    self.pool.submit(task, timeout_s=max(1.0, end - time.monotonic()))
            for event in self.pool.poll():
                key, item = tasks.pop(event.task_id)
                if key not in lost and (event.reason or "").startswith(DIED):
                    lost.add(key)
                    queue[key] = item
                else:
                    self._end(key, item, event, done)
        return done

    def folder(self, key: str) -> Path:
        """Return where the fitted state of a config is kept."""
        return self.store.folder / "models" / key

    def _end(self, key: str, item: Candidate, event: Ended, done: Refitted) -> None:
        if event.proba is not None:
            done[key] = event.proba, event.seconds
            self.store.add_fold(self._fold_key(item), event.proba, seconds=event.seconds, elapsed_s=0.0)
            return
        self.notes.append(f"A {item.trial.family} model could not be refitted: {event.reason}")

    def _stored(self, key: str, item: Candidate) -> tuple[NDArray[Any], float] | None:
        fold_key = self._fold_key(item)
        has_state = self.split.scope != FINAL or (self.folder(key) / "meta.json").exists()
        if not has_state or not self.store.has_fold(fold_key):
            return None
        return self.store.fold_proba(fold_key), self.store.fold_seconds(fold_key)

    def _task(self, key: str, item: Candidate) -> Task:
        train, test = (tuple(int(row) for row in rows) for rows in (self.split.train, self.split.test))
        return Task(
            id=next_task_id(),
            family=item.trial.family,
            config=item.trial.config,
            fidelity=item.trial.fidelity,
            fold=FoldTask(index=0, train=train, test=test),
            fingerprint=self.problem.fingerprint.to_json(),
            seed=self.seed,
            save_to=str(self.folder(key)) if self.split.scope == FINAL else None,
            gpu=get_family(item.trial.family).wants_gpu(item.trial.config),
        )

    def _fold_key(self, item: Candidate) -> FoldKey:
        return FoldKey(
            scope=self.split.scope,
            config_key=key_of(item),
            fold_key=item.trial.fidelity.fold_key,
            fold=_REFIT,
        )


def key_of(item: Candidate) -> str:
    """Return the config key of a candidate."""
    return config_key(item.trial.family, item.trial.config)
