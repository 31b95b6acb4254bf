"""Several lesions in one case: a mask taken apart, and features of each joined to one row of the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoonco.errors import AutoOncoError


class LesionMode(StrEnum):
    """What a case's features are of, where its mask holds several lesions (as WORC offers for PREDICT)."""

    UNION = "union"  # all lesions as one
    LARGEST = "largest"  # the one of most voxels
    MEAN = "mean"  # each feature's mean over lesions
    MAX = "max"  # each feature's maximum, which needn't come from one lesion
    SUM = "sum"  # total burden: what volumes and counts add up to, of little sense for ratios


def split_lesions(labels: NDArray[np.integer] | NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    """Return a mask for each lesion, the largest first; of equals, the one that comes first in the array.

    Several labels are several lesions, whoever drew them says so. Of one label, parts that touch nowhere, not
    even at a corner, are.

    Parameters
    ----------
    labels
        0 outside, (z, y, x) or (y, x).

    Returns
    -------
    tuple
        Masks of the shape of `labels`, none where all is outside.

    Examples
    --------
    >>> [int(mask.sum()) for mask in split_lesions(np.array([[1, 0, 1, 1]]))]
    [2, 1]
    >>> [int(mask.sum()) for mask in split_lesions(np.array([[1, 1, 2]]))]
    [2, 1]
    """
    present = np.unique(labels)
    present = present[present != 0]
    if len(present) == 1:
        labels, n_parts = ndimage.label(labels, structure=np.ones((3,) * labels.ndim))
        present = np.arange(1, n_parts + 1)
    masks = [labels == label for label in present]
    first = [int(mask.argmax()) for mask in masks]
    order = sorted(range(len(masks)), key=lambda i: (-np.count_nonzero(masks[i]), first[i]))
    return tuple(masks[i] for i in order)


def lesion_masks(
    labels: NDArray[np.integer] | NDArray[np.bool_], mode: LesionMode
) -> tuple[NDArray[np.bool_], ...]:
    """Return the masks whose features `join_lesions` joins: one for the union and the largest, else all.

    Raises
    ------
    AutoOncoError
        If no voxel is inside.
    """
    if not np.any(labels):
        raise AutoOncoError(
            "Lesions were to be told apart in a mask, got one of zeros; draw at least one voxel."
        )
    if mode is LesionMode.UNION:
        return (labels != 0,)
    found = split_lesions(labels)
    return found[:1] if mode is LesionMode.LARGEST else found


def join_lesions(tables: Sequence[Mapping[str, float]], mode: LesionMode) -> dict[str, float]:
    """Return one value of each feature from those of the lesions of `lesion_masks`, in their order.

    A feature that is NaN in a lesion, too small for it, is joined from the others; NaN in all stays NaN.

    Raises
    ------
    AutoOncoError
        If there is no lesion, if lesions differ in their features, or if the union is asked of several tables.

    Examples
    --------
    >>> join_lesions([{"Volume": 5.0}, {"Volume": 1.0}], LesionMode.MEAN)
    {'Volume': 3.0}
    """
    if not tables:
        raise AutoOncoError("Features of lesions can't be joined: got none, expected at least one lesion.")
    names = tuple(tables[0])
    for number, table in enumerate(tables[1:], start=2):
        if set(table) != set(names):
            odd = ", ".join(sorted(set(table) ^ set(names)))
            raise AutoOncoError(
                f"Lesion {number} has other features than lesion 1: {odd}; extract all alike."
            )
    if mode is LesionMode.UNION and len(tables) > 1:
        raise AutoOncoError(
            f"The union of {len(tables)} lesions has features of its own: extract them from one mask of all."
        )
    join = _JOIN.get(mode, _first)
    return {name: join(np.array([table[name] for table in tables], dtype=np.float64)) for name in names}


def _first(values: NDArray[np.float64]) -> float:
    return float(values[0])


def _known(function: Callable[[NDArray[np.float64]], np.float64]) -> Callable[[NDArray[np.float64]], float]:
    """Return `function` of the values that aren't NaN, NaN where all are."""

    def call(values: NDArray[np.float64]) -> float:
        known = values[~np.isnan(values)]
        return float(function(known)) if known.size else float("nan")

    return call


_JOIN: dict[LesionMode, Callable[[NDArray[np.float64]], float]] = {
    LesionMode.MEAN: _known(np.mean),
    LesionMode.MAX: _known(np.max),
    LesionMode.SUM: _known(np.sum),
}
