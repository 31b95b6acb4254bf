"""Greedy ensemble selection with replacement over out-of-fold probabilities (Caruana et al., ICML 2004)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import FoldTask, Origin, Status, Trial

# The greedy choice looks at so many of the best: more only gives chance more to choose from.
_POOL = 25
# So many seconds at most of a first fold are for what is loaded and compiled, networks' libraries and extraction.
_LOADING_S = 20.0
# With fewer that were scored again there is little to combine: then all compete on the folds of the search.
_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial with its out-of-fold probabilities, one array for each fold that it scored: all, usually.

    `passes` are a finalist's scores on the first fresh passes, one more each: the mean of the first, of the first two,
    and so on. `score` is its inner score: the last of those where there is one, for the search's own folds chose it.
    """

    trial: Trial
    probas: tuple[NDArray[Any], ...]
    refit_s: float
    score: float
    passes: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The config's key."""
        return config_key(self.trial.family, self.trial.config)

    @property
    def rescored(self) -> bool:
        """Whether it was scored on fresh folds."""
        return bool(self.passes)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A config of an ensemble and its weight; the weights of an ensemble sum to 1."""

    candidate: Candidate
    weight: float


def candidates(problem: Problem, store: Store, *, n_test: int = 0) -> list[Candidate]:
    """Return the full-budget trials of a scope, best first; of equal scores the quicker one leads.

    `n_test` is how many cases a refitted model will have to predict.
    """
    best: dict[str, Trial] = {}
    for trial in store.scope_trials(problem.scope):
        again = trial.origin is Origin.FINALIST
        if trial.status is Status.SUCCESS and problem.is_full(trial) and not again:
            best.setdefault(_key(trial), trial)
    found = [_candidate(problem, store, key, trial, n_test) for key, trial in best.items()]

    def rank(item: Candidate) -> tuple[float, float]:
        trial = item.trial  # not `refit_s`, which is measured: equal runs must choose alike
        return -item.score, problem.prior_seconds(trial.family, trial.config, trial.fidelity)

    return sorted(found, key=rank)


def ahead(problem: Problem, store: Store, *, n_test: int = 0) -> list[Candidate]:
    """Return the configs that were too dear for all folds and lead on those that they had, best first.

    That is, they score higher there than all that their family has in full; of a family that has nothing in full, none.
    """
    done = [
        trial
        for trial in store.scope_trials(problem.scope)
        if trial.status in (Status.SUCCESS, Status.STOPPED) and trial.origin is not Origin.FINALIST
    ]
    furthest: dict[str, Trial] = {_key(trial): trial for trial in done if problem.tells_in_part(trial)}
    if not furthest:
        return []
    for trial in done:  # a later fold counts, whoever asked for it: it may refute the first
        known = furthest.get(_key(trial))
        same = known is not None and trial.fidelity.fold_key == known.fidelity.fold_key
        if known is not None and same and trial.fidelity.folds > known.fidelity.folds:
            furthest[_key(trial)] = replace(trial, dear=True)
    full = [trial for trial in done if problem.is_full(trial)]

    def leads(trial: Trial) -> bool:
        n, others = trial.fidelity.folds, [other for other in full if other.family == trial.family]
        score = _first_score(problem, store, trial, n)
        return bool(others) and all(score > _first_score(problem, store, other, n) for other in others)

    found = [
        _candidate(problem, store, key, trial, n_test) for key, trial in furthest.items() if leads(trial)
    ]
    return sorted(found, key=lambda item: -item.score)


def _key(trial: Trial) -> str:
    return config_key(trial.family, trial.config)


def _first_score(problem: Problem, store: Store, trial: Trial, n: int) -> float:
    """Return the mean score of the first `n` folds."""
    if trial.fold_scores:
        return float(np.mean(trial.fold_scores[:n]))
    keys = _keys(problem, trial, _key(trial), problem.folds[:n])  # a journal of an older version
    return problem.score([store.fold_proba(key) for key in keys])


def furthest(problem: Problem, store: Store, family: str, *, n_test: int = 0) -> list[Candidate]:
    """Return the trials of a family that has none at full budget, furthest first: what there is for lack of time."""
    done = [
        trial
        for trial in store.scope_trials(problem.scope)
        if trial.status is Status.SUCCESS and trial.family == family and trial.origin is not Origin.FINALIST
    ]
    done.sort(key=lambda trial: how_far(problem, trial), reverse=True)
    best = {_key(trial): trial for trial in reversed(done)}
    found = [_candidate(problem, store, key, trial, n_test) for key, trial in best.items()]
    return sorted(found, key=lambda item: how_far(problem, item.trial), reverse=True)


def how_far(problem: Problem, trial: Trial) -> tuple[int, float, float]:
    """Return folds, share of the epochs and cases of a full training, and score: more of a trial that tells more."""
    epochs, cases = trial.fidelity.epochs, trial.fidelity.cases
    share = 1.0 if epochs is None else epochs / int(trial.config["epochs"])
    share *= 1.0 if cases is None else cases / min(len(fold.train) for fold in problem.folds)
    return trial.fidelity.folds, share, -np.inf if trial.score is None else trial.score


def _keys(problem: Problem, trial: Trial, key: str, folds: Sequence[FoldTask]) -> list[FoldKey]:
    fold_key = trial.fidelity.fold_key
    return [
        FoldKey(scope=problem.scope, config_key=key, fold_key=fold_key, fold=str(fold.index))
        for fold in folds
    ]


def refit_seconds(
    problem: Problem, store: Store, trial: Trial, *, n_test: int, key: str | None = None
) -> float:
    """Return what a fit on all training cases and predicting `n_test` others is expected to take, from its folds.

    A refit has k/(k-1) times a fold's training cases. What the slowest fold took above the usual is taken for making
    artefacts, which the refit finds in the cache but for those of the test cases, after what a new process loads and
    compiles first.
    """
    name = _key(trial) if key is None else key
    keys = _keys(problem, trial, name, problem.folds[: trial.fidelity.folds])
    k, seconds = len(problem.folds), [store.fold_seconds(fold) for fold in keys]
    usual = float(np.median(seconds))
    once = max(seconds) - usual
    loading = min(once, _LOADING_S)
    return usual * k / (k - 1) + loading + (once - loading) * n_test / problem.fingerprint.n_cases


def _candidate(problem: Problem, store: Store, key: str, trial: Trial, n_test: int) -> Candidate:
    keys = _keys(problem, trial, key, problem.folds[: trial.fidelity.folds])
    refit_s = refit_seconds(problem, store, trial, n_test=n_test, key=key)
    assert trial.score is not None
    fresh: list[NDArray[Any]] = []
    scores: list[float] = []
    passes: list[float] = []
    for folds in problem.fresh_passes():
        again = _keys(problem, trial, key, folds)
        if not all(store.has_fold(fold) for fold in again):
            break
        probas = [store.fold_proba(fold) for fold in again]
        fresh += probas
        scores += [problem.fold_score(*item) for item in zip(folds, probas, strict=True)]
        passes.append(float(np.mean(scores)))
    return Candidate(
        trial=trial,
        probas=(*(store.fold_proba(fold) for fold in keys), *fresh),
        refit_s=refit_s,
        score=passes[-1] if passes else trial.score,
        passes=tuple(passes),
    )


def by_family(found: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Return each family's candidates that can be compared with one another, best first.

    Where the best of a family's search was scored again, those are the ones that were, and where the best of those had
    another pass, the ones that had; else all, by the search's own folds, for then the time was too short for the good
    ones, and those that were scored again are only the quick ones.
    """
    families = dict.fromkeys(item.trial.family for item in found)
    return {
        family: _comparable([item for item in found if item.trial.family == family]) for family in families
    }


