"""The seconds after a scope's search: what refits will take, which of them fit, and in what order they go.

Refits run side by side, each begun as soon as a worker is free, so what counts is when the last one ends. All of it is
planned with the seconds that the folds of the same configs took, on this machine and under this search's load.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence

from autoonco.evaluation.ensemble import Candidate, ahead, how_far, refit_seconds
from autoonco.search.problem import Problem
from autoonco.search.space import config_key
from autoonco.search.store import Store
from autoonco.search.trial import Origin, Status, Trial


def ends(seconds: Iterable[float], n_workers: int) -> list[float]:
    """Return when each of some tasks ends that are begun in this order, one at a time by each worker.

    >>> ends([2, 3, 5, 4], 2)
    [2.0, 3.0, 7.0, 7.0]
    """
    free = [0.0] * n_workers
    found = []
    for task in seconds:
        end = heapq.heappop(free) + task
        heapq.heappush(free, end)
        found.append(end)
    return found


def makespan(items: Iterable[Candidate], n_workers: int) -> float:
    """Return when the last of the refits ends, begun with the longest one."""
    seconds = sorted((item.refit_s for item in items), reverse=True)
    return max(ends(seconds, n_workers), default=0.0)


def fitting(
    ladders: Mapping[str, Sequence[Candidate]], *, limit_s: float, n_workers: int
) -> dict[str, Candidate]:
    """Return a candidate of each family, the best ones whose refits end in `limit_s` seconds together.

    `ladders` are the families' candidates, best first. While they take too long, the family with the longest refit
    gives way to its next best that is quicker. Where even the quickest take too long, those are returned.
    """
    picked = dict.fromkeys(ladders, 0)

    def chosen() -> dict[str, Candidate]:
        return {family: ladders[family][place] for family, place in picked.items()}

    while makespan(chosen().values(), n_workers) > limit_s:
        slowest_first = sorted(picked, key=lambda family: -ladders[family][picked[family]].refit_s)
        steps = ((family, _next_quicker(ladders[family], picked[family])) for family in slowest_first)
        step = next(((family, place) for family, place in steps if place is not None), None)
        if step is None:
            break
        picked[step[0]] = step[1]
    return chosen()


def left_by_refits(
    problem: Problem,
    ladders: Mapping[str, Sequence[Candidate]],
    *,
    left_s: float,
    share: float,
    plan: float,
    n_workers: int,
) -> float:
    """Return the seconds, at most `share` of the `left_s`, that the refits of the families' bests leave for others.

    Parameters
    ----------
    plan
        The share of what is kept for them that refits are expected to take.
    """
    bests = fitting(ladders, limit_s=plan * left_s, n_workers=n_workers)
    # what leads though it was too dear for all folds is not to be lost for scoring others again
    if not any(problem.tells_in_part(best.trial) for best in bests.values()):
        bests = fitting(ladders, limit_s=plan * (1 - share) * left_s, n_workers=n_workers)
    return min(share * left_s, left_s - makespan(bests.values(), n_workers) / plan)


def _next_quicker(ladder: Sequence[Candidate], place: int) -> int | None:
    after = range(place + 1, len(ladder))
    return next((i for i in after if ladder[i].refit_s < ladder[place].refit_s), None)


def arrange(
    members: Sequence[Candidate], others: Sequence[Candidate], *, limit_s: float, n_workers: int
) -> list[Candidate]:
    """Return the refits in the order in which they begin: what the model is made of first, the quickest first.

    Of the `others`, each family's own best, the longest goes first where more of them end in `limit_s` seconds that
    way, which is so where all fit; else the quickest, so that the time ends in as few families as can be.
    """
    first = sorted(members, key=lambda item: item.refit_s)
    rest = sorted(others, key=lambda item: item.refit_s)
    orders = [first + rest, first + rest[::-1]]

    def n_in_time(order: Sequence[Candidate]) -> int:
        return sum(end <= limit_s for end in ends((item.refit_s for item in order), n_workers))

    return max(orders, key=n_in_time)


class Needed:
    """Seconds until the quickest refit of every family tried has ended, kept up with the trials of a search.

    A family that was fully trained is delivered that way, any other one as far as it came; and where something leads
    that was too dear for all folds, its refit is waited for.
    """

    def __init__(self, problem: Problem, store: Store, *, n_test: int, n_workers: int) -> None:
        self._problem, self._store = problem, store
        self._n_test, self._n_workers = n_test, n_workers
        self._full: dict[str, float] = {}
        self._partial: dict[str, dict[str, tuple[tuple[float, ...], float]]] = {}
        self._n_seen = 0
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds, of all trials that were recorded by now."""
        new, self._n_seen = self._store.trials[self._n_seen :], len(self._store.trials)
        for trial in new:
            ours = trial.scope == self._problem.scope and trial.origin is not Origin.FINALIST
            if ours and trial.status is Status.SUCCESS:
                self._take(trial)
        if new:
            least = {family: min(s for _, s in own.values()) for family, own in self._partial.items()}
            leading = ahead(self._problem, self._store, n_test=self._n_test)
            dear = {item.trial.family: item.refit_s for item in reversed(leading)}
            longest_first = sorted((least | self._full | dear).values(), reverse=True)
            self._seconds = max(ends(longest_first, self._n_workers), default=0.0)
        return self._seconds

    def _take(self, trial: Trial) -> None:
        refit_s = refit_seconds(self._problem, self._store, trial, n_test=self._n_test)
        if self._problem.is_full(trial):
            self._full[trial.family] = min(refit_s, self._full.get(trial.family, math.inf))
            return
        far = how_far(self._problem, trial)
        own, key = self._partial.setdefault(trial.family, {}), config_key(trial.family, trial.config)
        if key not in own or own[key][0] < far:  # of a config, the furthest is what would be refitted
            own[key] = far, refit_s
