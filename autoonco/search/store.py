"""What a run has found so far, on disk: an append-only journal and the out-of-fold probabilities.

JSON lines, flushed to disk one by one, rather than SQLite: there is one writer, a torn last line is the only
damage that a kill or a full disk can do and is recognised, it works on network folders, and anyone can read it.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import digest, write_atomically
from autoonco.errors import DiskFullError
from autoonco.search.trial import Trial

_LOG = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
# No space, a quota used up, a file that may not grow any more.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        self._phases: dict[str, list[Mapping[str, Any]]] = {}
        self._taken: set[int] = set()
        self._path = folder / JOURNAL
        with stops_on_full_disk():
            folder.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        self._size = self._load()
        self._ids = itertools.count(max((trial.id for trial in self.trials), default=-1) + 1)

    def next_id(self) -> int:
        """Return a number that no trial of this run has."""
        return next(self._ids)

    def _load(self) -> int:
        """Take every whole line and return how many bytes they are; what follows is overwritten."""
        whole = 0
        for event, size in _events(self._path):
            whole += size
            self._take(event)
        os.truncate(self._path, whole)
        return whole

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "trial" and event["id"] in self._taken:
            return  # the first one counts: no trial is counted twice
        scope = event["scope"]
        self._elapsed[scope] = max(self._elapsed.get(scope, 0.0), event.get("elapsed_s", 0.0))
        match event["event"]:
            case "trial":
                self._taken.add(event["id"])
                self.trials.append(Trial.from_json(event))
            case "fold":
                self._fold_seconds[event["name"]] = event["seconds"]
            case "phase":
                self._phases.setdefault(scope, []).append(event)

    def _append(self, event: Mapping[str, Any]) -> None:
        line = (json.dumps(event) + "\n").encode()
        handle = os.open(self._path, os.O_WRONLY)
        try:
            with stops_on_full_disk():
                os.ftruncate(handle, self._size)  # what a failed write left and could not take back
                os.lseek(handle, self._size, os.SEEK_SET)
                _write_whole(handle, line)
                os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, self._size)  # half a line would swallow the next one
            raise
        finally:
            os.close(handle)
        self._size += len(line)
        self._take(event)

    def add_trial(self, trial: Trial) -> None:
        """Record a finished trial.

        Raises
        ------
        DiskFullError
            If there is no space for it; the trial then counts as never made.
        """
        self._append({"event": "trial"} | trial.to_json())
        _LOG.log(logging.WARNING if trial.has_failed else logging.INFO, "%s", trial.sentence())

    def add_fold(self, key: FoldKey, proba: NDArray[Any], *, seconds: float, elapsed_s: float) -> None:
        """Record the probabilities ``(n_test, n_classes)`` of one fit.

        Raises
        ------
        DiskFullError
            If there is no space for them; the fit then counts as never made.
        """
        with stops_on_full_disk():
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

    def add_phase(self, scope: str, name: str, *, asked: str, elapsed_s: float) -> None:
        """Record that a part of a scope's work began after `elapsed_s` seconds, for what was `asked`.

        Raises
        ------
        DiskFullError
            If there is no space for the line.
        """
        self._append({"event": "phase", "scope": scope, "name": name, "asked": asked, "elapsed_s": elapsed_s})
        _LOG.info("search '%s': %s", scope, name)

    def phase_s(self, scope: str, name: str, *, asked: str) -> float | None:
        """Return after how many seconds a part of a scope's work began, None where it didn't.

        Only what was asked last counts: given more time a search goes on, and what followed it begins anew.
        """
        latest = itertools.takewhile(
            lambda event: event["asked"] == asked, reversed(self._phases.get(scope, []))
        )
        return next((event["elapsed_s"] for event in latest if event["name"] == name), None)

    def elapsed_s(self, scope: str) -> float:
        """Return the seconds that `scope` has had over all sessions, its refits included."""
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


@contextmanager
def stops_on_full_disk() -> Iterator[None]:
    """Turn the system's word for a full disk into one sentence that says what to do.

    Raises
    ------
    DiskFullError
        If the block met a full disk, a used-up quota or the largest file allowed.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"The disk that holds the run folder is full ({error.strerror}): free some space and give the same command "
            "again; everything that was finished is kept."
        ) from error


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials in the journal of a run folder, which may be another process's; nothing is changed.

    Raises
    ------
    FileNotFoundError
        If there is no journal.
    """
    trials = (Trial.from_json(event) for event in read_events(folder) if event["event"] == "trial")
    first: dict[int, Trial] = {}
    for trial in trials:
        first.setdefault(trial.id, trial)
    return list(first.values())


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what the journal of a run folder holds, which may be another process's; nothing is changed.

    Raises
    ------
    FileNotFoundError
        If there is no journal.
    """
    return (event for event, _ in _events(folder / JOURNAL))


def _events(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the journal's events and their sizes in bytes, up to a write that was cut off."""
    with path.open("rb") as stream:
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                return  # cut off by a kill; what was before it counts
            if not line.endswith(b"\n"):
                return
            yield event, len(line)


def _write_whole(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _save_array(path: Path, array: NDArray[Any]) -> None:
    # Through memory: numpy's own writing to a file hides that the disk is full behind an error without a number.
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.write_bytes(buffer.getbuffer())
