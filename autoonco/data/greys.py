"""Grey values of any unit as numbers in 0..1: windows of Hounsfield units, uptake, and what is only relative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.fingerprint import Intensity
from autoonco.data.grids import luminance

Window = Literal["wide", "soft_tissue", "lung", "bone", "three"]
Uptake = Literal["relative", "suv5", "suv10", "suv20"]
Relative = Literal["crop", "scan", "zscore"]

HU_WINDOW = (-1000.0, 400.0)
"""Air to enhanced soft tissue, linear: keeps lung nodule margins and calcified tissue apart, and one step of an
8-bit crop is 5.5 HU, below the noise of a diagnostic CT. Denser bone than 400 HU carries no tumour texture."""
WINDOWS: Mapping[str, tuple[float, float]] = {
    "wide": HU_WINDOW,
    "soft_tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
}
"""Lowest and highest Hounsfield unit that is told apart: the usual presets of a reading room (width and level 400/40,
1500/-600, 1800/400)."""
THREE = ("lung", "soft_tissue", "bone")
"""The windows that are channels side by side where the window is ``"three"``."""
UPTAKES: Mapping[str, float] = {"suv5": 5.0, "suv10": 10.0, "suv20": 20.0}
"""Highest standardised uptake value that is told apart; 0 is the lowest."""
PERCENTILES = (1.0, 99.0)
Z_RANGE = 3.0
"""Standard deviations on either side of the mean that a z-score keeps apart."""
_ENOUGH = 200_000
"""Voxels of a scan that its percentiles are taken over: every n-th, evenly spread."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How grey values become numbers in 0..1, each choice for the unit that it is about.

    Parameters
    ----------
    window
        Of Hounsfield units: a name of `WINDOWS`, or ``"three"`` for three of them as channels.
    uptake
        Of standardised uptake values: from 0 to a value of `UPTAKES`, the same for every case, or ``"relative"`` as
        any arbitrary unit.
    relative
        Of arbitrary units (MR): stretched between the 1st and 99th percentile of the ``"crop"`` or of the whole
        ``"scan"``, or ``"zscore"`` over the crop, three standard deviations to either side.
    """

    window: Window = "wide"
    uptake: Uptake = "relative"
    relative: Relative = "crop"

    def n_layers(self, unit: Intensity) -> int:
        """Return how many channels one scan of a unit becomes."""
        return len(THREE) if unit is Intensity.HOUNSFIELD and self.window == "three" else 1


def scale_intensity(values: NDArray[Any], unit: Intensity) -> NDArray[np.float32]:
    """Return grey values as float32 in 0..1 by their unit; NaN (outside the scan) becomes 0, the background.

    Values of arbitrary unit (MR, PET) are stretched between their 1st and 99th percentile within the crop.
    """
    return layers_of(values, unit, Scaling())[0]


def scan_range(scan: sitk.Image) -> tuple[float, float]:
    """Return the 1st and 99th percentile of a scan's brightness, over evenly spread voxels of a large one."""
    bright = luminance(scan)  # has to outlive the view of its values
    values = sitk.GetArrayViewFromImage(bright).ravel()
    return _percentiles(values[:: max(1, values.size // _ENOUGH)])


def layers_of(
    values: NDArray[Any],
    unit: Intensity,
    scaling: Scaling,
    *,
    value_range: tuple[float, float] | None = None,
) -> list[NDArray[np.float32]]:
    """Return the channels ``(*space)`` in 0..1 that values of a unit become; NaN becomes 0, the background.

    `value_range` is the `scan_range` of the scan that the values are from; None takes that of the values.
    """
    return [_between(values, low, high) for low, high in _ranges(values, unit, scaling, value_range)]


def _ranges(
    values: NDArray[Any], unit: Intensity, scaling: Scaling, value_range: tuple[float, float] | None
) -> list[tuple[float, float]]:
    if unit is Intensity.BYTE:
        return [(0.0, 255.0)]
    if unit is Intensity.UNIT:
        return [(0.0, 1.0)]
    if unit is Intensity.HOUNSFIELD:
        return [WINDOWS[name] for name in (THREE if scaling.window == "three" else (scaling.window,))]
    if unit is Intensity.SUV and scaling.uptake != "relative":
        return [(0.0, UPTAKES[scaling.uptake])]
    if scaling.relative == "scan" and value_range is not None:
        return [value_range]
    inside = values[np.isfinite(values)]
    if scaling.relative == "zscore" and inside.size:
        mean, half = float(inside.mean()), Z_RANGE * float(inside.std())
        return [(mean - half, mean + half)] if half else [(mean, mean + 1.0)]
    return [_percentiles(values)]


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    inside = values[np.isfinite(values)]
    if not inside.size:
        return 0.0, 1.0
    low, high = (float(edge) for edge in np.percentile(inside, PERCENTILES))
    return low, high


def _between(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    scaled = (values - low) / max(high - low, 1e-6)
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0.0, 1.0).astype(np.float32)
