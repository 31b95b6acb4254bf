"""Samples of patients drawn with replacement, or left out in turn: as weights of their cases, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autoonco.metrics.scores import Labels, Values
from autoonco.metrics.weighted import Weights

_CELLS = 250_000  # weights held at once: 2 MB, which stay in the cache of a core
_KEPT_CELLS = 20_000_000  # counts of resamples that are kept for the next model: 40 MB
_JACKKNIFE = 500  # parts left out in turn; with more patients a part holds several


def evaluate_resamples(
    statistic: Callable[[Weights], Values], patients: Labels, *, resamples: int, seed: int
) -> Values:
    """Return the values ``(..., resamples)`` of ``statistic(weights)`` for patients drawn with replacement."""
    n_patients = int(patients.max()) + 1
    step = max(1, _CELLS // len(patients))
    draw: Callable[[int, int, int, int], Iterable[NDArray[np.int16]]]
    draw = _kept_counts if n_patients * resamples <= _KEPT_CELLS else _counts
    out = [
        statistic(counts[:, patients].astype(np.float64))
        for counts in draw(n_patients, resamples, step, seed)
    ]
    draws: Values = np.concatenate(out, axis=-1)
    return draws


def _counts(n_patients: int, resamples: int, step: int, seed: int) -> Iterator[NDArray[np.int16]]:
    """Yield how often each patient is in each resample, `step` resamples at a time ``(step, n_patients)``."""
    rng, even = np.random.default_rng(seed), np.full(n_patients, 1 / n_patients)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield rng.multinomial(n_patients, even, size=size).astype(np.int16)


@lru_cache(maxsize=2)
def _kept_counts(n_patients: int, resamples: int, step: int, seed: int) -> list[NDArray[np.int16]]:
    """Return `_counts`, kept: the models of a table are judged on the same resamples, which take long to draw."""
    return list(_counts(n_patients, resamples, step, seed))


def evaluate_left_out(statistic: Callable[[Weights], Values], patients: Labels) -> Values:
    """Return the values ``(..., n_parts)`` of ``statistic(weights)`` with each patient, or 1/500 of them, left out."""
    part = patients % _JACKKNIFE
    step = max(1, _CELLS // len(patients))
    out = []
    for start in range(0, int(part.max()) + 1, step):
        ids = np.arange(start, min(start + step, int(part.max()) + 1))
        weights: Weights = (part[None, :] != ids[:, None]).astype(np.float64)
        out.append(statistic(weights))
    found: Values = np.concatenate(out, axis=-1)
    return found


def patient_codes(groups: ArrayLike | None, n: int) -> Labels:
    """Return the patients of `n` cases as 0, 1, …; every case is its own patient where `groups` is None."""
    if groups is None:
        return np.arange(n)
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
