"""One scope from end to end: search on the training cases, choose, refit, predict the test cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoonco.data.cache import ArtefactCache, digest
from autoonco.data.checks import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.errors import NothingToFitError
from autoonco.evaluation import ensemble
from autoonco.evaluation.baselines import Baselines
from autoonco.evaluation.choice import choose, ladders, partial_notes
from autoonco.evaluation.delivered import in_time
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.inner import inner_problem, sentences
from autoonco.evaluation.judged import judged_ensemble, judged_family
from autoonco.evaluation.kept import keep, kept_result
from autoonco.evaluation.outcome import Delivered, Judged, ScopeResult
from autoonco.evaluation.probing import probed_ensemble
from autoonco.evaluation.refit import Refit, Refitted
from autoonco.evaluation.request import settings_json
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tasks import TASKS, Task
from autoonco.evaluation.timetable import Needed, fitting, makespan
from autoonco.families.contract import Config, Runtime
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
# Where nothing could be refitted in time, the quickest model has this share of the whole time more.
_LATE = 0.25
# Share of a scope's time at most in which its test cases are predicted with lesion or mask changed.
_PROBES = 0.15
# Share of a scope's time at most in which features are extracted for one baseline, where no trial has done so.
_BASELINE = 0.03
# However long refits take, so much of the search's time is searched.
_MOST_EARLIER = 0.5
# Parts of a scope's work that come after its search, as the journal names them.
_AGAIN, _REFITS = "scoring again", "refits"


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
    task: Task = TASKS["classification"]
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
            task=self.task,
        )

    def run(self, split: OuterSplit, *, already_s: float = 0.0) -> ScopeResult:
        """Search, choose, refit and predict; `already_s` of the scope's time are spent on preparations.

        Raises
        ------
        NothingToFitError
            If no trial succeeded at full budget, with the reasons.
        """
        asked = {"limit_s": self.limit_s, "settings": settings_json(self.settings)}
        kept = kept_result(self.store.folder, split.scope, asked=asked)
        if kept is None:
            n_notes = len(self.notes)
            result = self._run(split, already_s=already_s, asked=digest(asked))
            keep(self.store.folder, split.scope, result, asked=asked, notes=self.notes[n_notes:])
            return result
        result, notes = kept
        self.notes.extend(notes)
        return result

    def _run(self, split: OuterSplit, *, already_s: float, asked: str) -> ScopeResult:
        problem, reserve_s = self.problem(split), self.limit_s * self.settings.final_share
        limit_s = max(1.0, self.limit_s - reserve_s - already_s)
        clock = Clock(limit_s, spent_s=self.store.elapsed_s(split.scope))
        if self.store.phase_s(split.scope, _AGAIN, asked=asked) is None:
            self._search(problem, clock, reserve_s=reserve_s, n_test=len(split.test))
        searched_s = self._begun(problem, _AGAIN, clock, asked)
        left_s = max(reserve_s, self.limit_s - already_s - searched_s)
        if self.store.phase_s(split.scope, _REFITS, asked=asked) is None:
            self._rescore(problem, split, clock, since_s=searched_s, reserve_s=reserve_s, left_s=left_s)
        rescored_s = self._begun(problem, _REFITS, clock, asked)
        left_s = max((1 - _RESCORE) * reserve_s, left_s - (rescored_s - searched_s))
        return self._deliver(problem, split, clock, since_s=rescored_s, left_s=left_s)

    def _begun(self, problem: Problem, phase: str, clock: Clock, asked: str) -> float:
        """Return when a part of the work began, in an earlier session or now: what was decided then stays decided."""
        begun_s = self.store.phase_s(problem.scope, phase, asked=asked)
        if begun_s is None:
            begun_s = clock.elapsed()
            self.store.add_phase(problem.scope, phase, asked=asked, elapsed_s=begun_s)
        return begun_s

    def _search(self, problem: Problem, clock: Clock, *, reserve_s: float, n_test: int) -> None:
        """Search, and end the earlier where the reserve is too short for a refit of every family tried."""
        needed_s = Needed(problem, self.store, n_test=n_test, n_workers=self._side_by_side)

        def earlier_s() -> float:
            return min(max(0.0, needed_s() / _PLAN - reserve_s), _MOST_EARLIER * clock.limit_s)

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
            earlier_s=(lambda: 0.0) if self.reproducible else earlier_s,
        ).run()

    def _rescore(
        self,
        problem: Problem,
        split: OuterSplit,
        clock: Clock,
        *,
        since_s: float,
        reserve_s: float,
        left_s: float,
    ) -> None:
        """Score the finalists again, in the time that the refits leave; earlier sessions have had theirs of it."""
        limit_s = _RESCORE * reserve_s
        if not self.reproducible:
            limit_s = _RESCORE * left_s
            own = ladders(problem, self.store, n_test=len(split.test))
            bests = fitting(own, limit_s=_PLAN * (left_s - limit_s), n_workers=self._side_by_side)
            needed_s = makespan(bests.values(), self._side_by_side) / _PLAN
            limit_s = min(limit_s, left_s - needed_s) - (clock.elapsed() - since_s)
        rescore(
            problem,
            finalists(problem, self.store, n=self.settings.finalists),
            pool=self.pool,
            store=self.store,
            seed=self.seed,
            clock=clock,
            limit_s=max(0.0, limit_s),
            reproducible=self.reproducible,
        )

    def _deliver(
        self, problem: Problem, split: OuterSplit, clock: Clock, *, since_s: float, left_s: float
    ) -> ScopeResult:
        """Choose, refit and predict; the choice is for `left_s` seconds from `since_s` on, whenever it is made."""
        own = ladders(problem, self.store, n_test=len(split.test))
        if not own:
            raise NothingToFitError(self._why_nothing(problem))
        self.notes.extend(partial_notes(problem, own))
        choice = choose(
            problem,
            own,
            ensemble.candidates(problem, self.store, n_test=len(split.test)),
            rounds=self.settings.ensemble_rounds if self.settings.ensemble else 1,
            mean_of=self.settings.ensemble_size if self.settings.ensemble == "mean" else None,
            plan_s=np.inf if self.reproducible else _PLAN * left_s,
            n_workers=self._side_by_side,
        )
        refit = Refit(
            problem=problem,
            split=split,
            pool=self.pool,
            store=self.store,
            seed=self.seed,
            clock=clock,
            notes=self.notes,
            keeps_states=bool(len(split.test) and self.settings.shortcuts)
            or self.settings.max_predict_seconds is not None,
        )
        spares = {} if self.reproducible else {best.key: own[name] for name, best in choice.bests.items()}
        stop_s = _STOP * left_s - (clock.elapsed() - since_s)
        # Where kills have used the time up, what the model is made of still has the time that was planned for it.
        least_s = makespan([m.candidate for m in choice.members], self._side_by_side) / _PLAN
        probas = refit.run(choice.order, spares=spares, stop_s=max(stop_s, least_s))
        if not probas:  # better late than no model at all
            late = min((item for ladder in own.values() for item in ladder), key=lambda item: item.refit_s)
            self.notes.append("No model could be refitted in the time limit, which was overstepped for one.")
            probas = refit.run([late], stop_s=_LATE * self.limit_s)
        # The best of a family that was refitted, be it for the ensemble or because the chosen one took too long.
        judged = {
            name: next((item for item in ladder if item.key in probas), choice.bests[name])
            for name, ladder in own.items()
        }
        result, members = self._result(problem, split, judged, choice.members, probas, refit)
        spare_s = min(left_s - (clock.elapsed() - since_s), _PROBES * self.limit_s)
        result = self._probed(split, result, members, np.inf if self.reproducible else spare_s)
        refit.forget()
        return result

    @property
    def reproducible(self) -> bool:
        """Whether no decision may depend on measured seconds."""
        return self.settings.is_reproducible(n_workers=self.n_workers)

    def _starts(self, problem: Problem) -> list[tuple[str, Config]]:
        """Return the portfolio's configs for these data."""
        space = build_space(problem.families, problem.fingerprint)
        return starts(problem.fingerprint, space, load_portfolio(self.settings.portfolio))

    @property
    def _side_by_side(self) -> int:
        """How many refits are counted on to run at the same time: of many workers some are of another kind, or gone."""
        return min(self.n_workers, 2)

    def _result(
        self,
        problem: Problem,
        split: OuterSplit,
        bests: Mapping[str, Candidate],
        members: Sequence[Member],
        probas: Refitted,
        refit: Refit,
    ) -> tuple[ScopeResult, tuple[Delivered, ...]]:
        """Return what the scope gave, and the members of its ensemble, which only the final scope delivers."""
        alive = self._quick_enough(self._refitted_members(bests, members, probas), bests, probas, refit)
        seconds = {name: self._search_seconds(split.scope, name) for name in problem.families}
        searched_s = sum(seconds.values())
        whole, decided = judged_ensemble(problem, alive, probas, self.settings, search_s=searched_s)
        families = [
            judged_family(problem, name, best, probas[best.key], self.settings, search_s=seconds[name])
            for name, best in bests.items()
            if best.key in probas
        ]
        delivered = tuple(
            Delivered(family=m.candidate.trial.family, weight=m.weight, folder=refit.folder(m.candidate.key))
            for m in alive
        )
        result = ScopeResult(
            judged=(whole, *families, *self._baselines(problem, split)),
            delivered=delivered if split.scope == FINAL else (),
            fingerprint=problem.fingerprint,
            decided=decided,
        )
        return result, delivered

    def _probed(
        self, split: OuterSplit, result: ScopeResult, members: Sequence[Delivered], limit_s: float
    ) -> ScopeResult:
        """Return the result with the ensemble's probabilities of test cases whose lesion or mask was changed."""
        if not self.settings.shortcuts or not len(split.test):
            return result
        assert result.decided is not None
        probes = probed_ensemble(
            members, result.decided, self.dataset.subset(split.test), self._runtime, limit_s=limit_s
        )
        return replace(result, probes=probes)

    def _quick_enough(
        self, alive: list[Member], bests: Mapping[str, Candidate], probas: Refitted, refit: Refit
    ) -> list[Member]:
        """Return the members that a case's time allows, where there is a limit to it."""
        limit_s = self.settings.max_predict_seconds
        if limit_s is None:
            return alive
        spares = [best for best in bests.values() if best.key in probas]
        every = {item.key: item for item in (*(m.candidate for m in alive), *spares)}
        seconds = refit.seconds_a_case(list(every.values()), self._runtime, self.dataset)
        kept, note = in_time(alive, spares, seconds, limit_s)
        self.notes.extend([] if note is None else [note])
        return kept

    @property
    def _runtime(self) -> Runtime:
        return Runtime(artefacts=self.artefacts, n_threads=self.n_threads)

    def _refitted_members(
        self, bests: Mapping[str, Candidate], members: Sequence[Member], probas: Refitted
    ) -> list[Member]:
        """Return the members that were refitted, weights summing to 1; without any, the best refitted family."""
        alive = [member for member in members if member.candidate.key in probas]
        if not alive:
            spare = [best for best in bests.values() if best.key in probas]
            if not spare:
                raise NothingToFitError(
                    "No model could be refitted on all training cases. " + " ".join(self.notes)
                )
            alive = [Member(candidate=max(spare, key=lambda item: item.score), weight=1.0)]
        total = sum(member.weight for member in alive)
        return [Member(candidate=member.candidate, weight=member.weight / total) for member in alive]

    def _baselines(self, problem: Problem, split: OuterSplit) -> list[Judged]:
        return Baselines(
            dataset=self.dataset,
            facts=self.facts,
            fingerprint=problem.fingerprint,
            artefacts=self.artefacts,
            n_threads=self.n_threads,
            seed=self.seed,
            limit_s=np.inf if self.reproducible else _BASELINE * self.limit_s,
            notes=self.notes,
        ).judged(split)

    def _search_seconds(self, scope: str, family: str) -> float:
        return sum(trial.seconds for trial in self.store.scope_trials(scope) if trial.family == family)

    def _why_nothing(self, problem: Problem) -> str:
        trials = self.store.scope_trials(problem.scope)
        reasons = {name: _first_cause([t for t in trials if t.family == name]) for name in problem.families}
        return "No trial finished: give it a longer time limit, or mend this. " + sentences(reasons)


def _first_cause(trials: Sequence[Trial]) -> str:
    """Return why no trial succeeded: an error says more than a limit, and that more than a trial not started."""
    order = (Status.FAILED, Status.MEMORY, Status.TIMEOUT, Status.SKIPPED)
    told = [trial for trial in trials if trial.reason]
    first = min(told, key=lambda trial: order.index(trial.status), default=None)
    return "no trial finished in time" if first is None else str(first.reason)