def _search_score(item: Candidate) -> float:
    """Return the score on the folds of the search, whether there is a fresh one or not."""
    assert item.trial.score is not None
    return item.trial.score


def _comparable(items: Sequence[Candidate]) -> list[Candidate]:
    """Return those that were scored on as many fresh passes as the best of those before them, best first."""
    group, n_passes = sorted(items, key=lambda item: -_search_score(item)), 0
    while len(group[0].passes) > n_passes:
        group = [item for item in group if len(item.passes) > n_passes]
        group.sort(key=lambda item: -item.passes[n_passes])
        n_passes += 1
    return group


def select(
    problem: Problem,
    found: Sequence[Candidate],
    *,
    rounds: int,
    refit_limit_s: float,
    refitted: Collection[Candidate] = (),
    mean_of: int | None = None,
) -> list[Member]:
    """Return the members of the greedy ensemble, heaviest first; with `mean_of`, so many of the best at equal weights.

    In each round the candidate that most improves the mean score joins, again if need be; the ensemble of
    the best round is kept, so it never scores below the best single candidate. Members are left out, lightest
    first, while refitting them all would take longer than `refit_limit_s`; those in `refitted` cost nothing more.
    """
    paid = {item.key for item in refitted}  # not by the object: whoever asks again is given new ones
    costs = {id(item): 0.0 if item.key in paid else item.refit_s for item in found}

    def chosen(items: Sequence[Candidate]) -> list[Member]:
        return _chosen(
            problem, items, rounds=rounds, costs=costs, refit_limit_s=refit_limit_s, mean_of=mean_of
        )

    n_search = len(problem.folds)
    whole = [item for item in found if len(item.probas) >= n_search]
    parts = [item for item in found if len(item.probas) < n_search and costs[id(item)] <= refit_limit_s]
    if whole and not parts:
        return chosen(whole)
    members = chosen([*parts, *whole] or found)
    if whole and all(len(member.candidate.probas) >= n_search for member in members):
        return chosen(whole)  # nothing is judged by fewer folds for the sake of what is not in it
    return members


