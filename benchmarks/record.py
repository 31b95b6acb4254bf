"""Records a table of real results, to be replayed at no cost by `benchmarks.replay`.

Configs drawn from the families' own spaces are trained on the inner folds of a data set at every rung, and what each
fold scored and took is written down. Only cases that are not kept for a test are used. A recording that was stopped
goes on where it was: rows are appended as they come, and no case or path is named in them.

    python -m benchmarks.record lesions.csv -o benchmarks/tables/busi --n radiomics=100,frozen=80,finetune=15
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
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
from autoonco.evaluation.run_folder import hardware, versions
from autoonco.families import get_family
from autoonco.families.contract import Config, Fidelity, FitContext, Runtime
from autoonco.metrics.scores import get_metric
from autoonco.search.space import build_space, config_key, space_json

RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
"""Budgets that are recorded, as fractions of a config's full training."""
GROUPS = {
    "radiomics": "radiomics",
    "frozen": "pretrained2d",
    "finetune": "pretrained2d",
    "volumetric3d": "volumetric3d",
}
"""Kinds of configs, and the family each belongs to."""
METRIC = "roc_auc"
CONFIG_COLUMNS = ("config", "family", "group", "is_default", "prior_s", "epochs", "artefacts", "values")
FOLD_COLUMNS = ("config", "repeat", "fold", "epochs", "score", "cpu_s", "wall_s", "reason")
ARTEFACT_COLUMNS = ("artefact", "cpu_s")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A config that is to be recorded."""

    group: str
    config: Config
    is_default: bool

    @property
    def family(self) -> str:
        """Name of the config's family."""
        return GROUPS[self.group]

    @property
    def key(self) -> str:
        """Short name of the config; equal configs have equal names."""
        return config_key(self.family, self.config)[:12]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The three files of a recording, as far as they were written."""

    stem: Path
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("configs", "folds", "artefacts"):
            path = self.path(name)
            text = path.read_text() if path.exists() else ""
            self.rows[name] = list(csv.DictReader(text.splitlines()))

    def path(self, name: str) -> Path:
        """Return the file of one kind of rows; that of the folds has the table's own name."""
        return self.stem.with_name(self.stem.name + {"folds": ".csv"}.get(name, f"_{name}.csv"))

    def add(self, name: str, columns: Sequence[str], row: Mapping[str, Any]) -> None:
        """Append one row and flush it."""
        is_new = not self.path(name).exists()
        with self.path(name).open("a", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.rows[name].append({key: str(value) for key, value in row.items()})

    def has_config(self, key: str) -> bool:
        """Return whether a config was recorded to its end; its own row is written last."""
        return any(row["config"] == key for row in self.rows["configs"])

    def seconds_of(self, key: str) -> float:
        """Return what a config's rows took."""
        return sum(float(row["cpu_s"]) for row in self.rows["folds"] if row["config"] == key)

    def folds_of(self, key: str) -> set[tuple[int, int, str]]:
        """Return (repeat, fold, epochs) of a config's rows."""
        found = (row for row in self.rows["folds"] if row["config"] == key)
        return {(int(row["repeat"]), int(row["fold"]), row["epochs"]) for row in found}


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

    def _artefacts_of(self, candidate: Candidate) -> tuple[list[str], Any]:
        """Return the names of a config's artefacts, and what makes those that don't exist."""
        cases, store, config = self._data.cases, self._runtime.artefacts, candidate.config
        if candidate.group == "radiomics":
            from autoonco.features.blocks import extract_table
            from autoonco.features.spec import ExtractionSpec

            spec = ExtractionSpec.from_config(config, self._print)
            blocks = [
                (channel.name, block.key) for channel in spec.channels for block in spec.blocks(channel)
            ]
            return [digest(*block)[:8] for block in blocks], lambda: extract_table(
                cases, spec, artefacts=store
            )
        from autoonco.families.networks import picture_spec
        from autoonco.families.volumetric3d import input_spec
        from autoonco.nets.embeddings import embed
        from autoonco.nets.inputs import crops

        view = (input_spec if candidate.family == "volumetric3d" else picture_spec)(config, self._print)
        if candidate.group != "frozen":
            return [digest("crops", view.to_json())[:8]], lambda: crops(cases, view, store)
        name = str(config["network"])
        network, network_id = pretrained(name)
        options: dict[str, Any] = {"network_id": network_id, "device": "cpu", "n_threads": 1}
        return [digest(name, view.to_json())[:8]], lambda: embed(cases, network, view, store, **options)


class Timer:
    """Seconds of this process, all its threads, inside its block."""

    cpu_s = wall_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the block."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        yield
        self.cpu_s, self.wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s


@lru_cache
def pretrained(name: str) -> tuple[Any, str]:
    """Return a frozen network, loaded once, and the name that its embeddings are stored under."""
    from autoonco.nets.builders import build_2d
    from autoonco.nets.embeddings import weights_id

    network = build_2d(name, n_classes=0, pretrained=True)
    return network, f"{name}:{weights_id(network)}"


def labels(dataset: Dataset) -> NDArray[np.int64]:
    """Return the labels, which a manifest that is read with labels has."""
    if dataset.y is None:
        raise ValueError("the data set has no labels")
    return dataset.y


def shorten(config: Config) -> dict[str, Any]:
    """Return the values with floats in 6 digits, enough to tell configs apart."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in config.items()
    }


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


def draw(
    group: str, n: int, print_: Fingerprint, *, max_seconds: float, n_folds: int, seed: int
) -> tuple[list[Candidate], float]:
    """Return the group's defaults and random configs, `n` in all, and the share that was too dear.

    A config is drawn from its family's space, and again while its guessed full training takes over `max_seconds`.
    """
    family = get_family(GROUPS[group])
    space = family.space(print_)
    space.seed(seed)

    def belongs(config: Config) -> bool:
        return group == family.name or config["mode"] == group

    found = [
        Candidate(group=group, config=shorten(config), is_default=True)
        for config in family.defaults(print_)
        if belongs(config)
    ]
    n_drawn = n_dear = 0
    while len(found) < n:
        config = shorten(dict(sorted(plain(space.sample_configuration()).items())))
        if not belongs(config):
            continue
        n_drawn += 1
        full = family.plan(config, 1.0, inner_folds=n_folds, n_train=print_.n_cases)
        if family.prior_seconds(config, full, print_) > max_seconds:
            n_dear += 1
        else:
            found.append(Candidate(group=group, config=config, is_default=False))
    return found[:n], n_dear / max(1, n_drawn)


def plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's active values as plain Python values."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in configuration.items()}


def interleave(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return defaults first, then all groups mixed evenly, so that any beginning of the list is balanced."""
    places = [
        (0.0 if candidate.is_default else (place + 0.5) / len(group), candidate)
        for group in groups
        for place, candidate in enumerate(group)
    ]
    return [candidate for _, candidate in sorted(places, key=lambda item: item[0])]


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


def write_provenance(
    table: Table, print_: Fingerprint, options: argparse.Namespace, dear: Mapping[str, float]
) -> None:
    """Write what the table was made of and how, and the space that its configs are points of."""
    families = sorted({GROUPS[group] for group in dear})
    recorded = [row["group"] for row in table.rows["configs"]]
    facts = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "data": f"{options.data.parent.name}/{options.data.name}",
        "command": "python -m benchmarks.record " + " ".join(_named(options)),
        "cases": "train and validation split, never the test split, a stratified draw of patients where there are "
        f"more than {options.max_cases}",
        "metric": METRIC,
        "inner_folds": options.folds,
        "fold_seeds": [options.seed, options.seed + 1000],
        "fit_seed": options.seed,
        "rungs": RUNGS,
        "configs_scored_again_on_fresh_folds": len(
            {row["config"] for row in table.rows["folds"] if row["repeat"] == "1"}
        ),
        "truncation": {
            "max_prior_seconds": options.max_seconds,
            "share_of_draws_rejected": {name: round(share, 3) for name, share in dear.items()},
            "note": "random configs only; the families' defaults are in whatever they cost",
        },
        "seconds": "process CPU seconds of one thread; rows of a longer training are increments on the shorter one",
        "configs": {group: recorded.count(group) for group in dear},
        "rows": len(table.rows["folds"]),
        "versions": versions(),
        "hardware": hardware(),
        "python": sys.version.split()[0],
        "fingerprint": print_.to_json(),
    }
    path = table.stem.with_name(table.stem.name + "_provenance.json")
    path.write_text(json.dumps(facts, indent=1) + "\n")
    space = space_json(build_space(families, print_))
    table.stem.with_name(table.stem.name + "_space.json").write_text(space + "\n")


def _named(options: argparse.Namespace) -> list[str]:
    """Return the arguments without folders of this machine."""
    values = vars(options) | {"data": options.data.name, "output": options.output.name}
    return [
        str(value) if name == "data" else f"--{name.replace('_', '-')} {value}"
        for name, value in values.items()
    ]


if __name__ == "__main__":
    main()
