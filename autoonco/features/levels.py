"""Grey values to grey levels, as pyradiomics or as IBSI bins them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition

FLAT_RANGE = 1e-6
"""A range of grey values below this share of their size is float noise: one level."""

Values = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


def bin_by_count(values: Values, bin_count: int) -> NDArray[np.int64]:
    """Return the levels 1 to `bin_count` of equal widths between the lowest and the highest value (IBSI K15C).

    Both definitions agree but for rounding at the edges of bins, where pyradiomics' are taken.

    Parameters
    ----------
    values
        Grey values in the lesion, finite, shape (n_voxels,).
    bin_count
        Number of levels, at least 1.

    Raises
    ------
    AutoOncoError
        If there are no values, one is not finite, or `bin_count` is below 1.

    Examples
    --------
    >>> bin_by_count(np.array([0.0, 0.9, 1.0, 2.0]), 2).tolist()
    [1, 1, 2, 2]
    """
    values = _checked(values)
    if bin_count < 1:
        raise AutoOncoError(f"A bin count must be at least 1, got {bin_count}.")
    if is_flat(values):
        return np.ones(len(values), dtype=np.int64)
    values = _resolved(values, float(np.ptp(values)) / bin_count)
    edges = np.histogram_bin_edges(values, bin_count)
    return np.minimum(_between(values, edges), bin_count)


def bin_by_width(
    values: Values,
    bin_width: float,
    *,
    definition: Definition = Definition.PYRADIOMICS,
    lowest: float | None = None,
    max_levels: int | None = None,
) -> NDArray[np.int64]:
    """Return levels from 1 of a fixed width (IBSI Q3RU).

    Parameters
    ----------
    values
        Grey values in the lesion, finite, shape (n_voxels,).
    bin_width
        Width of a level in the unit of the values.
    definition
        pyradiomics' bins begin at a multiple of the width, IBSI's at `lowest`.
    lowest
        For IBSI the lower bound of the re-segmentation; without one, the lowest value.
    max_levels
        A width that would give more levels is multiplied by the smallest whole number that doesn't.

    Raises
    ------
    AutoOncoError
        If there are no values, one is not finite or below `lowest`, or the width is not above 0.

    Examples
    --------
    >>> values = np.array([54.0, 60.0, 166.0])
    >>> bin_by_width(values, 25.0).tolist(), bin_by_width(values, 25.0, definition=Definition.IBSI).tolist()
    ([1, 1, 5], [1, 1, 5])
    >>> bin_by_width(values, 25.0, definition=Definition.IBSI, lowest=36.0).tolist()
    [1, 1, 6]
    """
    values = _checked(values)
    if not bin_width > 0:
        raise AutoOncoError(f"A bin width must be above 0, got {bin_width:g}.")
    if lowest is not None and values.min() < lowest:
        raise AutoOncoError(
            f"Bins can't begin at {lowest:g}: the lowest value is {values.min():g}; re-segment first."
        )
    if definition is Definition.PYRADIOMICS and is_flat(values):
        return np.ones(len(values), dtype=np.int64)
    width = bin_width if max_levels is None else _widened(values, bin_width, max_levels)
    if definition is Definition.IBSI:
        start = float(values.min()) if lowest is None else lowest
        return np.floor((values.astype(np.float64) - start) / width).astype(np.int64) + 1
    values = _resolved(values, width)
    low, high = values.min(), values.max()
    return _between(values, np.arange(low - low % width, high + 2 * width, width))


def is_flat(values: Values) -> bool:
    """Return whether the values of a lesion differ by float noise only."""
    return bool(np.ptp(values) <= FLAT_RANGE * np.abs(values).max())


def _checked(values: Values) -> NDArray[Any]:
    """Return integers as float64, for their own arithmetic may overflow; floats as they are."""
    if not values.size or not np.isfinite(values).all():
        raise AutoOncoError("Grey levels need a lesion of at least one voxel, all of them finite numbers.")
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)


def _resolved(values: NDArray[Any], width: float) -> NDArray[Any]:
    """Return `values` in their dtype, or as float64 if theirs is too coarse for bins of `width`.

    pyradiomics bins in the dtype of the image; where an edge rounds to the other side of a value, so does ours.
    """
    is_fine = 1024 * float(np.spacing(np.abs(values).max())) < width
    return values if is_fine else values.astype(np.float64)


def _between(values: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.int64]:
    """Return which of the equal bins, from 1, each value lies in, exactly as a search of `edges` would.

    A division finds the bin but for rounding; a comparison with the edges on both sides corrects that. It
    is several times faster than a binary search for each value.
    """
    last = len(edges) - 2
    if last < 0:
        return np.ones(len(values), dtype=np.int64)
    scale = 1 / float(edges[1] - edges[0])
    guess = ((values - edges[0]) * scale).astype(np.int64)
    np.clip(guess, 0, last, out=guess)
    guess -= values < edges[guess]
    guess += values >= edges[guess + 1]
    level: NDArray[np.int64] = guess + 1
    return level


def _widened(values: NDArray[Any], width: float, max_levels: int) -> float:
    """Return the smallest whole multiple of `width` that gives at most `max_levels` levels."""
    low, high = float(values.min()), float(values.max())
    factor = max(1, int(np.ceil((high - low) / width / max_levels)))
    while np.floor(high / (factor * width)) - np.floor(low / (factor * width)) >= max_levels:
        factor += 1
    return factor * width
