"""The stationary wavelet transform by what is known of it: taps, energy, vanishing moments, names of axes."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from autoonco.features.images import Roi
from autoonco.features.wavelets import wavelet_bands


def whole(image: np.ndarray) -> Roi:
    box = tuple(slice(0, side) for side in image.shape)
    return Roi(image=image, mask=np.ones(image.shape, bool), box=box, spacing_mm=(1.0,) * image.ndim)


@pytest.mark.parametrize("shape", [(12, 14), (10, 8, 12)])
@pytest.mark.parametrize("wavelet", ["coif1", "haar", "db3"])
def test_energy_is_kept(shape, wavelet):
    """Both filters together keep it, twice an axis as nothing is left out (Parseval; orthonormal taps)."""
    image = np.random.default_rng(0).normal(5, 2, shape)
    energy = sum((band**2).sum() for band in wavelet_bands(whole(image), wavelet).values())
    assert energy == pytest.approx(2 ** len(shape) * (image**2).sum(), rel=1e-10)


def test_an_impulse_gives_the_taps_of_each_axis():
    image = np.zeros((16, 18, 20))
    image[8, 9, 10] = 1
    found = wavelet_bands(whole(image), "coif1")
    taps = {half: np.array(pywt.Wavelet("coif1").filter_bank["LH".index(half)]) for half in "LH"}
    assert set(found) == {x + y + z for x in "LH" for y in "LH" for z in "LH"}
    for name, band in found.items():
        x, y, z = (taps[half] for half in name)
        expected = np.multiply.outer(np.multiply.outer(z, y), x)
        inside = band[tuple(slice(at - 3, at + 3) for at in (8, 9, 10))]
        np.testing.assert_allclose(inside, expected, atol=1e-12)
        assert (band**2).sum() == pytest.approx((expected**2).sum())


def test_two_moments_of_coif1_vanish_where_the_image_is_a_plane():
    z, y, x = np.indices((20, 22, 24))
    bands = wavelet_bands(whole(3.0 + 2 * x - y + 0.5 * z), "coif1")
    middle = (slice(6, 14),) * 3
    for name, band in bands.items():
        if name != "LLL":
            assert np.abs(band[middle]).max() < 1e-9
    assert np.abs(np.diff(bands["LLL"][middle], axis=2) - 2 * 2**1.5).max() < 1e-9


@pytest.mark.parametrize(("axis", "name"), [(0, "LLH"), (1, "LHL"), (2, "HLL")])
def test_the_last_letter_is_of_z(axis, name):
    stripes = np.moveaxis(np.broadcast_to((-1.0) ** np.arange(12), (12, 12, 12)), 2, axis)
    energy = {band: (values**2).sum() for band, values in wavelet_bands(whole(stripes), "coif1").items()}
    assert max(energy, key=energy.__getitem__) == name
    assert energy[name] > 0.99 * sum(energy.values())


def test_a_gap_spreads_as_far_as_the_taps_and_no_farther():
    image = np.zeros((24, 24))
    image[12, 12] = np.nan
    for band in wavelet_bands(whole(image), "coif1").values():
        rows, columns = np.nonzero(np.isnan(band))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 14, 9, 14)
