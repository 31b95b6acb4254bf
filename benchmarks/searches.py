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

from autoonco.families.contract import Fidelity
from autoonco.search import completion
from autoonco.search.acquisition import TableSearch
from autoonco.search.allocation import Allocation
from autoonco.search.costs import SecondsModel, trained_or_not
from autoonco.search.optimizer import Optimizer, OptimizerSettings, Proposal
from autoonco.search.space import config_key, split
from autoonco.search.surrogate import vector_key
from benchmarks.lab import Lab, Outcome
from benchmarks.recorded import RUNGS, DefaultOrder, Recorded, Table, rung_of

FLOOR = 0.1
GIVE_UP_AFTER, REST_AFTER = 30, 3
"""As in `autoonco.search.source`: proposals in a row that don't fit the time left."""
LATER = 0.5
"""When defaults that were put off are trained, as a share of the time."""
FARTHEST_OFF = 20
"""No guess of a trial's seconds is wrong by a larger factor."""
BASE = OptimizerSettings()


class Method(Protocol):
    """A way to search; it works on `lab` until its time is over."""

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search; `starts` are configs that did well on other tasks."""
        ...


def run_defaults(lab: Lab) -> None:
    """Train the families' defaults in full."""
    for config in lab.table.defaults("families"):
        lab.run(config, len(RUNGS) - 1, racing=False)


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
    Defaults after a family's first that are guessed to take more than the share `affordable` of the time are not
    trained in full beforehand but only open the first bracket, and firsts that take more than `dear` wait until half
    the time is over. `completing` is `search.completion`.
    """

    settings: OptimizerSettings = BASE
    defaults: bool = True
    order: DefaultOrder = "families"
    affordable: float = 1.0
    dear: float = 1.0
    portfolio: bool = True
    racing: bool = True
    completing: bool = False
    floor: float = FLOOR
    alpha: float = 1.0
    alpha_end: float = 1.0

    def __call__(self, lab: Lab, *, seed: int, starts: Sequence[Recorded]) -> None:
        """Search."""
        seconds = SecondsModel(
            prior=lambda family, config: lab.table.priors[config_key(family, config)],
            kind=trained_or_not,
        )
        opening = [*lab.table.defaults("families"), *(starts if self.portfolio else ())]
        optimizer = Optimizer(
            copy.deepcopy(lab.table.space),
            settings=self.settings,
            seed=seed,
            starts=[config.configuration for config in opening],
            seconds=seconds,
            candidates=[config.configuration for config in lab.table.configs],
            spent=lambda: 1.0 - self.alpha * max(0.0, 1.0 - lab.elapsed_s / lab.limit_s / self.alpha_end),
        )
        allocation = Allocation(lab.table.families, mode="shared", floor=self.floor, gpu_rate=1.0)
        run = _Run(lab, optimizer, allocation, seconds, racing=self.racing, completing=self.completing)
        first, later = self._split_defaults(lab) if self.defaults else ([], [])
        for config in first:
            run.default(config)
        run.until(1.0 if not later else LATER)
        for config in later:
            run.default(config)
        run.until(1.0)
        finish_rest(lab, random.Random(seed))

    def _split_defaults(self, lab: Lab) -> tuple[list[Recorded], list[Recorded]]:
        """Return the defaults to train in full before the search, and those to train in its middle."""
        firsts = {config.key for config in lab.table.defaults("firsts")}
        wanted = [
            config
            for config in lab.table.defaults(self.order)
            if config.key in firsts or config.prior_s[-1] <= self.affordable * lab.limit_s
        ]
        later = [config for config in wanted if config.prior_s[-1] > self.dear * lab.limit_s]
        return [config for config in wanted if config not in later], later


class _Run:
    """One search of the runner's kind under way."""

    def __init__(
        self,
        lab: Lab,
        optimizer: Optimizer,
        allocation: Allocation,
        seconds: SecondsModel,
        *,
        racing: bool,
        completing: bool,
    ) -> None:
        self._lab, self._optimizer, self._allocation, self._seconds = lab, optimizer, allocation, seconds
        self._racing, self._completing = racing, completing
        self._skips: Counter[str] = Counter()
        self._skipped_in_a_row = 0

    def default(self, config: Recorded) -> None:
        """Train a default in full; the surrogate learns from it, the brackets don't."""
        if self._lab.is_over:
            return
        outcome = self._lab.run(config, len(RUNGS) - 1, racing=False)
        self._note(config, config.prior_s[-1], outcome)
        if outcome.loss is not None:
            self._optimizer.learn(*split(config.configuration), 1.0, loss=outcome.loss)

    def until(self, share: float) -> None:
        """Search until a share of the time is over, or there is nothing more to try."""
        while self._lab.elapsed_s < share * self._lab.limit_s and self._skipped_in_a_row < GIVE_UP_AFTER:
            proposal = self._next()
            if proposal is None:
                return
            self._try(proposal)

    def _next(self) -> Proposal | None:
        """Return a proposal of a family behind its share, else the optimiser's own choice."""
        for family in self._allocation.behind():
            if (proposal := self._optimizer.ask(families=[family])) is not None:
                return proposal
            self._allocation.rest(family)
        return self._optimizer.ask()

    def _try(self, proposal: Proposal) -> None:
        lab = self._lab
        config = lab.table.by_vector[vector_key(proposal.info.config)]
        rung = rung_of(proposal.budget)
        missing = lab.missing(config, rung)
        prior_s = config.prior_s[rung] * len(missing) / len(config.plan(rung))
        if missing and not self._fits(config, prior_s):
            self._skip(proposal)
            return
        outcome = lab.run(config, rung, racing=self._racing)
        self._note(config, prior_s, outcome)
        if outcome.loss is not None:
            self._optimizer.tell(proposal, loss=outcome.loss, seconds=outcome.seconds)
            if self._completing:
                self._complete(config, rung)

    def _complete(self, config: Recorded, rung: int) -> None:
        """Score a config of a rung in full where that costs next to nothing, as a run does."""
        last = len(RUNGS) - 1
        fidelity = Fidelity(folds=1, epochs=config.epochs[rung])
        is_due = completion.is_due(fidelity, rung_s=config.prior_s[rung], full_s=config.prior_s[last])
        if rung < last and is_due and self._lab.missing(config, last) and not self._lab.is_over:
            outcome = self._lab.run(config, last, racing=self._racing)
            self._note(config, config.prior_s[last], outcome)
            if outcome.loss is not None:
                self._optimizer.learn(*split(config.configuration), 1.0, loss=outcome.loss)

    def _fits(self, config: Recorded, prior_s: float) -> bool:
        left_s = self._lab.limit_s - self._lab.elapsed_s
        if prior_s * FARTHEST_OFF <= left_s:  # a prediction is most of a replay's work
            return True
        plain = split(config.configuration)[1]
        return self._seconds.predict(config.family, prior_s=prior_s, config=plain) <= left_s

    def _skip(self, proposal: Proposal) -> None:
        self._optimizer.drop(proposal)
        self._skipped_in_a_row += 1
        self._skips[proposal.family] += 1
        if self._skips[proposal.family] >= REST_AFTER:
            self._allocation.rest(proposal.family)

    def _note(self, config: Recorded, prior_s: float, outcome: Outcome) -> None:
        self._allocation.charge(config.family, outcome.seconds, device="cpu")
        self._allocation.wake(config.family)
        self._skips[config.family] = self._skipped_in_a_row = 0
        if outcome.loss is not None and outcome.seconds > 0:
            plain = split(config.configuration)[1]
            self._seconds.add(config.family, prior_s=prior_s, measured_s=outcome.seconds, config=plain)
