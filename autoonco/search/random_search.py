"""Random search in the optimiser's place: the control that any cleverness has to beat.

WORC found no gain of Bayesian optimisation over a medium random search (Starmans et al., arXiv 2108.08618), so the
same runner, time and ensemble can be had with random configs, each trained in full. The families' defaults compete
beside them, and each family has its floor of the compute, as in every search.
"""

from __future__ import annotations

from collections.abc import Collection

from ConfigSpace import Configuration, ConfigurationSpace
from smac.runhistory import TrialInfo

from autoonco.families.contract import Config
from autoonco.search.optimizer import Proposal
from autoonco.search.space import split
from autoonco.search.surrogate import vector_key

# Draws that bring nothing new, or none of the families asked for, before the space counts as exhausted.
_MOST_DRAWS = 2000


class RandomSearch:
    """Asks for configs of `space` drawn uniformly, none twice, at full budget; it learns nothing from answers.

    The same seed gives the same configs in the same order, as long as the same families are asked for.
    """

    def __init__(self, space: ConfigurationSpace, *, seed: int) -> None:
        self._space, self._seed = space, seed
        self._space.seed(seed)
        self._seen: set[bytes] = set()

    def ask(self, families: Collection[str] | None = None) -> Proposal | None:
        """Return a config that was not asked for before, of one of `families` if given; None where there is none."""
        for _ in range(_MOST_DRAWS):
            drawn: Configuration = self._space.sample_configuration()
            family, config = split(drawn)
            if (families is None or family in families) and vector_key(drawn) not in self._seen:
                self._seen.add(vector_key(drawn))
                info = TrialInfo(config=drawn, seed=self._seed, budget=1.0)
                return Proposal(family=family, config=config, budget=1.0, info=info)
        return None

    def tell(self, proposal: Proposal, *, loss: float, seconds: float, failed: bool = False) -> None:
        """Take no note."""

    def drop(self, proposal: Proposal) -> None:
        """Take no note."""

    def learn(self, family: str, config: Config, budget: float, *, loss: float) -> None:
        """Take no note."""

    def save(self) -> None:
        """Write nothing: the journal has it all."""
