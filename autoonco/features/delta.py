"""Features of change: how a feature differs between two sequences, phases or time points of one case."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


class Delta(StrEnum):
    """How two values of a feature are compared."""

    DIFFERENCE = "difference"  # later less earlier
    RATIO = "ratio"  # later over earlier; NaN over 0


SIGNS = {Delta.DIFFERENCE: "-", Delta.RATIO: "/"}


def delta_names(channels: Iterable[str], features: Iterable[str], how: Delta) -> tuple[str, ...]:
    """Return the names of `delta_table`'s columns: each pair of channels takes a channel's place.

    Examples
    --------
    >>> delta_names(["t1", "t2"], ["original_glcm_Contrast"], Delta.DIFFERENCE)
    ('t2-t1:original_glcm_Contrast',)
    """
    features = tuple(features)
    return tuple(
        f"{later}{SIGNS[how]}{earlier}:{name}"
        for earlier, later in combinations(channels, 2)
        for name in features
    )


def delta_table(table: NDArray[np.float64], n_channels: int, how: Delta) -> NDArray[np.float64]:
    """Return the comparisons of every pair of channels, earlier with later, for every feature.

    Parameters
    ----------
    table
        ``(n_cases, n_channels * n_features)``, equal features in equal order for each channel.

    Returns
    -------
    ndarray
        ``(n_cases, n_pairs * n_features)``.

    Examples
    --------
    >>> delta_table(np.array([[2.0, 0.0, 3.0, 1.0]]), 2, Delta.RATIO).tolist()
    [[1.5, nan]]
    """
    parts = np.split(table, n_channels, axis=1)
    return np.hstack([_compare(before, after, how) for before, after in combinations(parts, 2)])


def _compare(before: NDArray[np.float64], after: NDArray[np.float64], how: Delta) -> NDArray[np.float64]:
    if how is Delta.DIFFERENCE:
        return after - before
    return np.divide(after, before, out=np.full_like(after, np.nan), where=before != 0)
