"""What is refitted after a search: each family's best and the ensemble, as far as the time allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoonco.evaluation import ensemble
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.evaluation.inner import sentences
from autoonco.evaluation.timetable import arrange, ends, fitting
from autoonco.search.problem import Problem
from autoonco.search.store import Store
from autoonco.search.trial import Status, Trial


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Each family's best, the ensemble's members, and the refits of both in the order in which they begin."""

    bests: Mapping[str, Candidate]
    members: Sequence[Member]
    order: Sequence[Candidate]


def ladders(problem: Problem, store: Store, *, n_test: int) -> dict[str, list[Candidate]]:
    """Return each family's candidates, best first: its full trainings, or how far it came where it has none.

    What was too dear for all folds, but leads on those that it had, comes before the full ones.
    """
    full = ensemble.by_family(ensemble.candidates(problem, store, n_test=n_test))
    for item in reversed(ensemble.ahead(problem, store, n_test=n_test)):
        full[item.trial.family].insert(0, item)
    partial = {
        name: ensemble.furthest(problem, store, name, n_test=n_test)
        for name in problem.families
        if name not in full
    }
    return full | {name: items for name, items in partial.items() if items}


def contenders(problem: Problem, store: Store, *, n_test: int) -> list[Candidate]:
    """Return what an ensemble is chosen from: full trainings, and what leads on the folds that it could have."""
    return [
        *ensemble.ahead(problem, store, n_test=n_test),
        *ensemble.candidates(problem, store, n_test=n_test),
    ]


def partial_notes(
    problem: Problem, judged: Iterable[Candidate], members: Iterable[Candidate] = ()
) -> list[str]:
    """Return a sentence for each of the families' models that never had a full training before its refit.

    One that is among the ensemble's `members` says that it chose by no more folds either.
    """
    keys = {member.key for member in members}
    notes, of = [], len(problem.folds)
    for best in judged:
        name, fidelity = best.trial.family, best.trial.fidelity
        if problem.tells_in_part(best.trial):
            notes.append(
                f"Training the best model of {name} on all inner folds would have taken too long: it was chosen on "
                f"{fidelity.folds} of {of}, of {len(problem.folds[0].test)} cases each"
                f"{', and so was the ensemble' if best.key in keys else ''}."
            )
        elif not problem.is_full(best.trial):
            epochs = "" if fidelity.epochs is None else f" and {fidelity.epochs} epochs"
            notes.append(
                f"The time was too short for a full training of {name}: its model had {fidelity.folds} of {of} "
                f"inner folds{epochs}. Give the search more time before judging {name} by it."
            )
    return notes


def why_nothing(problem: Problem, store: Store) -> str:
    """Return why there is nothing to choose from: each family's reason, and what to do."""
    trials = store.scope_trials(problem.scope)
    reasons = {name: _first_cause([t for t in trials if t.family == name]) for name in problem.families}
    return "No trial finished: give it a longer time limit, or mend this. " + sentences(reasons)


def _first_cause(trials: Sequence[Trial]) -> str:
    """Return why no trial succeeded: an error says more than a limit, and that more than a trial not started."""
    order = (Status.FAILED, Status.MEMORY, Status.TIMEOUT, Status.SKIPPED)
    told = [trial for trial in trials if trial.reason]
    first = min(told, key=lambda trial: order.index(trial.status), default=None)
    return "no trial finished in time" if first is None else str(first.reason)


def choose(
    problem: Problem,
    own: Mapping[str, Sequence[Candidate]],
    found: Sequence[Candidate],
    *,
    rounds: int,
    plan_s: float,
    n_workers: int,
    mean_of: int | None = None,
) -> Choice:
    """Return what is refitted in `plan_s` seconds on `n_workers` that work side by side.

    Parameters
    ----------
    own
        The families' `ladders`, at least one.
    found
        The ensemble's `contenders`; where there are none, it is a family's best.
    mean_of
        With it the ensemble is the plain mean of so many of the best, see `ensemble.select`.
    """
    bests = fitting(own, limit_s=plan_s, n_workers=n_workers)
    keys = {item.key for item in found}
    refitted = tuple(best for best in bests.values() if best.key in keys)
    spare_s = plan_s * n_workers - sum(best.refit_s for best in bests.values())
    while True:
        members = ensemble.select(
            problem,
            found or [max(bests.values(), key=lambda item: item.score)],
            rounds=rounds,
            refit_limit_s=max(0.0, spare_s),
            refitted=refitted,
            mean_of=mean_of,
        )
        order = _order(bests, members, plan_s=plan_s, n_workers=n_workers)
        # side by side they may end later than their sum says: then the ensemble does with fewer
        if spare_s <= 1.0 or max(ends((item.refit_s for item in order), n_workers)) <= plan_s:
            return Choice(bests=bests, members=members, order=order)
        spare_s /= 2


def _order(
    bests: Mapping[str, Candidate], members: Sequence[Member], *, plan_s: float, n_workers: int
) -> list[Candidate]:
    first = [member.candidate for member in members]
    keys = {item.key for item in first}
    others = [best for best in bests.values() if best.key not in keys]
    return arrange(first, others, limit_s=plan_s, n_workers=n_workers)
