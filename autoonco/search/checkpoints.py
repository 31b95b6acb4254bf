"""Where half-trained networks wait for their promotion; bounded in bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

_MAX_BYTES = 4 * 2**30


class CheckpointFolder:
    """One folder a config; the least recently used are removed when there are too many bytes."""

    def __init__(self, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes

    def slot(self, name: str) -> Path:
        """Return the folder of `name`, made if needed, after making room for it."""
        self._evict(keep=name)
        slot = self.folder / name
        slot.mkdir(parents=True, exist_ok=True)
        slot.touch()
        return slot

    def clear(self) -> None:
        """Remove everything: the search is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _evict(self, *, keep: str) -> None:
        slots = [slot for slot in self.folder.glob("*") if slot.is_dir()]
        sizes = {
            slot: sum(file.stat().st_size for file in slot.rglob("*") if file.is_file()) for slot in slots
        }
        total = sum(sizes.values())
        for slot in sorted(slots, key=lambda slot: slot.stat().st_mtime):
            if total <= self._max_bytes:
                return
            if slot.name != keep:
                shutil.rmtree(slot, ignore_errors=True)
                total -= sizes[slot]
