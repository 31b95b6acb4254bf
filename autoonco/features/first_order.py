"""First-order features: statistics of the grey values of a lesion, and of its histogram of levels."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.levels import Values
from autoonco.features.matrices import Ints

Floats = NDArray[np.float64]
HISTOGRAM_NAMES = ("Entropy", "Uniformity")
"""The first-order features that depend on the binning."""


def first_order_values(
    values: Values,
    *,
    spacing_mm: tuple[float, ...],
    levels: Ints | None = None,
    definition: Definition = Definition.PYRADIOMICS,
) -> dict[str, float]:
    """Return the first-order features by pyradiomics' names (IBSI, section 3.3).

    Parameters
    ----------
    values
        Grey values in the lesion, shape (n_voxels,).
    spacing_mm
        Size of a voxel or pixel, which ``TotalEnergy`` is weighted by.
    levels
        Grey levels, 0 outside the lesion, of any shape; without them there is no entropy and uniformity.
    definition
        Of IBSI's, kurtosis is the excess over a normal distribution's 3.

    Returns
    -------
    dict
        Values by name, all NaN if a grey value isn't a finite number. Without contrast, skewness and
        kurtosis are 0.

    Raises
    ------
    AutoOncoError
        If there are no values.

    Examples
    --------
    >>> found = first_order_values(np.array([1, 2, 3, 6]), spacing_mm=(2.0, 1.0, 1.0))
    >>> found["Mean"], found["Energy"], found["TotalEnergy"]
    (3.0, 50.0, 100.0)
    """
    if not values.size:
        raise AutoOncoError("First-order features need a lesion of at least one voxel, got none.")
    x = np.sort(values.astype(np.float64), axis=None)  # once, for all percentiles; floats sort fastest
    with np.errstate(invalid="ignore"):
        found = _of_ranks(x) | _of_moments(x, definition) | _of_energy(x, prod(spacing_mm))
    if not np.isfinite(x).all():
        found = dict.fromkeys(found, float("nan"))
    return found if levels is None else found | histogram_values(levels)


def histogram_values(levels: Ints) -> dict[str, float]:
    """Return the entropy (IBSI TLU2) and uniformity (BJ5W) of grey levels; 0 is outside the lesion.

    Examples
    --------
    >>> histogram_values(np.array([0, 1, 1, 2, 2]))
    {'Entropy': 1.0, 'Uniformity': 0.5}
    """
    counts = np.bincount(levels.ravel())[1:]
    share = counts[counts > 0] / counts.sum()
    return {"Entropy": float(-(share @ np.log2(share))) + 0.0, "Uniformity": float(share @ share)}


def _of_ranks(x: Floats) -> dict[str, float]:
    """Return what percentiles tell, of values in ascending order; they are interpolated linearly."""
    low, first, median, third, high = (_percentile(x, percent) for percent in (10, 25, 50, 75, 90))
    inner = x[np.searchsorted(x, low) : np.searchsorted(x, high, side="right")]
    robust = float(np.abs(inner - inner.mean()).mean()) if inner.size else float("nan")
    return {
        "10Percentile": low,
        "90Percentile": high,
        "InterquartileRange": third - first,
        "Maximum": float(x[-1]),
        "Median": median,
        "Minimum": float(x[0]),
        "Range": float(x[-1] - x[0]),
        "RobustMeanAbsoluteDeviation": robust,
    }


def _percentile(x: Floats, percent: int) -> float:
    place = (len(x) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(x) - 1)
    return float(x[below] + (x[above] - x[below]) * (place - below))


def _of_moments(x: Floats, definition: Definition) -> dict[str, float]:
    mean = float(x.mean())
    off = x - mean
    square = off * off
    variance = float(square.mean())
    skewness = kurtosis = 0.0
    if x[0] != x[-1]:  # else the deviations are rounding errors
        skewness = float((square * off).mean()) / variance**1.5
        kurtosis = float((square * square).mean()) / variance**2
        kurtosis -= 3.0 if definition is Definition.IBSI else 0.0
    return {
        "Kurtosis": kurtosis,
        "Mean": mean,
        "MeanAbsoluteDeviation": float(np.abs(off).mean()),
        "Skewness": skewness,
        "Variance": variance,
    }


def _of_energy(x: Floats, voxel_mm: float) -> dict[str, float]:
    energy = float(x @ x)
    return {
        "Energy": energy,
        "RootMeanSquared": float(np.sqrt(energy / x.size)),
        "TotalEnergy": energy * voxel_mm,
    }
