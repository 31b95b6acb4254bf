"""The search problem of an outer split: its training cases' fingerprint, and the inner folds that choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoonco.data.checks import CaseFacts
from autoonco.data.fingerprint import fingerprint
from autoonco.data.folds import stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, NothingToFitError
from autoonco.evaluation.splits import Groups, OuterSplit, Rows, groups_of, layers
from autoonco.evaluation.tasks import TASKS, Task
from autoonco.families import get_family
from autoonco.metrics.scores import Metric
from autoonco.search.problem import Problem
from autoonco.search.trial import FoldTask
from autoonco.settings import Settings

# Added to the seed for the fresh folds, on which finalists are scored again.
_FRESH = 1_000_003


def inner_problem(
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    split: OuterSplit,
    *,
    metric: Metric,
    families: Sequence[str],
    settings: Settings,
    seed: int,
    task: Task = TASKS["classification"],
) -> Problem:
    """Return the search problem of an outer split: inner folds and fingerprint of its training cases alone.

    Raises
    ------
    NothingToFitError
        If no family applies, with each one's reason.
    DataError
        If a class has too few patients for the inner folds.
    """
    assert dataset.y is not None
    known = fingerprint(dataset.subset(split.train), [facts[row] for row in split.train])
    reasons = {name: get_family(name).why_not(known) for name in families}
    usable = tuple(name for name, reason in reasons.items() if reason is None)
    if not usable:
        raise NothingToFitError("No family of models applies to these data. " + sentences(reasons))
    k, groups = settings.inner_folds, groups_of(dataset, facts)
    return Problem(
        scope=split.scope,
        y=dataset.y,
        folds=_folds(dataset, split.train, groups, task, k, seed=seed, first=0),
        fresh=tuple(
            fold
            for number in range(1, 1 + (settings.repeats if settings.finalists else 0))
            for fold in _folds(
                dataset, split.train, groups, task, k, seed=seed + number * _FRESH, first=number * k
            )
        ),
        fingerprint=known,
        metric=metric,
        families=usable,
    )


def check_inner(
    dataset: Dataset,
    splits: Sequence[OuterSplit],
    groups: Groups,
    task: Task,
    settings: Settings,
    *,
    seed: int,
) -> None:
    """Raise `DataError` where a split's training part can't be dealt into inner folds: before hours are searched.

    The message names the class, the split and the largest possible number of folds.
    """
    for split in splits:
        y, names = layers(dataset, split.train, groups, task, settings.inner_folds)
        missing = [name for label, name in enumerate(names or ()) if label not in set(y.tolist())]
        if missing:
            raise DataError(
                f"Class {missing[0]!r} has no case in the training part of {split.title or split.scope}, expected "
                "patients of every class: leave the class out with classes= (--classes), or judge another way."
            )
        try:
            _folds(dataset, split.train, groups, task, settings.inner_folds, seed=seed, first=0)
        except DataError as error:
            raise DataError(
                f"Inner folds of the training part of {split.title or split.scope}: {error} The setting is "
                "inner_folds."
            ) from None


def sentences(reasons: Mapping[str, str | None]) -> str:
    """Return reasons by name as one text."""
    return " ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _folds(
    dataset: Dataset, rows: Rows, groups: Groups, task: Task, k: int, *, seed: int, first: int
) -> tuple[FoldTask, ...]:
    y, names = layers(dataset, rows, groups, task, k)
    folds = stratified_group_folds(y, groups[rows], k, seed=seed, class_names=names)
    return tuple(
        FoldTask(index=i, train=tuple(rows[train].tolist()), test=tuple(rows[test].tolist()))
        for i, (train, test) in enumerate(folds, start=first)
    )
