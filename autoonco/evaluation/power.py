"""What the evaluation of a run can show, told before its search: the smallest difference between two families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.manifest import Dataset
from autoonco.evaluation.splits import Groups, OuterSplit
from autoonco.evaluation.tasks import ORDINAL, Task
from autoonco.metrics.power import Power, power_of_folds, power_of_test

POWER_FILE = "evaluation/power.json"
_MANY = 10  # repeats of outer folds that a comparison of families should have


def foreseen(
    dataset: Dataset,
    groups: Groups,
    splits: Sequence[OuterSplit],
    task: Task,
    *,
    margin: float,
    can_repeat: bool = True,
) -> dict[str, Any] | None:
    """Return what these cases and folds can show, as ``evaluation/power.json`` holds it; None where nothing judges.

    Parameters
    ----------
    groups
        Who counts once ``(n_cases,)``, see `splits.groups_of`.
    margin
        Within which families are to be called equivalent.
    can_repeat
        Whether the cases could be dealt into outer folds more often: not where sites or a table of splits are them.

    Returns
    -------
    dict
        ``difference`` (the smallest in AUC that is shown with ``power`` at ``alpha``), ``margin`` (the smallest within
        which equal models are called equivalent), None where not even a perfect model would do; the assumptions
        ``auc`` and ``correlation``; ``equivalence_margin`` as asked for; ``n_patients``, ``patients`` by class, of all
        test parts; ``n_folds``, ``n_repeats``, ``test``; and the ``sentence`` that says it.
    """
    assert dataset.y is not None
    tested = [each for each in splits if len(np.unique(dataset.y[each.test])) > 1]
    if not tested:
        return None
    sizes = np.mean(
        [_sizes(dataset.y[each.test], groups[each.test], dataset, task) for each in tested], axis=0
    )
    repeats = len({each.repeat for each in tested})
    found = _power(sizes, tested, len(tested))
    rows = np.unique(np.concatenate([each.test for each in tested]))
    patients = {
        name: len(np.unique(groups[rows[dataset.y[rows] == k]])) for k, name in enumerate(dataset.classes)
    }
    known = {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in asdict(found).items()
    }
    about = {
        "equivalence_margin": margin,
        "n_patients": len(np.unique(groups[rows])),
        "patients": patients,
        "n_folds": len(tested),
        "n_repeats": repeats,
        "test": "paired DeLong" if len(tested) == 1 else "corrected resampled t",
    }
    often = _power(sizes, tested, _MANY * len(tested) // repeats) if can_repeat else None
    return known | about | {"sentence": _sentence(found, about, often)}


def _sizes(y: NDArray[np.int64], groups: Groups, dataset: Dataset, task: Task) -> NDArray[np.float64]:
    """Return the patients on both sides of each comparison that the AUC averages ``(n_comparisons, 2)``."""
    n_classes = len(dataset.classes)
    if task.name == ORDINAL:
        sides = [y >= grade for grade in range(1, n_classes)]
    else:
        sides = [y == k for k in range(1 if n_classes == 2 else 0, n_classes)]
    return np.array([[len(np.unique(groups[side])), len(np.unique(groups[~side]))] for side in sides], float)


def _power(sizes: NDArray[np.float64], tested: Sequence[OuterSplit], n_folds: int) -> Power:
    """Return what the test parts can show; `n_folds` such as they are, where there are several."""
    pairs = [(float(m), float(n)) for m, n in sizes if m > 0 and n > 0]
    if len(tested) == 1:
        return power_of_test(pairs)
    ratio = float(np.mean([len(each.test) / max(1, len(each.train)) for each in tested]))
    return power_of_folds(pairs, n_folds, ratio)


def _sentence(found: Power, about: dict[str, Any], often: Power | None) -> str:
    of_classes = ", ".join(f"{n} {name}" for name, n in about["patients"].items())
    folds = "" if about["n_folds"] == 1 else f" in {about['n_folds']} outer test parts"
    least = "" if about["n_folds"] == 1 else "at least "
    with_them = f"With {about['n_patients']} test patients ({of_classes}){folds}"
    said = f"({found.power:.0%} power, two-sided p < {found.alpha:g}, against an AUC of {found.auc:.2f})"
    if np.isfinite(found.difference):
        first = (
            f"{with_them}, the smallest difference in AUC between two families that is likely to be shown {said} is "
            f"{least}{found.difference:.2f}; a smaller one will most likely stay inconclusive."
        )
    else:
        first = f"{with_them}, no difference in AUC between two families is likely to be shown {said}."
    few = about["n_folds"] > 1 and about["n_repeats"] < _MANY
    if few and often is not None and np.isfinite(often.difference):
        first += (
            f" Outer folds dealt {_MANY} times (outer_repeats), which takes as many times longer, would rather show "
            f"{often.difference:.2f}."
        )
    margin = about["equivalence_margin"]
    if np.isfinite(found.margin) and found.margin <= margin:
        return f"{first} Families that are equal can be shown to be, within {margin:g}."
    takes = f": that takes a margin of {least}{found.margin:.2f}" if np.isfinite(found.margin) else ""
    return f"{first} Equal families can't be expected to be shown as equivalent within {margin:g}{takes}."
