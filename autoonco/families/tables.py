"""What families that end in a feature table share: what a budget buys, and classes without a training case."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoonco.families.contract import Fidelity

FEWEST_CASES = 1000
"""A fold is fitted on fewer training cases only above this: on fewer, a fit is cheap and its score mostly noise."""


def plan_folds(budget: float, *, inner_folds: int, n_train: int) -> Fidelity:
    """Return folds; below one fold, part of its training cases where there are thousands.

    Repeats are no part of a budget here: the search buys them for its finalists (see `autoonco.search.finalists`).
    """
    folds = budget * inner_folds
    if folds < 1 and (cases := max(FEWEST_CASES, math.ceil(folds * n_train))) < n_train:
        return Fidelity(folds=1, cases=cases)
    return Fidelity(folds=max(1, min(inner_folds, math.ceil(folds - 1e-9))))


def spread(found: NDArray[np.float64], labels: Sequence[int], n_classes: int) -> NDArray[np.float64]:
    """Return probabilities ``(n_cases, n_classes)``: those `found` of `labels`, 0 for classes that weren't trained.

    Examples
    --------
    >>> spread(np.array([[0.25, 0.75]]), [0, 2], 3)
    array([[0.25, 0.  , 0.75]])
    """
    probabilities = np.zeros((len(found), n_classes))
    probabilities[:, list(labels)] = found
    return probabilities
