"""Which configs of a rung go on to the next: Hyperband's brackets, with promotion inside a family.

The losses of two families at a rung are not comparable: a network after three epochs and a radiomics pipeline after
one fold say nothing about each other. So the slots of the next rung are shared among the families by the number of
their configs at this one, and inside a family the best go on. At the last promotion, where slots are few, the families
compete by what the forest predicts for their best configs at full budget, where they are comparable.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from ConfigSpace import Configuration
from numpy.typing import NDArray
from smac import Scenario
from smac.callback import Callback
from smac.intensifier.hyperband import Hyperband
from smac.runhistory import StatusType, TrialInfo, TrialValue

from autoonco.search.space import ROOT
from autoonco.search.surrogate import vector_key

T = TypeVar("T")
Predict = Callable[[Sequence[Configuration]], NDArray[np.float64]]


def share_slots(sizes: Mapping[str, int], n_slots: int, *, order: Sequence[str]) -> dict[str, int]:
    """Share slots in proportion to `sizes` by largest remainders, never more to a family than it has configs.

    Equal remainders, and slots that a small family can't fill, go to the families in `order`.

    >>> share_slots({"a": 6, "b": 3}, 3, order=["a", "b"])
    {'a': 2, 'b': 1}
    >>> share_slots({"a": 1, "b": 1, "c": 1}, 2, order=["c", "a", "b"])
    {'a': 1, 'b': 0, 'c': 1}
    """
    total = sum(sizes.values())
    n_slots = min(n_slots, total)
    shares = {family: n_slots * size // total for family, size in sizes.items()}
    remainders = {family: n_slots * size % total for family, size in sizes.items()}
    for family in sorted(order, key=lambda family: -remainders[family])[: n_slots - sum(shares.values())]:
        shares[family] += 1
    return shares


def promote(
    ranked: Mapping[str, Sequence[T]], n_slots: int, *, predicted: Callable[[T], float], last: bool
) -> list[T]:
    """Return what goes on of each family's members, `ranked` best first.

    `predicted` is a member's predicted loss at full budget. The `last` promotion gives each slot to the family whose
    next member is predicted to be best.
    """
    queues = {family: deque(members) for family, members in ranked.items() if members}
    order = sorted(queues, key=lambda family: predicted(queues[family][0]))
    if not last:
        sizes = {family: len(queue) for family, queue in queues.items()}
        shares = share_slots(sizes, n_slots, order=order) if queues else {}
        return [member for family in order for member in list(queues[family])[: shares[family]]]
    chosen: list[T] = []
    while queues and len(chosen) < n_slots:
        family = min(queues, key=lambda family: predicted(queues[family][0]))
        chosen.append(queues[family].popleft())
        if not queues[family]:
            del queues[family]
    return chosen


@dataclass(kw_only=True, eq=False)
class _Rung:
    """Configs that run at one budget; complete when full and every one has a result (None: it failed)."""

    bracket: int
    stage: int
    budget: float
    capacity: int
    waiting: deque[Configuration] = field(default_factory=deque)
    configs: list[Configuration] = field(default_factory=list)
    losses: dict[bytes, float | None] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return len(self.losses) == self.capacity


class FamilyHyperband(Hyperband):  # type: ignore[misc]  # SMAC has no types
    """Hyperband whose first rungs are filled one config at a time and whose promotions are inside a family.

    SMAC draws the configs of a bracket all at once, so that none profits from the results of the others; here each is
    drawn when it is wanted. It can be told to ask for some families only: what waits for others waits on. An
    ask costs the same however many trials there were, for rungs that are done are forgotten.
    """

    def __init__(self, scenario: Scenario, *, eta: int, predict: Predict | None) -> None:
        # Results of the lowest rungs must not displace a full-budget incumbent.
        super().__init__(scenario, eta=eta, incumbent_selection="highest_budget")
        self._predict = predict
        self.families: Collection[str] | None = None
        """The families that the next ask is about; None for all."""

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._rungs: list[_Rung] = []
        self._running: dict[tuple[bytes, float], _Rung] = {}
        self._open: _Rung | None = None

    def get_callback(self) -> Callback:
        """Return what SMAC calls after each tell."""
        return _AfterTell(self)

    def get_state(self) -> dict[str, Any]:
        """Return the brackets under way, for the saved history."""
        rungs = [
            {
                "bracket": rung.bracket,
                "stage": rung.stage,
                "configs": [dict(config) for config in rung.configs],
            }
            for rung in self._rungs
        ]
        return {"rungs": rungs, "next_bracket": self._next_bracket}

    def __iter__(self) -> Iterator[TrialInfo]:
        self.__post_init__()
        return self

    def __next__(self) -> TrialInfo:
        """Return a promoted config if one waits, the highest budget first, or else a new one.

        Not a generator: that there is nothing for now (StopIteration) must not be the end.
        """
        for rung in sorted(self._rungs, key=lambda rung: -rung.budget):
            for place, config in enumerate(rung.waiting):
                if self.families is None or config[ROOT] in self.families:
                    del rung.waiting[place]
                    return self._start(rung, config)
        return self._start(*self._draw())

    def _start(self, rung: _Rung, config: Configuration) -> TrialInfo:
        self._running[vector_key(config), rung.budget] = rung
        seed = self.get_instance_seed_keys_of_interest()[0].seed
        return TrialInfo(config=config, seed=seed, budget=rung.budget)

    def _draw(self) -> tuple[_Rung, Configuration]:
        """Return a new config and the first rung that it joins."""
        try:
            config = next(self.config_generator)
        except StopIteration:
            if self.families is None and self._open is not None:
                self._close(self._open)  # the space has nothing more: what is there competes
                if self._rungs and self._rungs[-1].waiting:
                    return self._rungs[-1], self._rungs[-1].waiting.popleft()
            raise
        if self._open is None:
            self._open = self._add_rung(self._get_next_bracket(), 0)
        rung = self._open
        rung.configs.append(config)
        if len(rung.configs) == rung.capacity:
            self._open = None
        return rung, config

    def _add_rung(self, bracket: int, stage: int, configs: Sequence[Configuration] = ()) -> _Rung:
        rung = _Rung(
            bracket=bracket,
            stage=stage,
            budget=float(self._budgets_in_stage[bracket][stage]),
            capacity=len(configs) or int(self._n_configs_in_stage[bracket][stage]),
            waiting=deque(configs),
            configs=list(configs),
        )
        self._rungs.append(rung)
        return rung

    def _close(self, rung: _Rung) -> None:
        self._open = None
        rung.capacity = len(rung.configs)
        if rung.is_complete:
            self._finish(rung)

    def note(self, info: TrialInfo, value: TrialValue) -> None:
        """Take note of a result; the rung's best go on when it was the last one missing."""
        key = vector_key(info.config)
        rung = self._running.pop((key, info.budget), None)
        if rung is None:
            return
        rung.losses[key] = float(value.cost) if value.status == StatusType.SUCCESS else None
        if rung.is_complete:
            self._finish(rung)

    def _finish(self, rung: _Rung) -> None:
        self._rungs.remove(rung)
        sizes = self._n_configs_in_stage[rung.bracket]
        if rung.stage + 1 == len(sizes):
            return
        # A rung that was never full gives on in the same proportion.
        n_slots = math.ceil(rung.capacity * sizes[rung.stage + 1] / sizes[rung.stage])
        promoted = self._best(rung, n_slots, last=rung.stage + 2 == len(sizes))
        if promoted:
            self._add_rung(rung.bracket, rung.stage + 1, promoted)

    def _best(self, rung: _Rung, n_slots: int, *, last: bool) -> list[Configuration]:
        """Return the configs that go on, never one that failed."""
        losses = [rung.losses[vector_key(config)] for config in rung.configs]
        pairs = [
            (loss, config) for loss, config in zip(losses, rung.configs, strict=True) if loss is not None
        ]
        pairs.sort(key=lambda pair: pair[0])  # stable: of equal ones the earlier
        configs = [config for _, config in pairs]
        if self._predict is None or not configs:
            return configs[:n_slots]
        predicted = dict(zip(map(id, configs), self._predict(configs), strict=True))
        families = Counter(str(config[ROOT]) for config in configs)
        ranked = {family: [c for c in configs if c[ROOT] == family] for family in families}
        return promote(ranked, n_slots, predicted=lambda config: float(predicted[id(config)]), last=last)


class _AfterTell(Callback):  # type: ignore[misc]  # SMAC has no types
    def __init__(self, brackets: FamilyHyperband) -> None:
        super().__init__()
        self._brackets = brackets

    def on_tell_end(self, smbo: Any, info: TrialInfo, value: TrialValue) -> None:  # noqa: ARG002 - SMAC's signature
        self._brackets.update_incumbents(info.config)
        self._brackets.note(info, value)
