"""What a scan is like, in some tens of numbers: its grid and lesion, and the distribution and grain of its grey values.

They are made to tell scanners and protocols apart, not diseases: sizes and spacings; quantiles of the grey values;
noise (how far a voxel is from the mean of its neighbours) and sharpness (how large steps between neighbours are).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, digest
from autoonco.data.case import Case
from autoonco.data.readers import read_scan

Values = NDArray[np.float64]

VERSION = 1
PARTS = ("geometry", "intensity")
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_KIND = "signature"
_TINY = 1e-12


def signatures(
    cases: Sequence[Case], *, artefacts: ArtefactCache, n_threads: int = 1
) -> dict[str, list[Values]]:
    """Return the numbers of each part of `PARTS`, an array a case; of equal lengths for scans of one kind.

    Lengths differ where one case has other channels, dimensions or colours, or a mask that others lack.

    Raises
    ------
    DataError
        If a case can't be read; names its row.
    """

    def look(case: Case) -> dict[str, Values]:
        key = digest(_KIND, VERSION, artefacts.hash_of(case), sorted(case.images))
        found = artefacts.get_or_make(_KIND, key, lambda: _signature(case))
        return {part: np.asarray(found[part], dtype=np.float64) for part in PARTS}

    with ThreadPoolExecutor(n_threads) as pool:
        rows = list(pool.map(look, cases))
    return {part: [row[part] for row in rows] for part in PARTS}


def _signature(case: Case) -> dict[str, Values]:
    geometry: list[Values] = []
    intensity: list[Values] = []
    for channel in case.images:
        scan = read_scan(case, channel)
        spacing = np.array(scan.image.GetSpacing())
        size = np.array(scan.image.GetSize())
        geometry.append(np.log(np.concatenate([spacing, size * spacing])))
        if scan.mask is not None:
            volume = float((sitk.GetArrayViewFromImage(scan.mask) > 0).sum()) * float(spacing.prod())
            geometry.append(np.log([max(volume, _TINY)]))
        values = sitk.GetArrayFromImage(scan.image).astype(np.float32)
        colours = [values] if scan.image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(values, -1, 0)
        intensity += [_grain(component) for component in colours]
    nothing = np.empty(0)  # of a case without images
    return {
        "geometry": np.concatenate([*geometry, nothing]),
        "intensity": np.concatenate([*intensity, nothing]),
    }


def _grain(values: NDArray[np.float32]) -> Values:
    """Return quantiles, and the logarithms of noise and step, each as it is and against the spread of the values."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    quantiles = np.quantile(finite, QUANTILES)
    spread = max(float(quantiles[-2] - quantiles[1]), _TINY)
    noise, step = _noise(finite), _step(finite)
    logs = [np.log(max(each, spread * 1e-4)) for each in (noise, step)]
    # quantiles of scans without a unit reach over orders of magnitude
    return np.concatenate(
        [np.sign(quantiles) * np.log1p(np.abs(quantiles)), logs, [each - np.log(spread) for each in logs]]
    )


def _noise(values: NDArray[Any]) -> float:
    """Return the median distance of a voxel from the mean of its two neighbours in a row, where grey values vary."""
    inner = values[..., 1:-1]
    apart = np.abs(inner - (values[..., 2:] + values[..., :-2]) / 2)
    return _median_of_positive(apart)


def _step(values: NDArray[Any]) -> float:
    """Return the 90th percentile of the step between neighbours in a row."""
    steps = np.abs(np.diff(values, axis=-1))
    return float(np.quantile(steps, 0.9)) if steps.size else 0.0


def _median_of_positive(values: NDArray[Any]) -> float:
    positive = values[values > 0]
    return float(np.median(positive)) if positive.size else 0.0
