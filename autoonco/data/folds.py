"""Splits by patient, stratified by class: every class on both sides, no patient on both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from autoonco.errors import DataError

Rows = NDArray[np.int64]

_TRIES = 100


def stratified_group_folds(
    y: ArrayLike, groups: ArrayLike, k: int, *, seed: int, class_names: Sequence[str] | None = None
) -> list[tuple[Rows, Rows]]:
    """Return `k` pairs (train rows, test rows), the same for the same seed.

    Every row is in one test fold; no patient is on both sides; every class is in each train and test part.

    Parameters
    ----------
    y
        Class of each case ``(n_cases,)``.
    groups
        Patient of each case ``(n_cases,)``.
    k
        Number of folds, two or more.
    seed
        Of the shuffle.
    class_names
        Names of the classes for messages, by default their numbers.

    Raises
    ------
    DataError
        If a class has fewer patients than `k`, or no split puts every class in every fold; the message gives
        the largest possible `k`.

    Examples
    --------
    >>> folds = stratified_group_folds([0, 0, 1, 1], ["a", "b", "c", "d"], 2, seed=0)
    >>> [len(test) for _, test in folds]
    [2, 2]
    """
    y, groups = np.asarray(y), np.asarray(groups)
    _require_patients(y, groups, k, class_names)
    for attempt in range(_TRIES):
        splitter = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=_seed(seed, attempt))
        folds = [(train, test) for train, test in splitter.split(y, y, groups)]
        if all(_has_all(y, train) and _has_all(y, test) for train, test in folds):
            return folds
    raise DataError(
        f"No way was found to put every class in each of {k} folds with patients kept whole: use fewer folds."
    )


def holdout(
    y: ArrayLike, groups: ArrayLike, share: float, *, seed: int, class_names: Sequence[str] | None = None
) -> tuple[Rows, Rows]:
    """Return (train rows, test rows) with about `share` of each class in the test part.

    Of 100 random draws of patients it is the one that comes nearest to the share in every class.

    Parameters
    ----------
    y, groups, seed, class_names
        As for `stratified_group_folds`.
    share
        Share of the cases to test on, in (0, 1).

    Raises
    ------
    DataError
        If a class has a single patient, or no draw puts every class on both sides.

    Examples
    --------
    >>> train, test = holdout([0, 0, 0, 0, 1, 1, 1, 1], list("abcdefgh"), 0.25, seed=0)
    >>> len(train), len(test)
    (6, 2)
    """
    y, groups = np.asarray(y), np.asarray(groups)
    _require_patients(y, groups, 2, class_names)
    splitter = GroupShuffleSplit(n_splits=_TRIES, test_size=share, random_state=seed)
    draws = [
        (train, test)
        for train, test in splitter.split(y, y, groups)
        if _has_all(y, train) and _has_all(y, test)
    ]
    if not draws:
        raise DataError(
            f"No way was found to hold out {share:.0%} of the patients with every class on both sides: "
            f"use cross-validation, or leave the smallest class out with classes= (--classes)."
        )
    return min(draws, key=lambda draw: _imbalance(y, draw[1], share))


def _imbalance(y: NDArray[np.int64], test: Rows, share: float) -> float:
    """Return the largest distance of a class's tested share from `share`."""
    return max(
        abs(float(np.mean(np.isin(np.flatnonzero(y == label), test))) - share) for label in np.unique(y)
    )


def _has_all(y: NDArray[np.int64], rows: Rows) -> bool:
    return len(np.unique(y[rows])) == len(np.unique(y))


def _seed(seed: int, attempt: int) -> int:
    return int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0])


def _require_patients(
    y: NDArray[np.int64], groups: NDArray[np.str_], k: int, class_names: Sequence[str] | None
) -> None:
    patients = {int(label): len(np.unique(groups[y == label])) for label in np.unique(y)}
    rarest = min(patients, key=patients.__getitem__)
    if patients[rarest] < k:
        name = class_names[rarest] if class_names is not None else str(rarest)
        possible = (
            f"use at most {patients[rarest]} folds" if patients[rarest] > 1 else "leave it out (--classes)"
        )
        raise DataError(
            f"Class {name!r} has {patients[rarest]} patient(s), expected at least {k}, one for each part of "
            f"the split: {possible}, or collect more."
        )
