"""What a run that was asked to end still does, and what it tells of it.

It is a run whose time limit is the moment in which it was asked: what was searched is chosen from, refitted and judged.
Outer searches that had not begun are left out, unless an earlier session judged them, and the delivered model comes
from what the final search has, or else from the one config that did best in the outer ones. Nothing of it counts as
ended: the same command goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ConfigSpace import ConfigurationSpace

from autoonco.evaluation.ensemble import Candidate
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.timetable import fitting, makespan
from autoonco.families.contract import Config
from autoonco.search.space import holds
from autoonco.search.store import Store
from autoonco.search.trial import Origin, Status
from autoonco.settings import Settings


def refitting_s(
    own: Mapping[str, Sequence[Candidate]], *, searched_s: float, share: float, n_workers: int
) -> float:
    """Return the seconds for the refits of a scope that was searched for `searched_s` and then asked to end.

    They are the `share` of its time that is kept for them, had its limit been that short; but each family tried has the
    time for its quickest model. `own` are the families' `choice.ladders`.
    """
    least_s = makespan(fitting(own, limit_s=0.0, n_workers=n_workers).values(), n_workers)
    return max(least_s, searched_s * share / (1 - share))


def best_elsewhere(
    store: Store, space: ConfigurationSpace, scope: str, settings: Settings
) -> list[tuple[str, Config]]:
    """Return the config that did best in the outer searches, of those in `space`: it is judged there, unlike a default.

    For the final search alone, which is not judged where there are outer ones: one of these would begin with what was
    chosen on its test cases. And for none that leaves patients apart, for the outer searches learned from those.
    """
    if scope != FINAL or settings.conformal_share:
        return []
    tried = (
        trial
        for trial in store.trials
        if trial.scope != FINAL
        and trial.status is Status.SUCCESS
        and trial.origin is not Origin.FINALIST
        and trial.budget >= 1
        and trial.loss is not None
        and holds(space, trial.family, trial.config)
    )
    best = min(tried, key=lambda trial: (trial.loss, trial.seconds), default=None)
    return [] if best is None else [(best.family, best.config)]


def told(
    splits: Sequence[OuterSplit],
    ended: Collection[str],
    cut_short: Collection[str],
    store: Store,
    *,
    after_s: float,
    limit_s: float,
) -> str:
    """Return what a reader of a stopped run's figures has to know.

    Parameters
    ----------
    splits
        All searches that were planned.
    ended
        The scopes that gave a result.
    cut_short
        Those of them that were not at their end.
    store
        Its trials are counted.
    after_s
        Seconds of the run up to now, all sessions together.
    """
    outer = [split.scope for split in splits if split.scope != FINAL]
    judged = [scope for scope in outer if scope in ended]
    parts = [f"This run was stopped after {after_s:.0f} s of {limit_s:.0f} s."]
    if outer:
        cut = sum(scope in cut_short for scope in judged)
        of_them = f", {cut} of them after a search that was cut short" if cut else ""
        parts.append(f"{len(judged)} of {len(outer)} outer folds judge its models{of_them}.")
    if FINAL in cut_short:
        n = sum(trial.origin is not Origin.FINALIST for trial in store.scope_trials(FINAL))
        parts.append(f"The model comes from a search of {n} {'trial' if n == 1 else 'trials'} so far.")
        if judged:
            parts.append("The outer folds judged longer searches: their figures may flatter it.")
    parts.append("The same command on the same folder goes on with it.")
    return " ".join(parts)
