"""First-order features against numpy and scipy, and what odd lesions give."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.first_order import HISTOGRAM_NAMES, first_order_values, histogram_values

SPACING = (2.0, 0.5, 0.5)


def found_for(values, **how) -> dict[str, float]:
    return first_order_values(np.asarray(values), spacing_mm=SPACING, **how)


@pytest.mark.parametrize("n", [2, 3, 10, 11, 101, 1000])
def test_against_numpy_and_scipy(n):
    values = np.random.default_rng(n).gamma(2, 50, n).astype(np.float32)
    found, x = found_for(values), values.astype(float)
    low, high = np.percentile(x, (10, 90))
    inner = x[(x >= low) & (x <= high)]
    expected = {
        "10Percentile": low,
        "90Percentile": high,
        "Energy": (x**2).sum(),
        "InterquartileRange": stats.iqr(x),
        "Kurtosis": stats.kurtosis(x, fisher=False),
        "Maximum": x.max(),
        "Mean": x.mean(),
        "MeanAbsoluteDeviation": np.abs(x - x.mean()).mean(),
        "Median": np.median(x),
        "Minimum": x.min(),
        "Range": np.ptp(x),
        "RobustMeanAbsoluteDeviation": np.abs(inner - inner.mean()).mean() if inner.size else np.nan,
        "RootMeanSquared": np.sqrt((x**2).mean()),
        "Skewness": stats.skew(x),
        "TotalEnergy": (x**2).sum() / 2,
        "Variance": x.var(),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, nan_ok=True), name


def test_kurtosis_is_ibsis_excess():
    values = np.random.default_rng(0).normal(size=50)
    plain, excess = (found_for(values, definition=definition)["Kurtosis"] for definition in Definition)
    assert excess == pytest.approx(plain - 3)
    assert list(Definition) == [Definition.PYRADIOMICS, Definition.IBSI]


@pytest.mark.parametrize("definition", Definition)
@pytest.mark.parametrize("n", [1, 7])
def test_without_contrast_the_moments_are_0(n, definition):
    found = found_for(np.full(n, 0.1), levels=np.ones(n, dtype=int), definition=definition)
    assert found["Skewness"] == found["Kurtosis"] == found["Range"] == found["Entropy"] == 0
    assert found["Mean"] == pytest.approx(0.1)
    assert found["Uniformity"] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_makes_all_nan(bad):
    found = found_for([1.0, 2.0, bad, 4.0])
    assert np.isnan(list(found.values())).all()
    assert len(found) == 16


def test_the_order_of_the_values_changes_nothing():
    values = np.random.default_rng(1).integers(-300, 300, 99).astype(np.int16)
    one, other = found_for(values), found_for(values[::-1].reshape(9, 11))
    assert one == other


def test_integers_do_not_overflow():
    assert found_for(np.array([200, 100], dtype=np.uint8))["Energy"] == 50_000
    assert found_for(np.array([-32768, 32767], dtype=np.int16))["Range"] == 65_535


def test_histogram_ignores_the_outside_and_empty_levels():
    levels = np.array([[0, 1, 1], [7, 7, 0]])
    assert histogram_values(levels) == {"Entropy": 1.0, "Uniformity": 0.5}
    assert tuple(histogram_values(levels)) == HISTOGRAM_NAMES
    found = found_for([1.0, 2.0], levels=levels)
    assert found["Entropy"] == 1.0


def test_no_voxel_is_an_error():
    with pytest.raises(AutoOncoError, match="got none"):
        found_for([])
