"""The finalists are scored again on fresh folds before the choice.

The best of many noisy scores is best by luck too: picking it overtunes, and its score flatters. On folds that the
search never saw, the same configs, the defaults among them, compete anew: all on one pass over the cases, then each
family's better half on another one, as long as there are passes and time. So repeats are the fidelity above full
training, bought where they are cheap and choose between something. Twice the folds for every config of the search would
be the wrong place for them: on recorded pipelines half as many configs at the same price lost more than they gained.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoonco.search.clock import Clock
from autoonco.search.execution import Candidate, Execution, Outcome, fold_key
from autoonco.search.interrupt import stop_asked
from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import Store
from autoonco.search.trial import Executor, FoldTask, Origin, Status, Trial


def finalists(problem: Problem, store: Store, *, n: int) -> list[Candidate]:
    """Return what competes again: the `n` best configs, and each family's best and best default, best first."""
    done = [
        trial
        for trial in store.scope_trials(problem.scope)
        if trial.status is Status.SUCCESS and trial.origin is not Origin.FINALIST and problem.is_full(trial)
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
    """Score `candidates`, best first, on pass after pass of the fresh folds, in `limit_s` seconds.

    A pass not expected to end in time is left out. Where the run has to be `reproducible`, the families' guesses
    say what fits, not the clock. What comes of it is in the store: trials of the origin ``finalist``, whose score is
    the mean of their fresh folds. A run that was asked to end begins no more of them.
    """
    execution = Execution(problem, pool=pool, store=store, seed=seed, clock=clock)
    end, guess_s = clock.elapsed() + limit_s, limit_s
    for number in range(1, 1 + len(problem.fresh_passes())):
        if stop_asked():
            return
        if number > 1:
            candidates = _better_half(problem, store, candidates, after=number - 1)
        candidates = [_at(item, number) for item in candidates]
        if reproducible:
            candidates, guess_s = _planned(problem, candidates, guess_s)
        _one_pass(problem, candidates, number, execution=execution, store=store, clock=clock, seed=seed, end=end,
                  reproducible=reproducible)  # fmt: skip


def _at(candidate: Candidate, number: int) -> Candidate:
    return replace(candidate, fidelity=replace(candidate.fidelity, repeats=1 + number))


def _one_pass(
    problem: Problem,
    candidates: Sequence[Candidate],
    number: int,
    *,
    execution: Execution,
    store: Store,
    clock: Clock,
    seed: int,
    end: float,
    reproducible: bool,
) -> None:
    done = {
        config_key(trial.family, trial.config)
        for trial in store.scope_trials(problem.scope)
        if trial.origin is Origin.FINALIST
        and trial.status is Status.SUCCESS
        and trial.fidelity.repeats == 1 + number
    }

    def record(outcome: Outcome) -> None:
        found = outcome.status is Status.SUCCESS
        scores = fresh_scores(problem, store, outcome.candidate, number) if found else []
        store.add_trial(outcome.trial(problem, scores, seed=seed, elapsed_s=clock.elapsed()))

    queue = deque(item for item in candidates if item.key not in done)
    for candidate in [item for item in queue if not missing_fresh(problem, store, item, number)]:
        queue.remove(candidate)  # a kill came between its last fold and its line
        record(Outcome(id=store.next_id(), candidate=candidate, status=Status.SUCCESS))
    while execution.running or (queue and not stop_asked() and (reproducible or clock.elapsed() < end)):
        while queue and not stop_asked() and execution.has_slot(queue[0]):
            candidate = queue.popleft()
            folds = missing_fresh(problem, store, candidate, number)
            left_s = np.inf if reproducible else end - clock.elapsed()
            if reproducible or seconds_a_fold(problem, store, candidate) * len(folds) <= left_s:
                execution.start(candidate, folds, cap_s=left_s)
        for outcome in execution.poll():
            record(outcome)


def _planned(
    problem: Problem, candidates: Sequence[Candidate], limit_s: float
) -> tuple[list[Candidate], float]:
    """Return those that fit by the families' guesses, and the seconds left; what a kill left done counts too."""
    guesses = [problem.prior_seconds(item.family, item.config, item.fidelity) for item in candidates]
    spent = np.cumsum(guesses)
    fit = [item for item, sum_s in zip(candidates, spent, strict=True) if sum_s <= limit_s]
    return fit, limit_s - float(spent[len(fit) - 1] if fit else 0.0)


def _better_half(
    problem: Problem, store: Store, candidates: Sequence[Candidate], *, after: int
) -> list[Candidate]:
    """Return the better half of each family by its fresh folds, best first, where more than one is left."""
    scored = [item for item in candidates if not missing_fresh(problem, store, item, after)]
    means = {item.key: float(np.mean(fresh_scores(problem, store, item, after))) for item in scored}
    ranked = sorted(scored, key=lambda item: -means[item.key])
    chosen: list[Candidate] = []
    for family in dict.fromkeys(item.family for item in ranked):
        own = [item for item in ranked if item.family == family]
        half = own[: (len(own) + 1) // 2]
        chosen += half if len(half) > 1 else []
    return sorted(chosen, key=ranked.index)


def missing_fresh(problem: Problem, store: Store, candidate: Candidate, number: int) -> list[FoldTask]:
    """Return the folds of a fresh pass, the first one being 1, on which `candidate` has not been scored."""
    folds = problem.fresh_passes()[number - 1]
    return [fold for fold in folds if not store.has_fold(fold_key(problem, candidate, fold))]


def seconds_a_fold(problem: Problem, store: Store, candidate: Candidate) -> float:
    """Return what the slowest but one of its inner folds took: the slowest may have made artefacts."""
    seconds = sorted(store.fold_seconds(fold_key(problem, candidate, fold)) for fold in problem.folds)
    return seconds[-2]


def fresh_scores(problem: Problem, store: Store, candidate: Candidate, n_passes: int) -> list[float]:
    """Return the scores of all folds of the first fresh passes."""
    folds = problem.fresh[: n_passes * len(problem.folds)]
    return [problem.fold_score(fold, store.fold_proba(fold_key(problem, candidate, fold))) for fold in folds]
