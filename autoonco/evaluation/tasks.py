"""What kind of labels a task has, and what follows from it: their order, folds, scores, and which class is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, UnknownNameError
from autoonco.metrics.ordinal import ORDINAL_METRICS, median_grade
from autoonco.metrics.scores import METRICS, Labels, Metric, get_metric

CLASSIFICATION, ORDINAL = "classification", "ordinal"
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Task(Protocol):
    """A kind of labels. All of them are classes with probabilities; what differs is what the classes mean.

    What a search minimises is `Metric.loss` of the chosen score, whatever the task.

    Attributes
    ----------
    name
        What the user types.
    auc
        Name of the score that ranks cases: it compares models, and a search maximises it unless told otherwise.
    metrics
        The scores that there are, by name.
    """

    name: str
    auc: str
    metrics: Mapping[str, Metric]

    def labelled(self, dataset: Dataset) -> Dataset:
        """Return the dataset with its classes in the order that the task wants."""
        ...

    def strata(self, y: Labels, groups: NDArray[np.str_], k: int) -> Labels | None:
        """Return what has to be on both sides of each of `k` folds ``(n_cases,)``; None for every class."""
        ...

    def told(self, proba: ArrayLike) -> Labels:
        """Return the class that is told of each case ``(n_cases,)``."""
        ...


class Classification:
    """Classes without an order; with two of them the positive one is the last."""

    name = CLASSIFICATION
    auc = "roc_auc"
    metrics: Mapping[str, Metric] = METRICS

    def labelled(self, dataset: Dataset) -> Dataset:
        """Return the dataset as it is."""
        return dataset

    def strata(self, y: Labels, groups: NDArray[np.str_], k: int) -> Labels | None:  # noqa: ARG002
        """Return None: every class is in every fold."""
        return None

    def told(self, proba: ArrayLike) -> Labels:
        """Return the most probable class."""
        return np.asarray(np.asarray(proba).argmax(axis=1), dtype=np.int64)


class Ordinal:
    """Grades: classes in an order, that of their numbers or the one in which they were named."""

    name = ORDINAL
    auc = "ordinal_auc"
    metrics: Mapping[str, Metric] = {**ORDINAL_METRICS, **METRICS}

    def labelled(self, dataset: Dataset) -> Dataset:
        """Return the dataset with its grades in order: as named by the user, else by number.

        Raises
        ------
        DataError
            If a grade is no number and the user named no order.
        """
        if dataset.is_ordered:
            return dataset
        named = next((name for name in dataset.classes if not _NUMBER.fullmatch(name)), None)
        if named is not None:
            raise DataError(
                f"Class {named!r} is no number, so the order of the {len(dataset.classes)} grades is not known: name "
                "them from the lowest to the highest with classes= (--classes)."
            )
        order = sorted(range(len(dataset.classes)), key=lambda k: float(dataset.classes[k]))
        place = np.argsort(order)
        return replace(
            dataset,
            classes=tuple(dataset.classes[k] for k in order),
            y=None if dataset.y is None else np.append(place, -1)[dataset.y],  # -1 stays: no label
            is_ordered=True,
        )

    def strata(self, y: Labels, groups: NDArray[np.str_], k: int) -> Labels | None:
        """Return strata of neighbouring grades, each of `k` patients or more: a rare grade joins its neighbour.

        Ranking needs two grades in a fold, not all of them, so a rare grade rules out no fold. A model that was fitted
        without one gives it no probability. None where there aren't two such strata: then each grade is told of alone.

        Examples
        --------
        >>> y = np.repeat([0, 1, 2, 3], [1, 4, 5, 2])
        >>> Ordinal().strata(y, np.arange(12).astype(str), 4).tolist()
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
        """
        strata, begun, at = np.zeros(len(y), dtype=np.int64), np.zeros(len(y), dtype=bool), 0
        for grade in np.unique(y):
            begun |= y == grade
            strata[y == grade] = at
            if len(np.unique(groups[begun])) >= k:
                begun[:], at = False, at + 1
        # what was begun last and is too small belongs to the stratum before it
        strata[begun] = max(0, at - 1)
        return None if len(np.unique(strata)) < 2 else strata

    def told(self, proba: ArrayLike) -> Labels:
        """Return the median grade, which has the least expected absolute error."""
        return median_grade(proba)


TASKS: Mapping[str, Task] = {task.name: task for task in (Classification(), Ordinal())}


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists the valid names.

    Examples
    --------
    >>> get_task("ordinal").told([[0.4, 0.2, 0.4]])
    array([1])
    """
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownNameError("task", name, TASKS) from None


def metric_of(task: Task, name: str | None) -> Metric:
    """Return the score that the search of a `task` maximises: its own where `name` is None.

    Raises
    ------
    UnknownNameError
        If the task has no such score.
    """
    wanted = task.auc if name is None else name
    if wanted in task.metrics:
        return task.metrics[wanted]
    if "." in wanted:
        return get_metric(wanted)
    raise UnknownNameError("metric", wanted, task.metrics)
