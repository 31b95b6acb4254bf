"""Filtering a crop gives what filtering the whole image gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.grids import lesion_box
from autoonco.data.readers import Scan
from autoonco.errors import DataError
from autoonco.features.images import Roi, response_names, responses, roi_of
from autoonco.features.spec import ORIGINAL, Filter


def roi(shape, corner, side, spacing, seed=0) -> Roi:
    image = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + length) for start, length in zip(corner, side, strict=True))] = True
    return Roi(image=image, mask=mask, box=lesion_box(mask), spacing_mm=spacing)


def itk(one: Roi) -> tuple[sitk.Image, sitk.Image]:
    pair = [sitk.GetImageFromArray(array) for array in (one.image, one.mask.astype(np.uint8))]
    for image in pair:
        image.SetSpacing(one.spacing_mm[::-1])
    return pair[0], pair[1]


@pytest.mark.parametrize(
    ("shape", "corner", "side", "spacing", "sigma"),
    [
        ((120, 130), (50, 60), (9, 12), (1.0, 1.0), 1.5),
        ((120, 130), (0, 118), (9, 12), (1.0, 1.0), 3.0),
        ((30, 90, 80), (12, 40, 30), (4, 9, 8), (5.0, 0.7, 0.7), 2.0),
    ],
)
def test_log_of_a_crop_is_the_log_of_the_image(shape, corner, side, spacing, sigma):
    one = roi(shape, corner, side, spacing)
    (name, found), *_ = responses(one, Filter(name="log", sigma_mm=sigma)).items()
    whole = sitk.LaplacianRecursiveGaussian(itk(one)[0], sigma, True)
    expected = sitk.GetArrayFromImage(whole)[one.box]
    assert name == f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"
    assert np.abs(found - expected).max() <= 3e-7 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(40, 40), (41, 37), (20, 24, 22), (21, 23, 25)])
def test_wavelet_of_a_crop_is_pyradiomics_wavelet_of_the_image_at_every_border(shape):
    operations = pytest.importorskip("radiomics.imageoperations")
    item = Filter(name="wavelet", wavelet="coif1")
    for corner in itertools.product(*[(0, 7, length - 6) for length in shape]):
        one = roi(shape, corner, (6,) * len(shape), (1.0,) * len(shape))
        found = responses(one, item)
        image, mask = itk(one)
        whole = {
            name: sitk.GetArrayFromImage(band) for band, name, _ in operations.getWaveletImage(image, mask)
        }
        assert list(found) == list(response_names(item, len(shape)))
        assert set(found) == set(whole)
        for name, values in found.items():
            np.testing.assert_allclose(values, whole[name][one.box], atol=2e-3)  # the whole is in float32


def test_an_image_too_thin_for_the_gaussian_gives_nan():
    one = roi((3, 40, 40), (0, 10, 10), (3, 5, 5), (5.0, 1.0, 1.0))
    assert np.isnan(responses(one, Filter(name="log", sigma_mm=1.0))["log-sigma-1-0-mm-3D"]).all()


def test_grey_stored_as_colour_is_the_same_lesion():
    grey = np.random.default_rng(0).integers(0, 255, (20, 20)).astype(np.uint8)
    mask = sitk.GetImageFromArray((grey > 100).astype(np.uint8))
    colour = sitk.GetImageFromArray(np.stack([grey] * 3, axis=-1), isVector=True)
    one = roi_of(Scan(image=colour, mask=mask))
    other = roi_of(Scan(image=sitk.GetImageFromArray(grey.astype(np.float32)), mask=mask))
    np.testing.assert_allclose(one.image, other.image, atol=1e-4)


def test_normalised_has_mean_0_and_deviation_1_and_ignores_nan():
    one = roi((30, 30), (5, 5), (5, 5), (1.0, 1.0))
    one.image[0, 0] = np.nan
    values = one.normalised().image
    assert np.nanmean(values) == pytest.approx(0, abs=1e-9)
    assert np.nanstd(values, ddof=1) == pytest.approx(1)
    flat = Roi(image=np.full((4, 4), 7.0), mask=one.mask[:4, :4], box=one.box, spacing_mm=(1.0, 1.0))
    assert (flat.normalised().image == 0).all()


def test_original_is_the_box_itself():
    one = roi((30, 30), (5, 6), (4, 3), (1.0, 1.0))
    np.testing.assert_array_equal(responses(one, ORIGINAL)["original"], one.image[5:9, 6:9])


def test_no_mask_or_an_empty_one_is_told():
    image = sitk.GetImageFromArray(np.zeros((5, 5), np.float32))
    with pytest.raises(DataError, match="needs a mask"):
        roi_of(Scan(image=image, mask=None))
    with pytest.raises(DataError, match="mask is empty"):
        roi_of(Scan(image=image, mask=sitk.GetImageFromArray(np.zeros((5, 5), np.uint8))))


@pytest.mark.parametrize(
    "letters", ["".join(p) for p in itertools.permutations("LPS")] + ["RAS", "SAR", "IRP", "AIL"]
)
def test_a_volume_is_turned_as_itk_turns_it(letters):
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    image, mask = sitk.GetImageFromArray(values), sitk.GetImageFromArray((values > 1).astype(np.uint8))
    for part in (image, mask):
        part.SetSpacing((1.0, 2.0, 3.0))
    image, mask = (sitk.DICOMOrient(part, letters) for part in (image, mask))
    found = roi_of(Scan(image=image, mask=mask))
    expected = sitk.DICOMOrient(image, "LPS")
    np.testing.assert_array_equal(found.image, sitk.GetArrayFromImage(expected))
    np.testing.assert_array_equal(found.mask, sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0)
    assert found.spacing_mm == expected.GetSpacing()[::-1]
