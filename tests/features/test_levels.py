"""Grey levels are pyradiomics' own, or IBSI's formula voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.levels import bin_by_count, bin_by_width


def greys(seed: int) -> np.ndarray:
    """Grey values of many dtypes and scales, half of them whole numbers that sit on edges of bins."""
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-500, 500), 10 ** rng.uniform(-1, 3), 500)
    dtype = (np.float32, np.float64, np.int16, np.int32)[seed % 4]
    return (np.round(values) if seed % 8 < 4 else values).astype(dtype)


@pytest.mark.parametrize("seed", range(24))
def test_levels_are_those_of_pyradiomics(seed):
    operations = pytest.importorskip("radiomics.imageoperations")
    values = greys(seed)
    width = (1.0, 5.0, 0.7, 25.0)[seed % 4]
    if np.ptp(values) == 0:
        values[0] += 30
    for count in (2, 7, 32, 256):
        expected = np.digitize(values, operations.getBinEdges(values, binCount=count))
        np.testing.assert_array_equal(bin_by_count(values, count), expected)
    expected = np.digitize(values, operations.getBinEdges(values, binWidth=width))
    np.testing.assert_array_equal(bin_by_width(values, width), expected)


def test_ibsi_levels_against_its_formula():
    values = greys(1)
    found = bin_by_width(values, 0.3, definition=Definition.IBSI)
    from_bound = bin_by_width(values, 0.3, definition=Definition.IBSI, lowest=-2000.0)
    low = float(values.min())
    for value, level, level_from_bound in zip(values.tolist(), found, from_bound, strict=True):
        assert level == math.floor((value - low) / 0.3) + 1
        assert level_from_bound == math.floor((value + 2000) / 0.3) + 1


def test_the_definitions_differ_in_where_bins_begin():
    values = np.array([24.0, 26.0, 48.0])
    assert bin_by_width(values, 25.0).tolist() == [1, 2, 2]
    assert bin_by_width(values, 25.0, definition=Definition.IBSI).tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [0.0, 7.0, -3.3])
def test_a_flat_lesion_has_one_level(value):
    values = np.full(5, value)
    assert bin_by_count(values, 32).tolist() == bin_by_width(values, 2.0).tolist() == [1] * 5
    noisy = values * (1 + np.linspace(0, 1e-9, 5))
    assert bin_by_count(noisy, 32).tolist() == [1] * 5


@pytest.mark.parametrize("width", [0.01, 1.0, 13.7])
def test_a_narrow_width_is_widened_by_the_smallest_factor(width):
    values = greys(5).astype(float)
    found = bin_by_width(values, width, max_levels=16)
    assert found.min() == 1
    assert found.max() <= 16
    factors = (k for k in range(1, 10**6) if bin_by_width(values, k * width).max() <= 16)
    np.testing.assert_array_equal(found, bin_by_width(values, next(factors) * width))


def test_single_precision_is_left_where_it_is_too_coarse_for_the_bins():
    values = (1e7 + np.arange(0, 41)).astype(np.float32)
    expected = bin_by_width(values.astype(np.float64), 0.5).tolist()
    assert bin_by_width(values, 0.5).tolist() == expected == list(range(1, 82, 2))
    assert bin_by_count(values, 82).tolist() == bin_by_count(values.astype(np.float64), 82).tolist()


def test_integers_do_not_overflow():
    values = np.array([-32768, 0, 32767], dtype=np.int16)
    assert bin_by_width(values, 16384).tolist() == [1, 3, 4]
    assert bin_by_count(values, 2).tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("values", "how", "says"),
    [
        ([], {"bin_width": 1.0}, "at least one voxel"),
        ([1.0, float("nan")], {"bin_width": 1.0}, "finite"),
        ([1.0, 2.0], {"bin_width": 0.0}, "above 0, got 0"),
        ([1.0, 2.0], {"bin_width": 1.0, "lowest": 1.5}, "re-segment"),
    ],
)
def test_errors_say_what_is_wrong(values, how, says):
    with pytest.raises(AutoOncoError, match=says):
        bin_by_width(np.array(values), **how)


def test_no_bins_is_an_error():
    with pytest.raises(AutoOncoError, match="got 0"):
        bin_by_count(np.array([1.0, 2.0]), 0)
