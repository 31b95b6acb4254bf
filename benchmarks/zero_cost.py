"""Tells whether a score of the untrained network orders architectures as their trained AUCs do.

Architectures drawn at random from the space of `parametric3d` are trained on the inner folds of a task of volumes and
scored by cross-validation; printed is the rank correlation of that AUC with each zero-cost score, with the counted
multiply-adds alone, the control that a score has to beat, and between two cross-validations with other folds and other
weights, which no score can be expected to pass. All see the same cubes and the same recipe: only architectures differ.

    python -m benchmarks zero_cost lidc3d/labels.csv --classes benign,malignant -o benchmarks/tables/zero_cost.csv
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.folds import stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.families.contract import Config, Fidelity, FitContext, Runtime
from autoonco.families.cubes import cube_spec
from autoonco.families.training_space import part
from autoonco.families.volumetric3d import SEARCHED, family
from autoonco.families.zero_cost import zero_cost_scores
from autoonco.metrics.scores import get_metric
from autoonco.nets.architecture import Architecture, multiply_adds
from autoonco.nets.zero_cost import SCORES
from autoonco.resources import load_space
from autoonco.tabular.pipeline import complete

SIZE, FOLDS, BATCH = 24, 3, 32
CONTROL = "multiply_adds"
N_BOOTSTRAP = 1000


def main(argv: Sequence[str] | None = None) -> None:
    """Score, train, correlate, print."""
    arguments = _arguments(argv)
    data = Dataset.from_csv(arguments.data, classes=arguments.classes.split(","))
    print_ = fingerprint(data, inspect(data))
    with tempfile.TemporaryDirectory() as folder:
        context = FitContext(
            runtime=Runtime(artefacts=ArtefactCache(Path(folder))), fingerprint=print_, seed=arguments.seed
        )
        rows = []
        started = time.process_time()
        for config in draw(arguments.n, context, epochs=arguments.epochs, most_gmac=arguments.most_gmac):
            rows.append(measure(config, data, context))
            print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
            if arguments.output:
                write(arguments.output, rows)
    epochs = arguments.epochs
    print(
        f"\n{len(rows)} architectures, {len(data)} cases, {FOLDS} folds twice, {epochs} epochs, {SIZE} voxels a side"
    )
    print(f"{time.process_time() - started:.0f} CPU-seconds\n")
    print(summary(rows))


def draw(n: int, context: FitContext, *, epochs: int, most_gmac: float) -> list[Config]:
    """Return `n` configs that differ in their architecture only, none above `most_gmac` giga-multiply-adds."""
    space, architectures = family.space(context.fingerprint), load_space(SEARCHED)
    architectures.seed(context.seed)
    fixed = {"network": SEARCHED, "size": SIZE, "training:ema": 0.0, "training:batch_size": 16}
    found: dict[str, Config] = {}
    while len(found) < n:
        drawn = {f"architecture:{key}": value for key, value in architectures.sample_configuration().items()}
        config = complete(space, fixed | drawn) | {"epochs": epochs}
        if work(config, context) <= most_gmac:
            found[str(part(config, "architecture"))] = config
    return list(found.values())


def work(config: Config, context: FitContext) -> float:
    """Return the giga-multiply-adds of one cube."""
    spec = cube_spec(config, context.fingerprint)
    sizes = {"in_channels": spec.shape[0], "size": spec.view.size, "n_classes": context.fingerprint.n_classes}
    return multiply_adds(Architecture(**part(config, "architecture")), dimensions=3, **sizes) / 1e9


def measure(config: Config, data: Dataset, context: FitContext) -> dict[str, Any]:
    """Return the scores of the untrained network and the AUC of the trained one."""
    batch = np.random.default_rng(context.seed).choice(len(data), BATCH, replace=False)
    cases = [data.cases[row] for row in batch]
    found: dict[str, Any] = {CONTROL: round(work(config, context), 4)}
    for score in SCORES:
        found[score] = round(float(zero_cost_scores(family, [config], cases, context, score=score)[0]), 3)
    started = time.process_time()
    for repeat in (1, 2):
        again = replace(context, seed=context.seed + repeat)
        found[f"auc_{repeat}"] = round(cross_validated(config, data, again), 4)
    found["cpu_s"] = round(time.process_time() - started, 1)
    return found | part(config, "architecture")


def cross_validated(config: Config, data: Dataset, context: FitContext) -> float:
    """Return the mean AUC over the folds."""
    scores = []
    y: NDArray[Any] = np.asarray(data.y)
    folds = stratified_group_folds(y, data.groups, k=FOLDS, seed=context.seed)
    for train, test in folds:
        model = family.fit(
            config,
            [data.cases[row] for row in train],
            y[train],
            fidelity=Fidelity(folds=FOLDS, epochs=int(config["epochs"])),
            context=context,
        )
        proba = model.predict_proba([data.cases[row] for row in test])
        scores.append(get_metric("roc_auc")(y[test], proba))
    return float(np.mean(scores))


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line a measure: its rank correlation with AUC, how far above the control's, and its best quarter's AUC.

    Intervals are of 95 %, by bootstrap over architectures.
    """
    one, two = (np.array([float(row[f"auc_{repeat}"]) for row in rows]) for repeat in (1, 2))
    auc = (one + two) / 2
    control = np.array([float(row[CONTROL]) for row in rows])
    lines = [f"| measure | Spearman with AUC | minus that of {CONTROL} | AUC of its best quarter | of all |"]
    lines.append("|---|---|---|---|---|")
    for name, values, target in (
        *((score, np.array([float(row[score]) for row in rows]), auc) for score in SCORES),
        (CONTROL, control, auc),
        ("the other AUC", one, two),
    ):
        best = np.argsort(-values, kind="stable")[: max(1, len(rows) // 4)]
        above = "" if name not in SCORES else with_interval(values, auc, control)
        lines.append(
            f"| {name} | {with_interval(values, target)} | {above} | {target[best].mean():.3f} | {target.mean():.3f} |"
        )
    return "\n".join(lines)


def with_interval(values: NDArray[Any], auc: NDArray[Any], control: NDArray[Any] | None = None) -> str:
    """Return Spearman's correlation with AUC, less that of the control, and its bootstrap interval."""

    def statistic(pick: NDArray[np.int64]) -> float:
        ranks = [rankdata(each[pick]) for each in (auc, values, values if control is None else control)]
        with np.errstate(invalid="ignore"):  # a resample of one architecture has no correlation
            found = np.corrcoef(ranks)[0]
        return float(found[1] if control is None else found[1] - found[2])

    n = len(auc)
    resampled = [statistic(pick) for pick in np.random.default_rng(0).integers(n, size=(N_BOOTSTRAP, n))]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return f"{statistic(np.arange(n)):.2f} [{low:.2f}, {high:.2f}]"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the measurements, a row an architecture; hyperparameters that it doesn't have are empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="manifest of a task of volumes with masks")
    parser.add_argument("--classes", required=True, help="two classes, comma-separated")
    parser.add_argument("-n", type=int, default=20, help="architectures")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--most-gmac", type=float, default=0.25, help="leave out dearer architectures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="CSV of the measurements")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
