"""The searches that are compared: what autoonco does, random search, and SMAC with its own parts."""

from __future__ import annotations

import copy
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ConfigSpace import Configuration, ConfigurationSpace
from smac import MultiFidelityFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.runhistory import TrialInfo, TrialValue

from autoonco.search.acquisition import TableSearch
from autoonco.search.allocation import Allocation
from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, OptimizerSettings, Proposal
from autoonco.search.space import config_key, split
from autoonco.search.surrogate import vector_key
from benchmarks.lab import Lab, Outcome
from benchmarks.recorded import RUNGS, DefaultOrder, Recorded, Table, rung_of

FLOOR = 0.1
GIVE_UP_AFTER, REST_AFTER = 30, 3
"""As in `autoonco.search.source`: proposals in a row that don't fit the time left."""
FARTHEST_OFF = 20
"""No guess of a trial's seconds is wrong by a larger factor."""
BASE = OptimizerSettings()


class Method(Protocol):
    """A way to search; it works on `lab` until its time is over."""

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search; `starts` are configs that did well on other tasks."""
        ...


def run_defaults(lab: Lab, order: DefaultOrder = "families") -> list[tuple[Recorded, Outcome]]:
    """Train the families' defaults in full."""
    full = len(RUNGS) - 1
    return [(config, lab.run(config, full, racing=False)) for config in lab.table.defaults(order)]


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

    def __init__(
        self, space: ConfigurationSpace, points: Sequence[Configuration], tried: set[Configuration]
    ) -> None:
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
    order: DefaultOrder = "families"
    portfolio: bool = True
    racing: bool = True
    floor: float = FLOOR
    alpha: float = 1.0
    alpha_end: float = 1.0

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search."""
        seconds = SecondsModel(prior=lambda family, config: lab.table.priors[config_key(family, config)])
        known = run_defaults(lab, self.order) if self.defaults else []
        if lab.is_over:
            return
        first = [*lab.table.defaults("families"), *(starts if self.portfolio else ())]
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
            left_s = lab.limit_s - lab.elapsed_s
            is_tight = bool(missing) and prior_s * FARTHEST_OFF > left_s  # asking is most of a replay's work
            if is_tight and seconds.predict(config.family, prior_s=prior_s, config=plain) > left_s:
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
