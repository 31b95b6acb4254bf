"""Grey values in 0..1: windows in Hounsfield units, uptake, and what is only relative."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.fingerprint import Intensity
from autoonco.data.greys import THREE, UPTAKES, WINDOWS, Scaling, layers_of, scale_intensity, scan_range

VALUES_HU = np.array([[-2000.0, -1000, -600, -160, 40, 240, 400, 1300, 3000]])


@pytest.mark.parametrize("name", list(WINDOWS))
def test_a_window_ends_where_it_says_and_is_linear_between(name: str) -> None:
    low, high = WINDOWS[name]
    (found,) = layers_of(VALUES_HU, Intensity.HOUNSFIELD, Scaling(window=name))
    assert found.dtype == np.float32
    values = VALUES_HU.copy()
    assert (found[values <= low] == 0).all()
    assert (found[values >= high] == 1).all()
    (middle,) = layers_of(np.array([(low + high) / 2]), Intensity.HOUNSFIELD, Scaling(window=name))
    assert middle[0] == pytest.approx(0.5, abs=1e-6)


def test_three_windows_are_three_channels_in_order() -> None:
    scaling = Scaling(window="three")
    found = layers_of(VALUES_HU, Intensity.HOUNSFIELD, scaling)
    assert len(found) == scaling.n_layers(Intensity.HOUNSFIELD) == 3
    for layer, name in zip(found, THREE, strict=True):
        assert (layer == layers_of(VALUES_HU, Intensity.HOUNSFIELD, Scaling(window=name))[0]).all()
    assert scaling.n_layers(Intensity.SUV) == 1


@pytest.mark.parametrize("name", list(UPTAKES))
def test_uptake_means_the_same_in_every_case(name: str) -> None:
    values = np.array([0.0, 1.0, 2.5])
    alone = layers_of(values, Intensity.SUV, Scaling(uptake=name))[0]
    beside = layers_of(np.append(values, 40.0), Intensity.SUV, Scaling(uptake=name))[0]
    np.testing.assert_array_equal(alone, beside[:3])
    assert beside[3] == 1
    relative = layers_of(values, Intensity.SUV, Scaling())[0]
    assert relative[2] == 1
    assert relative[2] > alone[2]


@pytest.mark.parametrize("relative", ["crop", "zscore", "scan"])
def test_relative_values_ignore_gain_and_offset(relative: str) -> None:
    values = np.random.default_rng(0).normal(size=4000)

    def scaled(given: np.ndarray) -> np.ndarray:
        known = scan_range(sitk.GetImageFromArray(given.reshape(10, 20, 20)))
        return layers_of(given, Intensity.ARBITRARY, Scaling(relative=relative), value_range=known)[0]

    np.testing.assert_allclose(scaled(values * 37 + 900), scaled(values), atol=1e-5)
    assert 0.4 < scaled(values).mean() < 0.6


def test_a_scan_sets_the_range_of_its_crops() -> None:
    scan = np.random.default_rng(0).uniform(0, 100, (10, 30, 30)).astype(np.float32)
    known = scan_range(sitk.GetImageFromArray(scan))
    assert known == pytest.approx((1, 99), abs=0.6)
    dark = np.array([10.0, 20.0, np.nan])
    found = layers_of(dark, Intensity.ARBITRARY, Scaling(relative="scan"), value_range=known)[0]
    np.testing.assert_allclose(found[:2], (dark[:2] - known[0]) / (known[1] - known[0]), rtol=1e-5)
    assert found[2] == 0


@pytest.mark.parametrize("values", [np.full(5, 3.0), np.full(5, np.nan)])
@pytest.mark.parametrize("relative", ["crop", "zscore"])
def test_nothing_to_tell_apart_is_black_or_grey_but_finite(values: np.ndarray, relative: str) -> None:
    found = layers_of(values, Intensity.ARBITRARY, Scaling(relative=relative))[0]
    assert np.isfinite(found).all()
    assert np.ptp(found) == 0


def test_the_default_is_what_pictures_use() -> None:
    assert (
        scale_intensity(VALUES_HU, Intensity.HOUNSFIELD)
        == layers_of(VALUES_HU, Intensity.HOUNSFIELD, Scaling())[0]
    ).all()
