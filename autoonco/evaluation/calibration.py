"""Calibration of the delivered model: none, sigmoid, isotonic or temperature, whichever the inner folds prefer.

It is learned on out-of-fold probabilities of the inner folds alone. Which one is taken is decided by log loss on
folds that the candidate calibration was not fitted on. No calibration changes the order of the cases of two classes,
so none changes an AUC: a sigmoid and a temperature rise everywhere, and an isotonic step is given a slope of a
millionth, which breaks its ties as the model itself would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.isotonic import IsotonicRegression

from autoonco.errors import UnsafeBundleError
from autoonco.metrics.scores import METRICS, Labels, Values
from autoonco.tabular.platt import sigmoid

METHODS = ("none", "temperature", "sigmoid", "isotonic")
"""The simplest first: of equal log loss it is taken."""
FEWEST = 10
"""Cases of the smallest class below which nothing can be learned of how probabilities err."""
_TINY = 1e-7
_SLOPE = 1e-6
_MAY_LOSE = 0.002  # of AUC, where several classes are calibrated one by one and then share a sum of 1
_TEMPERATURES = (np.log(0.05), np.log(20.0))


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Probabilities of cases by models that had not seen them.

    Attributes
    ----------
    y, fold
        Label and fold of each case ``(n_cases,)``; no patient is in two folds.
    proba
        ``(n_cases, n_classes)``.
    patient
        Whose case each is ``(n_cases,)``, None where that isn't known.
    """

    y: Labels
    proba: Values
    fold: Labels
    patient: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """A fitted calibration: plain numbers, applied by calling it with probabilities.

    `parameters` are, of a temperature, ``temperature``; of a sigmoid, ``slope`` and ``shift``, a number a class; of
    isotonic regression, ``x`` and ``y``, a list of knots a class. With two classes there is one of each, of the last.
    """

    method: str = "none"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, proba: NDArray[Any]) -> NDArray[Any]:
        """Return calibrated probabilities ``(n_cases, n_classes)``."""
        if self.method == "none" or not len(proba):
            return proba
        values = np.asarray(proba, dtype=np.float64)
        if self.method == "temperature":
            moved = softmax(_log(values) / self.parameters["temperature"], axis=1)
        else:
            moved = self._by_class(values)
        mixed: Values = (1 - _SLOPE) * moved + _SLOPE * values
        if values.shape[1] == 2:
            mixed[:, 0] = 1 - mixed[:, 1]
        return mixed

    def _by_class(self, values: Values) -> Values:
        columns = _columns(values.shape[1])
        found = np.stack([self._column(place, values[:, k]) for place, k in enumerate(columns)], axis=1)
        if values.shape[1] == 2:
            return np.hstack([1 - found, found])
        shared: Values = np.maximum(found, _TINY)
        return np.asarray(shared / shared.sum(axis=1, keepdims=True))

    def _column(self, place: int, p: Values) -> Values:
        if self.method == "sigmoid":
            scores = logit(np.clip(p, _TINY, 1 - _TINY))
            return np.asarray(
                expit(self.parameters["slope"][place] * scores + self.parameters["shift"][place])
            )
        return np.asarray(np.interp(p, self.parameters["x"][place], self.parameters["y"][place]))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"method": self.method, "parameters": dict(self.parameters)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibrator:
        """Read what `to_json` wrote.

        Raises
        ------
        UnsafeBundleError
            If there is no such method, or a parameter is not a finite number.
        """
        method, parameters = plain["method"], plain["parameters"]
        if method not in METHODS:
            raise UnsafeBundleError(
                f"The calibration {method!r} is none of {', '.join(METHODS)}. Get the file again."
            )
        numbers = [np.asarray(part, dtype=np.float64) for part in _flat(parameters)]
        if not all(np.isfinite(part).all() for part in numbers):
            raise UnsafeBundleError(
                "A parameter of the calibration is not a finite number. Get the file again."
            )
        return cls(method=method, parameters=parameters)


