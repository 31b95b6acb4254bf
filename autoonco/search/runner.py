"""The search: candidates are tried until the time or the trials are used up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autoonco.families.contract import Config
from autoonco.search import completion
from autoonco.search.checkpoints import CheckpointFolder
from autoonco.search.clock import Clock
from autoonco.search.costs import SecondsModel, trained_or_not
from autoonco.search.execution import Candidate, Execution, Outcome, candidate_of, fold_key, whole_seconds
from autoonco.search.first_fold import PATIENCE, part_of
from autoonco.search.interrupt import stop_asked
from autoonco.search.problem import Observer, Problem, Progress
from autoonco.search.racing import Race
from autoonco.search.source import Source
from autoonco.search.space import config_key
from autoonco.search.store import Store
from autoonco.search.trial import Executor, FoldTask, Origin, Status, Trial
from autoonco.search.workers import DIED
from autoonco.settings import Settings

# So many workers in a row that die before a first result mean that none will live.
_MAX_DEATHS = 5
# Nothing is started in the last hundredth of the time.
_LAST_START = 0.01
_NEARLY = 0.95
# Candidates that wait for a slot of their kind; more would only be chosen on old knowledge.
_MAX_WAITING = 4


class Search:
    """One search over one problem; its results are in the store, its state can be lost at any time.

    A resumed search starts the optimiser anew with the configs tried before at the head of its queue, in their
    order, and answers from the store what was already tried, at no cost: the store alone is the truth, and nothing
    of the optimiser has to be kept.

    With `reproducible`, no decision depends on measured seconds: two runs with the same seed and `max_trials` try
    the same trials. `starts` are configs to begin with besides the families' defaults. `earlier_s` returns how many
    seconds before the clock's limit the search should end, for what is to be done with its trials afterwards.

    A run that was asked to end begins no more trials and waits for those under way. Where a model `must_come`, it goes
    on one by one until there is a first result, with the configs of `first` before all others.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        pool: Executor,
        store: Store,
        settings: Settings,
        seed: int,
        clock: Clock,
        observer: Observer | None = None,
        starts: Sequence[tuple[str, Config]] = (),
        reproducible: bool = False,
        earlier_s: Callable[[], float] = lambda: 0.0,
        must_come: bool = False,
        first: Sequence[tuple[str, Config]] = (),
    ) -> None:
        self._problem, self._store, self._earlier_s = problem, store, earlier_s
        self._must_come = must_come
        self._settings, self._seed, self._clock, self._observer = settings, seed, clock, observer
        self._reproducible = reproducible
        self._checkpoints = CheckpointFolder(store.folder / "checkpoints")
        self._seconds = SecondsModel(
            prior=problem.prior_seconds,
            mode="prior" if reproducible else "measured",
            kind=trained_or_not,
        )
        self._race = Race(problem, store)
        self._execution = Execution(
            problem,
            pool=pool,
            store=store,
            seed=seed,
            clock=clock,
            # what no bracket proposed goes on: a default, and what costs next to nothing and may serve an ensemble
            hopeless=lambda item: (
                self._race.why_hopeless(item) if settings.racing and item.proposal else None
            ),
        )
        self._known: dict[tuple[str, float], Trial] = {}
        self._recorded: dict[tuple[str, float], Trial] = {}
        self._source = Source(
            problem,
            settings=settings,
            seed=seed,
            starts=starts,
            first=first,
            known=self._known,
            seconds=self._seconds,
            spent=self._spent,
            limit_s=clock.limit_s,
            folder=store.folder / "smac" / problem.scope,
            first_folds=not reproducible,
        )
        self._waiting: list[Candidate] = []
        self._died_in_a_row = 0
        self._recall()

    def _recall(self) -> None:
        """Take note of earlier sessions' trials of this scope, and of what trials of any scope took."""
        for trial in self._store.trials:
            if trial.family not in self._problem.families or trial.origin is Origin.FINALIST:
                continue
            if trial.scope == self._problem.scope and not self._was_cut_short(trial):
                if self._reproducible:  # met again one by one, when the optimiser asks for them
                    self._recorded[config_key(trial.family, trial.config), trial.budget] = trial
                else:
                    self._note(trial)
            else:
                self._learn_seconds(trial)

    def _note(self, trial: Trial) -> None:
        if trial.status is Status.SKIPPED:  # predictions change: it is predicted again
            return
        self._known[config_key(trial.family, trial.config), trial.budget] = trial
        self._learn_seconds(trial)
        self._source.charge(trial, self._prior_s(trial) if self._reproducible else trial.seconds)
        if trial.status is Status.SUCCESS and trial.budget >= 1:
            self._race.finish(self._race.scores(candidate_of(trial)))

    def _learn_seconds(self, trial: Trial) -> None:
        if trial.status is Status.SUCCESS and trial.seconds > 0:
            prior_s, measured_s = self._prior_s(trial), whole_seconds(self._problem, self._store, trial)
            self._seconds.add(trial.family, prior_s=prior_s, measured_s=measured_s, config=trial.config)

    def _prior_s(self, what: Trial | Candidate) -> float:
        return self._problem.prior_seconds(what.family, what.config, what.fidelity)

    def _was_cut_short(self, trial: Trial) -> bool:
        """Return whether the end of an earlier session, not the trial's own limit, kept it from a result."""
        cap_s = self._settings.trial_share * self._clock.limit_s
        stopped = trial.status is Status.TIMEOUT and trial.seconds < _NEARLY * cap_s
        return stopped or trial.status is Status.SKIPPED

    def _spent(self) -> float:
        """Return the share of the search that is over; of its trials, where time must not matter."""
        if self._reproducible and self._settings.max_trials:
            return min(1.0, len(self._known) / self._settings.max_trials)
        return min(1.0, self._clock.elapsed() / self._clock.limit_s)

    def run(self) -> list[Trial]:
        """Search until the clock, the trials or the space are used up; return the scope's trials."""
        while True:
            self._fill_slots()
            self._report()
            if not self._execution.running and (self._is_over() or self._execution.has_any_slot()):
                break  # and not where a cluster has no worker for the moment
            for outcome in self._execution.poll():
                self._take(outcome)
        self._source.close()
        if not stop_asked():  # else it goes on another time
            self._checkpoints.clear()  # nothing is promoted any more
        return self._store.scope_trials(self._problem.scope)

    def _fill_slots(self) -> None:
        """Start what can be started; others go before a candidate whose kind of slot is taken, or whose config runs."""
        while self._execution.has_any_slot() and not self._is_over():
            ready = next((item for item in self._waiting if self._can_start(item)), None)
            if ready is not None:
                self._waiting.remove(ready)
                self._start(ready)
                continue
            blocked = {item.family for item in self._waiting if not self._execution.has_slot(item)}
            busy = {item.family for item in (*self._waiting, *self._execution.running)}
            if len(self._waiting) >= _MAX_WAITING:
                return
            candidate = self._source.next(busy=busy, blocked=blocked)
            if candidate is None:
                return
            self._waiting.append(candidate)

    def _can_start(self, candidate: Candidate) -> bool:
        """Return whether there is a slot, and no trial of the same config runs: they would fit the same folds twice."""
        running = {item.key for item in self._execution.running}
        return self._execution.has_slot(candidate) and candidate.key not in running

    def _is_over(self) -> bool:
        limit = self._settings.max_trials
        done = [t for t in self._store.scope_trials(self._problem.scope) if t.origin is not Origin.FINALIST]
        return (
            (self._died_in_a_row >= _MAX_DEATHS and not any(t.loss is not None for t in done))
            or self._remaining_s() <= _LAST_START * self._clock.limit_s
            or (stop_asked() and self._may_end(done))
            or (limit is not None and len(done) + len(self._execution.running) >= limit)
        )

    def _may_end(self, done: Sequence[Trial]) -> bool:
        """Return whether nothing more has to begin after `done`: what runs may bring the result that must come."""
        has_result = any(trial.status is Status.SUCCESS for trial in done)
        return has_result or bool(self._execution.running) or not self._must_come

    def _remaining_s(self) -> float:
        return self._clock.remaining() - self._earlier_s()

    def _start(self, candidate: Candidate) -> None:
        known = self._known.get((candidate.key, candidate.budget))
        if known is not None and (known.dear or not candidate.dear):
            self._source.tell(candidate, known)
            return
        recorded = self._recorded.pop((candidate.key, candidate.budget), None)
        if recorded is not None:
            self._note(recorded)
            self._source.tell(candidate, recorded)
            return
        self._learn_the_rest()
        missing = self._missing(candidate)
        if not missing:
            self._finish_at_once(candidate, Status.SUCCESS)
            return
        prior_s = self._prior_s(candidate) * len(missing) / candidate.fidelity.folds
        predicted_s = self._seconds.predict(candidate.family, prior_s=prior_s, config=candidate.config)
        most_s = self._most_s(candidate)
        if predicted_s > most_s and not self._reproducible and not self._is_first_of_family(candidate):
            n_done = candidate.fidelity.folds - len(missing)
            part = part_of(self._problem, candidate, n_done=n_done)
            if part is not None:
                self._start(part)
                return
            self._source.skip(candidate)
            if candidate.origin is Origin.DEFAULT and not self._was_skipped(candidate):  # its absence is told
                reason = f"Predicted to take {predicted_s:.0f} s; it could have had {most_s:.0f} s."
                self._finish_at_once(candidate, Status.SKIPPED, reason=reason)
            return
        cap_s = min(PATIENCE * most_s, self._remaining_s()) if candidate.dear else most_s
        self._execution.start(candidate, missing, cap_s=cap_s, checkpoint=self._checkpoint(candidate))

    def _missing(self, candidate: Candidate) -> list[FoldTask]:
        wanted = self._problem.folds[: candidate.fidelity.folds]
        return [fold for fold in wanted if not self._has(candidate, fold)]

    def _most_s(self, candidate: Candidate) -> float:
        """Return what a trial may be expected to take; of a dear one, as much as that again is left for its refit."""
        left_s = self._remaining_s() / (2 if candidate.dear else 1)
        return min(self._settings.trial_share * self._clock.limit_s, left_s)

    def _learn_the_rest(self) -> None:
        """Take note of recorded trials that nobody asked for again: the search has left its old course."""
        rest, self._recorded = list(self._recorded.values()), {}
        for trial in rest:
            self._note(trial)
            self._source.learn(trial)

    def _was_skipped(self, candidate: Candidate) -> bool:
        return any(
            trial.status is Status.SKIPPED and config_key(trial.family, trial.config) == candidate.key
            for trial in self._store.scope_trials(self._problem.scope)
        )

    def _is_first_of_family(self, candidate: Candidate) -> bool:
        """Return whether no default of a family would be tried without this: it starts then, and keeps its folds."""
        started = [running.family for running in self._execution.running if running.origin is Origin.DEFAULT]
        tried = {trial.family for trial in self._known.values() if trial.origin is Origin.DEFAULT}
        return candidate.origin is Origin.DEFAULT and candidate.family not in tried.union(started)

    def _checkpoint(self, candidate: Candidate) -> str | None:
        """Return the folder of the first fold's state: only that is trained in parts (see `Family.plan`)."""
        if candidate.fidelity.epochs is None:
            return None
        if candidate.fidelity.folds > 1 and not self._checkpoints.holds(self._slot_name(candidate.key)):
            return None  # its first fold was not begun before
        partial = [
            trial for trial in self._known.values() if trial.budget < 1 and trial.fidelity.epochs is not None
        ]
        promising = sorted(
            (trial for trial in partial if trial.loss is not None),
            key=lambda trial: (-trial.budget, trial.loss),
        )
        slot = self._checkpoints.slot(
            self._slot_name(candidate.key),
            in_use={self._slot_name(running.key) for running in self._execution.running},
            promotable=[self._slot_name(config_key(trial.family, trial.config)) for trial in promising],
        )
        return str(slot)

    def _slot_name(self, key: str) -> str:
        return f"{self._problem.scope}-{key}"

    def _take(self, outcome: Outcome) -> None:
        died = outcome.reason is not None and outcome.reason.startswith(DIED)
        self._died_in_a_row = self._died_in_a_row + 1 if died else 0
        self._finish(outcome)
        if outcome.status is Status.TIMEOUT:
            self._salvage(outcome.candidate)
        if outcome.status is Status.SUCCESS and self._settings.max_trials is None:
            self._complete(outcome.candidate)

    def _complete(self, candidate: Candidate) -> None:
        """Have the folds that a rung left out scored at once where they cost next to nothing.

        Where trials are counted, not seconds, brackets alone say who goes on.
        """
        if candidate.origin is not Origin.SEARCH or (candidate.key, 1.0) in self._known:
            return
        if self._race.is_hopeless(self._race.scores(candidate)):
            return
        full_s = self._problem.prior_seconds(candidate.family, candidate.config)
        if completion.is_due(candidate.fidelity, rung_s=self._prior_s(candidate), full_s=full_s):
            fidelity = self._problem.plan(candidate.family, candidate.config, 1.0)
            self._waiting.insert(0, replace(candidate, budget=1.0, fidelity=fidelity, proposal=None))

    def _salvage(self, candidate: Candidate) -> None:
        """Record the folds that a stopped trial had finished as a trial of a smaller budget."""
        wanted = self._problem.folds[: candidate.fidelity.folds]
        n_done = sum(self._has(candidate, fold) for fold in wanted)
        if 0 < n_done < len(wanted):
            fidelity = replace(candidate.fidelity, folds=n_done)
            budget = candidate.budget * n_done / len(wanted)
            smaller = replace(candidate, fidelity=fidelity, budget=budget, proposal=None)
            self._finish_at_once(smaller, Status.SUCCESS)

    def _finish(self, outcome: Outcome) -> None:
        candidate, has_scores = outcome.candidate, outcome.status in (Status.SUCCESS, Status.STOPPED)
        scores = self._race.scores(candidate) if has_scores else []
        trial = outcome.trial(self._problem, scores, seed=self._seed, elapsed_s=self._clock.elapsed())
        self._store.add_trial(trial)
        self._note(trial)
        self._source.tell(candidate, trial)

    def _finish_at_once(self, candidate: Candidate, status: Status, *, reason: str | None = None) -> None:
        """Record what took no time: it was known already, or is not tried."""
        self._finish(Outcome(id=self._store.next_id(), candidate=candidate, status=status, reason=reason))

    def _has(self, candidate: Candidate, fold: FoldTask) -> bool:
        return self._store.has_fold(fold_key(self._problem, candidate, fold))

    def _report(self) -> None:
        if self._observer is not None:
            self._observer(
                Progress(
                    scope=self._problem.scope,
                    families=self._problem.families,
                    elapsed_s=self._clock.elapsed(),
                    limit_s=self._clock.limit_s,
                    trials=self._store.scope_trials(self._problem.scope),
                    running=[candidate.family for candidate in self._execution.running],
                )
            )
