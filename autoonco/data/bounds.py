"""How large a cache folder may grow: what was used longest ago goes first, whichever process wrote it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

DEFAULT_GB = 20.0
KEPT_SHARE = 0.8
"""An eviction leaves this share of the limit, so that the next put doesn't ask for another one."""
LOOK_SHARE = 0.05
"""A process looks at the folder after its first put and then whenever it wrote this share of the limit."""
_LOCK = ".eviction"
_PATTERNS = ("*/??/*.safetensors*", "unpacked/*.npy")  # pathlib matches a leading dot too
_TOUCH_AFTER_S = 600.0  # a use is noted at most so often: it costs a write to the disk
_ORPHAN_S = 86_400.0  # a temporary file of that age belongs to nobody who lives


def limit_bytes() -> int:
    """Return how many bytes the cache may take: ``AUTOONCO_CACHE_GB`` gigabytes, 20 by default; 0 for no limit."""
    try:
        limit_gb = float(os.environ.get("AUTOONCO_CACHE_GB") or DEFAULT_GB)
    except ValueError:
        limit_gb = DEFAULT_GB
    return int(max(limit_gb, 0.0) * 1e9)


def touch(path: Path) -> None:
    """Note that a file was used, for the order of eviction; one that has gone meanwhile is no matter."""
    try:
        if time.time() - path.stat().st_mtime > _TOUCH_AFTER_S:
            os.utime(path)
    except OSError:
        return


def evict(folder: Path, limit: int) -> int:
    """Remove what was used longest ago until `folder` holds at most its share of `limit` bytes; return bytes removed.

    One process does it at a time, the others go on. A file that another process reads stays readable to it.
    """
    if limit <= 0 or not folder.is_dir():
        return 0
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        return _evict(folder, limit)


def _evict(folder: Path, limit: int) -> int:
    files = sorted(_entries(folder))
    total, removed = sum(size for _, size, _ in files), 0
    if total <= limit:
        return 0
    for _, size, path in files:
        if total - removed <= KEPT_SHARE * limit:
            break
        path.unlink(missing_ok=True)
        removed += size
    return removed


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield (last use, bytes, path) of the artefacts in `folder`; remove what a killed process left half-written."""
    for path in chain.from_iterable(map(folder.glob, _PATTERNS)):
        try:
            found = path.stat()
            if not path.name.startswith("."):
                yield found.st_mtime, found.st_size, path
            elif time.time() - found.st_mtime > _ORPHAN_S:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
