"""Features of grey-level co-occurrence matrices."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    n = len(counts)
    total = counts.sum(axis=(1, 2))
    group, row, column = np.nonzero(np.triu(counts))
    share = counts[group, row, column] / total[group]
    both = np.where(row == column, share, 2 * share)  # with the cell's mirror image
    i, j = levels[row], levels[column]
    sums = _sums(group * (2 * n_levels + 1) + i + j, both, (n, 2 * n_levels + 1))
    differences = _sums(group * n_levels + j - i, both, (n, n_levels))
    margin = counts.sum(axis=2) / total[:, None]
    joint = -_sums(group, both * np.log2(share), (n,))
    found = _of_sums(sums, margin @ levels.astype(np.float64)) | _of_differences(differences, n_levels)
    found |= _of_margins(found["ClusterTendency"], found["Contrast"], joint, _entropy(margin))
    found["JointEnergy"] = _sums(group, both * share, (n,))
    found["MaximumProbability"] = counts.max(axis=(1, 2), initial=0) / total
    found["MCC"] = _maximal_correlation(counts / total[:, None, None], margin)
    # 4 i j = (i + j)² - (i - j)²
    square = np.arange(2 * n_levels + 1, dtype=np.float64) ** 2
    found["Autocorrelation"] = (sums @ square - found["Contrast"]) / 4
    return found


def _sums(cell: NDArray[np.int64], values: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the sums of `values` by their flat index in an array of `shape`."""
    summed = np.bincount(cell, values, prod(shape)).reshape(shape)
    return summed.astype(np.float64, copy=False)


def _of_sums(share: Floats, mean: Floats) -> dict[str, Floats]:
    """Return what depends on i + j."""
    k = np.arange(share.shape[1], dtype=np.float64)
    off = k - 2 * mean[:, None]
    return {
        "ClusterProminence": (share * off**4).sum(axis=1),
        "ClusterShade": (share * off**3).sum(axis=1),
        "JointAverage": mean,
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


def _of_margins(tendency: Floats, contrast: Floats, joint: Floats, single: Floats) -> dict[str, Floats]:
    """Return what compares a matrix with its margins, from its joint and its margin's entropy.

    With x = i - mean and y = j - mean of equal variance, (x + y)² is the cluster tendency's term and
    (x - y)² the contrast's: their expectations give variance and covariance.
    """
    variance, covariance = (tendency + contrast) / 4, (tendency - contrast) / 4
    # Of independent neighbours both cross entropies of the margins, HXY1 and HXY2, are twice the single one.
    information = np.maximum(2 * single - joint, 0)
    return {
        "SumSquares": variance,
        # A single grey level is perfectly correlated.
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


def _maximal_correlation(share: Floats, margin: Floats) -> Floats:
    """Return the maximal correlation coefficient, the root of the second eigenvalue of Q.

    Q(i, j) = Σ_k p(i, k) p(j, k) / (p(i) p(k)) (Haralick 1973, f14). With B = p(i, k) / √(p(i) p(k)), Q is
    similar to B Bᵀ; B is symmetric, so that the root is B's second largest absolute eigenvalue. The largest
    is 1, of the eigenvector √p, which is taken out.
    """
    if margin.shape[1] < 2:
        return np.ones(len(margin))
    root = np.sqrt(margin)
    scale = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    scaled = share * scale[:, :, None] * scale[:, None, :] - root[:, :, None] * root[:, None, :]
    largest: Floats = np.abs(np.linalg.eigvalsh(scaled)).max(axis=1)
    return largest
