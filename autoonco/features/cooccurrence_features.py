"""Features of grey-level co-occurrence matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EPS = float(np.spacing(1))
"""What pyradiomics adds to denominators."""


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """The cells of symmetric matrices that aren't empty: their matrix, row, column and probability."""

    group: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    share: Floats
    n_groups: int
    levels: NDArray[np.int64]

    def mean(self, values: Floats) -> Floats:
        """Return the expectation of `values` (n_cells,) under each matrix."""
        summed = np.bincount(self.group, self.share * values, self.n_groups)
        return summed.astype(np.float64, copy=False)

    def distribution(self, index: NDArray[np.int64], n: int) -> Floats:
        """Return the probabilities of `index` (n_cells,) from 0 to n - 1, shape (n_groups, n)."""
        summed = np.bincount(self.group * n + index, self.share, self.n_groups * n)
        return summed.reshape(self.n_groups, n).astype(np.float64, copy=False)

    @cached_property
    def margin(self) -> Floats:
        """Probability of each level, shape (n_groups, n_levels)."""
        return self.distribution(self.row, len(self.levels))


def cooccurrence_features(
    counts: NDArray[np.int64], levels: NDArray[np.int64], n_levels: int
) -> dict[str, Floats]:
    """Return the GLCM features of each matrix, shape (n_directions,) each.

    Parameters
    ----------
    counts
        Symmetric counts, none without any pair, shape (n_directions, n_present, n_present).
    levels
        The present grey levels, shape (n_present,).
    n_levels
        The highest grey level of the lesion, which normalises ``Idn`` and ``Idmn``.

    Notes
    -----
    IBSI, section 3.6. As the matrices are symmetric, both margins are one, and what depends on i + j or
    i - j alone is taken from their distributions.
    """
    group, row, column = np.nonzero(counts)
    share = counts[group, row, column] / counts.sum(axis=(1, 2))[group]
    cells = _Cells(group=group, row=row, column=column, share=share, n_groups=len(counts), levels=levels)
    i, j = levels[row], levels[column]
    mean = cells.margin @ levels.astype(np.float64)
    found = {"Autocorrelation": cells.mean((i * j).astype(np.float64)), "JointAverage": mean}
    found |= _of_sums(cells.distribution(i + j, 2 * n_levels + 1), mean)
    found |= _of_differences(cells.distribution(np.abs(i - j), n_levels), n_levels)
    found |= _of_margins(cells, mean)
    found["JointEnergy"] = cells.mean(share)
    found["MaximumProbability"] = counts.max(axis=(1, 2), initial=0) / counts.sum(axis=(1, 2))
    found["MCC"] = _maximal_correlation(cells)
    return found


def _of_sums(share: Floats, mean: Floats) -> dict[str, Floats]:
    """Return what depends on i + j."""
    k = np.arange(share.shape[1], dtype=np.float64)
    off = k - 2 * mean[:, None]
    return {
        "ClusterProminence": (share * off**4).sum(axis=1),
        "ClusterShade": (share * off**3).sum(axis=1),
        "ClusterTendency": (share * off**2).sum(axis=1),
        "SumAverage": share @ k,
        "SumEntropy": _entropy(share),
    }


def _of_differences(share: Floats, n_levels: int) -> dict[str, Floats]:
    """Return what depends on |i - j|."""
    k = np.arange(share.shape[1], dtype=np.float64)
    average = share @ k
    return {
        "Contrast": share @ k**2,
        "DifferenceAverage": average,
        "DifferenceEntropy": _entropy(share),
        "DifferenceVariance": (share * (k - average[:, None]) ** 2).sum(axis=1),
        "Id": share @ (1 / (1 + k)),
        "Idn": share @ (1 / (1 + k / n_levels)),
        "Idm": share @ (1 / (1 + k**2)),
        "Idmn": share @ (1 / (1 + (k / n_levels) ** 2)),
        "InverseVariance": share[:, 1:] @ (1 / k[1:] ** 2),
    }


def _of_margins(cells: _Cells, mean: Floats) -> dict[str, Floats]:
    """Return what compares the matrix with its margins; a single grey level is perfectly correlated."""
    off = cells.levels - mean[:, None]
    variance = (cells.margin * off**2).sum(axis=1)
    covariance = cells.mean(off[cells.group, cells.row] * off[cells.group, cells.column])
    joint, single = -cells.mean(np.log2(cells.share)), _entropy(cells.margin)
    # Of independent neighbours both cross entropies of the margins, HXY1 and HXY2, are twice the single one.
    information = np.maximum(2 * single - joint, 0)
    return {
        "SumSquares": variance,
        "Correlation": np.divide(covariance, variance, out=np.ones_like(variance), where=variance > 0),
        "JointEntropy": joint,
        "Imc1": -np.divide(information, single, out=np.zeros_like(single), where=single > 0),
        "Imc2": np.sqrt(-np.expm1(-2 * information)),
    }


def _entropy(share: Floats) -> Floats:
    """Return -Σ p log2 p along the last axis; an empty cell adds nothing."""
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    entropy: Floats = -(share * logs).sum(axis=-1)
    return entropy


def _maximal_correlation(cells: _Cells) -> Floats:
    """Return the maximal correlation coefficient, the root of the second eigenvalue of Q.

    Q(i, j) = Σ_k p(i, k) p(j, k) / (p(i) p(k)) (Haralick 1973, f14). With B = p(i, k) / √(p(i) p(k)), Q is
    similar to B Bᵀ; B is symmetric, so that the root is B's second largest absolute eigenvalue. The largest
    is 1, of the eigenvector √p, which is taken out.
    """
    n = len(cells.levels)
    if n < 2:
        return np.ones(cells.n_groups)
    root = np.sqrt(cells.margin)
    scaled = np.zeros((cells.n_groups, n, n))
    norm = root[cells.group, cells.row] * root[cells.group, cells.column]
    scaled[cells.group, cells.row, cells.column] = cells.share / norm
    scaled -= root[:, :, None] * root[:, None, :]
    largest: Floats = np.abs(np.linalg.eigvalsh(scaled)).max(axis=1)
    return largest
