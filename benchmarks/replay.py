"""Replays searches on recorded tables: the same decisions as in a run, results and seconds from the table.

Every method searches the same finite list of recorded configs with a simulated clock. A trial takes the seconds that
were recorded; a promoted network pays only for the epochs it hasn't had, and an artefact (a block of features, an
embedding, crops) is paid once. After 10, 30 and 100 % of the budget the regret is noted: the cross-validated loss of
the best config so far that was scored on all its folds, minus the least loss of the table. Simulated seconds never
depend on the machine that replays.

    python -m benchmarks.replay --seeds 20
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import logging
import random
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from ConfigSpace import Configuration, ConfigurationSpace
from scipy.stats import wilcoxon
from smac import MultiFidelityFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.runhistory import TrialInfo, TrialValue

from autoonco.search.acquisition import TableSearch
from autoonco.search.allocation import Allocation
from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, OptimizerSettings, Proposal
from autoonco.search.space import config_key, join, split
from autoonco.search.surrogate import vector_key

RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
FRACTIONS = (0.1, 0.3, 1.0)
CONFIGS_IN_BUDGET = 40
"""The budget is the time in which random search trains so many configs in full on average: a fifth of a table of 200.

It was fixed before any replay. Much more and random search sees most of the table, so that nothing can be told
apart; much less and it ends with the defaults.
"""
CHANCE_LOSS = 0.5
"""Loss (one minus the area under the ROC curve) that counts until a config was scored on all its folds."""
PORTFOLIO_SIZE = 4
FLOOR = 0.1
GIVE_UP_AFTER, REST_AFTER = 30, 3
"""As in `autoonco.search.source`: proposals in a row that don't fit the time left."""
BASE = OptimizerSettings()


# --- The table ---


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

    @cached_property
    def limit_s(self) -> float:
        """The time budget, see `CONFIGS_IN_BUDGET`."""
        times = []
        for seed in range(200):
            lab = Lab(self, limit_s=float("inf"))
            for config in random.Random(seed).sample(self.configs, CONFIGS_IN_BUDGET):
                lab.run(config, len(RUNGS) - 1, racing=False)
            times.append(lab.elapsed_s)
        return float(np.mean(times))

    @cached_property
    def defaults(self) -> tuple[Recorded, ...]:
        """The families' defaults in the runner's order: each family's first before anyone's second, cheapest first."""
        ranks: Counter[str] = Counter()
        ranked = []
        for config in self.configs:
            if config.is_default:
                ranked.append((ranks[config.family], config.prior_s[-1], config.key, config))
                ranks[config.family] += 1
        return tuple(config for *_, config in sorted(ranked, key=lambda item: item[:3]))


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


# --- The simulated machine ---


@dataclass(kw_only=True)
class Outcome:
    """What came of a trial; `loss` is None where the time was over before its end."""

    loss: float | None
    seconds: float


