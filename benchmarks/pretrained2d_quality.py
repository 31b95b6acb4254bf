"""What the search over pretrained 2D networks gains on a frozen probe and on one fixed fine-tuning.

    python -m benchmarks pretrained2d_quality busi [--time-limit 20min] [--repeats 5] [--folds 5] [--out FOLDER]
    python -m benchmarks pretrained2d_quality skin [--time-limit 20min] [--repeats 1]
    python -m benchmarks pretrained2d_quality busi --published [--time-limit 20min] [--seeds 3]
    python -m benchmarks pretrained2d_quality skin --published --folds 4 [--time-limit 20min] [--seeds 1]

Repeated patient-grouped cross-validation: in each fold every method is fitted on the same cases and judged on the
others, and differences come with the corrected resampled t interval. Of `busi` only train and val are touched; with
``--published`` its test cases are judged instead, as published and without near-duplicates: to be done once, in the
end. Each fold is written to ``<task>.csv`` when it ends, and the same command continues from there.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.classifier import AutoOncoClassifier
from autoonco.data.case import Case
from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.families.contract import Config
from autoonco.families.pretrained2d import family
from autoonco.metrics.comparison import Comparison, compare_auc, compare_folds
from autoonco.metrics.folds import resampled_t_interval
from autoonco.metrics.intervals import auc_interval
from autoonco.metrics.scores import METRICS
from benchmarks.single_network import FINETUNING, PROBE, fitted

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
COLUMNS = ("task", "method", "repeat", "fold", "n_train", "n_test", "auc", "seconds")
FIXED: Mapping[str, Config] = {"probe": PROBE, "finetuning": FINETUNING}

Proba = NDArray[Any]
Fit = Callable[[Dataset, int], Callable[[Sequence[Case]], Proba]]
"""Takes training cases and a seed to what predicts."""


def main(arguments: Sequence[str]) -> None:
    """Run what is missing of a task's folds, or of its published split, and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("busi", "skin"))
    parser.add_argument("--time-limit", default="20min")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--cases", type=int, help="so many of a task's cases alone, to see that all runs")
    parser.add_argument("--methods", default="probe,finetuning,search")
    parser.add_argument("--out", type=Path, default=Path("runs") / "pretrained2d_quality")
    options = parser.parse_args(arguments)
    methods = {name: method(name, options.time_limit) for name in options.methods.split(",")}
    data = Dataset.from_csv(SHARED / options.task / "labels.csv")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.published:
        published(held_out(data, options.folds), methods, seeds=options.seeds)
        return
    data = development(data, options.cases)
    path = options.out / f"{options.task}.csv"
    cross_validate(data, methods, path, task=options.task, repeats=options.repeats, folds=options.folds)
    print(summary(pd.read_csv(path), folds=options.folds))


def development(data: Dataset, n: int | None = None) -> Dataset:
    """Return the cases that may be looked at, of each class as many (`n` in all) where asked to."""
    if data.split is not None:
        data = data.subset(data.split != "test")
    if n is None:
        return data
    assert data.y is not None
    each = n // len(data.classes)
    rows = [np.flatnonzero(data.y == label)[:each] for label in range(len(data.classes))]
    return data.subset(np.sort(np.concatenate(rows)))


def held_out(data: Dataset, folds: int) -> Dataset:
    """Return the data with the published split, or else with one in `folds` patients to be judged by."""
    if data.split is not None:
        return data
    assert data.y is not None
    _, test = holdout(data.y, data.groups, 1 / folds, seed=0)
    return replace(data, split=np.where(np.isin(np.arange(len(data)), test), "test", "train"))


def method(name: str, time_limit: str) -> Fit:
    """Return the search, or one of the `FIXED` configs."""
    if name == "search":
        return lambda data, seed: _searched(data, seed, time_limit)
    config = FIXED[name]
    return lambda data, seed: _fixed(data, config, seed)


def _searched(data: Dataset, seed: int, time_limit: str) -> Callable[[Sequence[Case]], Proba]:
    with tempfile.TemporaryDirectory() as folder:
        model = AutoOncoClassifier(
            time_limit=time_limit,
            families=[family.name],
            evaluation="none",
            seed=seed,
            run_dir=Path(folder) / "run",
        ).fit(replace(data, split=None, is_clean=None))
    return lambda cases: model.predict_proba(list(cases))


