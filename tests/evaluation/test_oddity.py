"""Cases unlike the training: few false alarms on new ones alike, and what is moved, bent or of another kind is seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.evaluation.oddity import FALSE_ALARMS, Oddity, fit_oddity


def drawn(n, seed, *, shift=0.0, noise=1.0, width=60):
    rng = np.random.default_rng(seed)
    geometry = np.c_[np.full(n, np.log(0.8)), np.log(40) + 0.2 * rng.normal(size=n)]
    base = rng.normal(size=(n, 4)) @ np.random.default_rng(99).normal(size=(4, 11))
    intensity = base + 0.3 * noise * rng.normal(size=(n, 11)) + shift
    embedding = rng.normal(size=(n, 6)) @ np.random.default_rng(98).normal(size=(6, width))
    embedding = embedding + 0.5 * noise * rng.normal(size=(n, width))
    return {"geometry": list(geometry), "intensity": list(intensity), "embedding": list(embedding)}


@pytest.fixture(scope="module")
def known():
    return fit_oddity(drawn(300, 0), np.arange(300))


def told(oddity, tables):
    return np.mean([bool(parts) for parts in oddity.odd_parts(tables)])


def test_false_alarms_are_kept_on_new_cases(known):
    oddity, rate = known
    assert rate <= FALSE_ALARMS
    rates = [told(oddity, drawn(400, seed)) for seed in range(1, 9)]
    assert np.mean(rates) <= FALSE_ALARMS + 0.02
    assert np.mean(rates) > 0.01  # a detector that never speaks keeps every rate


@pytest.mark.parametrize("n", [40, 90, 500])
def test_they_are_kept_whatever_the_number_of_cases(n):
    rates = []
    for seed in range(6):
        oddity, _ = fit_oddity(drawn(n, seed), np.arange(n))
        rates.append(told(oddity, drawn(300, 1000 + seed)))
    assert np.mean(rates) <= FALSE_ALARMS + 0.03


def test_what_is_elsewhere_is_told_with_the_part_that_tells_it(known):
    oddity, _ = known
    assert told(oddity, drawn(200, 7, shift=6.0)) > 0.95
    parts = oddity.odd_parts(drawn(200, 7, shift=6.0))
    assert all("embedding" not in part for part in parts[:10] if len(part) == 1)
    assert told(oddity, drawn(200, 8, noise=3.0)) > 0.9
    moved = drawn(50, 9)
    moved["geometry"] = [row + np.array([np.log(2), 0.0]) for row in moved["geometry"]]
    assert all("geometry" in part for part in oddity.odd_parts(moved))


def test_pictures_that_are_all_of_one_size_are_not_odd_for_it():
    """All are equally far then, and no one is nearer than they: every new photograph was told odd."""

    def photographs(n, seed, size=(450.0, 600.0)):
        return drawn(n, seed) | {"geometry": [np.log(size)] * n}

    oddity, rate = fit_oddity(photographs(300, 0), np.arange(300))
    again = Oddity.from_parts(json.loads(json.dumps(oddity.to_json())), oddity.tensors())
    assert rate <= FALSE_ALARMS
    for each in (oddity, again):
        assert np.mean([told(each, photographs(400, seed)) for seed in range(1, 5)]) <= FALSE_ALARMS + 0.02
        assert all("geometry" in part for part in each.odd_parts(photographs(20, 9, size=(225.0, 300.0))))


def test_a_spacing_that_never_varied_may_be_rounded(known):
    oddity, _ = known
    rounded = drawn(100, 10)
    rounded["geometry"] = [row + np.array([0.004, 0.0]) for row in rounded["geometry"]]
    assert told(oddity, rounded) < 0.12


def test_another_kind_of_scan_and_what_is_not_a_number_are_odd_or_harmless_but_never_an_error(known):
    oddity, _ = known
    other = drawn(3, 11)
    other["geometry"] = [np.zeros(3) for _ in range(3)]
    assert all("geometry" in part for part in oddity.odd_parts(other))
    gaps = drawn(3, 12)
    gaps["embedding"][0][:5] = np.nan
    gaps["embedding"][1][:] = 1e300
    found = oddity.odd_parts(gaps)
    assert "embedding" in found[1]


def test_too_few_cases_or_patients_are_no_ground_to_judge():
    assert fit_oddity(drawn(39, 0), np.arange(39)) is None
    assert fit_oddity(drawn(100, 0), np.repeat(np.arange(5), 20)) is None


def test_what_is_stored_says_the_same(known):
    oddity, _ = known
    plain = json.loads(json.dumps(oddity.to_json()))
    again = Oddity.from_parts(plain, oddity.tensors())
    tables = drawn(60, 13, noise=1.6)
    assert again.odd_parts(tables) == oddity.odd_parts(tables)
    assert sum(array.size for array in oddity.tensors().values()) < 10_000
