"""The finalists are scored again on fresh folds before the choice.

The best of many noisy scores is best by luck too: picking it overtunes, and its score flatters. On folds that the
search never saw, the same configs, the defaults among them, compete anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from autoonco.search.clock import Clock
from autoonco.search.execution import Candidate, Execution, Outcome, fold_key
from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import Store
from autoonco.search.trial import Executor, FoldTask, Origin, Status, Trial


def finalists(problem: Problem, store: Store, *, n: int) -> list[Candidate]:
    """Return what competes again: the `n` best configs, and each family's best and best default, best first."""
    done = [
        trial
        for trial in store.scope_trials(problem.scope)
        if trial.status is Status.SUCCESS
        and trial.origin is not Origin.FINALIST
        and trial.fidelity == problem.plan(trial.family, trial.config, 1.0)
    ]

    def rank(trial: Trial) -> tuple[float, float]:
        # of equal ones the quicker, by a guess that is the same in every run
        assert trial.loss is not None
        return trial.loss, problem.prior_seconds(trial.family, trial.config, trial.fidelity)

    ranked = sorted(done, key=rank)
    chosen = {id(trial): trial for trial in ranked[:n]} if n else {}
    for family in problem.families if n else ():
        own = [trial for trial in ranked if trial.family == family]
        defaults = [trial for trial in own if trial.origin is Origin.DEFAULT]
        chosen |= {id(trial): trial for trial in (*own[:1], *defaults[:1])}
    first = {next((id(t) for t in ranked if t.family == family), None) for family in problem.families}
    ranked.sort(key=lambda trial: id(trial) not in first)  # each family's best before anyone's second
    return [
        Candidate(
            family=trial.family,
            config=trial.config,
            budget=1.0,
            fidelity=trial.fidelity,
            origin=Origin.FINALIST,
        )
        for trial in ranked
        if id(trial) in chosen
    ]


def rescore(
    problem: Problem,
    candidates: Sequence[Candidate],
    *,
    pool: Executor,
    store: Store,
    seed: int,
    clock: Clock,
    limit_s: float,
    reproducible: bool = False,
) -> None:
    """Score `candidates` in order on the fresh folds; one that is not expected to end in `limit_s` seconds is left out.

    Where the run has to be `reproducible`, the families' guesses say what fits, and not the clock. What comes of it is
    in the store: trials of the origin ``finalist``.
    """
    execution = Execution(problem, pool=pool, store=store, seed=seed, clock=clock)
    end = clock.elapsed() + limit_s
    if reproducible:
        candidates = _planned(problem, candidates, limit_s)
    done = {
        config_key(trial.family, trial.config)
        for trial in store.scope_trials(problem.scope)
        if trial.origin is Origin.FINALIST and trial.status is Status.SUCCESS
    }

    def record(outcome: Outcome) -> None:
        scores = _fresh_scores(problem, store, outcome.candidate) if outcome.status is Status.SUCCESS else []
        store.add_trial(outcome.trial(problem, scores, seed=seed, elapsed_s=clock.elapsed()))

    queue = deque(item for item in candidates if item.key not in done)
    for candidate in [item for item in queue if not missing_fresh(problem, store, item)]:
        queue.remove(candidate)  # a kill came between its last fold and its line
        record(Outcome(id=store.next_id(), candidate=candidate, status=Status.SUCCESS))
    while execution.running or (queue and (reproducible or clock.elapsed() < end)):
        while queue and execution.has_slot(queue[0]):
            candidate = queue.popleft()
            folds = missing_fresh(problem, store, candidate)
            left_s = np.inf if reproducible else end - clock.elapsed()
            if reproducible or seconds_a_fold(problem, store, candidate) * len(folds) <= left_s:
                execution.start(candidate, folds, cap_s=left_s)
        for outcome in execution.poll():
            record(outcome)


def _planned(problem: Problem, candidates: Sequence[Candidate], limit_s: float) -> list[Candidate]:
    """Return those that fit by the families' guesses, those of earlier sessions counted: a kill changes nothing."""
    guesses = [problem.prior_seconds(item.family, item.config, item.fidelity) for item in candidates]
    spent = np.cumsum(guesses)
    return [item for item, sum_s in zip(candidates, spent, strict=True) if sum_s <= limit_s]


def missing_fresh(problem: Problem, store: Store, candidate: Candidate) -> list[FoldTask]:
    """Return the fresh folds on which `candidate` has not been scored."""
    return [fold for fold in problem.fresh if not store.has_fold(fold_key(problem, candidate, fold))]


def seconds_a_fold(problem: Problem, store: Store, candidate: Candidate) -> float:
    """Return what the slowest but one of its inner folds took: the slowest may have made artefacts."""
    seconds = sorted(store.fold_seconds(fold_key(problem, candidate, fold)) for fold in problem.folds)
    return seconds[-2]


def _fresh_scores(problem: Problem, store: Store, candidate: Candidate) -> list[float]:
    probas = [store.fold_proba(fold_key(problem, candidate, fold)) for fold in problem.fresh]
    return [problem.fold_score(fold, proba) for fold, proba in zip(problem.fresh, probas, strict=True)]
