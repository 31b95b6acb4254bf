"""The members of a fitted ensemble as models again: which are there, their mean, their speed, which a time allows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.errors import NothingToFitError
from autoonco.evaluation.ensemble import Candidate, Member
from autoonco.families import get_family
from autoonco.families.contract import FittedModel, Runtime
from autoonco.families.state import state_of

Weighted = tuple[tuple[float, FittedModel], ...]
"""The weight and the model of each member."""
_TIMED = 3


def restored(family: str, folder: Path, runtime: Runtime) -> FittedModel:
    """Return the model whose state `families.state.write_state` wrote into `folder`."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".tmp"}
    return get_family(family).restore(state_of(files), runtime)


def mean_proba(members: Weighted, cases: Sequence[Case], *, n_classes: int) -> NDArray[Any]:
    """Return the weighted mean of the members' probabilities ``(n_cases, n_classes)``, not calibrated."""
    if not cases:
        return np.empty((0, n_classes))
    total = sum(
        weight * np.asarray(model.predict_proba(cases), dtype=np.float64) for weight, model in members
    )
    return np.asarray(total)


def seconds_a_case(family: str, folder: Path, cases: Sequence[Case], runtime: Runtime) -> float:
    """Return how long the model in `folder` takes for a case that was never seen, the median of up to three.

    Everything is made anew, in a cache of its own; what is loaded and compiled once a process is not counted.
    """
    with tempfile.TemporaryDirectory() as cache:
        model = restored(family, folder, replace(runtime, artefacts=ArtefactCache(Path(cache))))
        first, *others = cases[: _TIMED + 1]
        model.predict_proba([first])
        taken = []
        for case in others or [first]:
            begun = time.perf_counter()
            model.predict_proba([case])
            taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def alive_members(
    members: Sequence[Member],
    bests: Mapping[str, Candidate],
    refitted: Collection[str],
    notes: Sequence[str],
) -> list[Member]:
    """Return the members that were refitted, weights summing to 1; without any, the best refitted family.

    Parameters
    ----------
    bests
        Each family's best.
    refitted
        Keys of the candidates that were.
    notes
        What went wrong on the way.

    Raises
    ------
    NothingToFitError
        If nothing was refitted.
    """
    alive = [member for member in members if member.candidate.key in refitted]
    if alive:
        return _summing_to_one(alive)
    spare = [best for best in bests.values() if best.key in refitted]
    if not spare:
        raise NothingToFitError("No model could be refitted on all training cases. " + " ".join(notes))
    return [Member(candidate=max(spare, key=lambda item: item.score), weight=1.0)]


def in_time(
    members: Sequence[Member], spares: Sequence[Candidate], seconds: Mapping[str, float], limit_s: float
) -> tuple[list[Member], str | None]:
    """Return the members that predict a case within `limit_s` seconds together, and what a user must know of it.

    While they take longer, the one goes that takes most for its weight. Where not even the last one is quick enough,
    the best of `spares` that is takes its place, or the quickest of all.

    Parameters
    ----------
    seconds
        Seconds a case, by the key of a candidate: of every member, and of the spares.
    """
    kept = list(members)
    while len(kept) > 1 and sum(seconds[m.candidate.key] for m in kept) > limit_s:
        kept.remove(max(kept, key=lambda m: seconds[m.candidate.key] / m.weight))
    if seconds[kept[0].candidate.key] <= limit_s or len(kept) > 1:
        left = len(members) - len(kept)
        note = (
            f"{left} of {len(members)} members of the ensemble were left out: together they took longer than "
        )
        return _summing_to_one(kept), f"{note}{limit_s:g} s to predict a case." if left else None
    every = {item.key: item for item in (*(m.candidate for m in members), *spares)}
    quick = [item for key, item in every.items() if seconds[key] <= limit_s]
    if quick:
        best = max(quick, key=lambda item: item.score)
        return [Member(candidate=best, weight=1.0)], (
            f"The model is a single {best.trial.family} model: the ensemble took longer than {limit_s:g} s to predict "
            "a case."
        )
    best = min(every.values(), key=lambda item: seconds[item.key])
    return [Member(candidate=best, weight=1.0)], (
        f"No refitted model predicts a case within {limit_s:g} s: the quickest was taken, which takes "
        f"{seconds[best.key]:.2g} s."
    )


def _summing_to_one(members: Sequence[Member]) -> list[Member]:
    total = sum(member.weight for member in members)
    return [Member(candidate=member.candidate, weight=member.weight / total) for member in members]
