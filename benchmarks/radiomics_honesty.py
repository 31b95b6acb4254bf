"""What radiomics adds to plain numbers, and what is left of it under masks that another reader might have drawn.

    python -m benchmarks radiomics_honesty busi [--time-limit 5min]
    python -m benchmarks radiomics_honesty lidc [--time-limit 20min]

`busi`: the search on breast lesions judged on the published test split, beside eight hand-made shape numbers with
logistic regression; the paired difference with its interval, on all test cases and on the clean ones; then the same
models on test masks shifted, dilated, eroded, and boxes alone. `lidc`: malignant against benign nodules, nested,
beside the volume alone. Nothing is chosen on the test cases.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.classifier import AutoOncoClassifier
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.grids import lesion_box
from autoonco.data.manifest import Dataset
from autoonco.evaluation.baselines import LESION_SIZE
from autoonco.features.blocks import extract_table
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec
from autoonco.metrics.comparison import Comparison, compare_auc, compare_folds
from autoonco.metrics.intervals import auc_interval

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
EIGHT = (
    "original_shape2D_PixelSurface", "original_shape2D_Perimeter", "original_shape2D_Sphericity",
    "original_shape2D_Elongation", "contour_Solidity", "contour_Extent", "contour_AspectYX", "contour_RadialCV",
)  # fmt: skip
LOGARITHMS = 2
"""So many of `EIGHT`, the first, grow with the lesion and are taken as logarithms."""
SHIFT_SHARE, RIM_PIXELS = 0.15, 3
Mask = NDArray[np.bool_]


def main(arguments: Sequence[str]) -> None:
    """Run one of the two comparisons and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("busi", "lidc"))
    parser.add_argument("--time-limit", default="5min")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = busi if options.task == "busi" else lidc
        run(Path(folder), time_limit=options.time_limit, seed=options.seed)


def busi(folder: Path, *, time_limit: str, seed: int) -> None:
    """Search on breast lesions, then print figures as drawn and under other masks."""
    data = Dataset.from_csv(SHARED / "busi" / "lesions.csv")
    assert data.split is not None
    assert data.y is not None
    model = AutoOncoClassifier(
        time_limit=time_limit,
        families=["radiomics"],
        evaluation="external",
        seed=seed,
        run_dir=folder / "run",
    ).fit(data)
    train, test = data.subset(data.split != "test"), data.subset(data.split == "test")
    assert train.y is not None
    assert test.y is not None
    plain = shape_model().fit(shape_numbers(train.cases), train.y)
    print(f"{len(train)} development cases, {len(test)} test cases")
    for name, change in MASKS.items():
        cases = test.cases if change is None else changed(test.cases, change, folder / name)
        found = {
            "radiomics": model.predict_proba(list(cases)),
            "eight shape numbers": plain.predict_proba(shape_numbers(cases)),
        }
        _print_figures(name, test.y, found, test.groups)
        if change is None and test.is_clean is not None:
            clean = np.asarray(test.is_clean)
            _print_figures(
                "as drawn, clean", test.y[clean], {k: v[clean] for k, v in found.items()}, test.groups[clean]
            )


def _print_figures(
    name: str, y: NDArray[Any], found: Mapping[str, NDArray[Any]], groups: NDArray[Any]
) -> None:
    for model, proba in found.items():
        interval = auc_interval(y, proba, groups)
        print(f"{name:<18}{model:<22}AUC {interval.value:.3f} [{interval.lower:.3f}, {interval.upper:.3f}]")
    one, two = found.values()
    print(f"{name:<18}{'difference':<22}{_said(compare_auc(y, one, two, groups))}", flush=True)


def _said(found: Comparison) -> str:
    return (
        f"{found.difference:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}], p {found.p:.3f}, {found.method}"
    )


def shape_numbers(cases: Sequence[Case]) -> NDArray[np.float64]:
    """Return `EIGHT` numbers of each case's mask ``(n_cases, 8)``."""
    channel = ChannelSpec(name="image", binning=Binning(kind="count", value=32))
    spec = ExtractionSpec(ndim=2, channels=(channel,))
    table, names = extract_table(cases, spec, artefacts=ArtefactCache(), n_threads=2)
    found = table[:, [names.index(name) for name in EIGHT]]
    found[:, :LOGARITHMS] = np.log(found[:, :LOGARITHMS])
    return found


def shape_model() -> Pipeline:
    """Return the plain model: gaps filled, z-scores, logistic regression as scikit-learn sets it."""
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))


def _shifted(mask: Mask) -> Mask:
    """Move the mask right and down by a share of its equivalent radius, what leaves the picture being cut."""
    step = max(1, round(SHIFT_SHARE * np.sqrt(mask.sum() / np.pi)))
    moved = np.zeros_like(mask)
    moved[step:, step:] = mask[:-step, :-step]
    return moved if moved.any() else mask


def _eroded(mask: Mask) -> Mask:
    inner = ndimage.binary_erosion(mask, iterations=RIM_PIXELS)
    return inner if inner.any() else mask


def _boxed(mask: Mask) -> Mask:
    found = np.zeros_like(mask)
    box = lesion_box(mask)
    if box is not None:
        found[box] = True
    return found


MASKS: Mapping[str, Callable[[Mask], Mask] | None] = {
    "as drawn": None,
    "shifted": _shifted,
    "dilated": lambda mask: ndimage.binary_dilation(mask, iterations=RIM_PIXELS),
    "eroded": _eroded,
    "box only": _boxed,
}


def changed(cases: Sequence[Case], change: Callable[[Mask], Mask], folder: Path) -> list[Case]:
    """Return the cases with masks changed by `change`, which are written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for case in cases:
        image = sitk.ReadImage(str(case.masks["mask"]))
        mask = sitk.GetArrayFromImage(image)
        grey = mask[..., 0] if mask.ndim > 2 else mask
        other = sitk.GetImageFromArray((change(grey != 0) * 255).astype(np.uint8))
        path = folder / f"{case.row}.png"
        sitk.WriteImage(other, str(path))
        found.append(replace(case, masks={"mask": path}))
    return found


def lidc(folder: Path, *, time_limit: str, seed: int) -> None:
    """Search on lung nodules within outer folds, then print the difference to their volume alone."""
    data = Dataset.from_csv(SHARED / "lidc3d" / "labels.csv", classes=("benign", "malignant"))
    AutoOncoClassifier(
        time_limit=time_limit, families=["radiomics"], evaluation="nested", seed=seed, run_dir=folder / "run"
    ).fit(data)
    table = pd.read_csv(folder / "run" / "evaluation" / "predictions.csv")
    by_fold = {
        name: [roc_auc_score(fold["truth"], fold["p_1"]) for _, fold in group.groupby("fold")]
        for name, group in ((str(key), part) for key, part in table.groupby("model"))
    }
    k = table["fold"].nunique()
    for name, scores in by_fold.items():
        print(f"{name:<28}AUC {np.mean(scores):.3f}, by fold {', '.join(f'{s:.2f}' for s in scores)}")
    for name in ("ensemble", "radiomics"):
        if name in by_fold:
            differences = list(np.array(by_fold[name]) - np.array(by_fold[LESION_SIZE]))
            print(f"{name} − volume alone: {_said(compare_folds(differences, 1 / (k - 1)))}")


if __name__ == "__main__":
    main(sys.argv[1:])
