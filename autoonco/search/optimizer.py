"""SMAC's multi-fidelity search, driven by ask and tell."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ConfigSpace import Configuration, ConfigurationSpace
from smac import MultiFidelityFacade, Scenario
from smac.model.random_forest import RandomForest
from smac.runhistory import TrialInfo, TrialValue

from autoonco.families.contract import Config
from autoonco.search.space import split

# SMAC wants a number of trials; the clock ends our searches.
_MANY_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A config and the budget to try it at."""

    family: str
    config: Config
    budget: float
    info: TrialInfo


class Optimizer:
    """Hyperband brackets over budgets with a random-forest surrogate (SMAC 2.4).

    `starts` are tried first in the first bracket, filled up with random configs to the size of its first
    rung: SMAC repeats configs there when it has fewer unique ones. `known`, the configs of an earlier session in
    the order in which they ended, come next, so that later brackets meet them before new ones. Results of the
    lowest rungs must not displace a full-budget incumbent, so only the highest budget counts for that.
    """

    def __init__(
        self,
        space: ConfigurationSpace,
        starts: Sequence[Configuration],
        *,
        known: Sequence[Configuration] = (),
        folder: Path,
        seed: int,
        min_budget: float,
        eta: int,
    ) -> None:
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=_MANY_TRIALS,
            min_budget=min_budget,
            max_budget=1.0,
            seed=seed,
            output_directory=folder,
            name="autoonco",
        )
        intensifier = MultiFidelityFacade.get_intensifier(
            scenario, eta=eta, incumbent_selection="highest_budget"
        )
        # A leaf limit, SMAC's default, makes each fit of a small forest fifty times slower.
        model = RandomForest(
            space,
            n_trees=10,
            max_leaf_nodes=None,
            n_jobs=1,
            log_y=False,
            seed=seed,  # ties at loss 0 break log_y
        )
        first = _fill(space, starts, _first_rung(min_budget, eta))
        design = MultiFidelityFacade.get_initial_design(
            scenario, n_configs=0, additional_configs=list(dict.fromkeys([*first, *known]))
        )
        self._folder = folder
        self._smac = MultiFidelityFacade(
            scenario,
            None,
            model=model,
            intensifier=intensifier,
            initial_design=design,
            logging_level=False,
            overwrite=True,
        )

    def ask(self) -> Proposal | None:
        """Return what to try next, or None when the space holds nothing new."""
        try:
            info = self._smac.ask()
        except StopIteration:
            return None
        family, config = split(info.config)
        return Proposal(family=family, config=config, budget=float(info.budget), info=info)

    def tell(self, proposal: Proposal, *, loss: float, seconds: float) -> None:
        """Report a result. A failed trial is told with the worst loss, so that the brackets move on."""
        now = time.time()
        value = TrialValue(cost=loss, time=seconds, starttime=now - seconds, endtime=now)
        # SMAC's own JSON is rewritten whole on each save; our journal is what counts, see `save`.
        self._smac.tell(proposal.info, value, save=False)

    def save(self) -> None:
        """Write SMAC's run history in its own layout, which DeepCAVE opens."""
        self._smac.optimizer.save()
        for path in self._folder.rglob("scenario.json"):
            # SMAC notes where it wrote; no path of the user's machine stays in a run folder.
            scenario = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(scenario | {"output_directory": "."}, indent=2), encoding="utf-8")


def _first_rung(min_budget: float, eta: int) -> int:
    size, budget = 1, 1.0
    while budget / eta >= min_budget * (1 - 1e-9):
        size, budget = size * eta, budget / eta
    return size


def _fill(space: ConfigurationSpace, starts: Sequence[Configuration], n: int) -> list[Configuration]:
    unique = list(dict.fromkeys(starts))
    for _ in range(20 * n):
        if len(unique) >= n:
            break
        candidate = space.sample_configuration()
        if candidate not in unique:
            unique.append(candidate)
    return unique
