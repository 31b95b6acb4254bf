"""Fit the chosen configs once more on all training cases, and predict the test cases."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.manifest import Dataset
from autoonco.evaluation.delivered import in_time, seconds_a_case
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.families import get_family
from autoonco.families.contract import Runtime
from autoonco.search.clock import Clock
from autoonco.search.interrupt import Allowance
from autoonco.search.problem import Problem
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Ended, Executor, FoldTask, Task, next_task_id
from autoonco.search.workers import DIED

REFIT = "refit"
"""What a refit is called in the journal, where a fit of the search has the number of its fold."""
_TELLING_S = 1.0
# No load makes a refit so many times as long as its folds let expect.
_PATIENCE = 100.0

Refitted = dict[str, tuple[NDArray[Any], float]]
"""Probabilities of the test cases and seconds, by config key."""


@dataclass(frozen=True, kw_only=True)
class Refit:
    """Refits of one scope; the final scope keeps the fitted models' states, the others only judge.

    With `keeps_states` the others keep them too, until `forget`: what is asked of a fitted model later needs them.

    A refit whose worker died is begun once more, for the run may hang on it: there is no other model of that config.
    `notes` takes a sentence for each config that could not be refitted.
    """

    problem: Problem
    split: OuterSplit
    pool: Executor
    store: Store
    seed: int
    clock: Clock
    notes: list[str] = field(default_factory=list)
    keeps_states: bool = False

    def run(
        self,
        wanted: Sequence[Candidate],
        *,
        stop_s: float,
        spares: Mapping[str, Sequence[Candidate]] = MappingProxyType({}),
    ) -> Refitted:
        """Return what could be refitted within `stop_s` seconds, what an earlier session did included.

        `wanted` begin in their order. `spares` are, by the key of one of them, what may take its place, best first:
        a quicker one where it can't be expected to end in time, or didn't. What is refitted anyway, for another one's
        sake or by an earlier session, is not begun again as a spare. Once the time is over, nothing waits for a worker.

        Where the run is asked to end while this goes on, only what is under way is finished, but one at least is.
        """
        allowance = Allowance(np.inf)
        end = self.clock.elapsed() + stop_s
        queue = {item.key: item for item in wanted}
        done = {key: found for key, item in queue.items() if (found := self._stored(key, item)) is not None}
        queue = {key: item for key, item in queue.items() if key not in done}
        tasks: dict[int, tuple[str, Candidate]] = {}
        lost: set[str] = set()
        pace = _Pace()
        while tasks or (queue and not (done and allowance.was_cut())):
            if not tasks and self.clock.elapsed() > end and not self._has_slot(queue.values()):
                self.notes.append("No worker was left for the refits when their time ended.")
                break
            for key in list(queue):
                if allowance.was_cut() and (done or tasks):
                    break
                if self.pool.n_idle(gpu=_wants_gpu(queue[key])):
                    asked = queue.pop(key)
                    left_s = end - self.clock.elapsed()
                    item = pace.in_time(asked, spares.get(key, ()), left_s)
                    under_way = {*queue, *(other.key for _, other in tasks.values())}
                    if item.key != key and self._is_there(item, done, under_way):
                        continue
                    task = self._task(item.key, item)
                    tasks[task.id] = key, item
                    self.pool.submit(task, timeout_s=max(1.0, left_s))
            for event in self.pool.poll() if queue or tasks else ():
                key, item = tasks.pop(event.task_id)
                if key not in lost and (event.reason or "").startswith(DIED):
                    lost.add(key)
                    queue[key] = item
                    continue
                self._end(item.key, item, event, done)
                pace.note(item, event)
                left_s = end - self.clock.elapsed()
                spare = None if event.proba is not None else pace.quicker(item, spares.get(key, ()), left_s)
                if spare is not None and spare.key not in done:
                    queue[key] = spare
        if queue and allowance.was_cut():
            self.notes.append(f"{len(queue)} models were not refitted, for the run was stopped.")
        return done

    def at_least_one(self, own: Mapping[str, Sequence[Candidate]], *, limit_s: float) -> Refitted:
        """Return a refitted model: better late than no model at all.

        Of each family of `own` the quickest has its turn, the quickest of all first, until one is there. It is stopped
        only where it takes longer than `limit_s` seconds and a hundred times what was expected: then it hangs.
        """
        quickest = [min(ladder, key=lambda item: item.refit_s) for ladder in own.values()]
        for item in sorted(quickest, key=lambda item: item.refit_s):
            if found := self.run([item], stop_s=max(limit_s, _PATIENCE * item.refit_s)):
                return found
        return {}

    def folder(self, key: str) -> Path:
        """Return where the fitted state of a config is kept."""
        return self._folder / key

    def forget(self) -> None:
        """Drop the fitted states, unless they are the final scope's."""
        if self.split.scope != FINAL:
            shutil.rmtree(self._folder, ignore_errors=True)

    def quick_enough(
        self,
        members: Sequence[Member],
        spares: Sequence[Candidate],
        limit_s: float,
        runtime: Runtime,
        dataset: Dataset,
    ) -> list[Member]:
        """Return the refitted members that `limit_s` seconds a case allow, see `in_time`; they are measured here."""
        cases = [dataset.cases[row] for row in self.split.train[:4]]
        every = {item.key: item for item in (*(m.candidate for m in members), *spares)}
        seconds = {
            key: seconds_a_case(item.trial.family, self.folder(key), cases, runtime)
            for key, item in every.items()
        }
        kept, note = in_time(members, spares, seconds, limit_s)
        self.notes.extend([] if note is None else [note])
        return kept

    @property
    def _folder(self) -> Path:
        scope = self.split.scope
        return self.store.folder / "models" if scope == FINAL else self.store.folder / "scopes" / scope

    @property
    def _saves(self) -> bool:
        return self.keeps_states or self.split.scope == FINAL

    def _has_slot(self, items: Iterable[Candidate]) -> bool:
        return any(self.pool.n_idle(gpu=_wants_gpu(item)) for item in items)

    def _is_there(self, spare: Candidate, done: Refitted, under_way: Collection[str]) -> bool:
        key = spare.key
        if key not in done and (found := self._stored(key, spare)) is not None:
            done[key] = found
        return key in done or key in under_way

    def _end(self, key: str, item: Candidate, event: Ended, done: Refitted) -> None:
        if event.proba is not None:
            done[key] = event.proba, event.seconds
            elapsed_s = self.clock.elapsed()
            self.store.add_fold(self._fold_key(item), event.proba, seconds=event.seconds, elapsed_s=elapsed_s)
            return
        self.notes.append(f"A {item.trial.family} model could not be refitted: {event.reason}")

    def _stored(self, key: str, item: Candidate) -> tuple[NDArray[Any], float] | None:
        fold_key = self._fold_key(item)
        has_state = not self._saves or (self.folder(key) / "meta.json").exists()
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
            save_to=str(self.folder(key)) if self._saves else None,
            gpu=_wants_gpu(item),
        )

    def _fold_key(self, item: Candidate) -> FoldKey:
        return FoldKey(
            scope=self.split.scope,
            config_key=item.key,
            fold_key=item.trial.fidelity.fold_key,
            fold=REFIT,
        )


