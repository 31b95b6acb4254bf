"""What a run says of its evaluation before it begins: why it is judged so, and what each search gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from autoonco.data.manifest import Dataset
from autoonco.evaluation import modes
from autoonco.evaluation.baselines import MAJORITY
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.outcome import ScopeResult
from autoonco.evaluation.split_table import SplitTable
from autoonco.evaluation.splits import Groups, OuterSplit, Rows, is_unseen

_CHOSEN = "How models are judged was chosen: "
_SHARED = "The time limit is shared evenly by "
_TORN = " test cases have their patient or their very picture among the cases learned from"


def explains(note: str) -> bool:
    """Return whether a sentence of a run says how it was set up, and warns of nothing."""
    return note.startswith((_CHOSEN, _SHARED))


def tells_torn(note: str) -> bool:
    """Return whether a sentence of a run is the one on test cases whose patient is also learned from."""
    return _TORN in note


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
    found = [f"{_CHOSEN}{mode.why[:1].lower()}{mode.why[1:]}"] if mode.why else []
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
    return [
        *found,
        *_torn(splits, groups),
        *_lone(dataset, splits),
        *_new_sites(dataset, splits),
        *_empty_columns(dataset, splits[-1]),
    ]


def constant(splits: Sequence[OuterSplit], results: Sequence[ScopeResult]) -> list[str]:
    """Return a sentence on each model that says the same of every test case: it has learned nothing to tell them by."""
    found = dict.fromkeys(
        judged.name
        for split, result in zip(splits, results, strict=True)
        for judged in result.judged
        if judged.name != MAJORITY and len(split.test) > 1 and np.ptp(judged.proba, axis=0).max() == 0
    )
    return [
        f"The model {name!r} gave every test case of a fold the same probabilities: its AUC there is one half, for it "
        "ranks nothing."
        for name in found
    ]


def _shared(splits: Sequence[OuterSplit], mode: Mode, limit_s: float) -> str:
    outer = len(splits) - 1
    kinds = {
        modes.NESTED: "outer folds" if mode.repeats == 1 else f"outer folds in {mode.repeats} repeats",
        modes.SITES: "sites, each left out once",
        modes.SPLITS: "ready splits",
    }
    return (
        f"{_SHARED}{len(splits)} searches of {limit_s / len(splits):.0f} s each: one for "
        f"each of {outer} {kinds[mode.kind]}, which judge, and the final one on all training cases, which makes the "
        "model that is delivered and is not judged itself."
    )


def _torn(splits: Sequence[OuterSplit], groups: Groups) -> list[str]:
    """Return a sentence on test cases whose patient, or picture, is also learned from."""
    n = _count(split.test[~is_unseen(split, groups)] for split in splits)
    if not n:
        return []
    return [f"{n}{_TORN}: they are marked as not clean, and the comparison of models leaves them out."]


def _count(parts: Iterable[Rows]) -> int:
    """Return how many cases there are in parts of splits: one that is in several counts once."""
    return len({row for part in parts for row in part.tolist()})


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


def _new_sites(dataset: Dataset, splits: Sequence[OuterSplit]) -> list[str]:
    """Return a sentence on test cases of sites that were not learned from."""
    sites = dataset.sites
    if sites is None:
        return []
    n = _count(split.test[~np.isin(sites[split.test], sites[split.train])] for split in splits)
    if not n:
        return []
    return [
        f"{n} test cases are of sites without a training case: where features are harmonised by site, these are not: "
        "they show what a new site may expect."
    ]


def _empty_columns(dataset: Dataset, final: OuterSplit) -> list[str]:
    """Return a sentence on columns without a single value in the cases of the final search."""
    cases = [dataset.cases[row] for row in final.train]
    features = [name for name in dataset.features if all(np.isnan(case.features[name]) for case in cases)]
    clinical = [name for name in dataset.clinical if all(case.clinical.get(name) is None for case in cases)]
    return [
        f"{kind} without a value in any training case ({len(names)} of {n}): {', '.join(names[:5])}"
        f"{', …' if len(names) > 5 else ''}. Each counts as a constant, which tells nothing."
        for kind, names, n in (
            ("Features", features, len(dataset.features)),
            ("Clinical columns", clinical, len(dataset.clinical)),
        )
        if names
    ]
