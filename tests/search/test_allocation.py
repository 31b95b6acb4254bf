from __future__ import annotations

import numpy as np
import pytest

from autoonco.search.allocation import Allocation

SECONDS = {"cheap": 1.0, "dear": 40.0, "middle": 7.0}


def play(mode: str, n: int, *, gpu_rate: float = 1.0, device: str = "cpu") -> dict[str, float]:
    """Let an optimiser that loves the dear family choose where it may."""
    allocation = Allocation(list(SECONDS), mode=mode, floor=0.1, gpu_rate=gpu_rate)
    spent = dict.fromkeys(SECONDS, 0.0)
    for _ in range(n):
        family = next(iter(allocation.behind()), "dear")
        allocation.charge(family, SECONDS[family], device=device if family == "dear" else "cpu")
        spent[family] += SECONDS[family] * (gpu_rate if family == "dear" and device != "cpu" else 1.0)
    return spent


def test_every_family_has_its_floor_and_no_more_than_one_trial_above():
    spent = play("shared", 3000)
    total = sum(spent.values())
    for family in ("cheap", "middle"):
        assert spent[family] == pytest.approx(0.1 * total, abs=max(SECONDS.values()))
    assert spent["dear"] > 0.7 * total


def test_equal_allocation_differs_by_a_trial_at_most():
    spent = play("equal", 3000)
    assert np.ptp(list(spent.values())) <= max(SECONDS.values())


def test_a_gpu_second_counts_as_many_cpu_seconds():
    spent = play("equal", 3000, gpu_rate=10.0, device="cuda:0")
    assert np.ptp(list(spent.values())) <= 10 * max(SECONDS.values())


def test_a_family_that_rests_claims_nothing_until_it_wakes():
    allocation = Allocation(["a", "b"], mode="shared", floor=0.1, gpu_rate=1.0)
    allocation.charge("a", 100, device="cpu")
    assert allocation.behind() == ("b",)
    allocation.rest("b")
    assert allocation.behind() == ()
    allocation.wake("b")
    assert allocation.behind() == ("b",)


def test_the_floor_is_never_more_than_an_even_share():
    allocation = Allocation(["a", "b", "c"], mode="shared", floor=0.5, gpu_rate=1.0)
    for family in "abc":
        allocation.charge(family, 10, device="cpu")
    assert allocation.behind() == ()