@dataclass(eq=False)
class Lab:
    """A machine that trains recorded configs, one at a time, on a simulated clock."""

    table: Table
    limit_s: float
    elapsed_s: float = 0.0
    spent: Counter[str] = field(default_factory=Counter)
    """Seconds by family."""
    trace: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, loss) of every config scored on all folds."""
    finished: set[str] = field(default_factory=set)
    """Keys of those configs."""
    n_trials: int = 0

    def __post_init__(self) -> None:
        self._made: set[str] = set()
        self._done: set[tuple[str, int, int | None]] = set()
        self._trained: Counter[str] = Counter()
        self._best, self._worst_fold = np.inf, np.inf

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.elapsed_s >= self.limit_s

    def missing(self, config: Recorded, rung: int) -> list[tuple[int, int | None]]:
        """Return the steps of a trial that were never done."""
        return [step for step in config.plan(rung) if (config.key, *step) not in self._done]

    def run(self, config: Recorded, rung: int, *, racing: bool) -> Outcome:
        """Do a trial, fold by fold; what was done before is free.

        With `racing` it is stopped when the mean of its folds is worse than the worst fold of the best config.
        """
        start, losses = self.elapsed_s, []
        for step in config.plan(rung):
            if step in self.missing(config, rung):
                self._work(config, self._seconds(config, rung, step))
                if self.elapsed_s >= self.limit_s:
                    return Outcome(loss=None, seconds=self.elapsed_s - start)
                self._done.add((config.key, *step))
            losses.append(config.folds[step][0])
            if racing and rung == len(RUNGS) - 1 and np.mean(losses) > self._worst_fold:
                break
        loss = float(np.mean(losses))
        self.n_trials += self.elapsed_s > start
        if rung == len(RUNGS) - 1 and len(losses) == config.n_folds:
            self._finish(config, losses)
        return Outcome(loss=loss, seconds=self.elapsed_s - start)

    def _seconds(self, config: Recorded, rung: int, step: tuple[int, int | None]) -> float:
        """Return what a step takes, with artefacts not made yet; only a lone fold has a checkpoint."""
        artefacts = sum(self.table.artefact_s[name] for name in config.artefacts if name not in self._made)
        self._made.update(config.artefacts)
        epochs = step[1] or 0
        trained = self._trained[config.key] if step[0] == 0 else 0
        if rung < len(RUNGS) - 1:
            self._trained[config.key] = max(self._trained[config.key], epochs)
        return artefacts + config.seconds(step, trained=trained if trained <= epochs else 0)

    def _work(self, config: Recorded, seconds: float) -> None:
        seconds = min(seconds, self.limit_s - self.elapsed_s)
        self.elapsed_s += seconds
        self.spent[config.family] += seconds

    def _finish(self, config: Recorded, losses: Sequence[float]) -> None:
        self.finished.add(config.key)
        self.trace.append((self.elapsed_s, config.full_loss))
        if config.full_loss < self._best:
            self._best, self._worst_fold = config.full_loss, max(losses)

    def regret(self, fraction: float) -> float:
        """Return the regret after a fraction of the time."""
        known = [loss for seconds, loss in self.trace if seconds <= fraction * self.limit_s]
        return min(known, default=max(CHANCE_LOSS, self.table.best_loss)) - self.table.best_loss


# --- The methods ---


class Method(Protocol):
    """A way to search; it works on `lab` until its time is over."""

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search; `starts` are configs that did well on other tasks."""
        ...


def run_defaults(lab: Lab) -> list[tuple[Recorded, Outcome]]:
    """Train the families' defaults in full."""
    return [(config, lab.run(config, len(RUNGS) - 1, racing=False)) for config in lab.table.defaults]


