"""The words of the search: a trial, how it ended, and the task a worker gets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from autoonco.families.contract import Config, Fidelity


class Status(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    FAILED = "failed"  # an error, a crash, a loss that is not a number
    TIMEOUT = "timeout"  # stopped at its time limit
    MEMORY = "memory"  # stopped at its memory limit
    STOPPED = "stopped"  # after some folds: it could not reach the best any more
    SKIPPED = "skipped"  # not started: predicted not to fit into the time left


FAILURES = frozenset({Status.FAILED, Status.TIMEOUT, Status.MEMORY})
"""Ends of a trial that was begun and gave nothing."""


class Origin(StrEnum):
    """Who proposed a trial."""

    DEFAULT = "default"
    SEARCH = "search"
    FINALIST = "finalist"  # scored again on fresh folds before the choice


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A config judged at a budget.

    `loss` is what the search minimises, `score` the same in the metric's own direction, both means over the
    scored inner folds and None unless the trial succeeded or was stopped after some of them; `fold_scores` are the
    single ones. `seconds` is what it took on `device`, results taken from the store not counted; `elapsed_s` is when it
    ended, in seconds since its scope's search began. `notes` is what the family said of the last of its fits. `dear`
    tells that it was scored on first folds alone because all of them would have taken too long.
    """

    id: int
    scope: str
    family: str
    config: Config
    budget: float
    fidelity: Fidelity
    status: Status
    seconds: float
    elapsed_s: float
    origin: Origin
    seed: int
    loss: float | None = None
    score: float | None = None
    reason: str | None = None
    device: str = "cpu"
    notes: Mapping[str, Any] = field(default_factory=dict)
    dear: bool = False
    fold_scores: tuple[float, ...] = ()

    @property
    def has_failed(self) -> bool:
        """Whether it was begun and gave nothing."""
        return self.status in FAILURES

    def sentence(self) -> str:
        """Return how it ended, for a log."""
        score = "" if self.score is None else f", score {self.score:.4f}"
        why = f": {self.reason}" if self.reason else ""
        return (
            f"search '{self.scope}', trial {self.id}: {self.family} at budget {self.budget:.2g}, {self.status}{score}, "
            f"{self.seconds:.1f} s{why}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {
            "config": dict(self.config),
            "notes": dict(self.notes),
            "fold_scores": list(self.fold_scores),
            "status": str(self.status),
            "origin": str(self.origin),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Trial:
        """Read what `to_json` wrote."""
        # a journal of an older version lacks what came later
        fields = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        return cls(
            **fields
            | {
                "fidelity": Fidelity(**plain["fidelity"]),
                "fold_scores": tuple(plain.get("fold_scores", ())),
                "status": Status(plain["status"]),
                "origin": Origin(plain["origin"]),
            }
        )


def best_trial(trials: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the best of `trials`, as whoever looks at a search knows it; None while there is none.

    It had its full training on all folds. A finalist scored again does not count: the fresh folds are others, on which
    scores don't compare.

    Parameters
    ----------
    trials
        Of one search, as `Trial.to_json` or the journal has them.
    """
    full = [
        trial
        for trial in trials
        if trial["status"] == Status.SUCCESS
        and trial["budget"] >= 1
        and trial.get("score") is not None
        and trial.get("origin") != Origin.FINALIST
    ]
    return max(full, key=lambda trial: float(trial["score"]), default=None)


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """Fit on the cases at `train` and predict those at `test`; positions in the run's dataset."""

    index: int
    train: tuple[int, ...]
    test: tuple[int, ...]


_TASK_IDS = itertools.count()


def next_task_id() -> int:
    """Return a number that no other task of this process has."""
    return next(_TASK_IDS)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is asked to do: fit a config on one fold and predict its test cases.

    `save_to` is a folder for the fitted model, used for the final refit; `checkpoint` a folder that keeps the
    training state; `gpu` says which kind of slot it wants where there are both.
    """

    id: int
    family: str
    config: Config
    fidelity: Fidelity
    fold: FoldTask
    fingerprint: Mapping[str, Any]
    seed: int
    checkpoint: str | None = None
    save_to: str | None = None
    gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a task, by itself, by a limit, or with its process.

    `proba` ``(n_test, n_classes)`` is there if and only if the status is success; `notes` is what the family said.
    """

    task_id: int
    status: Status
    seconds: float
    proba: NDArray[Any] | None = None
    reason: str | None = None
    device: str = "cpu"
    notes: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Who carries tasks out: worker processes of this machine, or a cluster."""

    def n_idle(self, *, gpu: bool) -> int:
        """Return how many tasks of this kind can be submitted now."""
        ...

    def submit(self, task: Task, *, timeout_s: float) -> None:
        """Start `task` in an idle slot; it is stopped after `timeout_s` seconds."""
        ...

    def poll(self) -> Iterator[Ended]:
        """Wait up to half a second and yield the tasks that ended."""
        ...


class Closing:
    """An executor that a ``with`` block closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that is under way."""
        raise NotImplementedError
