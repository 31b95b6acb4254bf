from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.fingerprint import Intensity
from autoonco.data.greys import HU_WINDOW, scale_intensity
from autoonco.data.grids import lesion_box, luminance
from autoonco.data.preprocessing import SliceView, VolumeView, slice_2d, volume_3d
from autoonco.data.readers import Scan, read_scan
from autoonco.errors import DataError


def as_image(values: NDArray, spacing: tuple[float, ...] | None = None) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    if spacing:
        image.SetSpacing(spacing)
    return image


def as_scan(values: NDArray, mask: NDArray | None = None, spacing: tuple[float, ...] | None = None) -> Scan:
    drawn = None if mask is None else as_image(mask.astype(np.uint8), spacing)
    return Scan(image=as_image(values.astype(np.float32), spacing), mask=drawn)


def smooth_volume(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Scan:
    """A world made of formulas: value = a smooth function of the position in mm, lesion = an ellipsoid."""
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(shape, reversed(spacing), strict=True)), indexing="ij"
    )
    values = 0.5 + 0.2 * np.sin(x / 7) + 0.15 * np.cos(y / 9) + 0.1 * np.sin(z / 8 + 1)
    mask = ((x - 31) / 9) ** 2 + ((y - 24) / 6) ** 2 + ((z - 20) / 7) ** 2 < 1
    return as_scan(values, mask, spacing)


UNIT = [Intensity.UNIT]


def test_luminance_weighs_green_most_and_keeps_grey() -> None:
    picture = sitk.GetImageFromArray(
        np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), isVector=True
    )
    red, green, blue = sitk.GetArrayFromImage(luminance(picture))[0]
    assert green > red > blue
    assert red + green + blue == pytest.approx(255)
    grey = sitk.GetArrayFromImage(luminance(as_image(np.array([[3, 4]], np.int16))))
    assert grey.dtype == np.float32
    assert grey.tolist() == [[3, 4]]


@pytest.mark.parametrize("seed", range(5))
def test_lesion_box_is_the_smallest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 8, 9)) < 0.02
    box = lesion_box(mask)
    points = np.argwhere(mask)
    if len(points) == 0:
        assert box is None
        return
    assert [s.start for s in box] == points.min(axis=0).tolist()
    assert [s.stop - 1 for s in box] == points.max(axis=0).tolist()


def test_intensity_by_unit() -> None:
    assert scale_intensity(np.array([0.0, 127.5, 255, 300]), Intensity.BYTE).tolist() == [0, 0.5, 1, 1]
    assert scale_intensity(np.array([-1, 0.25, 2]), Intensity.UNIT).tolist() == [0, 0.25, 1]
    low, high = HU_WINDOW
    assert scale_intensity(np.array([low - 500, low, high, 3000]), Intensity.HOUNSFIELD).tolist() == [
        0,
        0,
        1,
        1,
    ]
    assert scale_intensity(np.array([np.nan, 255]), Intensity.BYTE).tolist() == [0, 1]


def test_arbitrary_intensity_ignores_gain_offset_and_outliers() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    values[0] = 1e6
    once = scale_intensity(values, Intensity.ARBITRARY)
    np.testing.assert_allclose(scale_intensity(values * 37 + 900, Intensity.ARBITRARY), once, atol=1e-5)
    assert 0.4 < once.mean() < 0.6
    assert scale_intensity(np.full(5, 3.0), Intensity.ARBITRARY).tolist() == [0] * 5


def test_whole_picture_is_padded_not_stretched() -> None:
    picture = np.ones((20, 40))
    result = slice_2d([as_scan(picture)], UNIT, SliceView(size=40))
    assert result.shape == (3, 40, 40)
    assert result.dtype == np.float32
    expected = np.zeros((40, 40))
    expected[10:30] = 1
    assert np.abs(result[0] - expected)[[*range(9), *range(11, 29), *range(31, 40)]].max() < 1e-6
    assert (result[0] == result[1]).all()


def test_same_size_whole_picture_is_untouched() -> None:
    picture = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    np.testing.assert_allclose(slice_2d([as_scan(picture)], UNIT, SliceView(size=16))[0], picture, atol=1e-6)


def test_colour_keeps_its_channels() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    scan = Scan(image=sitk.GetImageFromArray(rgb, isVector=True), mask=None)
    result = slice_2d([scan], [Intensity.BYTE], SliceView(size=16))
    np.testing.assert_allclose(result, np.moveaxis(rgb, -1, 0) / 255, atol=1e-6)


def test_downsampling_averages_where_skipping_would_alias() -> None:
    stripes = np.zeros((128, 128))
    stripes[:, ::2] = 1
    result = slice_2d([as_scan(stripes)], UNIT, SliceView(size=16))[0]
    assert np.abs(result - 0.5).max() < 0.1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.5), (0.5, 1.0)])