def _fixed(data: Dataset, config: Config, seed: int) -> Callable[[Sequence[Case]], Proba]:
    return fitted(data, config, seed=seed, n_threads=len(os.sched_getaffinity(0))).predict_proba


def cross_validate(
    data: Dataset, methods: Mapping[str, Fit], path: Path, *, task: str, repeats: int, folds: int
) -> None:
    """Add to the table `path` a row a method and fold that it lacks; folds are the same for all methods."""
    assert data.y is not None
    done = set()
    if path.exists():
        table = pd.read_csv(path)
        done = set(zip(table["method"], table["repeat"], table["fold"], strict=True))
    for repeat in range(repeats):
        parts = stratified_group_folds(data.y, data.groups, folds, seed=repeat)
        for fold, (train, test) in enumerate(parts):
            for name, fit in methods.items():
                if (name, repeat, fold) in done:
                    continue
                start = time.monotonic()
                proba = fit(data.subset(train), repeat)(data.subset(test).cases)
                auc = METRICS["roc_auc"](data.y[test], proba)
                seconds = time.monotonic() - start
                row = (task, name, repeat, fold, len(train), len(test), round(auc, 6), round(seconds, 1))
                _append(path, row)
                print(dict(zip(COLUMNS, row, strict=True)), flush=True)


def _append(path: Path, row: Sequence[Any]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows([COLUMNS, row] if is_new else [row])


def summary(table: pd.DataFrame, *, folds: int) -> str:
    """Return in Markdown each method's AUC, and its paired difference to the probe and to the fine-tuning.

    Over the folds that all methods have; a test part is ``1 / (folds - 1)`` of its training part.
    """
    wide = table.pivot(index=["repeat", "fold"], columns="method", values="auc").dropna()
    share = 1 / (folds - 1)
    lines = [
        f"{len(wide)} folds",
        "",
        "| method | AUC | minus probe | minus finetuning |",
        "|---|---|---|---|",
    ]
    for name in wide.columns:
        scores = wide[name].tolist()
        cells = [_interval(scores, share)]
        for other in FIXED:
            is_there = other in wide.columns and other != name
            cells.append(_said(compare_folds((wide[name] - wide[other]).tolist(), share)) if is_there else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(scores: Sequence[float], share: float) -> str:
    if len(scores) < 2:
        return f"{np.mean(scores):.3f}"
    found = resampled_t_interval(scores, share)
    return f"{found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}]"


def _said(found: Comparison) -> str:
    return f"{found.difference:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}]"


def published(data: Dataset, methods: Mapping[str, Fit], *, seeds: int) -> None:
    """Print each method's AUC on the test cases for some seeds, and its median seed's paired gain on the fixed ones."""
    assert data.split is not None
    assert data.y is not None
    train, test = data.subset(data.split != "test"), data.subset(data.split == "test")
    parts = {"all": np.ones(len(test), bool)}
    if test.is_clean is not None:
        parts["clean"] = np.asarray(test.is_clean)
    found = {name: [fit(train, seed)(test.cases) for seed in range(seeds)] for name, fit in methods.items()}
    print(
        "| cases | method | AUC by seed | median seed | minus probe | minus finetuning |\n|---|---|---|---|---|---|"
    )
    for part, rows in parts.items():
        for line in judged(found, np.asarray(test.y)[rows], test.groups[rows], rows):
            print(f"| {part} ({rows.sum()}) | {line}", flush=True)


def judged(
    found: Mapping[str, Sequence[Proba]], y: NDArray[Any], groups: NDArray[Any], rows: NDArray[np.bool_]
) -> list[str]:
    """Return a line a method: its seeds, the interval of the median one, and its difference to those of `FIXED`."""
    aucs = {name: [METRICS["roc_auc"](y, proba[rows]) for proba in probas] for name, probas in found.items()}
    median = {
        name: probas[int(np.argsort(aucs[name])[(len(probas) - 1) // 2])][rows]
        for name, probas in found.items()
    }
    lines = []
    for name, proba in median.items():
        bounds = auc_interval(y, proba, groups)
        gains = [
            _said(compare_auc(y, proba, median[other], groups)) if other in median and other != name else ""
            for other in FIXED
        ]
        listed = ", ".join(f"{auc:.3f}" for auc in aucs[name])
        lines.append(
            f"{name} | {listed} | {bounds.value:.3f} [{bounds.lower:.3f}, {bounds.upper:.3f}] | "
            + " | ".join(gains)
            + " |"
        )
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
