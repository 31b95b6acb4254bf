"""Trials in progress: fold after fold, each a task of its own, until done, failed or hopeless."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoonco.families import get_family
from autoonco.families.contract import Config, Fidelity
from autoonco.search.clock import Clock
from autoonco.search.optimizer import Proposal
from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Executor, FoldTask, Origin, Status, Task, Trial, next_task_id


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A config to try at a budget; `dear` where that is less than was asked for, see `Trial`."""

    family: str
    config: Config
    budget: float
    fidelity: Fidelity
    origin: Origin
    proposal: Proposal | None = None
    dear: bool = False

    @property
    def key(self) -> str:
        """Name of its config."""
        return config_key(self.family, self.config)

    @property
    def wants_gpu(self) -> bool:
        """Whether it belongs on a GPU where there is one."""
        return get_family(self.family).wants_gpu(self.config)


def fold_key(problem: Problem, candidate: Candidate, fold: FoldTask) -> FoldKey:
    """Return what names the result of `candidate` on `fold`."""
    return FoldKey(
        scope=problem.scope,
        config_key=candidate.key,
        fold_key=candidate.fidelity.fold_key,
        fold=str(fold.index),
    )


def candidate_of(trial: Trial) -> Candidate:
    """Return what a trial was of."""
    return Candidate(
        family=trial.family,
        config=trial.config,
        budget=trial.budget,
        fidelity=trial.fidelity,
        origin=trial.origin,
        dear=trial.dear,
    )


def whole_seconds(problem: Problem, store: Store, trial: Trial) -> float:
    """Return what all folds of a trial took, also those that a smaller budget or a killed session had fitted."""
    candidate, folds = candidate_of(trial), problem.folds[: trial.fidelity.folds]
    keys = [replace(fold_key(problem, candidate, fold), scope=trial.scope) for fold in folds]
    return sum(store.fold_seconds(key) for key in keys if store.has_fold(key)) or trial.seconds


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended; `seconds` are those of all its folds."""

    id: int
    candidate: Candidate
    status: Status
    seconds: float = 0.0
    device: str = "cpu"
    reason: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, problem: Problem, scores: Sequence[float], *, seed: int, elapsed_s: float) -> Trial:
        """Return the record of this; `scores` are those of the folds that it finished, none where it failed."""
        fidelity = self.candidate.fidelity
        if self.status is Status.STOPPED:
            fidelity = replace(fidelity, folds=len(scores))
        score = sum(scores) / len(scores) if scores else None
        return Trial(
            id=self.id,
            scope=problem.scope,
            family=self.candidate.family,
            config=self.candidate.config,
            budget=self.candidate.budget,
            fidelity=fidelity,
            status=self.status,
            seconds=self.seconds,
            elapsed_s=elapsed_s,
            origin=self.candidate.origin,
            seed=seed,
            score=score,
            loss=None if score is None else problem.metric.loss(score),
            reason=self.reason,
            device=self.device,
            notes=self.notes,
            dear=self.candidate.dear,
            fold_scores=tuple(scores),
        )


@dataclass(kw_only=True)
class _Running:
    id: int
    candidate: Candidate
    pending: deque[FoldTask]
    fold: FoldTask
    checkpoint: str | None
    cap_s: float
    seconds: float = 0.0


class Execution:
    """Runs candidates on an executor and stores the probabilities of each fold as it ends.

    `hopeless` is asked after each fold but the last whether to go on; it returns a sentence to stop a trial.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        pool: Executor,
        store: Store,
        seed: int,
        clock: Clock,
        hopeless: Callable[[Candidate], str | None] = lambda _: None,
    ) -> None:
        self._problem, self._pool, self._store = problem, pool, store
        self._seed, self._clock, self._hopeless = seed, clock, hopeless
        self._running: dict[int, _Running] = {}

    @property
    def running(self) -> list[Candidate]:
        """The candidates in progress."""
        return [run.candidate for run in self._running.values()]

    def has_slot(self, candidate: Candidate) -> bool:
        """Return whether `candidate` can start now."""
        return self._pool.n_idle(gpu=candidate.wants_gpu) > 0

    def has_any_slot(self) -> bool:
        """Return whether anything can start now."""
        return self._pool.n_idle(gpu=False) > 0 or self._pool.n_idle(gpu=True) > 0

    def start(
        self,
        candidate: Candidate,
        folds: Sequence[FoldTask],
        *,
        cap_s: float,
        checkpoint: str | None = None,
    ) -> None:
        """Start `candidate` on `folds`, which take at most `cap_s` seconds together."""
        first, *others = folds
        run = _Running(
            id=self._store.next_id(),
            candidate=candidate,
            pending=deque(others),
            fold=first,
            checkpoint=checkpoint,
            cap_s=cap_s,
        )
        self._submit(run)

    def poll(self) -> Iterator[Outcome]:
        """Wait a moment and yield the trials that ended."""
        for event in self._pool.poll():
            run = self._running.pop(event.task_id)
            run.seconds += event.seconds
            reason, status = event.reason, event.status
            if status is Status.TIMEOUT:  # the last fold had only what the others had left of it
                reason = f"Stopped after {run.seconds:.0f} s, its time limit."
            if event.proba is not None:
                key = fold_key(self._problem, run.candidate, run.fold)
                self._store.add_fold(key, event.proba, seconds=event.seconds, elapsed_s=self._clock.elapsed())
                if run.pending:
                    reason = self._hopeless(run.candidate)
                    if reason is None:
                        run.fold = run.pending.popleft()
                        self._submit(run)
                        continue
                    status = Status.STOPPED
            yield Outcome(
                id=run.id,
                candidate=run.candidate,
                status=status,
                seconds=run.seconds,
                device=event.device,
                reason=reason,
                notes=event.notes,
            )

    def _submit(self, run: _Running) -> None:
        task = Task(
            id=next_task_id(),
            family=run.candidate.family,
            config=run.candidate.config,
            fidelity=run.candidate.fidelity,
            fold=run.fold,
            fingerprint=self._problem.fingerprint.to_json(),
            seed=self._seed,
            checkpoint=run.checkpoint if run.fold.index == 0 else None,
            gpu=run.candidate.wants_gpu,
        )
        self._running[task.id] = run
        self._pool.submit(task, timeout_s=max(0.1, run.cap_s - run.seconds))
