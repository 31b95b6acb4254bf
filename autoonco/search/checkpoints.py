"""Where half-trained networks wait for their promotion; bounded in bytes."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

_MAX_BYTES = 4 * 2**30


class CheckpointFolder:
    """One folder a config; the least recently used are removed when there are too many bytes."""

    def __init__(self, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes

    def slot(self, name: str, *, in_use: Collection[str] = ()) -> Path:
        """Return the folder of `name`, made if needed, after making room for it; those `in_use` are kept."""
        self._evict(keep={name, *in_use})
        slot = self.folder / name
        slot.mkdir(parents=True, exist_ok=True)
        slot.touch()
        return slot

    def clear(self) -> None:
        """Remove everything: the search is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _evict(self, *, keep: Collection[str]) -> None:
        slots = [slot for slot in self.folder.glob("*") if slot.is_dir()]
        sizes = {slot: sum(_size(file) for file in slot.rglob("*")) for slot in slots}
        total = sum(sizes.values())
        for slot in sorted(slots, key=lambda slot: slot.stat().st_mtime):
            if total <= self._max_bytes:
                return
            if slot.name not in keep:
                shutil.rmtree(slot, ignore_errors=True)
                total -= sizes[slot]


def _size(file: Path) -> int:
    """Return a file's bytes; a worker may rename or remove it meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
