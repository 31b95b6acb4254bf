"""Which cases judge, the outer folds. Nothing is fitted or chosen on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoonco.data.checks import CaseFacts
from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError
from autoonco.evaluation import modes
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.split_table import TEST, TRAIN, SplitTable
from autoonco.evaluation.tasks import TASKS, Task
from autoonco.settings import Settings

FINAL = "final"
# Added to the seed for each time that the outer folds are dealt anew.
_ANEW = 2_000_003

Rows = NDArray[np.int64]
Groups = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class OuterSplit:
    """One search: the positions it may learn from, and those that judge it (none: nothing judges).

    `repeat` numbers the times that the cases were dealt into folds; `title` names the split to the user.
    """

    scope: str
    train: Rows
    test: Rows
    repeat: int = 0
    title: str = ""


def groups_of(dataset: Dataset, facts: Sequence[CaseFacts]) -> Groups:
    """Return who is kept whole by folds ``(n_cases,)``: patients, those that share a picture as one.

    The same picture under two patients would otherwise be learned and judged; `facts` belong to the cases one by one.
    """
    first_of: dict[tuple[str, ...], str] = {}
    leader: dict[str, str] = {}

    def find(patient: str) -> str:
        while leader.setdefault(patient, patient) != patient:
            patient = leader[patient]
        return patient

    for patient, case in zip(dataset.groups.tolist(), facts, strict=True):
        picture = tuple(channel.content for channel in case.channels.values())
        if picture and case.error is None:
            leader[find(patient)] = find(first_of.setdefault(picture, patient))
    return np.array([find(patient) for patient in dataset.groups.tolist()], dtype=np.str_)


def outer_splits(
    dataset: Dataset,
    mode: Mode,
    *,
    settings: Settings,
    seed: int,
    groups: Groups | None = None,
    task: Task = TASKS["classification"],
    table: SplitTable | None = None,
) -> list[OuterSplit]:
    """Return the searches of a run in order; the last, of scope ``"final"``, makes the model that is delivered.

    It learns from all cases that may be learned from, except where one test part judges (a test split, a held-out
    part, a single ready split): then it is itself the search that is judged.

    Parameters
    ----------
    groups
        What folds keep whole ``(n_cases,)``, see `groups_of`; patients by default.
    table
        The splits to replay.

    Raises
    ------
    DataError
        If a class has too few patients for the folds, naming it and how many are possible, or a ready split can't be
        used.
    """
    assert dataset.y is not None
    is_test = np.zeros(len(dataset), dtype=bool) if dataset.split is None else dataset.split == "test"
    # Cases that the manifest keeps for a test are never learned from, whatever the evaluation.
    pool = np.flatnonzero(~is_test)
    groups = dataset.groups if groups is None else groups
    final = OuterSplit(scope=FINAL, train=pool, test=pool[:0], title="the final search")
    match mode.kind:
        case modes.EXTERNAL:
            return [OuterSplit(scope=FINAL, train=pool, test=np.flatnonzero(is_test), title="the search")]
        case modes.HOLDOUT:
            return [_held_out(dataset, pool, groups, task, settings, seed)]
        case modes.NESTED:
            return [*_nested(dataset, pool, groups, task, settings, seed, mode.repeats), final]
        case modes.SITES:
            return [*_by_site(dataset, pool, groups), final]
        case modes.SPLITS:
            assert table is not None
            ready = _ready(dataset, table, is_test)
            one = [
                OuterSplit(scope=FINAL, train=each.train, test=each.test, title=each.title) for each in ready
            ]
            return one if len(ready) == 1 else [*ready, final]
        case _:
            return [final]


def layers(
    dataset: Dataset, rows: Rows, groups: Groups, task: Task, k: int
) -> tuple[Rows, tuple[str, ...] | None]:
    """Return what `k` folds of `rows` are stratified by ``(n_rows,)``, and its names where it is the classes."""
    assert dataset.y is not None
    y = dataset.y[rows]
    strata = task.strata(y, groups[rows], k)
    return (y, dataset.classes) if strata is None else (strata, None)


def is_unseen(split: OuterSplit, groups: Groups) -> NDArray[np.bool_]:
    """Return which test cases have nobody of theirs in the training part ``(n_test,)``; `groups` as of `groups_of`."""
    return ~np.isin(groups[split.test], groups[split.train])


def _held_out(
    dataset: Dataset, pool: Rows, groups: Groups, task: Task, settings: Settings, seed: int
) -> OuterSplit:
    y, names = layers(dataset, pool, groups, task, 2)
    train, test = holdout(y, groups[pool], settings.holdout_share, seed=seed, class_names=names)
    return OuterSplit(scope=FINAL, train=pool[train], test=pool[test], title="the search")


def _nested(
    dataset: Dataset, pool: Rows, groups: Groups, task: Task, settings: Settings, seed: int, repeats: int
) -> list[OuterSplit]:
    k, found = settings.outer_folds, []
    y, names = layers(dataset, pool, groups, task, k)
    for repeat in range(repeats):
        try:
            folds = stratified_group_folds(y, groups[pool], k, seed=seed + repeat * _ANEW, class_names=names)
        except DataError as error:
            raise DataError(f"Outer folds: {error} The setting is outer_folds.") from None
        for i, (train, test) in enumerate(folds):
            title = f"outer fold {i + 1} of {k}" + (f", repeat {repeat + 1}" if repeats > 1 else "")
            scope = f"outer{repeat * k + i}"
            found.append(
                OuterSplit(scope=scope, train=pool[train], test=pool[test], repeat=repeat, title=title)
            )
    return found


def _by_site(dataset: Dataset, pool: Rows, groups: Groups) -> list[OuterSplit]:
    """Return a split a site: its cases judge; what else there is of their patients is not learned from either."""
    assert dataset.sites is not None
    sites, found = dataset.sites[pool], []
    for number, site in enumerate(np.unique(sites).tolist()):
        at_site = sites == site
        others = ~at_site & ~np.isin(groups[pool], groups[pool][at_site])
        found.append(
            OuterSplit(
                scope=f"outer{number}",
                train=pool[others],
                test=pool[at_site],
                title=f"the search without site {site!r}",
            )
        )
    return found


def _ready(dataset: Dataset, table: SplitTable, is_test: NDArray[np.bool_]) -> list[OuterSplit]:
    found = []
    for number, name in enumerate(table.names):
        roles = table.of(dataset, number)
        train, test = np.flatnonzero(roles == TRAIN), np.flatnonzero(roles == TEST)
        kept = train[is_test[train]]
        if len(kept):
            raise DataError(
                f"row {dataset.cases[kept[0]].row}: the manifest keeps the case for the test and column {name!r} of "
                "the table of splits trains on it: read the manifest with another split= (--split), or correct one."
            )
        if not len(train) or not len(test):
            part = "train" if not len(train) else "test"
            raise DataError(
                f"No usable case is left to {part} in column {name!r} of the table of splits: drop it."
            )
        title = f"the split {name!r}"
        found.append(OuterSplit(scope=f"outer{number}", train=train, test=test, repeat=number, title=title))
    return found
