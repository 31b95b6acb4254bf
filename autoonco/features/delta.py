"""Features of change: how a feature differs between two sequences, phases or time points of one case."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import combinations

from autoonco.errors import AutoOncoError


class Delta(StrEnum):
    """How two values of a feature are compared."""

    DIFFERENCE = "difference"  # later less earlier
    RATIO = "ratio"  # later over earlier


SIGNS = {Delta.DIFFERENCE: "-", Delta.RATIO: "/"}


def delta_values(tables: Mapping[str, Mapping[str, float]], how: Delta) -> dict[str, float]:
    """Return comparisons of equally named features between all pairs of channels.

    Features that only one channel of a pair has are left out: a shape is the same in both.

    Parameters
    ----------
    tables
        Features by name, for each channel; later channels are compared with earlier ones.
    how
        Difference or ratio; a ratio to 0 is NaN.

    Returns
    -------
    dict
        Values named as other columns are, with the pair as their channel: ``"t2-t1:original_glcm_Contrast"``.

    Raises
    ------
    AutoOncoError
        If there are fewer than two channels, or two of a pair have no feature in common.

    Examples
    --------
    >>> delta_values({"pre": {"Mean": 2.0}, "post": {"Mean": 3.0}}, Delta.RATIO)
    {'post/pre:Mean': 1.5}
    """
    if len(tables) < 2:
        raise AutoOncoError(
            f"Features of change need two channels, got {len(tables)}: name a second image, or leave them out."
        )
    found: dict[str, float] = {}
    for (earlier, before), (later, after) in combinations(tables.items(), 2):
        shared = [name for name in before if name in after]
        if not shared:
            raise AutoOncoError(f"Channels {earlier!r} and {later!r} have no feature in common to compare.")
        pair = f"{later}{SIGNS[how]}{earlier}"
        found |= {f"{pair}:{name}": _compare(before[name], after[name], how) for name in shared}
    return found


def _compare(before: float, after: float, how: Delta) -> float:
    if how is Delta.DIFFERENCE:
        return after - before
    return after / before if before else float("nan")
