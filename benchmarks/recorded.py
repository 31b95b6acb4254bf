"""What `benchmarks.record` wrote, read back: a finite list of configs and all that is known of them."""

from __future__ import annotations

import csv
import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace

from autoonco.search.space import config_key, join, split
from autoonco.search.surrogate import vector_key

RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
PORTFOLIO_SIZE = 4
DefaultOrder = Literal["families", "cheapest", "firsts"]
"""Each family's first default before anyone's second, as the runner has it; the cheapest first whoever's; or no second
ones, which open the first bracket instead."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """A config with everything recorded of it.

    `epochs` and `prior_s` have an entry a rung, epochs None where a config has none; `folds` gives (loss, seconds) by
    (fold, epochs), the seconds being those since the next fewer epochs of the fold.
    """

    key: str
    family: str
    group: str
    is_default: bool
    configuration: Configuration
    prior_s: tuple[float, ...]
    epochs: tuple[int | None, ...]
    artefacts: tuple[str, ...]
    folds: Mapping[tuple[int, int | None], tuple[float, float]]

    @cached_property
    def n_folds(self) -> int:
        """Number of inner folds."""
        return 1 + max(fold for fold, _ in self.folds)

    @cached_property
    def full_loss(self) -> float:
        """Mean loss of all folds at full length."""
        return float(np.mean([self.folds[fold, self.epochs[-1]][0] for fold in range(self.n_folds)]))

    def plan(self, rung: int) -> list[tuple[int, int | None]]:
        """Return the (fold, epochs) that a budget is made of."""
        return [(fold, self.epochs[rung]) for fold in range(self.n_folds if rung == len(RUNGS) - 1 else 1)]

    def seconds(self, step: tuple[int, int | None], *, trained: int) -> float:
        """Return what a step takes when a checkpoint holds `trained` epochs of it."""
        fold, epochs = step
        if epochs is None:
            return self.folds[step][1]
        return sum(s for (f, e), (_, s) in self.folds.items() if f == fold and trained < (e or 0) <= epochs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A recorded task."""

    name: str
    space: ConfigurationSpace
    configs: tuple[Recorded, ...]
    artefact_s: Mapping[str, float]

    @cached_property
    def by_vector(self) -> Mapping[bytes, Recorded]:
        """Configs by what SMAC's configurations share."""
        return {vector_key(config.configuration): config for config in self.configs}

    @cached_property
    def priors(self) -> Mapping[str, float]:
        """Guessed seconds of full training by the name of a config."""
        return {config_key(*split(config.configuration)): config.prior_s[-1] for config in self.configs}

    @cached_property
    def best_loss(self) -> float:
        """The least loss of the table."""
        return min(config.full_loss for config in self.configs)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Names of the families."""
        return tuple(sorted({config.family for config in self.configs}))

    def defaults(self, order: DefaultOrder) -> list[Recorded]:
        """Return the families' defaults in the order in which they are trained in full."""
        ranks: Counter[str] = Counter()
        ranked = []
        for config in self.configs:
            if config.is_default:
                ranked.append((ranks[config.family], config))
                ranks[config.family] += 1
        if order == "firsts":
            ranked = [(rank, config) for rank, config in ranked if rank == 0]
        if order != "families":
            ranked = [(0, config) for _, config in ranked]
        return [config for _, config in sorted(ranked, key=lambda item: (item[0], item[1].prior_s[-1]))]


def without(table: Table, what: str) -> Table:
    """Return the table without a family, or without the families' ``"defaults"``."""
    kept = tuple(
        config
        for config in table.configs
        if config.family != what and not (what == "defaults" and config.is_default)
    )
    return replace(table, name=f"{table.name} without {what}", configs=kept)


def read_table(stem: Path) -> Table:
    """Read what `benchmarks.record` wrote."""

    def rows(suffix: str) -> list[dict[str, str]]:
        with stem.with_name(stem.name + suffix).open(newline="") as stream:
            return list(csv.DictReader(stream))

    space = ConfigurationSpace.from_json(stem.with_name(stem.name + "_space.json"))
    folds: dict[str, dict[tuple[int, int | None], tuple[float, float]]] = {}
    for row in rows(".csv"):
        if row["repeat"] == "0":
            step = int(row["fold"]), int(row["epochs"]) if row["epochs"] else None
            loss = 1.0 if row["reason"] else 1.0 - float(row["score"])
            folds.setdefault(row["config"], {})[step] = loss, float(row["cpu_s"])
    configs = []
    for row in rows("_configs.csv"):
        epochs = tuple(map(int, row["epochs"].split())) if row["epochs"] else (None,) * len(RUNGS)
        configs.append(
            Recorded(
                key=row["config"],
                family=row["family"],
                group=row["group"],
                is_default=row["is_default"] == "1",
                configuration=join(space, row["family"], json.loads(row["values"])),
                prior_s=tuple(map(float, row["prior_s"].split())),
                epochs=epochs,
                artefacts=tuple(row["artefacts"].split()),
                folds=_failed_too(folds[row["config"]], epochs),
            )
        )
    seconds = {row["artefact"]: float(row["cpu_s"]) for row in rows("_artefacts.csv")}
    return Table(name=stem.name, space=space, configs=tuple(configs), artefact_s=seconds)


def _failed_too(
    folds: dict[tuple[int, int | None], tuple[float, float]],
    epochs: Sequence[int | None],
    *,
    n_folds: int = 3,
) -> dict[tuple[int, int | None], tuple[float, float]]:
    """Fill in what was not tried because the config had failed before: it fails there too, in no time."""
    wanted = [(0, length) for length in epochs] + [(fold, epochs[-1]) for fold in range(1, n_folds)]
    return {step: folds.get(step, (1.0, 0.0)) for step in wanted}


def rung_of(budget: float) -> int:
    """Return the index of the rung nearest to a budget.

    >>> rung_of(0.111)
    1
    """
    return int(np.argmin([abs(np.log(rung / budget)) for rung in RUNGS]))


def portfolio(table: Table, others: Sequence[Table]) -> list[Recorded]:
    """Return the best configs of other tasks, defaults aside, that this table has too, task by task in turn."""
    own = {config.key: config for config in table.configs}
    queues = [
        deque(
            own[config.key]
            for config in sorted(other.configs, key=lambda c: c.full_loss)
            if config.key in own and not config.is_default
        )
        for other in others
    ]
    found: dict[str, Recorded] = {}
    while any(queues) and len(found) < PORTFOLIO_SIZE:
        for queue in queues:
            if queue:
                config = queue.popleft()
                found.setdefault(config.key, config)
    return list(found.values())[:PORTFOLIO_SIZE]
