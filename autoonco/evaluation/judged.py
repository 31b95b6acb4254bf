"""Refitted models as they are judged: their probabilities of the test cases, calibrated by their inner folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.evaluation import ensemble
from autoonco.evaluation.decisions import Decided, decide_on, out_of_fold
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.outcome import Judged
from autoonco.evaluation.refit import Refitted
from autoonco.evaluation.tasks import CLASSIFICATION
from autoonco.search.problem import Problem
from autoonco.settings import Settings


def judged_ensemble(
    problem: Problem,
    members: Sequence[Member],
    probas: Refitted,
    settings: Settings,
    *,
    search_s: float,
    patients: NDArray[Any] | None = None,
    task: str = CLASSIFICATION,
) -> tuple[Judged, Decided]:
    """Return the ensemble of refitted `members` with its calibrated probabilities, and how it decides.

    `patients` are those of all cases of the data ``(n_cases,)``.
    """
    known = out_of_fold(problem, members, patients)
    decided = decide_on(known, settings, problem.fingerprint.classes, task=task)
    raw = np.asarray(sum(m.weight * probas[m.candidate.key][0] for m in members))
    judged = Judged(
        name="ensemble",
        kind="ensemble",
        proba=decided.decisions.calibrator(raw),
        inner_score=ensemble.ensemble_score(problem, members),
        members=[_describe(m.candidate, m.weight) for m in members],
        refit_s=sum(probas[m.candidate.key][1] for m in members),
        search_s=search_s,
    )
    return judged, decided


def judged_family(
    problem: Problem,
    name: str,
    best: Candidate,
    refitted: tuple[NDArray[Any], float],
    settings: Settings,
    *,
    search_s: float,
    patients: NDArray[Any] | None = None,
    n_folds: int | None = None,
) -> Judged:
    """Return a family's best model with its probabilities, calibrated by its own inner folds.

    With `n_folds` its inner score is that of the first so many, which is all that another family's best had.
    """
    proba, refit_s = refitted
    known = replace(out_of_fold(problem, [Member(candidate=best, weight=1.0)], patients), patient=None)
    decided = decide_on(known, settings, problem.fingerprint.classes)
    return Judged(
        name=name,
        kind="family",
        proba=decided.decisions.calibrator(proba),
        inner_score=best.score if n_folds is None else problem.score(best.probas[:n_folds]),
        members=[_describe(best, 1.0)],
        refit_s=refit_s,
        search_s=search_s,
    )


def _describe(candidate: Candidate, weight: float) -> dict[str, Any]:
    trial = candidate.trial
    return {
        "family": trial.family,
        "config": dict(trial.config),
        "weight": weight,
        "inner_score": candidate.score,
    }
