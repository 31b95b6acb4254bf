"""Time that a search has, over all the sessions of a run."""

from __future__ import annotations

import time


class Clock:
    """Seconds spent and left of a limit; `spent_s` is what earlier sessions of the run took."""

    def __init__(self, limit_s: float, *, spent_s: float = 0.0) -> None:
        self.limit_s = limit_s
        self._start = time.monotonic() - spent_s

    def elapsed(self) -> float:
        """Return the seconds spent."""
        return time.monotonic() - self._start

    def remaining(self) -> float:
        """Return the seconds left; negative when over."""
        return self.limit_s - self.elapsed()
