"""Outer folds: which cases judge. Nothing is fitted or chosen on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, UnknownNameError
from autoonco.settings import Settings

EVALUATIONS = ("auto", "external", "holdout", "nested", "none")
# Below this a nested evaluation's searches get too little time to mean anything.
_MIN_NESTED_SEARCH_S = 120.0
_MANY_PATIENTS = 1000
FINAL = "final"


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
