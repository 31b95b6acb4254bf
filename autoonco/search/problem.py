"""What a search is about, and what whoever watches it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.fingerprint import Fingerprint
from autoonco.metrics.scores import Metric
from autoonco.search.trial import FoldTask, Trial


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a search is about: the inner folds of the cases it may use, and how a config is judged.

    `y` is of the whole dataset, for `folds` hold positions in it; only those in the folds are ever looked at.
    """

    scope: str
    y: NDArray[np.int64]
    folds: tuple[FoldTask, ...]
    fingerprint: Fingerprint
    metric: Metric
    families: tuple[str, ...]

    def score(self, probas: Sequence[NDArray[Any]]) -> float:
        """Return the mean score of the first folds, given the probabilities of each.

        The mean, not the score of the pooled cases: models of different folds speak on different scales.
        """
        return float(
            np.mean([self.metric(self.y[list(f.test)], p) for f, p in zip(self.folds, probas, strict=False)])
        )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What an observer is shown during a search."""

    scope: str
    families: Sequence[str]
    elapsed_s: float
    limit_s: float
    trials: Sequence[Trial]
    running: Sequence[str]


Observer = Callable[[Progress], None]
