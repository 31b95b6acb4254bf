"""What the report shows of the data themselves: a row a case, histograms, and a gallery of small pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.cache import write_atomically
from autoonco.data.case import Case
from autoonco.data.checks import CaseFacts
from autoonco.data.grids import luminance
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from autoonco.data.thumbnails import panels, picture, save_png

CASE_COLUMNS = ("row", "part", "class", "site", "size", "longest_mm", "lowest", "highest")
MOST_SHOWN, FEWEST_A_CLASS = 12, 2
GALLERY_SIDE = 120
N_BINS = 32
_PIXELS, _CASES_A_CLASS = 2000, 25
_OUTER = (0.5, 99.5)

Rows = NDArray[np.int64]


def cases_table(dataset: Dataset, facts: Sequence[CaseFacts], train: Rows, test: Rows) -> pd.DataFrame:
    """Return a row a case of what was measured on its first image, named by its row.

    ``size`` is the lesion's area in mm² or volume in mm³, ``longest_mm`` the longest edge of its box, both nan
    without a mask; ``site`` a number, 0 where none is named; ``part`` is train, test, or
    apart: kept from learning for another use, such as calibration.
    """
    assert dataset.y is not None
    names = sorted({case.site for case in dataset.cases if case.site is not None})
    part = np.full(len(dataset), "apart", dtype=object)
    part[train], part[test] = "train", "test"
    rows = []
    for k, (case, fact) in enumerate(zip(dataset.cases, facts, strict=True)):
        first = next(iter(fact.channels.values()), None)
        lesion = None if first is None else first.lesion
        rows.append(
            (
                case.row,
                str(part[k]),
                int(dataset.y[k]),
                0 if case.site is None else names.index(case.site) + 1,
                math.nan if first is None or lesion is None else lesion.voxels * math.prod(first.spacing_mm),
                max(lesion.extent_mm) if lesion is not None and lesion.extent_mm else math.nan,
                None if first is None else first.low,
                None if first is None else first.high,
            )
        )
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def gallery_positions(dataset: Dataset, *, seed: int) -> list[int]:
    """Return positions of a few cases of each class, drawn at random, class by class."""
    assert dataset.y is not None
    rng = np.random.default_rng(seed)
    each = max(FEWEST_A_CLASS, MOST_SHOWN // max(1, len(dataset.classes)))
    drawn = [rng.permutation(np.flatnonzero(dataset.y == k))[:each] for k in range(len(dataset.classes))]
    return [int(position) for some in drawn for position in np.sort(some)]


def show_case(case: Case, folder: Path, *, heat: NDArray[Any] | None = None, name: str, side: int) -> str:
    """Write a case's first image with its lesion's outline as ``<name>.png`` into `folder`, and return that name.

    Raises
    ------
    DataError
        If the case can't be read.
    """
    scan = read_scan(case, next(iter(case.images)))
    pixels = picture(panels(scan, heat), with_heat=heat is not None, side=side)
    write_atomically(folder / f"{name}.png", lambda path: save_png(pixels, path))
    return f"{name}.png"


def grey_histograms(dataset: Dataset, *, seed: int, ends: float) -> list[dict[str, Any]]:
    """Return histograms of grey values by channel and class, as plain JSON.

    Of cases read until the monotonic time `ends`; of the lesion's pixels where every case has a mask, else of the
    whole image's; bins span the outer percentiles.
    """
    assert dataset.y is not None
    found = []
    for channel in dataset.cases[0].images:
        inside = all(case.mask_of(channel) is not None for case in dataset.cases)
        samples: dict[int, list[NDArray[Any]]] = {k: [] for k in range(len(dataset.classes))}
        for position in _in_turn(dataset.y, seed=seed):
            if time.monotonic() > ends:
                break
            some = _sampled(dataset.cases[position], channel, inside=inside, seed=seed)
            samples[int(dataset.y[position])].append(some)
        pooled = [np.concatenate(some) if some else np.empty(0) for some in samples.values()]
        everything = np.concatenate(pooled)
        if not everything.size:
            continue
        low, high = np.percentile(everything, _OUTER)
        edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
        found.append(
            {
                "channel": channel,
                "where": "lesion" if inside else "image",
                "edges": edges.tolist(),
                "counts": [np.histogram(some, edges)[0].tolist() for some in pooled],
                "cases": [len(some) for some in samples.values()],
            }
        )
    return found


def _in_turn(y: Rows, *, seed: int) -> Iterable[int]:
    """Yield positions of cases, one class after the other in turn, a few dozen of each."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(y == k))[:_CASES_A_CLASS] for k in np.unique(y)]
    for turn in range(_CASES_A_CLASS):
        yield from (int(some[turn]) for some in drawn if turn < len(some))


def _sampled(case: Case, channel: str, *, inside: bool, seed: int) -> NDArray[Any]:
    scan = read_scan(case, channel)
    values = sitk.GetArrayFromImage(luminance(scan.image)).ravel()
    if inside and scan.mask is not None:
        values = values[sitk.GetArrayViewFromImage(scan.mask).ravel() > 0]
    values = values[np.isfinite(values)]
    rng = np.random.default_rng([seed, case.row])
    return values if len(values) <= _PIXELS else rng.choice(values, _PIXELS, replace=False)
