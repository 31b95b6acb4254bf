"""What is made of a model's probabilities: calibration, a threshold, prediction sets; learned on inner folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoonco.data.folds import stratified_group_folds
from autoonco.errors import DataError, UnsafeBundleError
from autoonco.evaluation.calibration import Calibrator, OutOfFold, choose_calibrator
from autoonco.evaluation.ensemble import Member
from autoonco.evaluation.patients import MAX, MEAN, patients_of
from autoonco.evaluation.tasks import CLASSIFICATION
from autoonco.metrics.conformal import class_thresholds, coverage, prediction_sets
from autoonco.metrics.decisions import Threshold, sensitivity_threshold, youden_threshold
from autoonco.metrics.scores import Labels
from autoonco.search.problem import Problem
from autoonco.settings import Settings

INNER = (
    "inner out-of-fold cases, which also chose the models: cross-conformal, coverage may be a little too high"
)
OUTER = "outer test folds of the same procedure, whose cases chose nothing: cross-conformal"
KEPT = "training patients kept apart for it, who chose and fitted nothing: split conformal"
# Into so many parts the cases of a single fold are dealt.
_PARTS = 5


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """How probabilities are calibrated and what is decided by them.

    Attributes
    ----------
    calibrator
        Applied to the ensemble's probabilities before anything else.
    threshold
        Of two classes: the last one is predicted from this probability on; None for the most probable class.
    level
        Coverage that prediction sets were asked for.
    set_thresholds
        What `conformal.prediction_sets` takes, one a class.
    patients
        How patients are decided on; None in a model of an earlier version.
    """

    calibrator: Calibrator = field(default_factory=Calibrator)
    threshold: float | None = None
    level: float = 0.9
    set_thresholds: tuple[float, ...] = ()
    patients: PatientLevel | None = None

    def decide(self, proba: NDArray[Any]) -> Labels:
        """Return the class predicted from calibrated probabilities ``(n_cases, n_classes)`` as an index."""
        if self.threshold is None:
            return np.asarray(proba.argmax(axis=1), dtype=np.int64)
        return np.asarray(proba[:, 1] >= self.threshold, dtype=np.int64)

    def sets(self, proba: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the prediction sets ``(n_cases, n_classes)`` of calibrated probabilities."""
        if (
            not self.set_thresholds
        ):  # a model of an earlier version: nothing is known, so nothing is ruled out
            return np.ones(proba.shape, dtype=bool)
        return prediction_sets(proba, self.set_thresholds)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "calibration": self.calibrator.to_json(),
            "threshold": self.threshold,
            "level": self.level,
            "set_thresholds": list(self.set_thresholds),
            "several": None if self.patients is None else self.patients.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Decisions:
        """Read what `to_json` wrote.

        Raises
        ------
        UnsafeBundleError
            If the calibration is none of autoonco's.
        """
        threshold, patients = plain["threshold"], plain.get("several")
        return cls(
            calibrator=Calibrator.from_json(plain["calibration"]),
            threshold=None if threshold is None else float(threshold),
            level=float(plain["level"]),
            set_thresholds=tuple(float(value) for value in plain["set_thresholds"]),
            patients=None if patients is None else PatientLevel.from_json(patients),
        )


