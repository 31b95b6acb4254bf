"""Early stopping of cross-validation, the forgiving way.

A config is stopped after some of its folds when the mean of what they scored is worse than the worst single fold of
the best config so far: then only an unusual run of luck in the folds left could take it to the top (Bergman,
Purucker and Hutter, "Don't Waste Your Time: Early Stopping Cross-Validation", AutoML 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoonco.search.execution import Candidate, fold_key
from autoonco.search.problem import Problem
from autoonco.search.store import Store
from autoonco.search.trial import Origin


class Race:
    """The scores of the best config's folds, which others have to come near. Defaults always run to their end."""

    def __init__(self, problem: Problem, store: Store) -> None:
        self._problem, self._store = problem, store
        self._best, self._worst_fold = np.inf, np.inf

    def scores(self, candidate: Candidate) -> list[float]:
        """Return the scores of the folds that `candidate` has finished, in the order of the folds."""
        keys = [
            (fold, fold_key(self._problem, candidate, fold))
            for fold in self._problem.folds[: candidate.fidelity.folds]
        ]
        return [
            self._problem.fold_score(fold, self._store.fold_proba(key))
            for fold, key in keys
            if self._store.has_fold(key)
        ]

    def finish(self, scores: Sequence[float]) -> None:
        """Take note of a config that has scored all folds, with its score on each."""
        losses = self._losses(scores)
        if losses.mean() < self._best:
            self._best, self._worst_fold = losses.mean(), losses.max()

    def why_hopeless(self, candidate: Candidate) -> str | None:
        """Return why `candidate` should be stopped after the folds it has finished, or None."""
        if candidate.origin is Origin.DEFAULT:
            return None
        scores = self.scores(candidate)
        if not self.is_hopeless(scores):
            return None
        return (
            f"Stopped after {len(scores)} of {candidate.fidelity.folds} folds: their mean score {np.mean(scores):.3f} "
            "is worse than any single fold of the best config."
        )

    def is_hopeless(self, scores: Sequence[float]) -> bool:
        """Return whether first folds with these scores are worse on average than the best config's worst fold."""
        return bool(self._losses(scores).mean() > self._worst_fold)

    def _losses(self, scores: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([self._problem.metric.loss(score) for score in scores])