def _chosen(
    problem: Problem,
    found: Sequence[Candidate],
    *,
    rounds: int,
    costs: Mapping[int, float],
    refit_limit_s: float,
    mean_of: int | None,
) -> list[Member]:
    """Return the members, see `select`; `costs` are the seconds of a candidate's refit, by its id."""
    pooled = [item for group in by_family(found).values() for item in group]
    n_folds = min(len(item.probas) for item in found)
    enough = len(pooled) >= min(len(found), _FEWEST)
    if n_folds < len(problem.folds):  # one of them was too dear for more: all are compared on what it had
        found = sorted(found, key=lambda item: -problem.score(item.probas[:n_folds]))
    elif enough and all(item.rescored for item in pooled):
        found = sorted(pooled, key=lambda item: -item.score)
    else:  # greedy sums need the same folds of all
        found = sorted(found, key=lambda item: -_search_score(item))
    n_folds = min(len(item.probas) for item in found)
    pool = [item for item in found[:_POOL] if costs[id(item)] <= refit_limit_s]
    pool = pool or [min(found, key=lambda item: costs[id(item)])]
    counts = (
        _greedy(problem, pool, rounds=rounds, n_folds=n_folds)
        if mean_of is None
        else [(i, 1) for i in range(min(mean_of, len(pool)))]
    )
    while len(counts) > 1 and sum(costs[id(pool[i])] for i, _ in counts) > refit_limit_s:
        counts.pop()
    weight = sum(count for _, count in counts)
    return [Member(candidate=pool[i], weight=count / weight) for i, count in counts]


def _greedy(
    problem: Problem, pool: Sequence[Candidate], *, rounds: int, n_folds: int
) -> list[tuple[int, int]]:
    """Return whom the greedy choice took and how often, the most often first."""
    chosen: list[int] = []
    total = [np.zeros_like(proba) for proba in pool[0].probas[:n_folds]]
    best_score, best_size = -np.inf, 0
    for _ in range(rounds):
        scores = [problem.score(_mean(total, item.probas[:n_folds], len(chosen) + 1)) for item in pool]
        pick = int(np.argmax(scores))
        chosen.append(pick)
        total = [t + p for t, p in zip(total, pool[pick].probas[:n_folds], strict=True)]
        if scores[pick] > best_score:
            best_score, best_size = scores[pick], len(chosen)
    return Counter(chosen[:best_size]).most_common()


def _mean(total: Sequence[NDArray[Any]], probas: Sequence[NDArray[Any]], n: int) -> list[NDArray[Any]]:
    return [(t + p) / n for t, p in zip(total, probas, strict=True)]


def ensemble_score(problem: Problem, members: Sequence[Member]) -> float:
    """Return the inner score of the weighted mean of the members' out-of-fold probabilities."""
    n_folds = min(len(m.candidate.probas) for m in members)
    pooled = [sum(m.weight * m.candidate.probas[k] for m in members) for k in range(n_folds)]
    n_search = len(problem.folds)
    if n_folds > n_search:  # these chose finalists as well as members, the fresh ones members alone
        fresh = zip(problem.fresh[: n_folds - n_search], pooled[n_search:], strict=True)
        return float(np.mean([problem.fold_score(fold, np.asarray(proba)) for fold, proba in fresh]))
    return problem.score(pooled)  # type: ignore[arg-type]
