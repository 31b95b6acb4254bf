"""The files of a recording, written row by row, and what they were made of."""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoonco.data.fingerprint import Fingerprint
from autoonco.evaluation.run_folder import hardware, versions
from autoonco.search.space import build_space, space_json
from benchmarks.draws import GROUPS

RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
"""Budgets that are recorded, as fractions of a config's full training."""
METRIC = "roc_auc"
CONFIG_COLUMNS = ("config", "family", "group", "is_default", "prior_s", "epochs", "artefacts", "values")
FOLD_COLUMNS = ("config", "repeat", "fold", "epochs", "score", "cpu_s", "wall_s", "reason")
ARTEFACT_COLUMNS = ("artefact", "cpu_s")


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
