"""What a run has found so far, on disk: an append-only journal and the out-of-fold probabilities.

JSON lines, flushed to disk one by one, rather than SQLite: there is one writer, a torn last line is the only
damage that a kill can do and is recognised, it works on network folders, and anyone can read it.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import digest, write_atomically
from autoonco.search.trial import Trial

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class FoldKey:
    """One fit: a config at a fold's fidelity on one fold of a scope (a scope is one whole search)."""

    scope: str
    config_key: str
    fold_key: str
    fold: str

    @property
    def name(self) -> str:
        """File name of its probabilities."""
        return digest(self.scope, self.config_key, self.fold_key, self.fold)


class Store:
    """Journal and arrays of a run folder. Open it again after a kill and everything finished is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: list[Trial] = []
        self._fold_seconds: dict[str, float] = {}
        self._elapsed: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL
        self._path.touch()
        self._load()
        self._ids = itertools.count(max((trial.id for trial in self.trials), default=-1) + 1)

    def next_id(self) -> int:
        """Return a number that no trial of this run has."""
        return next(self._ids)

    def _load(self) -> None:
        whole = 0
        with self._path.open("rb") as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    break  # a write that a kill cut off; what was before it counts
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._take(event)
        with self._path.open("r+b") as stream:
            stream.truncate(whole)

    def _take(self, event: Mapping[str, Any]) -> None:
        scope = event["scope"]
        self._elapsed[scope] = max(self._elapsed.get(scope, 0.0), event.get("elapsed_s", 0.0))
        match event["event"]:
            case "trial":
                self.trials.append(Trial.from_json(event))
            case "fold":
                self._fold_seconds[event["name"]] = event["seconds"]

    def _append(self, event: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._take(event)

    def add_trial(self, trial: Trial) -> None:
        """Record a finished trial."""
        self._append({"event": "trial"} | trial.to_json())

    def add_fold(self, key: FoldKey, proba: NDArray[Any], *, seconds: float, elapsed_s: float) -> None:
        """Record the probabilities ``(n_test, n_classes)`` of one fit."""
        write_atomically(self._array(key), lambda path: _save_array(path, proba))
        # The array is on disk before the line that vouches for it.
        self._append(
            {
                "event": "fold",
                "scope": key.scope,
                "name": key.name,
                "seconds": seconds,
                "elapsed_s": elapsed_s,
            }
        )

    def elapsed_s(self, scope: str) -> float:
        """Return the seconds that the search of `scope` has had, over all sessions."""
        return self._elapsed.get(scope, 0.0)

    def has_fold(self, key: FoldKey) -> bool:
        """Return whether the fit was recorded."""
        return key.name in self._fold_seconds and self._array(key).exists()

    def fold_proba(self, key: FoldKey) -> NDArray[Any]:
        """Return the probabilities of a recorded fit."""
        return np.load(self._array(key), allow_pickle=False)  # type: ignore[no-any-return]

    def fold_seconds(self, key: FoldKey) -> float:
        """Return the seconds a recorded fit took."""
        return self._fold_seconds[key.name]

    def scope_trials(self, scope: str) -> list[Trial]:
        """Return the trials of one search, in the order in which they ended."""
        return [trial for trial in self.trials if trial.scope == scope]

    def _array(self, key: FoldKey) -> Path:
        return self.folder / "trials" / f"{key.name}.npy"


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
