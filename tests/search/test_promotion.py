from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from autoonco.search.promotion import promote, share_slots


def brute_force_shares(sizes, n_slots):
    """All ways to share the slots whose greatest distance from proportionality is least, in the sense of Hamilton."""
    total = sum(sizes.values())
    n_slots = min(n_slots, total)
    best, found = None, []
    for shares in itertools.product(*(range(size + 1) for size in sizes.values())):
        if sum(shares) != n_slots:
            continue
        # Largest remainders is what minimises the sum of squared distances from the exact shares.
        off = sum(
            (share - n_slots * size / total) ** 2 for share, size in zip(shares, sizes.values(), strict=True)
        )
        if best is None or off < best - 1e-9:
            best, found = off, [shares]
        elif abs(off - best) <= 1e-9:
            found.append(shares)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_slots_are_shared_in_proportion(seed):
    rng = np.random.default_rng(seed)
    sizes = {name: int(rng.integers(1, 8)) for name in "abcd"[: rng.integers(1, 5)]}
    n_slots = int(rng.integers(1, 10))
    order = list(rng.permutation(list(sizes)))
    shares = share_slots(sizes, n_slots, order=order)
    assert tuple(shares.values()) in brute_force_shares(sizes, n_slots)


def test_equal_remainders_go_to_the_family_predicted_best():
    shares = share_slots({"a": 2, "b": 2, "c": 2}, 4, order=["c", "b", "a"])
    assert shares == {"a": 1, "b": 1, "c": 2}


def test_below_full_budget_a_family_is_never_beaten_by_another():
    # Every loss of the network at this rung is worse than every loss of radiomics; predictions agree.
    ranked = {"radiomics": [0.10, 0.11, 0.12, 0.13, 0.14, 0.15], "network": [0.40, 0.41, 0.42]}
    chosen = promote(ranked, 3, predicted=lambda loss: loss, last=False)
    assert sorted(chosen) == [0.10, 0.11, 0.40]


def test_at_the_last_promotion_families_compete_by_the_prediction_and_members_by_their_loss():
    ranked = {"radiomics": ["r1", "r2"], "network": ["n1", "n2"]}
    predicted = {"r1": 0.2, "r2": 0.05, "n1": 0.1, "n2": 0.15}.__getitem__
    assert promote(ranked, 1, predicted=predicted, last=True) == ["n1"]
    # r2 is predicted best of all, but its own family's loss ranks r1 first.
    assert promote(ranked, 3, predicted=predicted, last=True) == ["n1", "n2", "r1"]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_what_goes_on_is_the_head_of_each_family_and_fills_the_slots(seed, last):
    rng = np.random.default_rng(seed)
    ranked = {name: [(name, i) for i in range(rng.integers(0, 6))] for name in "abc"}
    n_slots = int(rng.integers(1, 12))
    predictions = {member: rng.random() for members in ranked.values() for member in members}
    chosen = promote(ranked, n_slots, predicted=predictions.__getitem__, last=last)
    assert len(chosen) == min(n_slots, len(predictions))
    for name, count in Counter(name for name, _ in chosen).items():
        assert {i for family, i in chosen if family == name} == set(range(count))


def test_no_members_no_promotion():
    assert promote({"a": [], "b": []}, 3, predicted=lambda _: 0.0, last=False) == []