def test_lesion_square_is_centred_and_measured_in_millimetres(spacing: tuple[float, float]) -> None:
    """The lesion spans 1 / (1 + 2 * margin) of the crop along its longer side, whatever the spacing."""
    mask = np.zeros((100, 120), bool)
    mask[30:50, 60:100] = True
    result = slice_2d(
        [as_scan(mask.astype(float), mask, spacing)], UNIT, SliceView(size=64, focus="lesion", margin=0.5)
    )
    inside = np.argwhere(result[0] > 0.5)
    np.testing.assert_allclose(inside.mean(axis=0), 31.5, atol=0.6)
    width_mm, height_mm = 40 * spacing[0], 20 * spacing[1]
    expected = 32 * np.array([height_mm, width_mm]) / max(width_mm, height_mm)
    np.testing.assert_allclose(np.ptp(inside, axis=0) + 1, expected, atol=1.5)


def test_tiny_lesion_keeps_some_surroundings() -> None:
    mask = np.zeros((64, 64), bool)
    mask[30, 30] = True
    result = slice_2d(
        [as_scan(mask.astype(float), mask)], UNIT, SliceView(size=32, focus="lesion", margin=0.1)
    )
    assert 0 < (result[0] > 0.5).mean() < 0.02


def test_largest_axial_slice_is_shown() -> None:
    values, mask = np.zeros((12, 32, 32)), np.zeros((12, 32, 32), bool)
    for z in range(12):
        values[z] = z / 20
    mask[3, 10:14, 10:14] = True
    mask[7, 8:20, 8:20] = True
    scan = as_scan(values, mask, (1, 1, 3))
    for view in (SliceView(size=16, focus="lesion"), SliceView(size=16, use_mask=True)):
        assert np.median(slice_2d([scan], UNIT, view)) == pytest.approx(7 / 20)
    without = slice_2d([scan], UNIT, SliceView(size=16))
    assert np.median(without) == pytest.approx(6 / 20)


def test_three_sequences_become_three_channels_and_two_repeat() -> None:
    scans = [as_scan(np.full((20, 20), value)) for value in (0.1, 0.2, 0.3)]
    view = SliceView(size=16)
    assert slice_2d(scans, UNIT * 3, view).mean(axis=(1, 2)) == pytest.approx([0.1, 0.2, 0.3])
    assert slice_2d(scans[:2], UNIT * 2, view).mean(axis=(1, 2)) == pytest.approx([0.1, 0.2, 0.1])


VIEWS = [
    VolumeView(size=16, mask="channel"),
    VolumeView(size=16, extent_mm=30.0, mask="channel"),
    VolumeView(size=16, focus="whole"),
]


@pytest.mark.parametrize("view", VIEWS)
def test_every_orientation_of_the_file_gives_the_same_cube(view: VolumeView) -> None:
    scan = smooth_volume((1.0, 1.5, 2.0), (22, 33, 60))
    expected = volume_3d([scan], UNIT, view)
    for code in ("RAS", "LPS", "PIR", "SAL", "ILP"):
        turned = Scan(image=sitk.DICOMOrient(scan.image, code), mask=sitk.DICOMOrient(scan.mask, code))
        np.testing.assert_allclose(volume_3d([turned], UNIT, view), expected, atol=1e-4)
        picture = SliceView(size=16, focus="lesion")
        np.testing.assert_allclose(
            slice_2d([turned], UNIT, picture), slice_2d([scan], UNIT, picture), atol=1e-4, err_msg=code
        )


def test_cube_shows_the_world_where_it_is() -> None:
    """Brute force: each voxel's value is that of the formula at its place in millimetres."""
    scan = smooth_volume((1.0, 1.0, 1.0), (44, 50, 64))
    size, extent = 16, 24.0
    cube = volume_3d([scan], UNIT, VolumeView(size=size, extent_mm=extent))
    box = lesion_box(sitk.GetArrayFromImage(scan.mask))
    centre = [(s.start + s.stop - 1) / 2 for s in box]
    for index in product((1, 7, 14), repeat=3):
        z, y, x = (c + (i - (size - 1) / 2) * extent / size for c, i in zip(centre, index, strict=True))
        value = 0.5 + 0.2 * np.sin(x / 7) + 0.15 * np.cos(y / 9) + 0.1 * np.sin(z / 8 + 1)
        assert cube[(0, *index)] == pytest.approx(value, abs=0.01)


def test_cube_does_not_depend_on_the_sampling_of_the_scan() -> None:
    fine, coarse = smooth_volume((0.8, 0.8, 0.8), (60, 60, 80)), smooth_volume((0.8, 0.8, 2.4), (20, 60, 80))
    view = VolumeView(size=12, extent_mm=28.0)
    np.testing.assert_allclose(volume_3d([fine], UNIT, view), volume_3d([coarse], UNIT, view), atol=0.03)


