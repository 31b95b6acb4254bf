"""Folds keep patients whole and classes present, for any data."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.data.folds import holdout, stratified_group_folds
from autoonco.errors import DataError


def random_task(seed: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Patients with several cases, rare classes, in a third of tasks patients of mixed class."""
    rng = np.random.default_rng(seed)
    n_classes = int(rng.integers(2, 5))
    patient_class = np.concatenate(
        [np.repeat(np.arange(n_classes), k), rng.choice(n_classes, 40, p=rng.dirichlet(np.ones(n_classes)))]
    )
    groups = np.repeat(np.arange(len(patient_class)), rng.geometric(0.5, len(patient_class)))
    y = patient_class[groups].copy()
    if seed % 3 == 0:
        mixed = rng.random(len(y)) < 0.1
        y[mixed] = rng.choice(n_classes, mixed.sum())
    order = rng.permutation(len(y))
    return y[order], np.array([f"patient {g}" for g in groups])[order]


@pytest.mark.parametrize("seed", range(24))
def test_invariants_of_folds(seed: int) -> None:
    k = 2 + seed % 5
    y, groups = random_task(seed, k)
    if min(len(set(groups[y == label])) for label in np.unique(y)) < k:
        pytest.skip("mixing took a patient from the rarest class")
    folds = stratified_group_folds(y, groups, k, seed=seed)
    assert len(folds) == k
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested.tolist()) == list(range(len(y)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(y)))
        assert not set(groups[train]) & set(groups[test])
        assert set(y[train]) == set(y[test]) == set(y)


def test_the_seed_decides() -> None:
    y, groups = random_task(1, 5)
    one, again, other = (stratified_group_folds(y, groups, 5, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_a_class_of_few_patients_is_named_with_the_possible_k() -> None:
    y = np.array([0] * 20 + [1] * 9)
    groups = np.array([*range(20), *[100, 101, 102] * 3])
    with pytest.raises(DataError, match=r"'sarcoma' has 3 patient\(s\).*at least 5.*at most 3 folds"):
        stratified_group_folds(y, groups, 5, seed=0, class_names=["lipoma", "sarcoma"])
    assert len(stratified_group_folds(y, groups, 3, seed=0)) == 3


@pytest.mark.parametrize("seed", range(12))
def test_invariants_of_the_holdout(seed: int) -> None:
    y, groups = random_task(seed, 6)
    train, test = holdout(y, groups, 0.25, seed=seed)
    assert sorted([*train, *test]) == list(range(len(y)))
    assert not set(groups[train]) & set(groups[test])
    assert set(y[train]) == set(y[test]) == set(y)
    again = holdout(y, groups, 0.25, seed=seed)
    assert np.array_equal(test, again[1])


def test_holdout_takes_the_share_of_each_class() -> None:
    y = np.array([0] * 300 + [1] * 60)
    _, test = holdout(y, np.arange(360), 0.25, seed=0)
    for label in (0, 1):
        assert np.mean(np.isin(np.flatnonzero(y == label), test)) == pytest.approx(0.25, abs=0.03)


def test_holdout_needs_two_patients_a_class() -> None:
    with pytest.raises(DataError, match="'b' has 1 patient"):
        holdout([0, 0, 0, 1], list("wxyz"), 0.25, seed=0, class_names=["a", "b"])
