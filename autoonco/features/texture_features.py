"""Texture features of an array of grey levels, in pyradiomics' or in IBSI's definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoonco.features.conventions import Aggregation, Definition
from autoonco.features.cooccurrence_features import cooccurrence_features
from autoonco.features.matrices import Ints, Matrices, SizeTable, count_matrices
from autoonco.features.size_features import DEPENDENCES, RUNS, ZONES, size_features

Features = dict[str, NDArray[np.float64]]
COARSEST = 1e6
"""Coarseness of a lesion without any grey-level change (IBSI, section 3.10)."""


def texture_values(
    levels: Ints,
    *,
    definition: Definition = Definition.PYRADIOMICS,
    aggregation: Aggregation = Aggregation.VOLUME,
) -> dict[str, dict[str, float]]:
    """Return the features of ``glcm``, ``glrlm``, ``glszm``, ``gldm`` and ``ngtdm`` by pyradiomics' names.

    Parameters
    ----------
    levels
        Grey levels from 1 in the lesion, 0 outside, shape (z, y, x) or (y, x).
    definition
        Whose definition, where they differ.
    aggregation
        How directions and slices are joined; a picture is one slice, whichever is chosen.

    Returns
    -------
    dict
        Values by class and name. What isn't defined, as a GLCM without two adjacent voxels, is NaN.

    Raises
    ------
    AutoOncoError
        If no voxel is in the lesion, or a level is negative or above `MAX_LEVEL`.

    Examples
    --------
    >>> values = texture_values(np.array([[1, 1], [2, 2]]))
    >>> round(values["glcm"]["Contrast"], 3), values["glszm"]["ZonePercentage"]
    (0.75, 0.5)
    """
    by_slice = aggregation.is_by_slice and levels.ndim == 3
    parts = [part for part in levels if part.any()] if by_slice else [levels]
    counted = [count_matrices(part, in_plane=aggregation.is_in_plane) for part in parts or [levels]]
    if aggregation.is_merged:
        counted = [_merged(matrices) for matrices in counted]
    n_levels = int(levels.max())
    found = [_features(matrices, n_levels, definition) for matrices in counted]
    return {name: _means([features[name] for features in found]) for name in found[0]}


def _features(matrices: Matrices, n_levels: int, definition: Definition) -> dict[str, Features]:
    """Return each class's features, a value a matrix."""
    levels = matrices.levels
    return {
        "glcm": cooccurrence_features(matrices.glcm, levels, n_levels),
        "glrlm": size_features(matrices.glrlm, levels, RUNS),
        "glszm": size_features(matrices.glszm, levels, ZONES),
        "gldm": size_features(matrices.gldm, levels, DEPENDENCES),
        "ngtdm": _neighbourhood_features(matrices, definition),
    }


def _means(parts: Sequence[Features]) -> dict[str, float]:
    """Return the mean of each feature over all matrices; of none it is NaN."""
    names = sorted(parts[0])
    values = np.concatenate([np.stack([part[name] for name in names]) for part in parts], axis=1)
    if not values.shape[1]:
        return dict.fromkeys(names, float("nan"))
    return dict(zip(names, values.mean(axis=1).tolist(), strict=True))


def _merged(matrices: Matrices) -> Matrices:
    """Return the matrices summed over directions."""
    glcm = matrices.glcm.sum(axis=0, keepdims=True)
    return replace(matrices, glcm=glcm if glcm.any() else matrices.glcm, glrlm=_merged_table(matrices.glrlm))


def _merged_table(table: SizeTable) -> SizeTable:
    if not table.n_groups:
        return table
    stride = int(table.size.max()) + 1
    cells, rank = np.unique(table.level * stride + table.size, return_inverse=True)
    level, size = np.divmod(cells, stride)
    count = np.bincount(rank, table.count).astype(np.int64)
    return SizeTable(group=np.zeros_like(level), level=level, size=size, count=count, n_groups=1)


def _neighbourhood_features(matrices: Matrices, definition: Definition) -> Features:
    """Return the NGTDM features (Amadasun and King 1989; IBSI, section 3.10), shape (1,) each.

    pyradiomics counts a voxel without neighbours as one that doesn't differ from them.
    """
    n_with, n_without, difference = matrices.ngtdm
    n = n_with + n_without if definition is Definition.PYRADIOMICS else n_with
    total = n.sum()
    if not total:
        return {name: np.full(1, np.nan) for name in NEIGHBOURHOOD_NAMES}
    i, s, p = (values[n > 0] for values in (matrices.levels.astype(np.float64), difference, n / total))
    step2, weighted, n_present = np.subtract.outer(i, i) ** 2, p @ s, len(i)
    pairs = n_present * (n_present - 1)
    change = np.abs(np.subtract.outer(i * p, i * p)).sum()
    both = np.add.outer(p, p)
    values = (
        1 / weighted if weighted else COARSEST,
        p @ step2 @ p * s.sum() / total / pairs if pairs else 0.0,
        weighted / change if change else 0.0,
        (np.sqrt(step2) * np.add.outer(p * s, p * s) / both).sum() / total,
        (both * step2).sum() / s.sum() if s.sum() else 0.0,
    )
    return {name: np.array([value]) for name, value in zip(NEIGHBOURHOOD_NAMES, values, strict=True)}


NEIGHBOURHOOD_NAMES = ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength")
