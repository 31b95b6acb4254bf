"""SMAC's multi-fidelity search, driven by ask and tell: the only module that puts SMAC together."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace
from numpy.typing import NDArray
from smac import MultiFidelityFacade, Scenario
from smac.random_design import ProbabilityRandomDesign
from smac.runhistory import StatusType, TrialInfo, TrialValue

from autoonco.families.contract import Config
from autoonco.search.acquisition import CooledEI, SpaceSearch, TableSearch
from autoonco.search.costs import SecondsModel, SecondsSurface
from autoonco.search.promotion import FamilyHyperband
from autoonco.search.selector import Selector
from autoonco.search.space import join, split
from autoonco.search.surrogate import Surrogate, vector_key

# SMAC wants a number of trials; the clock ends our searches.
_MANY_TRIALS = 1_000_000
# SMAC's cost of what has no finite loss; infinity would end in NaN.
_WORST = float(np.finfo(np.float32).max)
# Configs at which the families' priors of seconds are looked up, once.
_SURFACE_CONFIGS = 1000


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What the search is made of; each piece can be switched off, to measure what it is worth.

    Budgets go from `min_budget` to 1 by factors of `eta`.

    - `all_rungs`: the surrogate learns from every budget, not from the highest alone.
    - `cooling`: the acquisition weighs predicted seconds.
    - `family_promotion`: promotion is inside a family.
    - `random_share`: the probability that a new config is a random one, for the surrogate may be wrong.
    - `min_results`: so many results before the surrogate is asked at all.
    - `retrain_after`: new configs between trainings of the surrogate, at most.
    - `challengers`: random configs that are compared before the local search.
    """

    min_budget: float = 1 / 27
    eta: int = 3
    all_rungs: bool = True
    cooling: bool = True
    family_promotion: bool = True
    random_share: float = 0.2
    min_results: int = 12
    retrain_after: int = 8
    challengers: int = 500


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A config and the budget to try it at."""

    family: str
    config: Config
    budget: float
    info: TrialInfo


class Optimizer:
    """Hyperband brackets over budgets with a random-forest surrogate: SMAC 2.4 through its extension points.

    Parameters
    ----------
    space
        A space with the hyperparameter `family` at its root (see `search.space`). It is seeded anew.
    settings, seed
        What the search is made of. The same seed and the same answers give the same proposals.
    starts
        Configs that open the first bracket.
    known
        Configs of an earlier session in the order in which they ended; they come next, so that brackets meet them
        before new ones.
    seconds
        Predicts what trials take, for `cooling`; without it, or without a prior in it, nothing is cooled.
    candidates
        A finite table of configs to search in, in place of the whole space.
    folder
        Where `save` writes; None where nothing is to be saved.
    spent
        Returns the share of the search's budget that is spent, 0 to 1, for `cooling`.
    """

    def __init__(
        self,
        space: ConfigurationSpace,
        *,
        settings: OptimizerSettings,
        seed: int,
        starts: Sequence[Configuration] = (),
        known: Sequence[Configuration] = (),
        seconds: SecondsModel | None = None,
        candidates: Sequence[Configuration] | None = None,
        folder: Path | None = None,
        spent: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._space, self._settings, self._seed, self._folder = space, settings, seed, folder
        self._candidates = candidates
        self._surrogate = Surrogate(space, seed=seed, all_rungs=settings.all_rungs)
        first = list({vector_key(config): config for config in [*starts, *known]}.values())
        with tempfile.TemporaryDirectory() as nowhere:  # SMAC writes as soon as it starts, wanted or not
            scenario = Scenario(
                space,
                deterministic=True,
                n_trials=_MANY_TRIALS,
                min_budget=settings.min_budget * (1 - 1e-9),  # or rounding loses the lowest rung of 1/243
                max_budget=1.0,
                seed=seed,
                output_directory=Path(nowhere) if folder is None else folder,
                name="autoonco",
            )
            self._build(scenario, first, seconds=seconds, spent=spent)
        self._hide_folder()

    def _build(
        self,
        scenario: Scenario,
        first: list[Configuration],
        *,
        seconds: SecondsModel | None,
        spent: Callable[[], float],
    ) -> None:
        settings, seed = self._settings, self._seed
        self._space.seed(seed)
        self._acquisition = CooledEI(
            self._space,
            log_seconds=self._log_seconds(seconds),
            alpha=lambda: 1.0 - min(max(spent(), 0.0), 1.0),
        )
        self._selector = Selector(
            scenario,
            self._surrogate,
            retrain_after=settings.retrain_after,
            min_results=settings.min_results,
            candidates=self._candidates,
            seed=seed,
        )
        predict = self._surrogate.mean if settings.family_promotion else None
        self._brackets = FamilyHyperband(scenario, eta=settings.eta, predict=predict)
        maximizer = self._maximizer()
        self._smac = MultiFidelityFacade(
            scenario,
            None,
            model=self._surrogate.forest,
            acquisition_function=self._acquisition,
            acquisition_maximizer=maximizer,
            config_selector=self._selector,
            intensifier=self._brackets,
            random_design=ProbabilityRandomDesign(probability=settings.random_share, seed=seed),
            initial_design=MultiFidelityFacade.get_initial_design(
                scenario, n_configs=0, additional_configs=first
            ),
            logging_level=False,
            overwrite=True,
        )

    def _maximizer(self) -> SpaceSearch | TableSearch:
        if self._candidates is not None:
            return TableSearch(self._space, self._candidates)
        search = SpaceSearch(self._space, challengers=self._settings.challengers, seed=self._seed)
        search.seen = self._selector.seen
        return search

    def _log_seconds(self, seconds: SecondsModel | None) -> SecondsSurface | None:
        if not self._settings.cooling or seconds is None or seconds.prior is None:
            return None
        configs = self._candidates or self._space.sample_configuration(_SURFACE_CONFIGS)
        return SecondsSurface(seconds, configs[:_SURFACE_CONFIGS])

    def ask(self, families: Collection[str] | None = None) -> Proposal | None:
        """Return what to try next, of one of `families` if given.

        A promoted config that waits comes before a new one, the highest budget first; what waits for other families
        waits on. None means that there is nothing new for these families now: results that are still to be told may
        yet promote something.
        """
        self._brackets.families = self._selector.families = self._acquisition.families = families
        try:
            info = self._smac.ask()
        except StopIteration:
            return None
        family, config = split(info.config)
        return Proposal(family=family, config=config, budget=float(info.budget), info=info)

    def tell(self, proposal: Proposal, *, loss: float, seconds: float, failed: bool = False) -> None:
        """Report a result, of a `failed` trial with the worst loss so that the surrogate avoids its like.

        A failed trial never goes on to a higher rung. A loss that isn't finite is a failure too.
        """
        failed = failed or not math.isfinite(loss)
        # Before SMAC is told, for a result may complete a rung and the surrogate is asked who goes on.
        if math.isfinite(loss):
            self._surrogate.observations.add(proposal.info.config, proposal.budget, loss)
        status = StatusType.CRASHED if failed else StatusType.SUCCESS
        self._report(proposal, cost=loss if math.isfinite(loss) else _WORST, seconds=seconds, status=status)

    def drop(self, proposal: Proposal) -> None:
        """Take back a proposal that will not be tried: its rung goes on without it, and nothing is learned."""
        self._report(proposal, cost=_WORST, seconds=0.0, status=StatusType.TIMEOUT)

    def _report(self, proposal: Proposal, *, cost: float, seconds: float, status: StatusType) -> None:
        now = time.time()
        value = TrialValue(cost=cost, time=seconds, status=status, starttime=now - seconds, endtime=now)
        # SMAC's own JSON is rewritten whole on each save; our journal is what counts, see `save`.
        self._smac.tell(proposal.info, value, save=False)

    def learn(self, family: str, config: Config, budget: float, *, loss: float) -> None:
        """Let the surrogate know a result that no proposal asked for; the brackets don't hear of it."""
        self._surrogate.observations.add(join(self._space, family, config), budget, loss)

    def predict(
        self, configs: Sequence[tuple[str, Config]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation ``(n,)`` of the loss of (family, config) pairs at full budget.

        Raises
        ------
        ValueError
            If nothing was told yet, or a config is not in its family's space.
        """
        return self._surrogate.predict([join(self._space, family, config) for family, config in configs])

    def save(self) -> None:
        """Write SMAC's run history in its own layout, which DeepCAVE opens; nothing where there is no folder."""
        if self._folder is None:
            return
        self._smac.optimizer.save()
        self._hide_folder()

    def _hide_folder(self) -> None:
        """Take the path out of what SMAC wrote; no path of the user's machine stays in a run folder."""
        for path in self._folder.rglob("scenario.json") if self._folder is not None else ():
            scenario = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(scenario | {"output_directory": "."}, indent=2), encoding="utf-8")