def finish_rest(lab: Lab, rng: random.Random) -> None:
    """Use what time is left after a method has seen the whole table: configs not scored in full, in random order."""
    for config in rng.sample(lab.table.configs, len(lab.table.configs)):
        if lab.is_over:
            return
        if config.key not in lab.finished:
            lab.run(config, len(RUNGS) - 1, racing=False)


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Configs in random order, each trained in full."""

    defaults: bool = False

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:  # noqa: ARG002
        """Search."""
        if self.defaults:
            run_defaults(lab)
        finish_rest(lab, random.Random(seed))


@dataclass(frozen=True, kw_only=True)
class Stock:
    """SMAC's multi-fidelity facade with its own parts; where `per_family`, one a family, each with the same time.

    Its forest has no leaf limit, which changes its speed alone. It begins with as many random configs as the first
    rung holds: SMAC's own number, ten a hyperparameter, would be the whole table.
    """

    defaults: bool = False
    per_family: bool = False

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:  # noqa: ARG002
        """Search."""
        if self.defaults:
            run_defaults(lab)
        table = lab.table
        parts = [[f] for f in table.families] if self.per_family else [list(table.families)]
        engines = {
            tuple(part): _Engine(table, [c for c in table.configs if c.family in part], seed=seed)
            for part in parts
        }
        while engines and not lab.is_over:
            part = min(engines, key=lambda part: sum(lab.spent[family] for family in part))
            if not engines[part].step(lab):
                del engines[part]
        finish_rest(lab, random.Random(seed))


class _Engine:
    """SMAC's facade over some configs of a table."""

    def __init__(self, table: Table, configs: Sequence[Recorded], *, seed: int) -> None:
        self._table = table
        space = copy.deepcopy(table.space)
        space.seed(seed)
        points = [_Point(table.space, vector=config.configuration.get_array()) for config in configs]
        rng = random.Random(seed)
        self._tried: set[Configuration] = set()

        def sample(size: int | None = None) -> Any:  # what SMAC draws at random has to be of the table too
            left = [point for point in points if point not in self._tried] or points
            return rng.choice(left) if size is None else rng.choices(left, k=size)

        space.sample_configuration = sample  # type: ignore[method-assign]
        with tempfile.TemporaryDirectory() as nowhere:
            scenario = Scenario(
                space,
                deterministic=True,
                n_trials=1_000_000,
                min_budget=RUNGS[0],
                max_budget=1.0,
                seed=seed,
                output_directory=Path(nowhere),
            )
            first = rng.sample(points, min(len(points), round(1 / RUNGS[0])))
            self._smac = MultiFidelityFacade(
                scenario,
                None,
                model=RandomForest(space, n_trees=10, max_leaf_nodes=None, n_jobs=1, log_y=True, seed=seed),
                acquisition_maximizer=_UntriedSearch(space, points, self._tried),
                config_selector=MultiFidelityFacade.get_config_selector(scenario, retries=1000),
                intensifier=MultiFidelityFacade.get_intensifier(
                    scenario, incumbent_selection="highest_budget"
                ),
                initial_design=MultiFidelityFacade.get_initial_design(
                    scenario, n_configs=0, additional_configs=first
                ),
                logging_level=False,
                overwrite=True,
            )

    def step(self, lab: Lab) -> bool:
        """Do one trial; return False where SMAC has nothing more."""
        try:
            info: TrialInfo = self._smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return False
        self._tried.add(info.config)
        config = self._table.by_vector[vector_key(info.config)]
        outcome = lab.run(config, rung_of(float(info.budget)), racing=False)
        loss = 1.0 if outcome.loss is None else outcome.loss
        self._smac.tell(info, TrialValue(cost=loss, time=outcome.seconds), save=False)
        return True


class _Point(Configuration):
    """A config of a table, equal to itself alone: ConfigSpace compares value by value, and SMAC compares a lot."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _UntriedSearch(TableSearch):
    """Leaves out what was tried: SMAC gives up after some proposals in a row that it knows, all it has in a table."""

    def __init__(self, space: ConfigurationSpace, points: Sequence[Configuration], tried: set[bytes]) -> None:
        super().__init__(space, points)
        self._tried = tried

    def _maximize(
        self, previous_configs: list[Configuration], n_points: int
    ) -> list[tuple[float, Configuration]]:
        found = super()._maximize(previous_configs, n_points)
        left = [pair for pair in found if pair[1] not in self._tried]
        if not left:
            raise ConfigurationSpaceExhaustedException
        return left


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What autoonco's runner does, with every piece that can be switched off.

    `alpha` and `alpha_end` shape the cooling: its exponent falls from `alpha` to 0 at the fraction `alpha_end`.
    """

    settings: OptimizerSettings = BASE
    defaults: bool = True
    portfolio: bool = True
    racing: bool = True
    floor: float = FLOOR
    alpha: float = 1.0
    alpha_end: float = 1.0

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search."""
        seconds = SecondsModel(prior=lambda family, config: lab.table.priors[config_key(family, config)])
        known = run_defaults(lab) if self.defaults else []
        if lab.is_over:
            return
        first = [*lab.table.defaults, *(starts if self.portfolio else ())]
        optimizer = Optimizer(
            copy.deepcopy(lab.table.space),
            settings=self.settings,
            seed=seed,
            starts=[config.configuration for config in first],
            seconds=seconds,
            candidates=[config.configuration for config in lab.table.configs],
            spent=lambda: 1.0 - self.alpha * max(0.0, 1.0 - lab.elapsed_s / lab.limit_s / self.alpha_end),
        )
        allocation = Allocation(lab.table.families, mode="shared", floor=self.floor, gpu_rate=1.0)
        for config, outcome in known:
            allocation.charge(config.family, outcome.seconds, device="cpu")
            if outcome.loss is not None:
                optimizer.learn(*split(config.configuration), 1.0, loss=outcome.loss)
                _measure(seconds, config, config.prior_s[-1], outcome)
        self._loop(lab, optimizer, allocation, seconds)
        finish_rest(lab, random.Random(seed))

    def _loop(self, lab: Lab, optimizer: Optimizer, allocation: Allocation, seconds: SecondsModel) -> None:
        skips: Counter[str] = Counter()
        in_a_row = 0
        while not lab.is_over and in_a_row < GIVE_UP_AFTER:
            proposal = _next(optimizer, allocation)
            if proposal is None:
                return
            config = lab.table.by_vector[vector_key(proposal.info.config)]
            rung = rung_of(proposal.budget)
            plan, missing = config.plan(rung), lab.missing(config, rung)
            prior_s = config.prior_s[rung] * len(missing) / len(plan)
            plain = split(config.configuration)[1]
            predicted_s = seconds.predict(config.family, prior_s=prior_s, config=plain)
            if missing and predicted_s > lab.limit_s - lab.elapsed_s:
                optimizer.drop(proposal)
                in_a_row += 1
                skips[config.family] += 1
                if skips[config.family] >= REST_AFTER:
                    allocation.rest(config.family)
                continue
            outcome = lab.run(config, rung, racing=self.racing)
            allocation.charge(config.family, outcome.seconds, device="cpu")
            if outcome.loss is None:
                return
            allocation.wake(config.family)
            in_a_row = skips[config.family] = 0
            _measure(seconds, config, prior_s, outcome)
            optimizer.tell(proposal, loss=outcome.loss, seconds=outcome.seconds)


def _next(optimizer: Optimizer, allocation: Allocation) -> Proposal | None:
    """Return a proposal of a family behind its share, else the optimiser's own choice."""
    for family in allocation.behind():
        if (proposal := optimizer.ask(families=[family])) is not None:
            return proposal
        allocation.rest(family)
    return optimizer.ask()


