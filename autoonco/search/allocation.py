"""Who goes next: the compute that each family has had, and whom that leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Mode = Literal["shared", "equal"]


class Allocation:
    """The compute of a search, counted by family in CPU-seconds; a GPU-second counts as `gpu_rate` of them.

    With ``"shared"`` the optimiser chooses freely, as long as every family has at least the share `floor` of what
    was spent (never more than an even share). With ``"equal"`` the family that has had least always goes next, so
    that families are compared after the same compute.

    Examples
    --------
    >>> allocation = Allocation(["a", "b"], mode="shared", floor=0.1, gpu_rate=10)
    >>> allocation.charge("a", 95, device="cpu"), allocation.charge("b", 0.5, device="cuda")
    (None, None)
    >>> allocation.behind()
    ('b',)
    """

    def __init__(self, families: Sequence[str], *, mode: Mode, floor: float, gpu_rate: float) -> None:
        self._mode, self._gpu_rate = mode, gpu_rate
        self._floor = min(floor, 1 / len(families))
        self._spent = dict.fromkeys(families, 0.0)
        self._resting: set[str] = set()

    def charge(self, family: str, seconds: float, *, device: str) -> None:
        """Count the seconds of a trial, whatever became of it."""
        self._spent[family] += seconds * (self._gpu_rate if device.startswith("cuda") else 1.0)

    def rest(self, family: str) -> None:
        """Let `family` claim nothing until `wake`: it has nothing that could be started now."""
        self._resting.add(family)

    def wake(self, family: str) -> None:
        """Let `family` claim its share again."""
        self._resting.discard(family)

    def behind(self) -> tuple[str, ...]:
        """Return the families that have to go first, the one with the least compute first; empty: choose freely.

        Where families get equal shares, that is all of them: the next one takes its turn where the first can't.
        """
        claiming = sorted((s, name) for name, s in self._spent.items() if name not in self._resting)
        if self._mode == "equal":
            return tuple(name for _, name in claiming)
        least = self._floor * sum(self._spent.values())
        return tuple(name for seconds, name in claiming if seconds < least)