def test_fixed_extent_shows_size_and_fitted_hides_it() -> None:
    def occupied(radius: float, view: VolumeView) -> float:
        z, y, x = np.indices((48, 48, 48)) - 23.5
        mask = x**2 + y**2 + z**2 < radius**2
        return float(volume_3d([as_scan(mask.astype(float), mask)], UNIT, view)[1].mean())

    fixed, fitted = VolumeView(size=24, extent_mm=48.0, mask="channel"), VolumeView(size=24, mask="channel")
    assert occupied(16, fixed) / occupied(8, fixed) == pytest.approx(8, rel=0.1)
    assert occupied(16, fitted) == pytest.approx(occupied(8, fitted), rel=0.12)


def test_channels_on_other_grids_fall_into_place() -> None:
    scan = smooth_volume((1.0, 1.0, 2.0), (22, 50, 64))
    other = sitk.Image([40, 40, 40], sitk.sitkFloat32)
    other.SetOrigin((10, 5, 3))
    other.SetSpacing((1.2, 1.2, 1.2))
    moved = Scan(image=sitk.Resample(scan.image, other, sitk.Transform(), sitk.sitkLinear), mask=None)
    cube = volume_3d([scan, moved], UNIT * 2, VolumeView(size=16, extent_mm=20.0))
    np.testing.assert_allclose(cube[1], cube[0], atol=0.02)


def test_lesion_at_the_border_is_filled_with_background() -> None:
    values, mask = np.full((30, 30, 30), 0.7), np.zeros((30, 30, 30), bool)
    mask[:6, :6, :6] = True
    cube = volume_3d([as_scan(values, mask)], UNIT, VolumeView(size=12, margin=0.5))
    assert cube.min() == 0
    assert cube.max() == pytest.approx(0.7)
    assert cube[0, :2].max() == 0


def test_channel_that_never_meets_the_lesion_is_background() -> None:
    scan = smooth_volume((1.0, 1.0, 1.0), (40, 40, 50))
    far = as_scan(np.ones((10, 10, 10)))
    far.image.SetOrigin((500, 500, 500))
    assert volume_3d([scan, far], UNIT * 2, VolumeView(size=8))[1].max() == 0


def test_three_voxel_thin_and_very_anisotropic_volumes() -> None:
    mask = np.zeros((3, 40, 40), bool)
    mask[1, 10:20, 12:30] = True
    scan = as_scan(np.random.default_rng(0).random((3, 40, 40)), mask, (0.3, 0.3, 9.0))
    cube = volume_3d([scan], UNIT, VolumeView(size=16, mask="channel"))
    assert np.isfinite(cube).all()
    assert cube[1].max() > 0.9


def test_not_a_number_in_the_scan_does_not_spread() -> None:
    values = np.full((40, 40, 40), 0.5)
    values[20, 20, 20] = np.nan
    values[5, 5, 5] = np.inf
    cube = volume_3d([as_scan(values)], UNIT, VolumeView(size=10, focus="whole"))
    np.testing.assert_allclose(cube, 0.5, atol=1e-4)


@pytest.mark.parametrize("mask", [None, np.zeros((8, 8, 8))])
def test_a_view_of_the_lesion_needs_one(mask: NDArray | None) -> None:
    scan = as_scan(np.ones((8, 8, 8)), mask)
    with pytest.raises(DataError, match="mask"):
        volume_3d([scan], UNIT, VolumeView(size=8))
    with pytest.raises(DataError, match="mask"):
        slice_2d([scan], UNIT, SliceView(size=8, focus="lesion"))


@pytest.mark.shared
def test_three_modalities_of_a_sarcoma_meet_on_one_grid(shared_data: Path) -> None:
    """The tumour, outlined on three different grids, lies in the same voxels of the common cube."""
    import pandas as pd

    from autoonco.data.case import Case

    row = pd.read_csv(shared_data / "sarcoma3d" / "labels.csv").iloc[0]
    names = [name.removeprefix("image_") for name in row.index if name.startswith("image_")]
    case = Case(
        case="a",
        patient="a",
        images={name: shared_data / "sarcoma3d" / row[f"image_{name}"] for name in names},
        masks={name: shared_data / "sarcoma3d" / row[f"mask_{name}"] for name in names},
    )
    scans = [read_scan(case, name) for name in names]
    drawn = [Scan(image=sitk.Cast(scan.mask, sitk.sitkFloat32), mask=scans[0].mask) for scan in scans]
    cube = volume_3d(drawn, UNIT * 3, VolumeView(size=32)) > 0.5
    for other in (1, 2):
        dice = 2 * (cube[0] & cube[other]).sum() / (cube[0].sum() + cube[other].sum())
        assert dice > 0.8
