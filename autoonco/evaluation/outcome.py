"""What a scope gives: judged models, and the members of the model that is delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from autoonco.data.fingerprint import Fingerprint
from autoonco.evaluation.decisions import Decided


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model refitted on all training cases and its probabilities of the test cases ``(n_test, n_classes)``."""

    name: str
    kind: str
    proba: NDArray[Any]
    inner_score: float | None = None
    members: Sequence[Mapping[str, Any]] = ()
    refit_s: float = 0.0
    search_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, probabilities left out."""
        return {
            "name": self.name,
            "kind": self.kind,
            "inner_score": self.inner_score,
            "members": [dict(member) for member in self.members],
            "refit_seconds": self.refit_s,
            "search_seconds": self.search_s,
        }


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A member of the model that is delivered: its weight and the folder of its fitted state."""

    family: str
    weight: float
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Probabilities of the ensemble where scans or masks were changed.

    `positions` ``(n,)`` are the places in the scope's test part of the cases that were done, `proba`
    ``(n, n_classes)`` what became of them; `reason` says why there are not all, or none.
    """

    name: str
    positions: tuple[int, ...]
    proba: NDArray[Any]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScopeResult:
    """What one scope gave; `decided` is how the ensemble's probabilities are calibrated and decided by."""

    judged: tuple[Judged, ...]
    delivered: tuple[Delivered, ...]
    fingerprint: Fingerprint
    decided: Decided | None = None
    probes: tuple[Probed, ...] = ()

    def inner_score_of(self, name: str) -> float | None:
        """Return the inner score of the model called `name`, None where there is none."""
        return next((judged.inner_score for judged in self.judged if judged.name == name), None)

    def seconds_of(self, name: str) -> float:
        """Return the seconds of search and refits that the model called `name` took, 0 where there is none."""
        return next((each.search_s + each.refit_s for each in self.judged if each.name == name), 0.0)