@dataclass(frozen=True, kw_only=True)
class PatientLevel:
    """How several cases of a patient become one, and how patients are then decided on.

    Attributes
    ----------
    how
        ``"mean"`` or ``"max"`` of the cases' calibrated probabilities, see `patients.by_patient`.
    decisions
        Threshold and prediction sets of patients, whose probabilities are not calibrated again; None where no training
        patient had several cases, so that nothing could be learned of those who do.
    """

    how: str
    decisions: Decisions | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"how": self.how, "decisions": None if self.decisions is None else self.decisions.to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> PatientLevel:
        """Read what `to_json` wrote.

        Raises
        ------
        UnsafeBundleError
            If there is no such way to make one of several cases.
        """
        if plain["how"] not in (MEAN, MAX):
            raise UnsafeBundleError(
                f"Several cases of a patient can't become one by {plain['how']!r}: get the file again."
            )
        own = plain["decisions"]
        return cls(how=plain["how"], decisions=None if own is None else Decisions.from_json(own))


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Decisions with the record of how they came about, plain JSON for ``evaluation/decisions.json``."""

    decisions: Decisions
    record: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"decisions": self.decisions.to_json(), "record": dict(self.record)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Decided:
        """Read what `to_json` wrote."""
        return cls(decisions=Decisions.from_json(plain["decisions"]), record=plain["record"])


def out_of_fold(problem: Problem, members: Sequence[Member], groups: NDArray[Any] | None = None) -> OutOfFold:
    """Return the weighted mean of the members' inner probabilities, each case once.

    Of the last pass over the cases that all members have: fresh folds chose less than the search's own. `groups` are
    the patients of all cases of the data ``(n_cases,)``. Where there is one fold only, its patients are dealt into
    parts, for what is learned of some of these cases is judged by the others.
    """
    every, k = (*problem.folds, *problem.fresh), len(problem.folds)
    n = min(len(member.candidate.probas) for member in members)
    first = max(0, n // k - 1) * k
    folds = every[first : min(first + k, n)]
    rows = np.concatenate([np.asarray(fold.test, dtype=np.int64) for fold in folds])
    proba = np.concatenate(
        [
            sum(m.weight * np.asarray(m.candidate.probas[first + i], dtype=np.float64) for m in members)
            for i in range(len(folds))
        ]
    )
    patient = None if groups is None else groups[rows]
    fold = np.repeat(np.arange(len(folds)), [len(fold.test) for fold in folds])
    if len(folds) == 1:
        fold = _dealt(problem.y[rows], rows if patient is None else patient)
    return OutOfFold(y=problem.y[rows], proba=proba, fold=fold, patient=patient)


def _dealt(y: Labels, patient: NDArray[Any]) -> NDArray[np.int64]:
    """Return the part of each case ``(n_cases,)``; all 0 where the smallest class is in one part only."""
    fold = np.zeros(len(y), dtype=np.int64)
    try:
        for number, (_, test) in enumerate(stratified_group_folds(y, patient, _PARTS, seed=0)):
            fold[test] = number
    except DataError:
        return np.zeros(len(y), dtype=np.int64)
    return fold


def decide_on(
    cases: OutOfFold, settings: Settings, classes: Sequence[str], *, task: str = CLASSIFICATION
) -> Decided:
    """Return calibration, threshold and prediction sets learned on out-of-fold cases, and how they came about.

    Threshold and sets are learned on probabilities calibrated by other folds than the case's own; those of patients
    on what becomes of their cases' (`Settings.patient_level`).
    """
    methods = None if settings.calibration == "auto" else (settings.calibration,)
    chosen = choose_calibrator(cases) if methods is None else choose_calibrator(cases, methods)
    crossed = replace(cases, proba=chosen.proba)
    record: dict[str, Any] = {
        "classes": list(classes),
        "calibration": {
            "method": chosen.calibrator.method,
            "inner_log_loss": dict(chosen.log_losses),
            "n": len(cases.y),
            "reason": chosen.reason,
        },
    }
    decided = _with_threshold(crossed, settings, record)
    how = settings.patient_level
    patients, several = PatientLevel(how=how), patients_of(crossed, how=how, task=task)
    if several is not None:
        own = _with_threshold(several, settings, {"classes": list(classes), "how": how, "n": len(several.y)})
        patients = PatientLevel(how=how, decisions=own.decisions)
        decided = replace(decided, record={**decided.record, "patients": own.record})
    decisions = replace(decided.decisions, calibrator=chosen.calibrator, patients=patients)
    return with_sets(replace(decided, decisions=decisions), crossed, calibrated_on=INNER, task=task)


def _with_threshold(cases: OutOfFold, settings: Settings, record: Mapping[str, Any]) -> Decided:
    """Return the threshold learned on out-of-fold cases, with its record."""
    threshold, of_two = _threshold(cases.y, cases.proba, settings), cases.proba.shape[1] == 2
    value = None if threshold is None else threshold.value
    found = {
        "rule": settings.threshold if of_two else "most_probable",
        "value": 0.5 if threshold is None and of_two else value,
        "inner_sensitivity": None if threshold is None else threshold.sensitivity,
        "inner_specificity": None if threshold is None else threshold.specificity,
    }
    decisions = Decisions(threshold=value, level=settings.coverage)
    return Decided(decisions=decisions, record={**record, "threshold": found})


def with_sets(
    decided: Decided, cases: OutOfFold, *, calibrated_on: str, task: str = CLASSIFICATION
) -> Decided:
    """Return the same decisions with prediction sets calibrated on `cases`, whose probabilities are calibrated.

    The coverage that is recorded is that of each fold by the thresholds of the others. Where patients are decided on
    as well, their sets are calibrated on the patients of these cases.
    """
    found, patients = _sets_learned(decided, cases, calibrated_on), decided.decisions.patients
    if patients is None or patients.decisions is None:
        return found
    several = patients_of(cases, how=patients.how, task=task)
    if several is None:
        return found
    own = Decided(decisions=patients.decisions, record=decided.record["patients"])
    own = _sets_learned(own, several, calibrated_on)
    decisions = replace(found.decisions, patients=replace(patients, decisions=own.decisions))
    return Decided(decisions=decisions, record={**found.record, "patients": own.record})


def _sets_learned(decided: Decided, cases: OutOfFold, calibrated_on: str) -> Decided:
    """Return `with_sets` of one level, cases or patients."""
    level = decided.decisions.level
    thresholds = class_thresholds(cases.y, cases.proba, level)
    decisions = replace(decided.decisions, set_thresholds=tuple(float(value) for value in thresholds))
    sets = np.ones(cases.proba.shape, dtype=bool)
    for k in np.unique(cases.fold):
        held = cases.fold == k
        if not held.all():
            sets[held] = prediction_sets(
                cases.proba[held], class_thresholds(cases.y[~held], cases.proba[~held], level)
            )
    classes = decided.record["classes"]
    counts = np.bincount(cases.y, minlength=len(classes))
    record = {
        "level": level,
        "method": "label-conditional conformal sets by 1 - p",
        "calibrated_on": calibrated_on,
        "n": dict(zip(classes, counts.tolist(), strict=True)),
        "thresholds": dict(zip(classes, decisions.set_thresholds, strict=True)),
        "cross_fitted": set_figures(cases.y, sets, classes),
    }
    return Decided(decisions=decisions, record={**decided.record, "conformal": record})


def set_figures(y: ArrayLike, sets: NDArray[np.bool_], classes: Sequence[str]) -> dict[str, Any]:
    """Return coverage, in all and by class, and how large the sets are, as plain JSON."""
    labels, sizes = np.asarray(y), sets.sum(axis=1)
    by_class = {
        name: coverage(labels[labels == k], sets[labels == k]) if (labels == k).any() else None
        for k, name in enumerate(classes)
    }
    return {
        "n": len(labels),
        "coverage": coverage(labels, sets),
        "coverage_by_class": by_class,
        "mean_size": float(sizes.mean()),
        "single": float((sizes == 1).mean()),
        "empty": float((sizes == 0).mean()),
        "sizes": {str(size): int((sizes == size).sum()) for size in range(sets.shape[1] + 1)},
    }


def with_test_figures(decided: Decided, tested: OutOfFold, *, task: str = CLASSIFICATION) -> Decided:
    """Return the same with what threshold and sets do on the test cases, for which nothing was chosen."""
    found, patients = _tested(decided, tested), decided.decisions.patients
    if patients is None or patients.decisions is None:
        return found
    # where every test patient has one case, that is the patient
    is_lone = tested.patient is None or len(np.unique(tested.patient)) == len(tested.y)
    several = tested if is_lone else patients_of(tested, how=patients.how, task=task)
    if several is None:  # the cases of each are of several classes
        return found
    own = _tested(Decided(decisions=patients.decisions, record=decided.record["patients"]), several)
    return replace(found, record={**found.record, "patients": own.record})


def _tested(decided: Decided, tested: OutOfFold) -> Decided:
    """Return `with_test_figures` of one level, cases or patients."""
    y, proba = tested.y, tested.proba
    record: dict[str, Any] = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in decided.record.items()
    }
    record["conformal"]["test"] = set_figures(y, decided.decisions.sets(proba), record["classes"])
    if proba.shape[1] == 2:
        positive, called = y == 1, decided.decisions.decide(proba) == 1
        for name, hit, of in (("sensitivity", called, positive), ("specificity", ~called, ~positive)):
            record["threshold"][f"test_{name}"] = float(hit[of].mean()) if of.any() else None
    return Decided(decisions=decided.decisions, record=record)


def _threshold(y: Labels, proba: NDArray[Any], settings: Settings) -> Threshold | None:
    if proba.shape[1] != 2 or settings.threshold == "most_probable" or len(np.unique(y)) < 2:
        return None
    if settings.threshold == "youden":
        return youden_threshold(y, proba)
    return sensitivity_threshold(y, proba, settings.sensitivity)
