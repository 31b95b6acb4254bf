"""One scope from end to end: search on the training cases, choose, refit, predict the test cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.errors import NothingToFitError
from autoonco.evaluation import baselines, ensemble
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.outcome import Delivered, Judged, ScopeResult
from autoonco.evaluation.refit import Refit, Refitted, key_of
from autoonco.evaluation.splits import FINAL, OuterSplit, inner_problem, sentences
from autoonco.families.contract import Config
from autoonco.metrics.scores import Metric
from autoonco.search.clock import Clock
from autoonco.search.finalists import finalists, rescore
from autoonco.search.portfolio import starts
from autoonco.search.portfolio_file import load_portfolio
from autoonco.search.problem import Observer, Problem
from autoonco.search.runner import Search
from autoonco.search.space import build_space
from autoonco.search.store import Store
from autoonco.search.trial import Executor, Status, Trial
from autoonco.settings import Settings

# A refit's time is a guess from its folds' times: plan for four fifths of what there is, stop at 1.05 of it.
_PLAN, _STOP = 0.8, 1.05
# Share of the time after the search in which finalists are scored again; the rest is for refits.
_RESCORE = 0.4


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Runs scopes. `limit_s` is the whole time of one scope, its refits included."""

    dataset: Dataset
    facts: Sequence[CaseFacts]
    families: tuple[str, ...]
    metric: Metric
    settings: Settings
    seed: int
    pool: Executor
    store: Store
    artefacts: ArtefactCache
    n_workers: int
    n_threads: int
    limit_s: float
    observer: Observer | None = None
    notes: list[str] = field(default_factory=list)

    def problem(self, split: OuterSplit) -> Problem:
        """Return the search problem of a scope."""
        return inner_problem(
            self.dataset,
            self.facts,
            split,
            metric=self.metric,
            families=self.families,
            settings=self.settings,
            seed=self.seed,
        )

    def run(self, split: OuterSplit, *, already_s: float = 0.0) -> ScopeResult:
        """Search, choose, refit and predict; `already_s` of the scope's time are spent on preparations.

        Raises
        ------
        NothingToFitError
            If no trial succeeded at full budget, with the reasons.
        """
        problem = self.problem(split)
        search_limit_s = max(1.0, self.limit_s * (1 - self.settings.final_share) - already_s)
        clock = Clock(search_limit_s, spent_s=self.store.elapsed_s(split.scope))
        Search(
            problem,
            pool=self.pool,
            store=self.store,
            settings=self.settings,
            seed=self.seed,
            clock=clock,
            observer=self.observer,
            starts=self._starts(problem),
            reproducible=self.reproducible,
        ).run()
        reserve_s = self.limit_s * self.settings.final_share
        left_s = max(reserve_s, self.limit_s - already_s - clock.elapsed())
        again_started = clock.elapsed()
        rescore(
            problem,
            finalists(problem, self.store, n=self.settings.finalists),
            pool=self.pool,
            store=self.store,
            seed=self.seed,
            clock=clock,
            limit_s=_RESCORE * (reserve_s if self.reproducible else left_s),
            reproducible=self.reproducible,
        )
        left_s = max((1 - _RESCORE) * reserve_s, left_s - (clock.elapsed() - again_started))
        found = ensemble.candidates(problem, self.store, n_test=len(split.test))
        partial = self._partial(problem, split, found)
        if not found and not partial:
            raise NothingToFitError(self._why_nothing(problem))
        bests, members = self._choose(problem, found, partial, left_s=left_s)
        refit = Refit(
            problem=problem, split=split, pool=self.pool, store=self.store, seed=self.seed, notes=self.notes
        )
        # What was never fully trained comes last: the model that is delivered doesn't wait for it.
        full, rest = _split_partial(bests.values(), partial)
        wanted = [*full, *(member.candidate for member in members), *rest]
        probas = refit.run(wanted, stop_s=_STOP * left_s)
        return self._result(problem, split, bests, members, probas, refit)

    @property
    def reproducible(self) -> bool:
        """Whether no decision may depend on measured seconds."""
        wanted = self.settings.seconds
        alone = self.settings.max_trials is not None and self.n_workers == 1
        return wanted == "prior" or (wanted == "auto" and alone)

    def _starts(self, problem: Problem) -> list[tuple[str, Config]]:
        """Return the portfolio's configs for these data."""
        space = build_space(problem.families, problem.fingerprint)
        return starts(problem.fingerprint, space, load_portfolio(self.settings.portfolio))

    def _partial(self, problem: Problem, split: OuterSplit, found: Sequence[Candidate]) -> list[Candidate]:
        """Return the furthest trial of each family that never had a full training, best first, and say so."""
        full = {candidate.trial.family for candidate in found}
        partial = []
        for name in problem.families:
            item = (
                None if name in full else ensemble.furthest(problem, self.store, name, n_test=len(split.test))
            )
            if item is not None:
                fidelity, of = item.trial.fidelity, len(problem.folds)
                epochs = "" if fidelity.epochs is None else f" and {fidelity.epochs} epochs"
                self.notes.append(
                    f"The time was too short for a full training of {name}: its model had {fidelity.folds} of {of} "
                    f"inner folds{epochs}. Give the search more time before judging {name} by it."
                )
                partial.append(item)
        return sorted(partial, key=lambda item: -item.score)

    def _choose(
        self, problem: Problem, found: Sequence[Candidate], partial: Sequence[Candidate], *, left_s: float
    ) -> tuple[dict[str, Candidate], list[Member]]:
        """Return each family's best, and the ensemble: of fully trained candidates where there are any."""
        # Of many workers some stand idle at the end, so no more than two are counted on.
        plan_s = np.inf if self.reproducible else _PLAN * left_s * min(self.n_workers, 2)
        bests = ensemble.best_of_families([*found, *partial], refit_limit_s=plan_s / 2)
        full, _ = _split_partial(bests.values(), partial)
        members = ensemble.select(
            problem,
            found or partial[:1],
            rounds=self.settings.ensemble_rounds,
            refit_limit_s=max(0.0, plan_s - sum(best.refit_s for best in full)),
            refitted=tuple(full),
        )
        return bests, members

    def _result(
        self,
        problem: Problem,
        split: OuterSplit,
        bests: Mapping[str, Candidate],
        members: Sequence[Member],
        probas: Refitted,
        refit: Refit,
    ) -> ScopeResult:
        alive = self._refitted_members(bests, members, probas)
        seconds = {name: self._search_seconds(split.scope, name) for name in problem.families}
        whole = Judged(
            name="ensemble",
            kind="ensemble",
            proba=sum(m.weight * probas[key_of(m.candidate)][0] for m in alive),  # type: ignore[arg-type]
            inner_score=ensemble.ensemble_score(problem, alive),
            members=[_describe(m.candidate, m.weight) for m in alive],
            refit_s=sum(probas[key_of(m.candidate)][1] for m in alive),
            search_s=sum(seconds.values()),
        )
        families = [
            _judged_family(name, best, probas[key_of(best)], search_s=seconds[name])
            for name, best in bests.items()
            if key_of(best) in probas
        ]
        delivered = tuple(
            Delivered(
                family=m.candidate.trial.family, weight=m.weight, folder=refit.folder(key_of(m.candidate))
            )
            for m in alive
        )
        return ScopeResult(
            judged=(whole, *families, *self._baselines(split)),
            delivered=delivered if split.scope == FINAL else (),
            fingerprint=problem.fingerprint,
        )

    def _refitted_members(
        self, bests: Mapping[str, Candidate], members: Sequence[Member], probas: Refitted
    ) -> list[Member]:
        """Return the members that were refitted, weights summing to 1; without any, the best refitted family."""
        alive = [member for member in members if key_of(member.candidate) in probas]
        if not alive:
            spare = [best for best in bests.values() if key_of(best) in probas]
            if not spare:
                raise NothingToFitError(
                    "No model could be refitted on all training cases. " + " ".join(self.notes)
                )
            alive = [Member(candidate=max(spare, key=lambda item: item.score), weight=1.0)]
        total = sum(member.weight for member in alive)
        return [Member(candidate=member.candidate, weight=member.weight / total) for member in alive]

    def _baselines(self, split: OuterSplit) -> list[Judged]:
        assert self.dataset.y is not None
        if not len(split.test):
            return []
        columns = {
            baselines.LESION_SIZE: baselines.lesion_sizes(self.facts),
            baselines.LESION_OUTLINE: baselines.lesion_outlines(
                self.dataset.cases, artefacts=self.artefacts, n_threads=self.n_threads
            ),
        }
        y = self.dataset.y
        return [
            Judged(name=name, kind="baseline", proba=baselines.baseline_proba(x, y, split.train, split.test))
            for name, x in columns.items()
            if x is not None
        ]

    def _search_seconds(self, scope: str, family: str) -> float:
        return sum(trial.seconds for trial in self.store.scope_trials(scope) if trial.family == family)

    def _why_nothing(self, problem: Problem) -> str:
        trials = self.store.scope_trials(problem.scope)
        reasons = {name: _first_cause([t for t in trials if t.family == name]) for name in problem.families}
        return "No trial finished: give it a longer time limit, or mend this. " + sentences(reasons)


