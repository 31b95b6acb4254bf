"""Which config to try next: expected improvement, cooled by what a trial costs, and its maximisation.

One budget is shared between pipelines of two seconds and networks of two hours. SMAC's improvement per second
divides by log(1 + t), to which 7200 s is only eight times 2 s. Cost cooling divides by t ** alpha, and alpha falls
from 1 to 0 as the budget is spent: cheap information first, and in the end the best config whatever it costs
(Lee et al. 2020, "Cost-aware Bayesian optimization", arXiv:2003.10870).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence, Set
from itertools import chain

import numpy as np
from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace
from ConfigSpace.util import get_one_exchange_neighbourhood
from numpy.typing import NDArray
from scipy.special import ndtr
from smac.acquisition.function import EI
from smac.acquisition.maximizer import AbstractAcquisitionMaximizer

from autoonco.search.space import ROOT
from autoonco.search.surrogate import vector_key

Floats = NDArray[np.float64]
LogSeconds = Callable[[Floats], Floats]

# Starts of the local search: as many of the best configs tried as of the best random ones.
_STARTS = 5
_MAX_STEPS = 6
# A number has so many neighbours, drawn around it at these widths (of a range of 1).
_NEIGHBOURS = 4
_WIDTHS = (0.2, 0.05)
# What the acquisition of a family that is not asked for is; expected improvement is never negative.
_FORBIDDEN = -1.0


class CooledEI(EI):  # type: ignore[misc]  # SMAC has no types
    """Expected improvement × exp(-alpha · (log t - mean log t)), where t is the predicted seconds of full training.

    `log_seconds` gives log t ``(n,)`` of vectors ``(n, n_hyperparameters)``, and `alpha` the exponent now; without
    `log_seconds` this is plain expected improvement. It can be told to consider some families only.
    """

    def __init__(
        self,
        space: ConfigurationSpace,
        *,
        log_seconds: LogSeconds | None = None,
        alpha: Callable[[], float] = lambda: 1.0,
    ) -> None:
        super().__init__()
        self._log_seconds, self._alpha = log_seconds, alpha
        self._root = space.index_of[ROOT]
        root = space[ROOT]
        assert isinstance(root, CategoricalHyperparameter)
        self._names = list(root.choices)
        self.families: Collection[str] | None = None
        """The families that may be proposed; None for all."""

    def _compute(self, X: Floats) -> Floats:
        """Return the acquisition ``(n, 1)`` of vectors ``(n, n_hyperparameters)``."""
        mean, variance = self._model.predict_marginalized(X)
        std = np.sqrt(variance)
        z = (self._eta - mean) / std
        density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        value = np.maximum(std * (z * ndtr(z) + density), 0.0)
        alpha = self._alpha()
        if self._log_seconds is not None and alpha > 0:
            value = value * np.exp(-alpha * self._log_seconds(X))[:, None]
        if self.families is not None:
            allowed = np.array([name in self.families for name in self._names])
            value[~allowed[X[:, self._root].astype(int)]] = _FORBIDDEN
        return np.asarray(value)


def _sorted(configs: Sequence[Configuration], values: Floats) -> list[tuple[float, Configuration]]:
    """Return values and configs, best first, without those of forbidden families; of equal ones the first."""
    order = np.argsort(-values.ravel(), kind="stable")
    pairs = ((float(values.ravel()[i]), configs[i]) for i in order)
    return [(value, config) for value, config in pairs if value > _FORBIDDEN]


class SpaceSearch(AbstractAcquisitionMaximizer):  # type: ignore[misc]  # SMAC has no types
    """Random configs, and a local search from the best of them and of the configs tried so far.

    SMAC's own local search (2.4.1) takes no step in a conditional space: it skips a neighbour that differs in more than
    one hyperparameter, and counts the inactive ones, NaN on both sides, as different. It also passes its starts
    through a set, whose order depends on the hash seed of the process.
    """

    def __init__(self, space: ConfigurationSpace, *, challengers: int, seed: int) -> None:
        super().__init__(space, challengers=challengers, seed=seed)
        self.seen: Set[bytes] = frozenset()
        """Keys of the configs that were proposed before (see `vector_key`)."""

    def _maximize(
        self, previous_configs: list[Configuration], n_points: int
    ) -> list[tuple[float, Configuration]]:
        """Return configs and their acquisition, best first; `previous_configs` are the best tried so far."""
        sampled = self._configspace.sample_configuration(max(n_points, 2))
        randoms = _sorted(sampled, self._acquisition_function(sampled))
        starts = [*previous_configs[:_STARTS], *(config for _, config in randoms[:_STARTS])]
        unique = list({vector_key(config): config for config in starts}.values())
        pairs = [*(self._climb(unique) if unique else ()), *randoms]
        return sorted(pairs, key=lambda pair: -pair[0])  # stable: of equal ones those of the local search

    def _climb(self, starts: Sequence[Configuration]) -> list[tuple[float, Configuration]]:
        """Move each start to the best of its neighbours while that is better, at first with wide steps.

        A start that was proposed before counts as nothing, so that it moves away: the forest is all plateaus, and on
        the one around the best config no neighbour is better than it.
        """
        configs, values = list(starts), self._acquisition_function(list(starts)).ravel()
        values[[vector_key(config) in self.seen for config in configs]] = _FORBIDDEN
        widths = [0] * len(configs)
        for _ in range(_MAX_STEPS):
            active = [i for i, width in enumerate(widths) if width < len(_WIDTHS)]
            around = [self._neighbours(configs[i], _WIDTHS[widths[i]]) for i in active]
            if not any(around):
                break
            flat = self._acquisition_function(list(chain.from_iterable(around))).ravel()
            for i, neighbours in zip(active, around, strict=True):
                mine, flat = flat[: len(neighbours)], flat[len(neighbours) :]
                best = int(mine.argmax()) if len(mine) else -1
                if best >= 0 and mine[best] > values[i]:
                    configs[i], values[i] = neighbours[best], mine[best]
                else:
                    widths[i] += 1
        pairs = zip(values, configs, strict=True)
        return [(float(value), config) for value, config in pairs if value > _FORBIDDEN]

    def _neighbours(self, config: Configuration, width: float) -> list[Configuration]:
        """Return valid configs that differ in one hyperparameter and in those that depend on it."""
        seed = int(self._rng.randint(2**31 - 1))
        found = get_one_exchange_neighbourhood(config, seed=seed, num_neighbors=_NEIGHBOURS, stdev=width)
        return [
            neighbour
            for neighbour in found
            if vector_key(neighbour) not in self.seen and _is_valid(neighbour)
        ]


def _is_valid(config: Configuration) -> bool:
    """Return whether a neighbour keeps to the forbidden clauses; ConfigSpace looks at one hyperparameter's only.

    Its own check looks at every hyperparameter and condition as well, which a neighbour can't break, and took four
    fifths of a proposal's time in a space of a hundred hyperparameters.
    """
    vector = config.get_array()
    return not any(clause.is_forbidden_vector(vector) for clause in config.config_space.forbidden_clauses)


class TableSearch(AbstractAcquisitionMaximizer):  # type: ignore[misc]  # SMAC has no types
    """All candidates of a finite table, sorted by their acquisition."""

    def __init__(self, space: ConfigurationSpace, candidates: Sequence[Configuration]) -> None:
        super().__init__(space)
        self._candidates = list(candidates)

    def _maximize(
        self,
        previous_configs: list[Configuration],  # noqa: ARG002 - SMAC's signature
        n_points: int,  # noqa: ARG002
    ) -> list[tuple[float, Configuration]]:
        return _sorted(self._candidates, self._acquisition_function(self._candidates))
