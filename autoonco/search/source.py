"""Where candidates come from: the families' defaults, then the optimiser, each family getting its share."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ConfigSpace import Configuration

from autoonco.families import get_family
from autoonco.families.contract import Config
from autoonco.search.allocation import Allocation
from autoonco.search.costs import SecondsModel
from autoonco.search.execution import Candidate
from autoonco.search.first_fold import part_of
from autoonco.search.optimizer import Optimizer, OptimizerSettings, Proposal
from autoonco.search.problem import Problem
from autoonco.search.random_search import RandomSearch
from autoonco.search.space import build_space, join
from autoonco.search.trial import Origin, Trial
from autoonco.settings import Settings

# So many proposals in a row that don't fit into the time left mean that nothing will.
_GIVE_UP_AFTER = 30
# After so many of one family, or failures, it claims its share of the compute no more until it has a result.
_REST_AFTER = 3
# Share of the search's time up to which a family's second default is trained in full beforehand. More of it, and
# defaults that wait for the middle of the search, had the greater regret on recorded searches (BENCHMARKS.md).
AFFORDABLE = 0.05


class Source:
    """Candidates one by one; each is answered by `tell`, or by `skip` where it is not tried.

    `known` are the trials of earlier sessions by (config key, budget); `spent` returns the share of the search that
    is over, 0 to 1; `starts` are configs to begin with besides the defaults, `first` those to train before them.
    Without `first_folds`, what is too dear for all folds is not tried on one.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        settings: Settings,
        seed: int,
        starts: Sequence[tuple[str, Config]],
        known: Mapping[tuple[str, float], Trial],
        seconds: SecondsModel,
        spent: Callable[[], float],
        limit_s: float,
        folder: Path,
        first: Sequence[tuple[str, Config]] = (),
        first_folds: bool = True,
    ) -> None:
        self._problem, self._settings, self._seed = problem, settings, seed
        self._starts, self._known, self._seconds = starts, known, seconds
        self._spent, self._folder = spent, folder
        self._space = build_space(problem.families, problem.fingerprint, seed=seed)
        self._allocation = Allocation(
            problem.families, mode=settings.allocation, floor=settings.floor, gpu_rate=settings.gpu_rate
        )
        self._limit_s, self._first_folds = limit_s, first_folds
        self._queue = self._defaults()
        self._queue.extendleft(
            (np.inf, self._candidate(*item, 1.0, Origin.SEARCH)) for item in reversed(first)
        )
        self._optimizer: Optimizer | RandomSearch | None = None
        self._skips: Counter[str] = Counter()
        self._skipped_in_a_row = 0

    def next(self, *, busy: Collection[str] = (), blocked: Collection[str] = ()) -> Candidate | None:
        """Return what to try next, or None when there is nothing until a running trial has ended.

        Families that are `busy`, whose trials in progress are not counted yet, claim no share; of those `blocked`,
        for whose kind there is no slot now, nothing is proposed.
        """
        while self._queue:
            most_s, candidate = self._queue.popleft()
            if self._predicted_s(candidate) <= most_s:
                return candidate
        proposal = self._ask(busy, blocked) if self._skipped_in_a_row < _GIVE_UP_AFTER else None
        if proposal is None:
            return None
        return self._candidate(
            proposal.family, proposal.config, proposal.budget, Origin.SEARCH, proposal=proposal
        )

    def skip(self, candidate: Candidate) -> None:
        """Take note that `candidate` is not tried; nothing is learned from that."""
        if candidate.proposal is not None and self._optimizer is not None:
            self._optimizer.drop(candidate.proposal)
        self._skipped_in_a_row += 1
        self._barren(candidate.family)

    def charge(self, trial: Trial, seconds: float) -> None:
        """Count what a trial took; a family with a result may claim its share again."""
        self._allocation.charge(trial.family, seconds, device=trial.device)
        self._skipped_in_a_row = 0
        if trial.loss is None:  # what fails fast would stay behind its share for ever
            self._barren(trial.family)
        else:
            self._allocation.wake(trial.family)
            self._skips[trial.family] = 0

    def _barren(self, family: str) -> None:
        self._skips[family] += 1
        if self._skips[family] >= _REST_AFTER:
            self._allocation.rest(family)

    def tell(self, candidate: Candidate, trial: Trial) -> None:
        """Tell the optimiser; what it did not propose (a default) it learns, without a place in its brackets."""
        if self._optimizer is None:
            return
        if candidate.proposal is not None and candidate.dear:
            # what had less than was asked for has no place in a rung
            self._optimizer.drop(candidate.proposal)
            self.learn(trial)
        elif candidate.proposal is not None:
            worst = max([1.0, *(t.loss for t in self._known.values() if t.loss is not None)])
            failed = trial.loss is None
            loss = worst if trial.loss is None else trial.loss
            self._optimizer.tell(candidate.proposal, loss=loss, seconds=trial.seconds, failed=failed)
        else:
            self.learn(trial)

    def learn(self, trial: Trial) -> None:
        """Let the optimiser know a result that it did not ask for."""
        if self._optimizer is not None and trial.loss is not None:
            self._optimizer.learn(trial.family, trial.config, trial.budget, loss=trial.loss)

    def close(self) -> None:
        """Write what the optimiser has to say, in SMAC's own layout."""
        if self._optimizer is not None:
            self._optimizer.save()

    def _defaults(self) -> deque[tuple[float, Candidate]]:
        """Return the defaults to train before the search, cheapest first, with the seconds that each may take.

        A family's first default always has its turn; a second one only where it is cheap, by the family's guess and
        then by what this machine has shown, or on its first fold alone where that tells; else it just opens the first
        bracket.
        """
        ranked: list[tuple[float, int, float, Candidate]] = []
        dear_s = self._settings.trial_share * self._limit_s
        for name, rank, config in self._default_configs():
            join(self._space, name, config)  # a default outside its own space is a defect: say so at once
            whole = self._candidate(name, config, 1.0, Origin.DEFAULT)
            most_s = np.inf if rank == 0 else AFFORDABLE * self._limit_s
            if self._prior_s(whole) <= most_s:
                ranked.append((self._prior_s(whole), rank, most_s, whole))
                continue
            part = part_of(self._problem, whole) if self._first_folds else None
            if part is not None and self._prior_s(part) <= dear_s:
                ranked.append((self._prior_s(part), rank, dear_s, part))
        ranked.sort(key=lambda item: item[:2])
        return deque(item[2:] for item in ranked)

    def _prior_s(self, candidate: Candidate) -> float:
        return self._problem.prior_seconds(candidate.family, candidate.config, candidate.fidelity)

    def _predicted_s(self, candidate: Candidate) -> float:
        return self._seconds.predict(
            candidate.family, prior_s=self._prior_s(candidate), config=candidate.config
        )

    def _default_configs(self) -> list[tuple[str, int, Config]]:
        return [
            (name, rank, config)
            for name in self._problem.families
            for rank, config in enumerate(get_family(name).defaults(self._problem.fingerprint))
        ]

    def _candidate(
        self, family: str, config: Config, budget: float, origin: Origin, *, proposal: Proposal | None = None
    ) -> Candidate:
        fidelity = self._problem.plan(family, config, budget)
        return Candidate(
            family=family, config=config, budget=budget, fidelity=fidelity, origin=origin, proposal=proposal
        )

    def _ask(self, busy: Collection[str], blocked: Collection[str]) -> Proposal | None:
        """Return a proposal of a family that is behind its share of the compute, else the optimiser's own choice."""
        if self._optimizer is None:
            self._optimizer = self._make_optimizer()
        for family in self._allocation.behind():
            if family in busy:
                continue
            proposal = self._optimizer.ask(families=[family])
            if proposal is not None:
                return proposal
            self._allocation.rest(family)  # its space holds nothing new
        free = [family for family in self._problem.families if family not in blocked]
        return self._optimizer.ask(families=free) if blocked else self._optimizer.ask()

    def _make_optimizer(self) -> Optimizer | RandomSearch:
        settings = self._settings
        if settings.search == "random":
            return RandomSearch(self._space, seed=self._seed)
        starts = [*((name, config) for name, _, config in self._default_configs()), *self._starts]
        optimizer = Optimizer(
            self._space,
            settings=OptimizerSettings(
                min_budget=settings.min_budget,
                eta=settings.eta,
                all_rungs=settings.all_rungs,
                cooling=settings.cooling,
                family_promotion=settings.family_promotion,
            ),
            seed=self._seed,
            starts=self._configurations(starts),
            known=self._configurations((t.family, t.config) for t in self._known.values()),
            seconds=self._seconds,
            folder=self._folder,
            spent=self._spent,
        )
        for trial in self._known.values():
            if trial.loss is not None:
                optimizer.learn(trial.family, trial.config, trial.budget, loss=trial.loss)
        return optimizer

    def _configurations(self, configs: Iterable[tuple[str, Config]]) -> list[Configuration]:
        return [join(self._space, family, config) for family, config in configs]
