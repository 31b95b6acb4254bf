"""Records a table of real results, to be replayed at no cost by `benchmarks.replay`.

Configs drawn from the families' own spaces are trained on the inner folds of a data set at every rung, and what each
fold scored and took is written down. Only cases that are not kept for a test are used. A recording that was stopped
goes on where it was: rows are appended as they come, and no case or path is named in them.

    python -m benchmarks.record lesions.csv -o benchmarks/tables/busi --n radiomics=100,frozen=80,finetune=15
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, digest
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError
from autoonco.families import get_family
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.metrics.scores import get_metric
from benchmarks.draws import Candidate, draw, interleave, shorten
from benchmarks.recording import (
    ARTEFACT_COLUMNS,
    CONFIG_COLUMNS,
    FOLD_COLUMNS,
    METRIC,
    RUNGS,
    Table,
    write_provenance,
)


class Recorder:
    """Fits configs on the folds of one data set and writes down what came of it."""

    def __init__(
        self,
        dataset: Dataset,
        print_: Fingerprint,
        table: Table,
        *,
        n_folds: int,
        repeat_below_s: float,
        seed: int,
    ) -> None:
        self._data, self._print, self._table, self._seed = dataset, print_, table, seed
        self._runtime = Runtime(artefacts=ArtefactCache())
        self._repeat_below_s = repeat_below_s
        self._metric = get_metric(METRIC)
        self._y = labels(dataset)
        self._folds = [
            stratified_group_folds(self._y, dataset.groups, n_folds, seed=seed + 1000 * repeat)
            for repeat in (0, 1)
        ]

    def record(self, candidate: Candidate) -> None:
        """Record every rung of the first folds, and the fresh folds where the config is cheap."""
        artefacts = self._make_artefacts(candidate)
        folds = range(len(self._folds[0]))
        if (
            all(self._record_fold(candidate, 0, fold) for fold in folds)
            and self._table.seconds_of(candidate.key) < self._repeat_below_s
        ):
            all(self._record_fold(candidate, 1, fold) for fold in folds)
        plans = [self._plan(candidate, budget) for budget in RUNGS]
        family = get_family(candidate.family)
        priors = [family.prior_seconds(candidate.config, plan, self._print) for plan in plans]
        row = {
            "config": candidate.key,
            "family": candidate.family,
            "group": candidate.group,
            "is_default": int(candidate.is_default),
            "prior_s": " ".join(f"{prior:.4g}" for prior in priors),
            "epochs": " ".join("" if plan.epochs is None else str(plan.epochs) for plan in plans).strip(),
            "artefacts": " ".join(artefacts),
            "values": json.dumps(shorten(candidate.config), separators=(",", ":")),
        }
        self._table.add("configs", CONFIG_COLUMNS, row)

    def _record_fold(self, candidate: Candidate, repeat: int, fold: int) -> bool:
        """Record a fold at the lengths that the rungs mean there; return whether none failed."""
        full = self._plan(candidate, 1.0)
        lengths = {full.epochs}
        if (repeat, fold) == (0, 0) and full.epochs is not None:
            lengths |= {self._plan(candidate, budget).epochs for budget in RUNGS}
        known = self._table.folds_of(candidate.key)
        if all((repeat, fold, "" if length is None else str(length)) in known for length in lengths):
            return True
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) if len(lengths) > 1 else None
            for epochs in sorted(lengths, key=lambda length: length or 0):
                row = self._fit(candidate, Fidelity(folds=1, epochs=epochs), repeat, fold, checkpoint)
                self._table.add("folds", FOLD_COLUMNS, row)
                if row["reason"]:
                    return False
        return True

    def _plan(self, candidate: Candidate, budget: float) -> Fidelity:
        folds = self._folds[0]
        family, n_train = get_family(candidate.family), len(folds[0][0])
        return family.plan(candidate.config, budget, inner_folds=len(folds), n_train=n_train)

    def _fit(
        self, candidate: Candidate, fidelity: Fidelity, repeat: int, fold: int, checkpoint: Path | None
    ) -> dict[str, Any]:
        """Fit and score one fold up to a number of epochs, going on from the checkpoint of fewer."""
        train, test = self._folds[repeat][fold]
        context = FitContext(
            runtime=self._runtime, fingerprint=self._print, seed=self._seed, checkpoint=checkpoint
        )
        cases, score, reason = self._data.cases, "", ""
        timer = Timer()
        with timer.running():
            try:
                model = get_family(candidate.family).fit(
                    candidate.config,
                    [cases[row] for row in train],
                    self._y[train],
                    fidelity=fidelity,
                    context=context,
                )
                proba = model.predict_proba([cases[row] for row in test])
                score = f"{self._metric(self._y[test], proba):.6f}"
            except (AutoOncoError, ValueError, ArithmeticError) as error:  # a failed config is a result
                reason = type(error).__name__
        epochs = "" if fidelity.epochs is None else fidelity.epochs
        times = {"cpu_s": f"{timer.cpu_s:.3f}", "wall_s": f"{timer.wall_s:.3f}"}
        place = {"config": candidate.key, "repeat": repeat, "fold": fold, "epochs": epochs}
        return place | times | {"score": score, "reason": reason}

    def _make_artefacts(self, candidate: Candidate) -> list[str]:
        """Make what the fits of a config will read, charge its time to what was missing, and return its names."""
        names, make = self._artefacts_of(candidate)
        known = {row["artefact"] for row in self._table.rows["artefacts"]}
        missing = [name for name in names if name not in known]
        if missing:
            timer = Timer()
            with timer.running():
                make()
            for name in missing:
                row = {"artefact": name, "cpu_s": f"{timer.cpu_s / len(missing):.3f}"}
                self._table.add("artefacts", ARTEFACT_COLUMNS, row)
        return names

    def _artefacts_of(self, candidate: Candidate) -> tuple[list[str], Callable[[], object]]:
        """Return the names of a config's artefacts, and what makes those that don't exist."""
        if candidate.group == "radiomics":
            return self._features_of(candidate)
        from autoonco.families.cubes import cube_spec
        from autoonco.families.frozen import frozen_build, frozen_network
        from autoonco.families.networks import picture_spec
        from autoonco.families.volumetric3d import network_of
        from autoonco.nets.embeddings import embed
        from autoonco.nets.inputs import crops

        cases, store, config = self._data.cases, self._runtime.artefacts, candidate.config
        is_3d = candidate.family == "volumetric3d"
        view = (cube_spec if is_3d else picture_spec)(config, self._print)
        if config.get("mode") != "frozen":
            return [digest("crops", view.to_json())[:8]], lambda: crops(cases, view, store)
        name = network_of(config) if is_3d else str(config["network"])
        network, network_id = frozen_network(name, frozen_build(name, view))
        options: dict[str, Any] = {"network_id": network_id, "device": "cpu", "n_threads": 1}
        return [digest(name, view.to_json())[:8]], lambda: embed(cases, network, view, store, **options)

    def _features_of(self, candidate: Candidate) -> tuple[list[str], Callable[[], object]]:
        """Return the same of handcrafted features, those of perturbed masks too where a filter reads them."""
        from autoonco.features.blocks import extract_table
        from autoonco.features.choices import spec_of
        from autoonco.features.perturbation import PERTURBATIONS
        from autoonco.tabular.pipeline import needs_perturbed

        spec = spec_of(candidate.config, self._print)
        ways = (None, *PERTURBATIONS) if needs_perturbed(candidate.config) else (None,)
        names = [
            digest(channel.name, block.key, *([] if how is None else [how.key]))[:8]
            for how in ways
            for channel in spec.channels
            for block in spec.blocks(channel)
        ]

        def make() -> None:
            for how in ways:
                extract_table(self._data.cases, spec, artefacts=self._runtime.artefacts, perturbation=how)

        return names, make


class Timer:
    """Seconds of this process, all its threads, inside its block."""

    cpu_s = wall_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the block."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        yield
        self.cpu_s, self.wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s


def labels(dataset: Dataset) -> NDArray[np.int64]:
    """Return the labels, which a manifest that is read with labels has."""
    if dataset.y is None:
        raise ValueError("the data set has no labels")
    return dataset.y


def development_cases(path: Path, *, max_cases: int, seed: int) -> Dataset:
    """Return the cases that are not kept for a test, or a stratified draw of their patients of about `max_cases`."""
    dataset = Dataset.from_csv(path)
    if dataset.split is not None:
        dataset = dataset.subset(dataset.split != "test")
    if len(dataset) > max_cases:
        share = max_cases / len(dataset)
        _, drawn = holdout(labels(dataset), dataset.groups, share, seed=seed, class_names=dataset.classes)
        dataset = dataset.subset(drawn)
    return dataset


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, or go on recording, one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="path of the table without its ending"
    )
    parser.add_argument("--n", required=True, help="configs of each group, as radiomics=100,frozen=80")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--max-cases", type=int, default=180)
    parser.add_argument("--max-seconds", type=float, default=120.0, help="guessed seconds of a full training")
    parser.add_argument(
        "--limit-s", type=float, default=float("inf"), help="start no config after so many seconds"
    )
    parser.add_argument(
        "--repeat-below-s",
        type=float,
        default=6.0,
        help="score again on fresh folds what took less than this",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    dataset = development_cases(options.data, max_cases=options.max_cases, seed=options.seed)
    print_ = fingerprint(dataset, inspect(dataset, n_jobs=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    table = Table(stem=options.output)
    counts = {name: int(n) for name, _, n in (part.partition("=") for part in options.n.split(","))}
    drawn = {
        group: draw(
            group, n, print_, max_seconds=options.max_seconds, n_folds=options.folds, seed=options.seed
        )
        for group, n in counts.items()
    }
    write_provenance(table, print_, options, {group: share for group, (_, share) in drawn.items()})
    recorder = Recorder(
        dataset,
        print_,
        table,
        n_folds=options.folds,
        repeat_below_s=options.repeat_below_s,
        seed=options.seed,
    )
    todo = interleave([candidates for candidates, _ in drawn.values()])
    for place, candidate in enumerate(todo):
        if time.monotonic() - start > options.limit_s:
            break
        if not table.has_config(candidate.key):
            recorder.record(candidate)
            elapsed = time.monotonic() - start
            print(
                f"{elapsed:6.0f} s  {place + 1}/{len(todo)}  {candidate.group}  {candidate.key}", flush=True
            )
    write_provenance(table, print_, options, {group: share for group, (_, share) in drawn.items()})


if __name__ == "__main__":
    main()
