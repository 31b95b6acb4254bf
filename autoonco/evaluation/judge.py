"""One scope from end to end: search on the training cases, choose, refit, predict the test cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoonco.data.cache import ArtefactCache, digest
from autoonco.data.checks import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.errors import NothingToFitError
from autoonco.evaluation.baselines import Baselines
from autoonco.evaluation.choice import choose, contenders, ladders, partial_notes, why_nothing
from autoonco.evaluation.delivered import alive_members
from autoonco.evaluation.early import best_elsewhere, refitting_s
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.inner import inner_problem
from autoonco.evaluation.judged import judged_ensemble, judged_family
from autoonco.evaluation.kept import keep, kept_result
from autoonco.evaluation.outcome import Delivered, Judged, ScopeResult
from autoonco.evaluation.probing import probed_ensemble
from autoonco.evaluation.refit import Refit, Refitted
from autoonco.evaluation.request import settings_json
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tasks import TASKS, Task
from autoonco.evaluation.timetable import Needed, left_by_refits, makespan
from autoonco.families.contract import Runtime
from autoonco.metrics.scores import Metric
from autoonco.search.clock import Clock
from autoonco.search.finalists import finalists, rescore
from autoonco.search.interrupt import stop_asked
from autoonco.search.portfolio import starts
from autoonco.search.portfolio_file import load_portfolio
from autoonco.search.problem import Observer, Problem
from autoonco.search.runner import Search
from autoonco.search.space import build_space
from autoonco.search.store import Store
from autoonco.search.trial import Executor
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
    """Runs scopes. `limit_s` is the whole time of one scope, its refits included.

    `cut_short` takes the scopes whose search was ended early, for the run was asked to end. What a scope gives then is
    not kept, so that it goes on another time, as does what follows it.
    """

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
    cut_short: list[str] = field(default_factory=list)

    def problem(self, split: OuterSplit) -> Problem:
        """Return the search problem of a scope."""
        return inner_problem(
            self.dataset, self.facts, split, metric=self.metric, families=self.families, settings=self.settings,
            seed=self.seed, task=self.task,
        )  # fmt: skip

    def run(self, split: OuterSplit, *, already_s: float = 0.0) -> ScopeResult | None:
        """Search, choose, refit and predict; `already_s` of the scope's time are spent on preparations.

        None for an outer scope that has nothing to judge, where the run was asked to end; what one gave in an earlier
        session with another time limit is judged then.

        Raises
        ------
        NothingToFitError
            If no trial succeeded at full budget, with the reasons.
        """
        asked = {"limit_s": self.limit_s, "settings": settings_json(self.settings)}
        kept, may_lack = kept_result(self.store.folder, split.scope, asked=asked), split.scope != FINAL
        if kept is None and may_lack and stop_asked():
            kept = kept_result(self.store.folder, split.scope, asked={"settings": asked["settings"]})
            if kept is None:
                return None
            self.cut_short.append(split.scope)
        if kept is not None:
            result, notes = kept
            self.notes.extend(notes)
            return result
        n_notes = len(self.notes)
        try:
            result = self._run(split, already_s=already_s, asked=digest(asked))
        except NothingToFitError:
            if may_lack and stop_asked():
                return None
            raise
        if not stop_asked():
            keep(self.store.folder, split.scope, result, asked=asked, notes=self.notes[n_notes:])
        elif self.store.phase_s(split.scope, _AGAIN, asked=digest(asked)) is None:
            self.cut_short.append(split.scope)
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
        early = self.store.phase_s(split.scope, _REFITS, asked=asked) is None
        return self._deliver(problem, split, clock, since_s=rescored_s, left_s=left_s, early=early)

    def _begun(self, problem: Problem, phase: str, clock: Clock, asked: str) -> float:
        """Return when a part of the work began, in an earlier session or now: what was decided then stays decided.

        What a run that was asked to end does early is not recorded: it goes on where it was.
        """
        begun_s = self.store.phase_s(problem.scope, phase, asked=asked)
        if begun_s is None:
            begun_s = clock.elapsed()
            if not stop_asked():
                self.store.add_phase(problem.scope, phase, asked=asked, elapsed_s=begun_s)
        return begun_s

    def _search(self, problem: Problem, clock: Clock, *, reserve_s: float, n_test: int) -> None:
        """Search, and end the earlier where the reserve is too short for a refit of every family tried."""
        needed_s = Needed(problem, self.store, n_test=n_test, n_workers=self._side_by_side)

        def earlier_s() -> float:
            return min(max(0.0, needed_s() / _PLAN - reserve_s), _MOST_EARLIER * clock.limit_s)

        space = build_space(problem.families, problem.fingerprint)
        Search(
            problem,
            pool=self.pool,
            store=self.store,
            settings=self.settings,
            seed=self.seed,
            clock=clock,
            observer=self.observer,
            starts=starts(problem.fingerprint, space, load_portfolio(self.settings.portfolio)),
            reproducible=self.reproducible,
            earlier_s=(lambda: 0.0) if self.reproducible else earlier_s,
            must_come=problem.scope == FINAL,
            first=best_elsewhere(self.store, space, problem.scope, self.settings) if stop_asked() else (),
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
            own = ladders(problem, self.store, n_test=len(split.test))
            spare_s = left_by_refits(
                problem, own, left_s=left_s, share=_RESCORE, plan=_PLAN, n_workers=self._side_by_side
            )
            limit_s = spare_s - (clock.elapsed() - since_s)
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
        self,
        problem: Problem,
        split: OuterSplit,
        clock: Clock,
        *,
        since_s: float,
        left_s: float,
        early: bool,
    ) -> ScopeResult:
        """Choose, refit and predict; the choice is for `left_s` seconds from `since_s` on, whenever it is made.

        Where that is `early`, for the run was asked to end, it is for as many seconds as fit to so short a search.
        """
        if not (own := ladders(problem, self.store, n_test=len(split.test))):
            raise NothingToFitError(why_nothing(problem, self.store))
        settings, by_time = self.settings, early or not self.reproducible
        if early:
            share, n = settings.final_share, self._side_by_side
            left_s = min(left_s, refitting_s(own, searched_s=since_s, share=share, n_workers=n) / _PLAN)
        choice = choose(
            problem,
            own,
            contenders(problem, self.store, n_test=len(split.test)),
            rounds=settings.ensemble_rounds if settings.ensemble else 1,
            mean_of=settings.ensemble_size if settings.ensemble == "mean" else None,
            plan_s=_PLAN * left_s if by_time else np.inf,
            n_workers=self._side_by_side,
        )
        is_probed = bool(len(split.test) and settings.shortcuts)
        refit = Refit(
            problem=problem, split=split, pool=self.pool, store=self.store, seed=self.seed, clock=clock,
            notes=self.notes, keeps_states=is_probed or settings.max_predict_seconds is not None,
        )  # fmt: skip
        spares = {best.key: own[name] for name, best in choice.bests.items()} if by_time else {}
        stop_s = _STOP * left_s - (clock.elapsed() - since_s)
        # Where kills have used the time up, what the model is made of still has the time that was planned for it.
        least_s = makespan([m.candidate for m in choice.members], self._side_by_side) / _PLAN
        probas = refit.run(choice.order, spares=spares, stop_s=max(stop_s, least_s))
        if not probas:
            self.notes.append("No model could be refitted in the time limit, which was overstepped for one.")
            probas = refit.at_least_one(own, limit_s=_LATE * self.limit_s)
        # The best of a family that was refitted, be it for the ensemble or because the chosen one took too long.
        judged = {
            name: next((item for item in ladder if item.key in probas), choice.bests[name])
            for name, ladder in own.items()
        }
        refitted = [item for item in judged.values() if item.key in probas]
        self.notes.extend(partial_notes(problem, refitted, [member.candidate for member in choice.members]))
        try:
            result, members = self._result(problem, split, judged, choice.members, probas, refit)
            spare_s = min(left_s - (clock.elapsed() - since_s), _PROBES * self.limit_s) if by_time else np.inf
            result = self._probed(split, result, members, 0.0 if stop_asked() else spare_s)
        except NothingToFitError:
            refit.forget()
            raise
        refit.forget()
        return result

    @property
    def reproducible(self) -> bool:
        """Whether no decision may depend on measured seconds."""
        return self.settings.is_reproducible(n_workers=self.n_workers)

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
        alive = alive_members(members, bests, probas, self.notes)
        if (limit_s := self.settings.max_predict_seconds) is not None:
            spares = [best for best in bests.values() if best.key in probas]
            alive = refit.quick_enough(alive, spares, limit_s, self._runtime, self.dataset)
        trials = self.store.scope_trials(split.scope)
        seconds = {name: sum(t.seconds for t in trials if t.family == name) for name in problem.families}
        patients, task = self.dataset.groups, self.task.name
        whole, decided = judged_ensemble(
            problem,
            alive,
            probas,
            self.settings,
            search_s=sum(seconds.values()),
            patients=patients,
            task=task,
        )
        refitted = {name: best for name, best in bests.items() if best.key in probas}
        few = [len(best.probas) for best in refitted.values() if problem.tells_in_part(best.trial)]
        families = [
            judged_family(
                problem, name, best, probas[best.key], self.settings, search_s=seconds[name], patients=patients,
                n_folds=min(few, default=None),
            )
            for name, best in refitted.items()
        ]  # fmt: skip
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

    @property
    def _runtime(self) -> Runtime:
        return Runtime(artefacts=self.artefacts, n_threads=self.n_threads)

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
