"""A support vector machine whose scores become probabilities by Platt's sigmoid, fitted on patients held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils.validation import check_is_fitted, validate_data

CALIBRATION_FOLDS = 3
FEWEST_CALIBRATING = 4
"""Patients of the smallest class below which held-out scores can't tell how steep the sigmoid is."""

Floats = NDArray[np.float64]
Parts = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
Resampling = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


class PlattMachine(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A machine fitted on all cases, and sigmoids of its scores fitted on scores of held-out patients.

    A sigmoid never falls: where the held-out scores lean the wrong way, as they can by chance on a handful of
    cases, it is that of the scores as they are, moved until the class has its share of the cases; and of the scores as
    they are where there are too few patients to hold out.

    Patients are held out from the machine, not from the steps before it: a selection has seen their labels. Of columns
    that it chose by chance the scores are too good and the sigmoid is too steep; the order of the cases, and so the
    AUC, stays what it is. `evaluation.calibration` corrects what is delivered, on folds that no step was fitted on,
    where there are cases enough.

    Parameters
    ----------
    machine
        The unfitted classifier, with a ``decision_function``.

    References
    ----------
    Platt, Advances in Large Margin Classifiers 1999; Lin, Lin and Weng, Machine Learning 2007;68:267.
    """

    def __init__(self, machine: BaseEstimator) -> None:
        self.machine = machine

    def fit(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        *,
        groups: NDArray[Any] | None = None,
        resampled: Resampling | None = None,
    ) -> Self:
        """Fit on `X` ``(n_cases, n_features)`` with labels `y` ``(n_cases,)``.

        Parameters
        ----------
        groups
            Patient of each case ``(n_cases,)``, who is never on both sides; without, every case counts as a patient.
        resampled
            What is done to cases that a machine is fitted on, but not to those that it scores.
        """
        X, y = validate_data(self, X, dtype=np.float64), np.asarray(y)
        self.classes_ = np.unique(y)
        self.machine_ = self._fitted(X, y, resampled)
        n_scores = 1 if len(self.classes_) == 2 else len(self.classes_)
        self.slope_, self.shift_ = np.ones(n_scores), np.zeros(n_scores)
        parts = calibration_parts(y, groups)
        self.is_calibrated_ = bool(parts)
        if parts:
            scores = np.zeros((len(y), n_scores))
            for rows, held in parts:
                scores[held] = _scores(self._fitted(X[rows], y[rows], resampled), X[held])
            for column, label in enumerate(self.classes_[-n_scores:]):
                self.slope_[column], self.shift_[column] = sigmoid(scores[:, column], y == label)
        return self

    def _fitted(self, X: NDArray[Any], y: NDArray[Any], resampled: Resampling | None) -> BaseEstimator:
        return clone(self.machine).fit(*((X, y) if resampled is None else resampled(X, y)))

    def predict_proba(self, X: NDArray[Any]) -> Floats:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `classes_`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores = self.slope_ * _scores(self.machine_, X) + self.shift_
        if len(self.classes_) > 2 and not self.is_calibrated_:
            return np.asarray(softmax(scores, axis=1))  # of two classes this is the sigmoid
        found: Floats = expit(scores)
        if len(self.classes_) == 2:
            return np.hstack([1 - found, found])
        total = found.sum(axis=1, keepdims=True)
        shares: Floats = np.divide(
            found, total, out=np.full_like(found, 1 / len(self.classes_)), where=total > 0
        )
        return shares

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each row ``(n_cases,)``."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def calibration_parts(y: NDArray[Any], groups: NDArray[Any] | None) -> Parts:
    """Return (rows to fit on, rows to score) that score each case once, no patient in both; none for too few patients.

    Examples
    --------
    >>> [len(held) for _, held in calibration_parts(np.tile([0, 1], 6), np.repeat(np.arange(6), 2))]
    [4, 4, 4]
    >>> calibration_parts(np.tile([0, 1], 3), None)
    []
    """
    groups = np.arange(len(y)) if groups is None else np.asarray(groups)
    classes = np.unique(y)
    if min(len(np.unique(groups[y == label])) for label in classes) < FEWEST_CALIBRATING:
        return []
    parts = list(StratifiedGroupKFold(CALIBRATION_FOLDS).split(y, y, groups))
    # Patients of many cases can take a class with them.
    return parts if all(len(np.unique(y[rows])) == len(classes) for rows, _ in parts) else []


def sigmoid(scores: Floats, is_class: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and shift of Platt's sigmoid of `scores` ``(n_cases,)``.

    Targets are Platt's, a little inside 0 and 1: without them scores without an error would be certain. Where the slope
    would be negative it is 1, and the shift the one that gives the class its share: of several classes the scores of
    each are on a scale of their own, on which 0 says nothing.

    Examples
    --------
    >>> slope, shift = sigmoid(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([True, True, False, False]))
    >>> slope, abs(round(shift, 6))
    (1.0, 0.0)
    """
    n_in, n_out = int(is_class.sum()), int((~is_class).sum())
    target = np.where(is_class, (n_in + 1) / (n_in + 2), 1 / (n_out + 2))
    size = float(np.abs(scores).max())
    if not 0 < size < np.inf:
        return 1.0, 0.0
    twice = np.tile(scores[:, None] / size, (2, 1))
    answers = np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=1e10, max_iter=1000, tol=1e-8)
    model.fit(twice, answers, sample_weight=np.concatenate([target, 1 - target]))
    slope, shift = float(model.coef_[0, 0]) / size, float(model.intercept_[0])
    if slope > 0 and np.isfinite([slope, shift]).all():
        return slope, shift
    share, far = float(target.mean()), size + 40.0
    return 1.0, float(brentq(lambda moved: expit(scores + moved).mean() - share, -far, far))


def _scores(machine: BaseEstimator, X: NDArray[Any]) -> Floats:
    """Return the machine's scores ``(n_cases, 1)`` of two classes, ``(n_cases, n_classes)`` of more."""
    found = np.asarray(machine.decision_function(X), dtype=np.float64)
    return found[:, None] if found.ndim == 1 else found
