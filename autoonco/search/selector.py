"""Where new configs come from: start configs, random ones, then the acquisition function's choice."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import numpy as np
from ConfigSpace import Configuration
from smac import Scenario
from smac.main.config_selector import ConfigSelector

from autoonco.search.space import ROOT
from autoonco.search.surrogate import Surrogate, vector_key

# So many random draws in a row that bring nothing new mean that there is nothing.
_TRIES = 40
_DRAWS_A_TRY = 50
# The surrogate may serve one more config for so many results that it knows: a few results change it most.
_RESULTS_A_CONFIG = 50


class Selector(ConfigSelector):  # type: ignore[misc]  # SMAC has no types
    """SMAC's selector with its four slow or lossy points replaced.

    - The initial design's configs come first, in its order, each once; then random ones until the surrogate knows
      `min_results`; then the acquisition's, among them a share of random ones (`random_design`).
    - What was proposed before is found by hash; SMAC searches a list, comparing config by config.
    - The incumbent is predicted in one batch, not config by config.
    - The surrogate is trained again only if it can learn something new, after `retrain_after` configs at most; after
      fewer while it knows little, for then training is cheap and each result tells much.

    It can be told to draw from some families only, and from a finite table of `candidates` only. Not a generator:
    that there is nothing for some families (StopIteration) is not the end.
    """

    def __init__(
        self,
        scenario: Scenario,
        surrogate: Surrogate,
        *,
        retrain_after: int,
        min_results: int,
        candidates: Sequence[Configuration] | None = None,
        seed: int,
    ) -> None:
        super().__init__(scenario, retrain_after=retrain_after)
        self._surrogate, self._min_results = surrogate, min_results
        self._rng = np.random.default_rng(seed)
        self._table = None if candidates is None else self._shuffled(candidates)
        self.seen: set[bytes] = set()
        """Keys of the configs returned so far (see `vector_key`)."""
        self._batches: dict[frozenset[str] | None, deque[Configuration]] = {}
        self._queue: deque[Configuration] = deque()
        self._count = self._since_training = 0
        self._version = -1
        self._tried: list[Configuration] = []
        self.families: Collection[str] | None = None
        """The families that the next config may be of; None for all."""

    def _shuffled(self, candidates: Sequence[Configuration]) -> deque[Configuration]:
        return deque(candidates[i] for i in self._rng.permutation(len(candidates)))

    def __iter__(self) -> Iterator[Configuration]:
        self._queue = deque(self._initial_design_configs)
        return self

    def __next__(self) -> Configuration:
        """Return a config never returned before.

        Raises
        ------
        StopIteration
            If there is none of the families asked for.
        """
        config = self._queued()
        if config is None and len(self._surrogate.observations) >= self._min_results:
            self._count += 1
            if not self._random_design.check(self._count):
                config = self._acquired()
        config = config or self._random()
        if config is None:
            raise StopIteration
        self.seen.add(vector_key(config))
        return config

    def _is_wanted(self, config: Configuration) -> bool:
        return self._is_asked_for(config) and vector_key(config) not in self.seen

    def _is_asked_for(self, config: Configuration) -> bool:
        return self.families is None or config[ROOT] in self.families

    def _take(self, queue: deque[Configuration]) -> Configuration | None:
        """Take the first wanted config out of `queue`; those of other families stay."""
        for place, config in enumerate(queue):
            if self._is_wanted(config):
                del queue[place]
                return config
        return None

    def _queued(self) -> Configuration | None:
        return self._take(self._queue)

    def _random(self) -> Configuration | None:
        if self._table is not None:
            return self._take(self._table)
        for _ in range(_TRIES):
            drawn = deque(self._scenario.configspace.sample_configuration(_DRAWS_A_TRY))
            if (config := self._take(drawn)) is not None:
                return config
        return None

    def _acquired(self) -> Configuration | None:
        """Return the acquisition's next choice; a batch of them is kept for each set of families asked for."""
        is_new = self._surrogate.observations.version != self._version
        patience = min(self._retrain_after, 1 + len(self._surrogate.observations) // _RESULTS_A_CONFIG)
        if is_new and (self._version < 0 or self._since_training >= patience):
            self._train()
        self._since_training += 1
        key = None if self.families is None else frozenset(self.families)
        if (config := self._take(self._batches.setdefault(key, deque()))) is None:
            self._batches[key] = self._maximize()
            config = self._take(self._batches[key])
        return config

    def _train(self) -> None:
        self._version, self._since_training = self._surrogate.observations.version, 0
        self._batches.clear()
        model = self._surrogate.refresh()
        configs = self._surrogate.observations.configs
        mean = self._surrogate.mean(configs)
        order = np.argsort(mean, kind="stable")
        self._tried = [configs[i] for i in order]
        self._acquisition_function.update(model=model, eta=float(mean[order[0]]))

    def _maximize(self) -> deque[Configuration]:
        best = [config for config in self._tried if self._is_asked_for(config)]
        challengers = self._acquisition_maximizer._maximize(best, self._acquisition_maximizer._challengers)
        wanted = (config for _, config in challengers if self._is_wanted(config))
        return deque(islice(wanted, self._retrain_after))
