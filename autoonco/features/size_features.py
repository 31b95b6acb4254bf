"""Features of matrices that count by grey level and size: run lengths, zone sizes, dependences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoonco.features.matrices import Ints, SizeTable

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SizeNames:
    """How a class of features calls the same sixteen quantities.

    Parameters
    ----------
    small, large
        Prefixes of the emphases: ``ShortRun``, ``LongRun``.
    size, thing
        What has a size, and what it is a size of, in the other names: ``RunLength``, ``Run``.
    level_emphasis
        Between grey level and ``Emphasis``: ``Run`` in ``LowGrayLevelRunEmphasis``.
    has_share
        Whether things a voxel and the normalised grey-level non-uniformity are features: of dependences the
        one is 1 and the other the first-order uniformity.
    """

    small: str
    large: str
    size: str
    thing: str
    level_emphasis: str
    has_share: bool = True


RUNS = SizeNames(small="ShortRun", large="LongRun", size="RunLength", thing="Run", level_emphasis="Run")
ZONES = SizeNames(small="SmallArea", large="LargeArea", size="SizeZone", thing="Zone", level_emphasis="Zone")
DEPENDENCES = SizeNames(
    small="SmallDependence", large="LargeDependence", size="Dependence", thing="Dependence",
    level_emphasis="", has_share=False,
)  # fmt: skip


def size_features(table: SizeTable, levels: NDArray[np.int64], names: SizeNames) -> dict[str, Floats]:
    """Return the features of each matrix of `table`, shape (n_groups,) each.

    Parameters
    ----------
    table
        The counts.
    levels
        The present grey levels, shape (n_levels,).
    names
        How the class calls them.

    Notes
    -----
    IBSI, sections 3.7 (GLRLM), 3.8 (GLSZM) and 3.11 (NGLDM): with p the share of a cell, i its level and j
    its size, an emphasis is the mean of i^±2, j^±2 or their product, a non-uniformity the sum of the
    squared margins, an entropy -Σ p log2 p.
    """
    n, group = table.n_groups, table.group
    total = np.bincount(group, table.count, n)
    share = table.count / total[group]
    i2, j2 = levels[table.level].astype(np.float64) ** 2, table.size.astype(np.float64) ** 2

    def mean(values: Floats) -> Floats:
        return np.bincount(group, share * values, n).astype(np.float64, copy=False)

    sizes, rank = np.unique(table.size, return_inverse=True)
    by_level = _margin(group, table.level, share, (n, len(levels)))
    by_size = _margin(group, rank, share, (n, len(sizes)))
    low, high = f"LowGrayLevel{names.level_emphasis}", f"HighGrayLevel{names.level_emphasis}"
    found = {
        f"{names.small}Emphasis": mean(1 / j2),
        f"{names.large}Emphasis": mean(j2),
        "GrayLevelNonUniformity": (by_level**2).sum(axis=1) * total,
        f"{names.size}NonUniformity": (by_size**2).sum(axis=1) * total,
        f"{names.size}NonUniformityNormalized": (by_size**2).sum(axis=1),
        "GrayLevelVariance": _variance(by_level, levels.astype(np.float64)),
        f"{names.thing}Variance": _variance(by_size, sizes.astype(np.float64)),
        f"{names.thing}Entropy": -mean(np.log2(share)),
        f"{low}Emphasis": mean(1 / i2),
        f"{high}Emphasis": mean(i2),
        f"{names.small}LowGrayLevelEmphasis": mean(1 / (i2 * j2)),
        f"{names.small}HighGrayLevelEmphasis": mean(i2 / j2),
        f"{names.large}LowGrayLevelEmphasis": mean(j2 / i2),
        f"{names.large}HighGrayLevelEmphasis": mean(i2 * j2),
    }
    if names.has_share:
        found["GrayLevelNonUniformityNormalized"] = (by_level**2).sum(axis=1)
        found[f"{names.thing}Percentage"] = 1 / mean(np.sqrt(j2))
    return found


def _margin(group: Ints, index: Ints, share: Floats, shape: tuple[int, int]) -> Floats:
    summed = np.bincount(group * shape[1] + index, share, shape[0] * shape[1])
    return summed.reshape(shape).astype(np.float64, copy=False)


def _variance(shares: Floats, values: Floats) -> Floats:
    """Return the variance of `values` (n,) under each row of `shares` (n_groups, n)."""
    mean = shares @ values
    variance: Floats = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
    return variance
