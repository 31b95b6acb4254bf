"""Regridding, margins and re-segmentation: what is left of a lesion, and that odd ones never end a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from autoonco.data.grids import lesion_box
from autoonco.features.backend import block_names, compute_blocks
from autoonco.features.images import Roi
from autoonco.features.lesions import LesionMode
from autoonco.features.preparation import FEWEST_VOXELS, prepare, sample, window_of
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Kind, Margin, Preparation


def roi(seed: int = 0, shape=(20, 40, 44), spacing_mm=(3.0, 0.9, 1.1), radius_mm: float = 9.0) -> Roi:
    rng = np.random.default_rng(seed)
    axes = [(np.arange(n) - n / 2) * side for n, side in zip(shape, spacing_mm, strict=True)]
    distance = np.sqrt(sum(grid**2 for grid in np.meshgrid(*axes, indexing="ij")))
    mask = distance <= radius_mm
    image = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * 100 + 20 * mask
    return Roi(image=image, mask=mask, box=lesion_box(mask), spacing_mm=spacing_mm)


def volume_mm3(found: Roi) -> float:
    return float(found.mask.sum() * np.prod(found.spacing_mm))


def test_nothing_asked_nothing_changed():
    before = roi()
    (after,) = prepare(before, Preparation())
    assert after.image is before.image
    assert np.array_equal(after.mask, before.mask)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("new", [(2.0, 2.0, 2.0), (3.0, 2.0, 2.0), (1.0, 0.45, 0.7)])
def test_a_window_is_a_part_of_the_whole_images_grid(order, new):
    case = roi()
    old, new = np.array(case.spacing_mm), np.array(new)
    whole = window_of([slice(0, n) for n in case.image.shape], case.image.shape, old, new, room_mm=500.0)
    part = window_of(case.box, case.image.shape, old, new, room_mm=2.0)
    expected = sample(case.image, whole, order=order)
    cut = tuple(
        slice(start - first, start - first + n)
        for start, first, n in zip(part.start, whole.start, part.shape, strict=True)
    )
    assert whole.shape == tuple(np.ceil(np.round(np.array(case.image.shape) * old / new, 6)).astype(int))
    assert np.prod(part.shape) < np.prod(whole.shape) / 2
    np.testing.assert_allclose(sample(case.image, part, order=order), expected[cut], atol=1e-4)


@pytest.mark.parametrize("cubic", [False, True])
def test_a_linear_image_is_itself_on_any_grid(cubic):
    case = roi()
    z, y, x = np.indices(case.image.shape)
    plane = replace(case, image=3.0 * z * 3.0 + 0.9 * y - 2 * 1.1 * x)
    (found,) = prepare(plane, Preparation(spacing_mm=2.0, cubic=cubic))
    steps = np.gradient(found.image[found.box], *found.spacing_mm)
    for step, slope in zip(steps, (3.0, 1.0, -2.0), strict=True):
        np.testing.assert_allclose(step, slope, atol=1e-3)


def test_resampling_keeps_volume_and_slices_if_asked():
    case = roi()
    (cube,) = prepare(case, Preparation(spacing_mm=1.0))
    assert cube.spacing_mm == (1.0, 1.0, 1.0)
    assert volume_mm3(cube) == pytest.approx(volume_mm3(case), rel=0.05)
    (plane,) = prepare(case, Preparation(spacing_mm=2.0, in_plane=True))
    assert plane.spacing_mm == (3.0, 2.0, 2.0)


def test_margins_against_distances_by_brute_force():
    case = roi(shape=(9, 14, 13), spacing_mm=(2.0, 1.0, 1.5), radius_mm=4.0)
    inside, outside = (np.argwhere(part) * case.spacing_mm for part in (case.mask, ~case.mask))
    gaps = np.linalg.norm(inside[:, None] - outside[None], axis=-1)
    sizes = {
        Margin.ERODED: (gaps.min(axis=1) > 2.0).sum(),
        Margin.RING: (gaps.min(axis=0) <= 2.0).sum(),
    }
    sizes[Margin.DILATED] = sizes[Margin.RING] + len(inside)
    for margin, size in sizes.items():
        (found,) = prepare(case, Preparation(margin=margin, margin_mm=2.0))
        assert found.mask.sum() == size, margin
        assert found.box == lesion_box(found.mask)


def test_what_would_vanish_stays():
    tiny = roi(radius_mm=1.0)
    (found,) = prepare(tiny, Preparation(margin=Margin.ERODED, margin_mm=4.0))
    assert np.array_equal(found.mask, tiny.mask)
    point = replace(tiny, mask=np.zeros_like(tiny.mask))
    point.mask[10, 21, 3] = True
    point = replace(point, box=lesion_box(point.mask))
    (found,) = prepare(point, Preparation(spacing_mm=6.0))
    assert found.mask.sum() == 1
    (found,) = prepare(tiny, Preparation(value_range=(1e6, 2e6)))
    assert found.mask.sum() == tiny.mask.sum() >= FEWEST_VOXELS


def test_resegmentation_excludes_what_it_names():
    case = roi()
    (found,) = prepare(case, Preparation(value_range=(-20.0, 40.0)))
    assert np.array_equal(found.mask, case.mask & (case.image >= -20) & (case.image <= 40))
    values = case.image[case.mask]
    (found,) = prepare(case, Preparation(sigmas=1.0))
    assert found.mask.sum() == (np.abs(values - values.mean()) <= values.std()).sum()


def features(case: Roi, **preparation) -> dict[str, float]:
    how = Preparation(**preparation)
    channel = ChannelSpec(name="image", binning=Binning(kind="count", value=16), preparation=how)
    spec = ExtractionSpec(ndim=case.image.ndim, channels=(channel,), location=True)
    blocks = spec.blocks(channel)
    values = compute_blocks(case, blocks)
    return {
        name: value
        for block in blocks
        for name, value in zip(block_names(block), values[block].tolist(), strict=True)
    }


def test_several_lesions_are_joined_as_asked():
    case = roi()
    second = case.mask.copy()
    second[1:4, 2:5, 2:6] = True
    both = replace(case, mask=second, box=lesion_box(second))
    small = replace(case, mask=second & ~case.mask)
    small = replace(small, box=lesion_box(small.mask))
    large, little, union = (features(one) for one in (case, small, both))
    name = "original_shape_VoxelVolume"
    assert features(both, lesions=LesionMode.LARGEST)[name] == large[name]
    assert features(both, lesions=LesionMode.SUM)[name] == pytest.approx(union[name])
    for texture in ("original_glcm_Contrast", "original_firstorder_Mean"):
        joined = features(both, lesions=LesionMode.MEAN)[texture]
        assert joined == pytest.approx((large[texture] + little[texture]) / 2)
        assert features(both, lesions=LesionMode.MAX)[texture] == max(large[texture], little[texture])


@pytest.mark.parametrize("preparation", [
    {"spacing_mm": 2.0}, {"spacing_mm": 3.0, "in_plane": True, "cubic": True},
    {"margin": Margin.RING, "margin_mm": 3.0},
    {"margin": Margin.ERODED, "margin_mm": 1.0}, {"lesions": LesionMode.MEAN}, {"sigmas": 3.0},
])  # fmt: skip
@pytest.mark.parametrize("kind", ["single", "slice", "parts", "flat", "nan", "border", "negative"])
def test_odd_lesions_give_numbers_or_nan(kind, preparation):
    case = roi(shape=(12, 20, 22))
    image, mask = case.image.copy(), np.zeros_like(case.mask)
    if kind == "single":
        mask[5, 6, 7] = True
    elif kind == "slice":
        mask[5, 3:9, 4:12] = True
    elif kind == "parts":
        mask[2:4, 2:4, 2:4] = mask[8:10, 12:18, 13:15] = True
    else:
        mask[0 if kind == "border" else 3 : 8, 0 if kind == "border" else 4 : 12, 5:14] = True
    if kind == "flat":
        image[:] = 7.0
    elif kind == "nan":
        image[4, 6, 7] = np.nan
    elif kind == "negative":
        image -= 1e4
    found = features(replace(case, image=image, mask=mask, box=lesion_box(mask)), **preparation)
    assert all(np.isfinite(value) or np.isnan(value) for value in found.values())
    assert np.isfinite(found["original_shape_VoxelVolume"])
    assert np.isnan(found["original_firstorder_Mean"]) <= (kind == "nan")
    assert Kind.LOCATION in {name.split("_")[0] for name in found}