def fit_calibrator(method: str, y: Labels, proba: Values) -> Calibrator:
    """Return the calibration `method` fitted on labels and probabilities of cases that the model hasn't seen.

    Temperature: Guo et al., ICML 2017. Sigmoid: Platt 1999, on log odds. Isotonic: Zadrozny and Elkan, KDD 2002, kept
    away from 0 and 1 as Platt's targets are. Several classes one against the rest, for the latter two.

    Examples
    --------
    >>> y, p = np.tile([0, 1], 50), np.tile([0.02, 0.98], 50)
    >>> y[:20] = 1 - y[:20]  # one of five is wrong, and none is said to be
    >>> found = fit_calibrator("temperature", y, np.c_[1 - p, p])
    >>> found(np.array([[0.02, 0.98]])).round(2).tolist()
    [[0.2, 0.8]]
    """
    values = np.asarray(proba, dtype=np.float64)
    if method == "none":
        return Calibrator()
    if method == "temperature":
        return Calibrator(method=method, parameters={"temperature": _temperature(y, values)})
    columns = _columns(values.shape[1])
    if method == "sigmoid":
        scores = logit(np.clip(values, _TINY, 1 - _TINY))
        found = [sigmoid(scores[:, k], y == k) for k in columns]
        named = {"slope": [slope for slope, _ in found], "shift": [shift for _, shift in found]}
        return Calibrator(method=method, parameters=named)
    knots = [_isotonic(values[:, k], y == k) for k in columns]
    return Calibrator(method=method, parameters={"x": [x for x, _ in knots], "y": [y for _, y in knots]})


@dataclass(frozen=True, kw_only=True)
class CalibrationChoice:
    """The calibration taken, the log losses by which, and why there was no choice where there was none.

    `proba` ``(n_cases, n_classes)`` are the cases' probabilities by the method taken, each fitted on other folds.
    """

    calibrator: Calibrator
    log_losses: Mapping[str, float]
    proba: Values
    reason: str | None = None


def choose_calibrator(cases: OutOfFold, methods: Sequence[str] = METHODS) -> CalibrationChoice:
    """Return the calibration of the lowest log loss on folds it was not fitted on.

    Methods that lower the macro AUC of several classes by more than a trifle are passed over.
    """
    folds = np.unique(cases.fold)
    fewest = int(np.bincount(cases.y, minlength=cases.proba.shape[1]).min())
    reason = _too_few(cases, folds, fewest)
    if reason is not None or len(methods) == 1:
        only = methods[0] if reason is None else "none"
        crossed = cases.proba if only == "none" else _cross_fitted(only, cases, folds)
        losses = {only: -METRICS["log_loss"](cases.y, crossed)}
        calibrator = fit_calibrator(only, cases.y, cases.proba)
        return CalibrationChoice(calibrator=calibrator, log_losses=losses, proba=crossed, reason=reason)
    crossed_by = {name: _cross_fitted(name, cases, folds) for name in methods}
    losses = {name: -METRICS["log_loss"](cases.y, proba) for name, proba in crossed_by.items()}
    auc, own = METRICS["roc_auc"], METRICS["roc_auc"](cases.y, cases.proba)
    harmless = [
        name
        for name in methods
        if cases.proba.shape[1] == 2 or auc(cases.y, crossed_by[name]) >= own - _MAY_LOSE
    ] or ["none"]
    best = min(harmless, key=losses.__getitem__)
    return CalibrationChoice(
        calibrator=fit_calibrator(best, cases.y, cases.proba), log_losses=losses, proba=crossed_by[best]
    )


def _too_few(cases: OutOfFold, folds: Labels, fewest: int) -> str | None:
    if fewest < FEWEST:
        return f"the smallest class has {fewest} out-of-fold cases, and calibration wants {FEWEST}"
    n_classes = cases.proba.shape[1]
    if len(folds) < 2 or any(len(np.unique(cases.y[cases.fold != k])) < n_classes for k in folds):
        return "there are no two folds with cases of every class"
    return None


def _cross_fitted(method: str, cases: OutOfFold, folds: Labels) -> Values:
    out = np.array(cases.proba, dtype=np.float64)
    for k in folds:
        held = cases.fold == k
        out[held] = fit_calibrator(method, cases.y[~held], cases.proba[~held])(out[held])
    return out


def _columns(n_classes: int) -> list[int]:
    return [1] if n_classes == 2 else list(range(n_classes))


def _log(values: Values) -> Values:
    return np.asarray(np.log(np.maximum(values, _TINY)))


def _temperature(y: Labels, values: Values) -> float:
    logs = _log(values)

    def loss(log_t: float) -> float:
        return -float(log_softmax(logs / np.exp(log_t), axis=1)[np.arange(len(y)), y].mean())

    found = minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _isotonic(p: Values, is_class: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    n_in, n_out = int(is_class.sum()), int((~is_class).sum())
    steps = IsotonicRegression(
        y_min=1 / (n_out + 2), y_max=(n_in + 1) / (n_in + 2), increasing=True, out_of_bounds="clip"
    ).fit(p, is_class.astype(np.float64))
    return steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist()


def _flat(parameters: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for value in parameters.values():
        nested = isinstance(value, list) and value and isinstance(value[0], list)
        found += value if nested else [value]
    return found
