"""Tells what start configs from other tasks are worth: each recorded task is left out of its own portfolio in turn.

Of each table (see `benchmarks.record`) the configs with a full training count. Printed, for k start configs, is the
lowest full-budget loss among: the first k of a portfolio made without this task (a config of another task is
judged by the table's config that is nearest in its values, for it was not run here), the first k family defaults, and k
random configs of the table, the mean of many draws. Neighbours are not the configs themselves: the figures are a hint.

    python -m benchmarks portfolio_ablation [TABLE...] [--write reports/portfolio.yaml]
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import DictVectorizer

from autoonco.data.fingerprint import Fingerprint
from autoonco.metrics.scores import get_metric
from autoonco.search.portfolio import Recorded, kinds_of, portfolio_of
from autoonco.search.portfolio_file import dump
from autoonco.search.space import config_key

TABLES = Path(__file__).parent / "tables"
SIZES = (3, 5)
N_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Table:
    """A recorded task: what it taught, and which of its configs are its families' defaults."""

    name: str
    recorded: Recorded
    is_default: tuple[bool, ...]


def stems(paths: Sequence[Path]) -> list[Path]:
    """Return the tables to read: those given, or all of the benchmarks."""
    return list(paths) or sorted(
        path.with_name(path.name.removesuffix("_configs.csv")) for path in TABLES.glob("*_configs.csv")
    )


def read_table(stem: Path) -> Table:
    """Read a recording: the mean loss over the first folds, where each was trained in full."""
    facts = json.loads(stem.with_name(stem.name + "_provenance.json").read_text())
    metric = get_metric(facts["metric"])
    scores: dict[tuple[str, str], list[float]] = {}
    for row in _rows(stem.with_name(stem.name + ".csv")):
        if row["repeat"] == "0" and row["score"]:
            scores.setdefault((row["config"], row["epochs"]), []).append(float(row["score"]))
    configs, losses, is_default = [], [], []
    for row in _rows(stem.with_name(stem.name + "_configs.csv")):
        full = row["epochs"].split()[-1] if row["epochs"] else ""
        found = scores.get((row["config"], full), [])
        if len(found) == facts["inner_folds"]:
            configs.append((row["family"], json.loads(row["values"])))
            losses.append(float(np.mean([metric.loss(score) for score in found])))
            is_default.append(row["is_default"] == "1")
    recorded = Recorded(
        kinds=kinds_of(Fingerprint.from_json(facts["fingerprint"])),
        configs=tuple(configs),
        losses=tuple(losses),
    )
    return Table(name=stem.name, recorded=recorded, is_default=tuple(is_default))


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def first_starts(table: Table, portfolio: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the portfolio's configs for the table's families, each family's first before anyone's second."""
    known, lists = portfolio["starts"], []
    for family in sorted({family for family, _ in table.recorded.configs}):
        kind = next((kind for kind in table.recorded.kinds if family in known.get(kind, {})), None)
        lists.append([(family, config) for config in (known[kind][family] if kind else ())])
    longest = max(map(len, lists), default=0)
    return [items[rank] for rank in range(longest) for items in lists if rank < len(items)]


def losses_of(table: Table, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[float], int]:
    """Return the losses of configs on a table, that of the nearest where it has not got them, and how many those were.

    Nearest is by the share of hyperparameters that differ, numbers by their distance in the table's range.
    """
    own = {
        config_key(*item): loss
        for item, loss in zip(table.recorded.configs, table.recorded.losses, strict=True)
    }
    found, n_near = [], 0
    for family, config in wanted:
        loss = own.get(config_key(family, config))
        if loss is None:
            n_near += 1
            loss = _nearest(table.recorded, family, config)
        found.append(loss)
    return found, n_near


def _nearest(recorded: Recorded, family: str, config: Mapping[str, Any]) -> float:
    places = [place for place, (name, _) in enumerate(recorded.configs) if name == family]
    x = _scaled([config, *(recorded.configs[place][1] for place in places)])
    distance = np.abs(x[1:] - x[0]).sum(axis=1)
    return recorded.losses[places[int(np.argmin(distance))]]


def _scaled(configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    x: NDArray[np.float64] = DictVectorizer(sparse=False).fit_transform([dict(config) for config in configs])
    spread = np.ptp(x, axis=0)
    return (x - x.min(axis=0)) / np.where(spread > 0, spread, 1.0)


def ablate(table: Table, others: Sequence[Table], *, seed: int) -> list[dict[str, Any]]:
    """Return a row for each k, with the losses of the three ways to start."""
    losses = np.array(table.recorded.losses)
    defaults = losses[np.array(table.is_default)]
    chosen, n_near = losses_of(table, first_starts(table, portfolio_of([other.recorded for other in others])))
    rng = np.random.default_rng(seed)
    rows = []
    for k in SIZES:
        draws = [rng.choice(losses, size=min(k, len(losses)), replace=False).min() for _ in range(N_DRAWS)]
        rows.append(
            {
                "left out": table.name,
                "configs": len(losses),
                "k": k,
                "best": losses.min(),
                "portfolio": min(chosen[:k]),
                "defaults": min(defaults[:k], default=np.nan),
                "random": float(np.mean(draws)),
                "by neighbour": f"{n_near}/{len(chosen)}",
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Print the ablation, and write the portfolio of all tables if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks portfolio_ablation", description=__doc__)
    parser.add_argument("tables", nargs="*", type=Path, help="paths of tables without their endings")
    parser.add_argument("--write", type=Path, help="file for the portfolio of all these tables")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    tables = [read_table(stem) for stem in stems(options.tables)]
    if len(tables) < 2:
        parser.exit(2, "Two recorded tables or more are needed: one is left out, another teaches.\n")
    for place, table in enumerate(tables):
        others = [*tables[:place], *tables[place + 1 :]]
        for row in ablate(table, others, seed=options.seed):
            print("  ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)
    if options.write is not None:
        options.write.write_text(dump(portfolio_of([table.recorded for table in tables])), encoding="utf-8")


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
