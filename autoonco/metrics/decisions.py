"""From a probability of two classes to a decision: thresholds, and what acting on one is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoonco.errors import DataError
from autoonco.metrics.scores import Values, checked


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit at threshold probabilities; every array is ``(n_thresholds,)``.

    Treating nobody has a net benefit of 0 everywhere. Of a case treated in vain the threshold probability p says
    that it weighs p / (1 - p) of a case treated rightly.
    """

    threshold: Values
    model: Values
    treat_all: Values

    @property
    def treat_none(self) -> Values:
        """The net benefit of treating nobody."""
        return np.zeros_like(self.model)


def decision_curve(y: ArrayLike, proba: ArrayLike, thresholds: ArrayLike | None = None) -> DecisionCurve:
    """Return the net benefit of treating whoever has a probability of at least a threshold.

    Net benefit = TP/n - FP/n · p/(1-p), Vickers and Elkin (2006), Med Decis Making 26:565.

    Parameters
    ----------
    y, proba
        Class indices ``(n_cases,)`` and probabilities ``(n_cases, 2)``; the last class is the one to treat.
    thresholds
        Threshold probabilities in (0, 1), by default 0.01 to 0.99.

    Raises
    ------
    DataError
        If there are not two classes, or a threshold is not within (0, 1).

    Examples
    --------
    >>> found = decision_curve([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0, 1]], [0.5])
    >>> found.model.tolist(), found.treat_all.tolist()
    ([0.25], [0.0])
    """
    positive, p = _two_classes(y, proba)
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.atleast_1d(np.asarray(thresholds, float))
    if not ((at > 0) & (at < 1)).all():
        raise DataError(f"Threshold probabilities lie between 0 and 1, got {at.min()} to {at.max()}.")
    treated = p[None, :] >= at[:, None]
    odds = at / (1 - at)
    right, in_vain = (treated & positive).mean(axis=1), (treated & ~positive).mean(axis=1)
    everyone = positive.mean() - (~positive).mean() * odds
    return DecisionCurve(threshold=at, model=right - in_vain * odds, treat_all=everyone)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold of the last class's probability: at it or above it a case counts as of that class."""

    value: float
    sensitivity: float
    specificity: float


def youden_threshold(y: ArrayLike, proba: ArrayLike) -> Threshold:
    """Return the threshold with the largest sensitivity + specificity, of equal ones that nearest to 0.5.

    Youden (1950), Cancer 3:32. It lies halfway between two predicted probabilities that occur.

    Raises
    ------
    DataError
        If there are not two classes with a case each.

    Examples
    --------
    >>> youden_threshold([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]).value
    0.25
    """
    found = _operating_points(y, proba)
    index = found.sensitivity + found.specificity
    best = np.flatnonzero(index >= index.max() - 1e-12)
    return found.at(int(best[np.argmin(np.abs(found.value[best] - 0.5))]))


def sensitivity_threshold(y: ArrayLike, proba: ArrayLike, sensitivity: float) -> Threshold:
    """Return the largest threshold at which the sensitivity is at least `sensitivity`.

    Raises
    ------
    DataError
        If there are not two classes with a case each, or `sensitivity` is not in (0, 1].

    Examples
    --------
    >>> y, p = [0, 0, 1, 1], [[0.9, 0.1], [0.65, 0.35], [0.7, 0.3], [0.1, 0.9]]
    >>> [round(sensitivity_threshold(y, p, share).value, 3) for share in (0.5, 1.0)]
    [0.625, 0.2]
    """
    if not 0 < sensitivity <= 1:
        raise DataError(f"A sensitivity to keep lies above 0 and is at most 1, got {sensitivity}.")
    found = _operating_points(y, proba)
    return found.at(int(np.flatnonzero(found.sensitivity >= sensitivity - 1e-12)[-1]))


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Operating points by rising threshold, each array ``(n_points,)``."""

    value: Values
    sensitivity: Values
    specificity: Values

    def at(self, place: int) -> Threshold:
        return Threshold(
            value=float(self.value[place]),
            sensitivity=float(self.sensitivity[place]),
            specificity=float(self.specificity[place]),
        )


def _operating_points(y: ArrayLike, proba: ArrayLike) -> _Points:
    positive, p = _two_classes(y, proba)
    if positive.all() or not positive.any():
        raise DataError("A threshold is chosen on cases of both classes; all of these are of one.")
    seen = np.unique(p)
    # below all, between neighbours, above all: the last one calls nobody positive
    middle = (seen[1:] + seen[:-1]) / 2
    middle = np.where(middle > seen[:-1], middle, seen[1:])  # neighbours with no number between them
    last = (1 + seen[-1]) / 2 if seen[-1] < 1 else np.nextafter(1.0, 2.0)
    value = np.concatenate([[seen[0] / 2], middle, [last]])
    inside, outside = np.sort(p[positive]), np.sort(p[~positive])
    below = np.append(seen, np.inf)
    missed = np.searchsorted(inside, below, side="left") / inside.size
    spared = np.searchsorted(outside, below, side="left") / outside.size
    return _Points(value=value, sensitivity=1 - missed, specificity=spared)


def _two_classes(y: ArrayLike, proba: ArrayLike) -> tuple[NDArray[np.bool_], Values]:
    labels, values = checked(y, proba)
    if values.shape[1] != 2:
        raise DataError(f"Decisions by a threshold need two classes, got {values.shape[1]}.")
    return labels == 1, values[:, 1]