class _Pace:
    """How much longer than expected the refits of this session take, and what still fits at that pace."""

    def __init__(self) -> None:
        self._ratios: list[float] = []

    def note(self, item: Candidate, event: Ended) -> None:
        """Take note of a refit that ended well; of the shortest ones the start of a worker is the most."""
        if event.proba is not None and item.refit_s >= _TELLING_S:
            self._ratios.append(event.seconds / item.refit_s)

    def in_time(self, item: Candidate, spares: Sequence[Candidate], left_s: float) -> Candidate:
        """Return `item` where it is expected to end in `left_s` seconds, or no quicker one is."""
        return item if self._takes_s(item) <= left_s else self.quicker(item, spares, left_s) or item

    def quicker(self, item: Candidate, spares: Sequence[Candidate], left_s: float) -> Candidate | None:
        """Return the best of `spares` that is quicker than `item` and is expected to end in `left_s` seconds."""
        fits = (s for s in spares if s.refit_s < item.refit_s and self._takes_s(s) <= left_s)
        return next(fits, None)

    def _takes_s(self, item: Candidate) -> float:
        ratio = float(np.median(self._ratios)) if self._ratios else 1.0
        return item.refit_s * max(1.0, ratio)


def _wants_gpu(item: Candidate) -> bool:
    return get_family(item.trial.family).wants_gpu(item.trial.config)