def _measure(seconds: SecondsModel, config: Recorded, prior_s: float, outcome: Outcome) -> None:
    if outcome.seconds > 0:
        plain = split(config.configuration)[1]
        seconds.add(config.family, prior_s=prior_s, measured_s=outcome.seconds, config=plain)


def rung_of(budget: float) -> int:
    """Return the index of the rung nearest to a budget.

    >>> rung_of(0.111)
    1
    """
    return int(np.argmin([abs(np.log(rung / budget)) for rung in RUNGS]))


def portfolio(table: Table, others: Sequence[Table]) -> list[Recorded]:
    """Return the best configs of other tasks that this table has too, one task after the other."""
    own = {config.key: config for config in table.configs}
    queues = [
        deque(
            own[config.key]
            for config in sorted(other.configs, key=lambda c: c.full_loss)
            if config.key in own
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


def _with(**changes: Any) -> OptimizerSettings:
    return replace(BASE, **changes)


METHODS: dict[str, Callable[..., None]] = {
    "ours": Ours(),
    "random": RandomSearch(),
    "random, defaults first": RandomSearch(defaults=True),
    "stock Hyperband": Stock(),
    "stock Hyperband, defaults first": Stock(defaults=True),
    "one SMAC a family": Stock(per_family=True),
    "one SMAC a family, defaults first": Stock(per_family=True, defaults=True),
    "ours, no cooling": Ours(settings=_with(cooling=False)),
    "ours, stock forest": Ours(settings=_with(all_rungs=False)),
    "ours, stock promotion": Ours(settings=_with(family_promotion=False)),
    "ours, no portfolio": Ours(portfolio=False),
    "ours, no defaults first": Ours(defaults=False),
    "ours, no racing": Ours(racing=False),
    "ours, no floor": Ours(floor=0.0),
    "ours, min_budget 1/27": Ours(settings=_with(min_budget=1 / 27)),
    "ours, min_budget 1/9": Ours(settings=_with(min_budget=1 / 9)),
    "ours, min_budget 1/3": Ours(settings=_with(min_budget=1 / 3)),
}
VARIANTS: dict[str, Callable[..., None]] = {
    "random share 0": Ours(settings=_with(random_share=0.0)),
    "random share 0.5": Ours(settings=_with(random_share=0.5)),
    "retrain after 1": Ours(settings=_with(retrain_after=1)),
    "half cooling": Ours(alpha=0.5),
    "cooling ends at 30 %": Ours(alpha_end=0.3),
}
"""Settings beyond the switches, tried when the defaults were chosen."""


# --- The report ---


def replay(
    tables: Sequence[Table], methods: Mapping[str, Callable[..., None]], *, n_seeds: int
) -> pd.DataFrame:
    """Return one row a method, table, seed and fraction of the budget."""
    rows = []
    for table in tables:
        starts = portfolio(table, [other for other in tables if other is not table])
        for name, method in methods.items():
            began = time.perf_counter()
            for seed in range(n_seeds):
                lab = Lab(table, limit_s=table.limit_s)
                method(lab, seed=seed, starts=starts)
                rows += [(name, table.name, seed, fraction, lab.regret(fraction)) for fraction in FRACTIONS]
            print(f"{table.name}: {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return pd.DataFrame(rows, columns=["method", "table", "seed", "fraction", "regret"])


def compare(frame: pd.DataFrame, *, reference: str = "ours") -> pd.DataFrame:
    """Return the median regret of each method and fraction, and the p-value of `reference` against it.

    Wilcoxon's signed-rank test, paired by table and seed, two-sided; ties are split.
    """
    rows = []
    for (method, fraction), part in frame.groupby(["method", "fraction"], sort=False):
        own = frame[(frame["method"] == reference) & (frame["fraction"] == fraction)]
        pairs = part.merge(own, on=["table", "seed"])
        difference = (pairs["regret_x"] - pairs["regret_y"]).to_numpy()
        p = 1.0 if not difference.any() else float(wilcoxon(difference, zero_method="zsplit").pvalue)
        rows.append((method, fraction, part["regret"].median(), part["regret"].mean(), p))
    return pd.DataFrame(rows, columns=["method", "fraction", "median", "mean", "p"])


def markdown(frame: pd.DataFrame, tables: Sequence[Table]) -> str:
    """Return the comparison of each table, and of both together, as Markdown."""
    parts = [
        "# Recorded configs replayed\n",
        f"Median regret × 1000 over {frame['seed'].nunique()} seeds (mean in brackets) at a fraction of the time "
        "budget; p is Wilcoxon's, paired by seed, of `ours` against the row. Until a config was scored on all its "
        f"folds the loss is that of chance, {CHANCE_LOSS}. Budget: the time in which random search trains "
        f"{CONFIGS_IN_BUDGET} configs in full.\n",
    ]
    for table in [*tables, None]:
        part = frame if table is None else frame[frame["table"] == table.name]
        if table is None:
            title = "All tables together"
        else:
            title = f"{table.name}: {len(table.configs)} configs, budget {table.limit_s:.0f} s"
        parts.append(f"## {title}\n\n{_grid(compare(part))}\n")
    return "\n".join(parts)


def _grid(found: pd.DataFrame) -> str:
    lines = [
        "| method | " + " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS) + " |",
        "| --- |" + " --- |" * len(FRACTIONS),
    ]
    for method, part in found.groupby("method", sort=False):
        cells = []
        for row in part.itertuples():
            p = "" if method == "ours" else f", p {row.p:.2g}"
            cells.append(f"{1000 * row.median:.1f} ({1000 * row.mean:.1f}){p}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, print the comparison and write it beside the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent / "tables")
    parser.add_argument("--variants", action="store_true", help="try further settings as well")
    parser.add_argument("--only", nargs="*", help="methods to replay, by name; nothing is written then")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="smac")
    tables = [
        read_table(path.with_name(path.name.removesuffix("_configs.csv")))
        for path in sorted(options.tables.glob("*_configs.csv"))
    ]
    methods = METHODS | (VARIANTS if options.variants else {})
    if options.only:
        methods = {name: (METHODS | VARIANTS)[name] for name in options.only}
    frame = replay(tables, methods, n_seeds=options.seeds)
    text = markdown(frame, tables)
    print(text)
    if not options.only:
        frame.round(6).to_csv(options.tables / "replay.csv", index=False, lineterminator="\n")
        (options.tables / "replay.md").write_text(text)


if __name__ == "__main__":
    main()
