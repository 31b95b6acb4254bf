"""The search: defaults first, then SMAC's proposals, until the time or the trials are used up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ConfigSpace import Configuration

from autoonco.families import get_family
from autoonco.families.contract import Config, Fidelity
from autoonco.search.checkpoints import CheckpointFolder
from autoonco.search.clock import Clock
from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, Proposal
from autoonco.search.problem import Observer, Problem, Progress
from autoonco.search.space import build_space, config_key, join
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import FoldTask, Origin, Status, Task, Trial
from autoonco.search.worker import FoldDone
from autoonco.search.workers import DIED, Ended, WorkerPool
from autoonco.settings import Settings

# So many proposals in a row that don't fit into the time left mean that nothing will.
_GIVE_UP_AFTER = 30
# So many workers in a row that die before a first result mean that none will live.
_MAX_DEATHS = 5
# Nothing is started in the last hundredth of the time.
_LAST_START = 0.01
_NEARLY = 0.95


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    family: str
    config: Config
    budget: float
    fidelity: Fidelity
    origin: Origin
    proposal: Proposal | None = None

    @property
    def key(self) -> str:
        return config_key(self.family, self.config)


@dataclass(frozen=True, kw_only=True)
class _Running:
    candidate: _Candidate
    prior_s: float
    started_s: float


class Search:
    """One search over one problem; its results are in the store, its state can be lost at any time.

    A resumed search starts the optimiser anew with the configs tried before at the head of its queue, in their
    order, and answers from the store what was already tried, at no cost: the store alone is the truth, and nothing
    of the optimiser has to be kept.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        pool: WorkerPool,
        store: Store,
        settings: Settings,
        seed: int,
        clock: Clock,
        observer: Observer | None = None,
    ) -> None:
        self._problem, self._pool, self._store = problem, pool, store
        self._settings, self._seed, self._clock, self._observer = settings, seed, clock, observer
        self._checkpoints = CheckpointFolder(store.folder / "checkpoints")
        self._seconds = SecondsModel()
        self._running: dict[int, _Running] = {}
        self._known = {
            (config_key(trial.family, trial.config), trial.budget): trial
            for trial in store.scope_trials(problem.scope)
            if not self._was_cut_short(trial)
        }
        self._skipped_in_a_row = self._died_in_a_row = 0
        self._space = build_space(problem.families, problem.fingerprint, seed=seed)
        self._learn_seconds()
        self._optimizer: Optimizer | None = None
        self._exhausted = False

    def _learn_seconds(self) -> None:
        """Take note of what trials of earlier scopes and sessions took."""
        for trial in self._store.trials:
            if (
                trial.status is Status.SUCCESS
                and trial.seconds > 0
                and trial.family in self._problem.families
            ):
                family = get_family(trial.family)
                prior_s = family.prior_seconds(trial.config, trial.fidelity, self._problem.fingerprint)
                self._seconds.add(trial.family, prior_s=prior_s, measured_s=trial.seconds)

    def _was_cut_short(self, trial: Trial) -> bool:
        """Return whether the end of an earlier session, not the trial's own limit, kept it from a result."""
        cap_s = self._settings.trial_share * self._clock.limit_s
        stopped = trial.status is Status.TIMEOUT and trial.seconds < _NEARLY * cap_s
        return stopped or trial.status is Status.SKIPPED

    def run(self) -> list[Trial]:
        """Search until the clock, the trials or the space are used up; return the scope's trials."""
        queue = deque(self._defaults())
        while True:
            while self._pool.n_idle and (candidate := self._next(queue)) is not None:
                self._start(candidate)
            self._report()
            if not self._running:
                break
            for event in self._pool.poll():
                self._handle(event)
        if self._optimizer is not None:
            self._optimizer.save()
        self._checkpoints.clear()  # nothing is promoted any more
        return self._store.scope_trials(self._problem.scope)

    def _defaults(self) -> list[_Candidate]:
        """Every family's defaults at full budget: each family's first before anyone's second, cheapest first."""
        ranked: list[tuple[int, float, int, _Candidate]] = []
        for name in self._problem.families:
            family = get_family(name)
            for rank, config in enumerate(family.defaults(self._problem.fingerprint)):
                join(self._space, name, config)  # a default outside its own space is a defect: say so at once
                candidate = self._candidate(name, config, 1.0, Origin.DEFAULT)
                ranked.append((rank, self._prior(candidate), len(ranked), candidate))
        return [candidate for *_, candidate in sorted(ranked, key=lambda item: item[:3])]

    def _next(self, queue: deque[_Candidate]) -> _Candidate | None:
        if self._is_over():
            return None
        if queue:
            return queue.popleft()
        if self._skipped_in_a_row >= _GIVE_UP_AFTER:
            return None
        proposal = self._ask()
        if proposal is None:
            self._exhausted = True
            return None
        return self._candidate(
            proposal.family, proposal.config, proposal.budget, Origin.SEARCH, proposal=proposal
        )

    def _is_over(self) -> bool:
        limit = self._settings.max_trials
        n_trials = len(self._store.scope_trials(self._problem.scope)) + len(self._running)
        return (
            self._exhausted
            or self._died_in_a_row >= _MAX_DEATHS
            or self._clock.remaining() <= _LAST_START * self._clock.limit_s
            or (limit is not None and n_trials >= limit)
        )

    def _ask(self) -> Proposal | None:
        if self._optimizer is None:
            self._optimizer = Optimizer(
                self._space,
                self._configurations(
                    (name, config)
                    for name in self._problem.families
                    for config in get_family(name).defaults(self._problem.fingerprint)
                ),
                known=self._configurations((t.family, t.config) for t in self._known.values()),
                folder=self._store.folder / "smac" / self._problem.scope,
                seed=self._seed,
                min_budget=self._settings.min_budget,
                eta=self._settings.eta,
            )
        return self._optimizer.ask()

    def _configurations(self, configs: Iterable[tuple[str, Config]]) -> list[Configuration]:
        return [join(self._space, family, config) for family, config in configs]

    def _candidate(
        self, family: str, config: Config, budget: float, origin: Origin, *, proposal: Proposal | None = None
    ) -> _Candidate:
        fidelity = get_family(family).plan(config, budget, len(self._problem.folds))
        return _Candidate(
            family=family, config=config, budget=budget, fidelity=fidelity, origin=origin, proposal=proposal
        )

    def _prior(self, candidate: _Candidate) -> float:
        family = get_family(candidate.family)
        return family.prior_seconds(candidate.config, candidate.fidelity, self._problem.fingerprint)

    def _start(self, candidate: _Candidate) -> None:
        known = self._known.get((candidate.key, candidate.budget))
        if known is not None:
            self._tell(candidate, known)
            return
        wanted = self._problem.folds[: candidate.fidelity.folds]
        missing = tuple(fold for fold in wanted if not self._store.has_fold(self._fold_key(candidate, fold)))
        if not missing:
            self._finish(candidate, Status.SUCCESS, seconds=0.0)
            return
        prior_s = self._prior(candidate) * len(missing) / len(wanted)
        predicted_s = self._seconds.predict(candidate.family, prior_s=prior_s)
        cap_s = min(self._settings.trial_share * self._clock.limit_s, self._clock.remaining())
        if predicted_s > cap_s and not self._is_first_of_family(candidate):
            self._skip(candidate, f"Predicted to take {predicted_s:.0f} s; it could have had {cap_s:.0f} s.")
            return
        task = self._task(candidate, missing)
        self._running[task.id] = _Running(
            candidate=candidate, prior_s=prior_s, started_s=self._clock.elapsed()
        )
        self._pool.submit(task, timeout_s=cap_s)

    def _is_first_of_family(self, candidate: _Candidate) -> bool:
        """Return whether a family would go untried without this: it starts then, and keeps the folds it finishes."""
        started = [running.candidate.family for running in self._running.values()]
        tried = {trial.family for trial in self._known.values() if trial.status is not Status.SKIPPED}
        return candidate.origin is Origin.DEFAULT and candidate.family not in tried.union(started)

    def _skip(self, candidate: _Candidate, reason: str) -> None:
        """Pass over a candidate. A default's absence is told; the optimiser hears nothing of a config not tried."""
        self._skipped_in_a_row += 1
        if candidate.origin is Origin.DEFAULT:
            self._finish(candidate, Status.SKIPPED, seconds=0.0, reason=reason)

    def _task(self, candidate: _Candidate, folds: tuple[FoldTask, ...]) -> Task:
        # Only a lone fold is trained in parts (see `Family.plan`), so only it has a state worth keeping.
        partial = candidate.fidelity.folds == 1 and candidate.fidelity.epochs is not None
        in_use = {self._slot_name(running.candidate) for running in self._running.values()}
        checkpoint = self._checkpoints.slot(self._slot_name(candidate), in_use=in_use) if partial else None
        return Task(
            id=self._store.next_id(),
            family=candidate.family,
            config=candidate.config,
            fidelity=candidate.fidelity,
            folds=folds,
            fingerprint=self._problem.fingerprint.to_json(),
            seed=self._seed,
            checkpoint=None if checkpoint is None else str(checkpoint),
        )

    def _slot_name(self, candidate: _Candidate) -> str:
        return f"{self._problem.scope}-{candidate.key}"

    def _handle(self, event: FoldDone | Ended) -> None:
        running = self._running[event.task_id]
        if isinstance(event, FoldDone):
            key = self._fold_key(running.candidate, self._problem.folds[event.index])
            self._store.add_fold(key, event.proba, seconds=event.seconds, elapsed_s=self._clock.elapsed())
            return
        del self._running[event.task_id]
        seconds = self._clock.elapsed() - running.started_s
        if event.status is Status.SUCCESS:
            family = running.candidate.family
            self._seconds.add(family, prior_s=running.prior_s, measured_s=seconds)
        died = event.reason is not None and event.reason.startswith(DIED)
        self._died_in_a_row = self._died_in_a_row + 1 if died else 0
        self._finish(running.candidate, event.status, seconds=seconds, reason=event.reason, id_=event.task_id)
        if event.status is Status.TIMEOUT:
            self._salvage(running.candidate)

    def _salvage(self, candidate: _Candidate) -> None:
        """Record the folds that a stopped trial had finished as a trial of a smaller budget."""
        wanted = self._problem.folds[: candidate.fidelity.folds]
        n_done = sum(self._store.has_fold(self._fold_key(candidate, fold)) for fold in wanted)
        if 0 < n_done < len(wanted):
            fidelity = replace(candidate.fidelity, folds=n_done)
            budget = candidate.budget * n_done / len(wanted)
            smaller = replace(candidate, fidelity=fidelity, budget=budget, proposal=None)
            self._finish(smaller, Status.SUCCESS, seconds=0.0)

    def _finish(
        self,
        candidate: _Candidate,
        status: Status,
        *,
        seconds: float,
        reason: str | None = None,
        id_: int | None = None,
    ) -> None:
        score = self._score(candidate) if status is Status.SUCCESS else None
        trial = Trial(
            id=self._store.next_id() if id_ is None else id_,
            scope=self._problem.scope,
            family=candidate.family,
            config=candidate.config,
            budget=candidate.budget,
            fidelity=candidate.fidelity,
            status=status,
            seconds=seconds,
            elapsed_s=self._clock.elapsed(),
            origin=candidate.origin,
            seed=self._seed,
            score=score,
            loss=None if score is None else self._problem.metric.loss(score),
            reason=reason,
        )
        self._store.add_trial(trial)
        self._known[(candidate.key, candidate.budget)] = trial
        if status is not Status.SKIPPED:
            self._skipped_in_a_row = 0
        self._tell(candidate, trial)

    def _score(self, candidate: _Candidate) -> float:
        folds = self._problem.folds[: candidate.fidelity.folds]
        return self._problem.score(
            [self._store.fold_proba(self._fold_key(candidate, fold)) for fold in folds]
        )

    def _tell(self, candidate: _Candidate, trial: Trial) -> None:
        if candidate.proposal is not None and self._optimizer is not None:
            worst = max([1.0, *(t.loss for t in self._known.values() if t.loss is not None)])
            self._optimizer.tell(
                candidate.proposal, loss=worst if trial.loss is None else trial.loss, seconds=trial.seconds
            )

    def _fold_key(self, candidate: _Candidate, fold: FoldTask) -> FoldKey:
        return FoldKey(
            scope=self._problem.scope,
            config_key=candidate.key,
            fold_key=candidate.fidelity.fold_key,
            fold=str(fold.index),
        )

    def _report(self) -> None:
        if self._observer is not None:
            self._observer(
                Progress(
                    scope=self._problem.scope,
                    families=self._problem.families,
                    elapsed_s=self._clock.elapsed(),
                    limit_s=self._clock.limit_s,
                    trials=self._store.scope_trials(self._problem.scope),
                    running=[running.candidate.family for running in self._running.values()],
                )
            )
