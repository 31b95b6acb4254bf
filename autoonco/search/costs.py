"""How long a trial will take: the family's own guess, corrected by what was measured on this machine."""

from __future__ import annotations

from collections import defaultdict

import numpy as np


class SecondsModel:
    """Predicted seconds = a family's prior × the median of measured / prior over its latest trials.

    The first trial of a family often pays for artefacts that later ones find in the cache, so only the latest
    few count and the prediction follows.
    """

    _WINDOW = 9

    def __init__(self) -> None:
        self._ratios: dict[str, list[float]] = defaultdict(list)

    def add(self, family: str, *, prior_s: float, measured_s: float) -> None:
        """Take note of a trial that ended by itself."""
        self._ratios[family].append(measured_s / max(prior_s, 1e-3))

    def predict(self, family: str, *, prior_s: float) -> float:
        """Return the seconds that a trial with this prior is expected to take."""
        ratios = self._ratios[family][-self._WINDOW :]
        return prior_s * float(np.median(ratios)) if ratios else prior_s
