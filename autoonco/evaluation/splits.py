"""Which cases judge, the outer folds, and which choose, the inner ones. Nothing is fitted or chosen on the outer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoonco.data.checks import CaseFacts
from autoonco.data.fingerprint import fingerprint
from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, NothingToFitError, UnknownNameError
from autoonco.families import get_family
from autoonco.metrics.scores import Metric
from autoonco.search.problem import Problem
from autoonco.search.trial import FoldTask
from autoonco.settings import Settings

EVALUATIONS = ("auto", "external", "holdout", "nested", "none")
# Below this a nested evaluation's searches get too little time to mean anything.
_MIN_NESTED_SEARCH_S = 120.0
_MANY_PATIENTS = 1000
FINAL = "final"
# Added to the seed for the fresh folds, on which finalists are scored again.
_FRESH = 1_000_003


@dataclass(frozen=True, kw_only=True)
class OuterSplit:
    """One search: the positions it may learn from, and those that judge it (none: nothing judges)."""

    scope: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def resolve(evaluation: str, dataset: Dataset, *, time_limit_s: float, settings: Settings) -> str:
    """Return the kind of evaluation that ``"auto"`` means here; other kinds are checked and returned.

    A test split in the manifest is used. Else the data are split: nested folds judge with every case and are
    taken where each of their searches gets two minutes or more, and one held-out part where there are 1,000
    patients or little time.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    DataError
        If ``"external"`` is asked for and the manifest has no test cases.
    """
    if evaluation not in EVALUATIONS:
        raise UnknownNameError("evaluation", evaluation, EVALUATIONS)
    has_test = dataset.split is not None and bool((dataset.split == "test").any())
    if evaluation == "external" and not has_test:
        raise DataError(
            "evaluation 'external' needs cases whose split column says 'test'; the manifest has none. "
            "Add such a column or choose 'holdout' or 'nested'."
        )
    if evaluation != "auto":
        return evaluation
    if has_test:
        return "external"
    many = len(set(dataset.groups)) >= _MANY_PATIENTS
    short = time_limit_s / (settings.outer_folds + 1) < _MIN_NESTED_SEARCH_S
    return "holdout" if many or short else "nested"


def outer_splits(dataset: Dataset, evaluation: str, *, settings: Settings, seed: int) -> list[OuterSplit]:
    """Return the searches of a run in order; the last, of scope ``"final"``, makes the model that is delivered."""
    assert dataset.y is not None
    is_test = np.zeros(len(dataset), dtype=bool) if dataset.split is None else dataset.split == "test"
    # Cases that the manifest keeps for a test are never learned from, whatever the evaluation.
    pool = np.flatnonzero(~is_test)
    y, groups, names = dataset.y[pool], dataset.groups[pool], dataset.classes
    nobody = pool[:0]
    match evaluation:
        case "external":
            return [OuterSplit(scope=FINAL, train=pool, test=np.flatnonzero(is_test))]
        case "holdout":
            train, test = holdout(y, groups, settings.holdout_share, seed=seed, class_names=names)
            return [OuterSplit(scope=FINAL, train=pool[train], test=pool[test])]
        case "nested":
            folds = stratified_group_folds(y, groups, settings.outer_folds, seed=seed, class_names=names)
            outer = [
                OuterSplit(scope=f"outer{i}", train=pool[train], test=pool[test])
                for i, (train, test) in enumerate(folds)
            ]
            return [*outer, OuterSplit(scope=FINAL, train=pool, test=nobody)]
        case _:
            return [OuterSplit(scope=FINAL, train=pool, test=nobody)]


def inner_problem(
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    split: OuterSplit,
    *,
    metric: Metric,
    families: Sequence[str],
    settings: Settings,
    seed: int,
) -> Problem:
    """Return the search problem of an outer split: inner folds and fingerprint of its training cases alone.

    Raises
    ------
    NothingToFitError
        If no family applies, with each one's reason.
    """
    assert dataset.y is not None
    k = settings.inner_folds
    known = fingerprint(dataset.subset(split.train), [facts[row] for row in split.train])
    reasons = {name: get_family(name).why_not(known) for name in families}
    usable = tuple(name for name, reason in reasons.items() if reason is None)
    if not usable:
        raise NothingToFitError("No family of models applies to these data. " + sentences(reasons))
    return Problem(
        scope=split.scope,
        y=dataset.y,
        folds=_inner_folds(dataset, split.train, k, seed=seed, first=0),
        fresh=tuple(
            fold
            for number in range(1, 1 + (settings.repeats if settings.finalists else 0))
            for fold in _inner_folds(dataset, split.train, k, seed=seed + number * _FRESH, first=number * k)
        ),
        fingerprint=known,
        metric=metric,
        families=usable,
    )


def sentences(reasons: Mapping[str, str | None]) -> str:
    """Return reasons by name as one text."""
    return " ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _inner_folds(
    dataset: Dataset, rows: NDArray[np.int64], k: int, *, seed: int, first: int
) -> tuple[FoldTask, ...]:
    assert dataset.y is not None
    folds = stratified_group_folds(
        dataset.y[rows], dataset.groups[rows], k, seed=seed, class_names=dataset.classes
    )
    return tuple(
        FoldTask(index=i, train=tuple(rows[train].tolist()), test=tuple(rows[test].tolist()))
        for i, (train, test) in enumerate(folds, start=first)
    )
