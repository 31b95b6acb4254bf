"""What a search is about, and what whoever watches it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.fingerprint import Fingerprint
from autoonco.families import get_family
from autoonco.families.contract import Config, Fidelity
from autoonco.metrics.scores import Metric
from autoonco.search.trial import FoldTask, Trial

# A fold tells on its own with so many patients to be judged on, so many cases that are not of the commonest class, and
# so many of each: then the standard error of an AUC of 0.9 is about 0.02, and of the difference of two models less.
_PATIENTS, _OTHERS, _EACH = 200, 50, 10


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a search is about: the inner folds of the cases it may use, and how a config is judged.

    `y` is of the whole dataset, for the folds hold positions in it; only those in the folds are ever looked at.
    `fresh` are other folds of the same cases, one pass over them after the other, each of as many folds as `folds`: the
    search never sees them, the finalists are scored on them again. Their indices follow those of `folds`.
    """

    scope: str
    y: NDArray[np.int64]
    folds: tuple[FoldTask, ...]
    fresh: tuple[FoldTask, ...] = ()
    fingerprint: Fingerprint
    metric: Metric
    families: tuple[str, ...]

    def plan(self, family: str, config: Config, budget: float) -> Fidelity:
        """Return what `budget` buys of a config here."""
        return get_family(family).plan(
            config, budget, inner_folds=len(self.folds), n_train=min(len(fold.train) for fold in self.folds)
        )

    def is_full(self, trial: Trial) -> bool:
        """Return whether a trial had all that a full training has here."""
        return trial.fidelity == self.plan(trial.family, trial.config, 1.0)

    @cached_property
    def each_fold_tells(self) -> bool:
        """Whether a fold is large enough to judge by it alone what is too dear for all of them."""
        if self.fingerprint.n_patients < _PATIENTS * len(self.folds):
            return False
        n_classes = len(self.fingerprint.classes)
        counts = [np.bincount(self.y[list(fold.test)], minlength=n_classes) for fold in self.folds]
        return all(count.sum() - count.max() >= _OTHERS and count.min() >= _EACH for count in counts)

    def tells_in_part(self, trial: Trial) -> bool:
        """Return whether a trial that was too dear for all folds can be judged by those it was fully trained on."""
        if not (trial.dear and self.each_fold_tells):
            return False
        full, folds = self.plan(trial.family, trial.config, 1.0), trial.fidelity.folds
        return folds < full.folds and replace(full, folds=folds) == trial.fidelity

    def prior_seconds(self, family: str, config: Config, fidelity: Fidelity | None = None) -> float:
        """Return the family's own guess of a trial's seconds, by default of a full training's."""
        fidelity = fidelity or self.plan(family, config, 1.0)
        return get_family(family).prior_seconds(config, fidelity, self.fingerprint)

    def fresh_passes(self) -> list[tuple[FoldTask, ...]]:
        """Return the fresh folds, pass by pass."""
        k = len(self.folds)
        return [self.fresh[first : first + k] for first in range(0, len(self.fresh), k)]

    def fold_score(self, fold: FoldTask, proba: NDArray[Any]) -> float:
        """Return the score of one fold's probabilities ``(n_test, n_classes)``."""
        return float(self.metric(self.y[list(fold.test)], proba))

    def score(self, probas: Sequence[NDArray[Any]]) -> float:
        """Return the mean score of the first folds, fresh ones after the others, given the probabilities of each.

        The mean, not the score of the pooled cases: models of different folds speak on different scales.
        """
        folds = (*self.folds, *self.fresh)
        return float(np.mean([self.fold_score(f, p) for f, p in zip(folds, probas, strict=False)]))


BEFORE = "before the search"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What an observer is shown during a search, and once before it: `notes` then say what it can expect of the run."""

    scope: str
    families: Sequence[str]
    elapsed_s: float
    limit_s: float
    trials: Sequence[Trial]
    running: Sequence[str]
    notes: Sequence[str] = ()


Observer = Callable[[Progress], None]
