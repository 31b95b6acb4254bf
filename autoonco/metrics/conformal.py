"""Prediction sets that hold the true class with a chosen probability, in each class by itself.

The score of a case is 1 - p of its true class. Of n calibrating cases of class k the threshold is the
⌈(n + 1) · level⌉-th smallest score; a new case's set holds every class k with 1 - p_k at most that of k. Where
calibrating cases and new ones of a class are exchangeable, the set then holds the true class with a probability of at
least `level`: split conformal prediction, conditional on the label (Vovk, "Conditional validity of inductive conformal
predictors", Machine Learning 2013;92:349; Sadinle, Lei and Wasserman, J Am Stat Assoc 2019;114:223).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoonco.errors import DataError
from autoonco.metrics.scores import Values, checked

Sets = NDArray[np.bool_]
EVERY = 2.0
"""The threshold of a class with too few calibrating cases for the level: it is in every set."""


def class_thresholds(y: ArrayLike, proba: ArrayLike, level: float) -> Values:
    """Return the threshold of each class ``(n_classes,)`` for sets of coverage `level`.

    A class with fewer than level / (1 - level) calibrating cases is put into every set: nothing less is safe.

    Parameters
    ----------
    y, proba
        Labels ``(n_cases,)`` and probabilities ``(n_cases, n_classes)`` of cases that the model hasn't seen.
    level
        Coverage in (0, 1).

    Raises
    ------
    DataError
        If labels and probabilities don't fit together, or `level` is not within (0, 1).

    Examples
    --------
    >>> y, p1 = np.repeat([0, 1], 9), np.r_[np.linspace(0.1, 0.5, 9), np.linspace(0.5, 0.9, 9)]
    >>> class_thresholds(y, np.c_[1 - p1, p1], 0.5)
    array([0.3, 0.3])
    """
    if not 0 < level < 1:
        raise DataError(f"The coverage of prediction sets lies between 0 and 1, got {level}.")
    labels, values = checked(y, proba)
    found = np.full(values.shape[1], EVERY)
    for k in range(values.shape[1]):
        scores = np.sort(1 - values[labels == k, k])
        place = math.ceil((len(scores) + 1) * level - 1e-9)
        if place <= len(scores):
            found[k] = scores[place - 1]
    return found


def prediction_sets(proba: ArrayLike, thresholds: ArrayLike) -> Sets:
    """Return which classes are in the set of each case ``(n_cases, n_classes)``; a set may be empty.

    Examples
    --------
    >>> prediction_sets([[0.9, 0.1], [0.5, 0.5]], [0.6, 0.6])
    array([[ True, False],
           [ True,  True]])
    """
    return np.asarray(1 - np.asarray(proba, dtype=np.float64) <= np.asarray(thresholds) + 1e-12)


def coverage(y: ArrayLike, sets: Sets) -> float:
    """Return the share of the cases whose set holds their class.

    Examples
    --------
    >>> coverage([0, 1], np.array([[True, False], [True, False]]))
    0.5
    """
    labels = np.asarray(y)
    return float(sets[np.arange(len(labels)), labels].mean())
