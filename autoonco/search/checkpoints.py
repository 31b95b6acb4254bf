"""Where half-trained networks wait for their promotion; bounded in bytes."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

_MAX_BYTES = 4 * 2**30


class CheckpointFolder:
    """One folder a config; those least likely to be continued are removed when there are too many bytes."""

    def __init__(self, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes

    def slot(self, name: str, *, in_use: Collection[str] = (), promotable: Sequence[str] = ()) -> Path:
        """Return the folder of `name`, made if needed, after making room for it.

        First go those that nothing will continue, the oldest first, then those that may still be promoted,
        `promotable` from best to worst, the worst first. Those `in_use` are kept, whatever their size.
        """
        self._evict(keep={name, *in_use}, promotable=promotable)
        slot = self.folder / name
        slot.mkdir(parents=True, exist_ok=True)
        slot.touch()
        return slot

    def holds(self, name: str) -> bool:
        """Return whether there is a folder of `name`."""
        return (self.folder / name).is_dir()

    def clear(self) -> None:
        """Remove everything: the search is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _evict(self, *, keep: Collection[str], promotable: Sequence[str]) -> None:
        slots = [slot for slot in self.folder.glob("*") if slot.is_dir()]
        sizes = {slot: sum(_size(file) for file in slot.rglob("*")) for slot in slots}
        total = sum(sizes.values())
        rank = {name: place for place, name in enumerate(reversed(promotable))}  # the worst has the lowest
        slots.sort(key=lambda slot: (rank.get(slot.name, -1), slot.stat().st_mtime))
        for slot in slots:
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
