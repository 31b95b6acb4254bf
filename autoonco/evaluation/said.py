"""What a run says of its evaluation before it begins: why it is judged so, and what each search gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoonco.data.manifest import Dataset
from autoonco.evaluation import modes
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.split_table import SplitTable
from autoonco.evaluation.splits import Groups, OuterSplit, is_unseen


def searches_json(splits: Sequence[OuterSplit], time_limit_s: float) -> dict[str, Any]:
    """Return how many searches share the time, and what each gets, as plain JSON."""
    return {
        "n": len(splits),
        "seconds_each": time_limit_s / len(splits),
        "outer": [
            {"scope": each.scope, "repeat": each.repeat, "n_train": len(each.train), "n_test": len(each.test)}
            for each in splits
        ],
    }


def said(
    dataset: Dataset,
    groups: Groups,
    splits: Sequence[OuterSplit],
    mode: Mode,
    table: SplitTable | None,
    *,
    limit_s: float,
) -> list[str]:
    """Return sentences for the log and the report: the reason, the time of each search, and what the splits lack."""
    found = [f"How models are judged was chosen: {mode.why}"] if mode.why else []
    if len(splits) > 1:
        found.append(_shared(splits, mode, limit_s))
    if table is not None and table.n_unknown:
        found.append(
            f"{table.n_unknown} rows of the table of splits belong to no case of the manifest and were passed over."
        )
    if len(set(groups)) < len(set(dataset.groups)):
        n = len(set(dataset.groups)) - len(set(groups))
        found.append(
            f"Patients who share a picture are kept together by the folds, as one: {len(set(dataset.groups))} patients "
            f"count as {len(set(dataset.groups)) - n}."
        )
    return [*found, *_torn(splits, groups), *_lone(dataset, splits)]


def _shared(splits: Sequence[OuterSplit], mode: Mode, limit_s: float) -> str:
    outer = len(splits) - 1
    kinds = {
        modes.NESTED: "outer folds" if mode.repeats == 1 else f"outer folds in {mode.repeats} repeats",
        modes.SITES: "sites, each left out once",
        modes.SPLITS: "ready splits",
    }
    return (
        f"The time limit is shared evenly by {len(splits)} searches of {limit_s / len(splits):.0f} s each: one for "
        f"each of {outer} {kinds[mode.kind]}, which judge, and the final one on all training cases, which makes the "
        "model that is delivered and is not judged itself."
    )


def _torn(splits: Sequence[OuterSplit], groups: Groups) -> list[str]:
    """Return a sentence on test cases whose patient, or picture, is also learned from."""
    n = sum(int((~is_unseen(split, groups)).sum()) for split in splits)
    if not n:
        return []
    return [
        f"{n} test cases have their patient or their very picture among the cases learned from: they are marked as not "
        "clean, and the comparison of models leaves them out."
    ]


def _lone(dataset: Dataset, splits: Sequence[OuterSplit]) -> list[str]:
    """Return a sentence on test parts of a single class, which no ranking can be judged on."""
    assert dataset.y is not None
    lone = sum(len(split.test) > 0 and len(np.unique(dataset.y[split.test])) < 2 for split in splits)
    tested = sum(len(split.test) > 0 for split in splits)
    if not lone:
        return []
    return [
        f"{lone} of {tested} test parts hold a single class: figures that rank cases are of the others alone."
    ]