def _split_partial(
    bests: Iterable[Candidate], partial: Sequence[Candidate]
) -> tuple[list[Candidate], list[Candidate]]:
    """Return those of `bests` that were fully trained, and those that are among `partial`."""
    all_, unfinished = list(bests), {id(item) for item in partial}
    full = [best for best in all_ if id(best) not in unfinished]
    return full, [best for best in all_ if id(best) in unfinished]


def _first_cause(trials: Sequence[Trial]) -> str:
    """Return why no trial succeeded: an error says more than a limit, and that more than a trial not started."""
    order = (Status.FAILED, Status.MEMORY, Status.TIMEOUT, Status.SKIPPED)
    told = [trial for trial in trials if trial.reason]
    first = min(told, key=lambda trial: order.index(trial.status), default=None)
    return "no trial finished in time" if first is None else str(first.reason)


def _judged_family(
    name: str, best: Candidate, refitted: tuple[NDArray[Any], float], *, search_s: float
) -> Judged:
    proba, refit_s = refitted
    return Judged(
        name=name,
        kind="family",
        proba=proba,
        inner_score=best.score,
        members=[_describe(best, 1.0)],
        refit_s=refit_s,
        search_s=search_s,
    )


def _describe(candidate: Candidate, weight: float) -> dict[str, Any]:
    trial = candidate.trial
    return {
        "family": trial.family,
        "config": dict(trial.config),
        "weight": weight,
        "inner_score": candidate.score,
    }
