"""Files of a run folder that are not the store's: what was asked, with what, on which data, and the outcome."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd
import psutil

from autoonco.data.cache import write_atomically
from autoonco.data.redaction import without_paths
from autoonco.errors import AutoOncoError, RunMismatchError

_LOG = logging.getLogger(__name__)

FORMAT = 1
LOG_FILE = "log.txt"
_LOCK = ".lock"
_TRIES, _LOOK_S = 3, 0.05
_PACKAGES = (
    "autoonco", "torch", "timm", "monai", "smac", "ConfigSpace", "scikit-learn", "xgboost", "numpy", "SimpleITK",
    "numba",
)  # fmt: skip

Resume = Literal["auto", "never"]


class RunFolder:
    """The folder of one run, opened by whoever may continue it.

    `identity` maps what must not change within a run (data, label, families, metric, ...) to hashes or names.

    Raises
    ------
    RunMismatchError
        If the folder holds a run of another identity, naming what differs, or any run with ``resume="never"``.
    """

    def __init__(self, path: Path, *, identity: Mapping[str, Any], resume: Resume = "auto") -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise RunMismatchError(f"{path} is a file. Choose a folder for the run.") from None
        known = read_json(path / "run.json") if (path / "run.json").exists() else None
        if known is None and any(item.name != _LOCK for item in path.iterdir()):
            raise RunMismatchError(
                f"The folder {path} is not empty and holds no run. Choose another run folder."
            )
        self._lock = _lock(path)
        if known is not None:
            if resume == "never":
                raise RunMismatchError(
                    f"{path} holds a run already. Choose another folder, or let it be resumed."
                )
            differing = [
                name for name, value in identity.items() if known.get("identity", {}).get(name) != value
            ]
            if differing:
                raise RunMismatchError(
                    f"{path} holds a run with another {' and another '.join(differing)}: its results can't be "
                    "mixed with these. Choose another run folder, or give the same arguments as before."
                )
        self._run: dict[str, Any] = known or {
            "format": FORMAT,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "elapsed_s": 0.0,
            "identity": dict(identity),
        }
        self._spent_s: float = self._run["elapsed_s"]
        if known is None:  # before anything else, or what a full disk leaves would be no run's folder
            try:
                self.write("run.json", self._run)
            except OSError:
                self.close()
                raise

    def has_finished(self, **same: Any) -> bool:
        """Return whether the run ended, with these fields of ``run.json`` as they are."""
        return self._run.get("status") == "finished" and all(self._run.get(n) == v for n, v in same.items())

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.close()

    def spent_s(self, session_s: float) -> float:
        """Return the seconds of all sessions, `session_s` of them of this one."""
        return self._spent_s + session_s

    def update(self, *, session_s: float, **fields: Any) -> None:
        """Set fields of ``run.json``; `session_s`, this session's seconds, are added to earlier sessions'."""
        if fields.get("status", self._run.get("status")) != self._run.get("status"):
            _LOG.info("the run is %s", fields["status"])
        # what has passed has passed, whatever a part of the run knows of the session
        self._run |= fields | {"elapsed_s": max(self._run["elapsed_s"], self.spent_s(session_s))}
        self.write("run.json", self._run)

    def end_badly(self, error: Exception, redact: Callable[[str], str], *, session_s: float) -> None:
        """Say in ``run.json`` that an error ended the run, in its words without what `redact` and paths name."""
        words = str(error) if isinstance(error, AutoOncoError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a full disk has no place for it
            self.update(session_s=session_s, status="failed", failure=without_paths(redact(words)))

    def log(self, sentence: str) -> None:
        """Add a sentence with the time to ``log.txt``: what was decided, for whoever watches a run."""
        _LOG.info("%s", sentence)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with (self.path / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(f"{now} {sentence}\n")

    def write(self, name: str, content: Any) -> None:
        """Write a JSON file, or a CSV file if `content` is a DataFrame."""
        if isinstance(content, pd.DataFrame):
            write_atomically(self.path / name, lambda path: content.to_csv(path, index=False))
            return
        text = json.dumps(content, indent=1, default=str)
        write_atomically(self.path / name, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises
    ------
    AutoOncoError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AutoOncoError(f"{path} is missing: its folder holds no run.") from None
    except ValueError as error:
        raise AutoOncoError(f"{path} is damaged ({error}). Choose another run folder.") from None


def _lock(path: Path) -> IO[bytes]:
    """Return the open lock file of a run folder; the lock ends with the process, however it ends."""
    stream = (path / _LOCK).open("ab")
    for left in reversed(range(_TRIES)):  # whoever only looks holds it for a moment
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if left:
                time.sleep(_LOOK_S)
                continue
            stream.close()
            raise RunMismatchError(
                f"Another process is at work in {path}. Wait for it, or choose another folder."
            ) from None
    os.utime(path / _LOCK)  # when this session began
    return stream


def session_began(path: Path) -> float | None:
    """Return since when a process is at work in a run folder, in seconds of the epoch; None where none is.

    Nothing is changed, and who may not write may look. Processes of other machines are seen where the file system
    passes locks on, as NFS does.
    """
    try:
        with (path / _LOCK).open("rb") as stream:
            began = os.fstat(stream.fileno()).st_mtime
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return began
    except OSError:
        return None
    return None


def versions() -> dict[str, str]:
    """Return the versions that a rerun would need."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return what the run had to work with; nothing that names the machine."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
    }
