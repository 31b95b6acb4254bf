"""The words of the search: a trial, how it ended, and the task a worker gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from autoonco.families.contract import Config, Fidelity


class Status(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    FAILED = "failed"  # an error, a crash, a loss that is not a number
    TIMEOUT = "timeout"  # stopped at its time limit
    MEMORY = "memory"  # stopped at its memory limit
    SKIPPED = "skipped"  # not started: predicted not to fit into the time left


class Origin(StrEnum):
    """Who proposed a trial."""

    DEFAULT = "default"
    SEARCH = "search"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A config judged at a budget.

    `loss` is what the search minimises, `score` the same in the metric's own direction, both means over the
    scored inner folds and None unless the trial succeeded. `seconds` is what it took, results taken from the
    store not counted; `elapsed_s` is when it ended, in seconds since its scope's search began.
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

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {
            "config": dict(self.config),
            "status": str(self.status),
            "origin": str(self.origin),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Trial:
        """Read what `to_json` wrote."""
        fields = {name: plain[name] for name in cls.__dataclass_fields__}
        return cls(
            **fields
            | {
                "fidelity": Fidelity(**plain["fidelity"]),
                "status": Status(plain["status"]),
                "origin": Origin(plain["origin"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """Fit on the cases at `train` and predict those at `test`; positions in the run's dataset."""

    index: int
    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is asked to do: fit a config on each fold, one after the other.

    `save_to` is a folder for the fitted model of the last fold, used for the final refit; `checkpoint` a
    folder that keeps the training state of the only fold.
    """

    id: int
    family: str
    config: Config
    fidelity: Fidelity
    folds: tuple[FoldTask, ...]
    fingerprint: Mapping[str, Any]
    seed: int
    checkpoint: str | None = None
    save_to: str | None = None
