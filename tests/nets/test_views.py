from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.preprocessing import SliceView
from autoonco.data.readers import Scan
from autoonco.errors import DataError
from autoonco.nets.inputs import InputSpec, crop, crops, split_pictures
from autoonco.nets.views import MAX_SLICES, MIN_SLICES, picture_grids, pictures, slices_of

UNIT = [Intensity.UNIT]
CENTRE_MM, RADII_MM = np.array([24.0, 30.0, 21.0]), np.array([8.0, 6.0, 9.0])  # x, y, z


def world(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A smooth value at every place in millimetres."""
    return 0.5 + 0.2 * np.sin(x / 9) + 0.15 * np.cos(y / 8) + 0.1 * np.sin(z / 7 + 1)


def scan_of(spacing: tuple[float, float, float] = (1.0, 1.0, 1.5), scale: float = 1.0) -> Scan:
    """The world on a grid, with an ellipsoid as the lesion."""
    shape = [round(length / step) for length, step in zip((48, 60, 42), spacing, strict=True)]
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(shape[::-1], spacing[::-1], strict=True)), indexing="ij"
    )
    inside = sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), CENTRE_MM, RADII_MM, strict=True)) < 1
    found = []
    for values in (world(x, y, z) * scale, inside.astype(np.uint8)):
        image = sitk.GetImageFromArray(values.astype(np.float32) if values.dtype.kind == "f" else values)
        image.SetSpacing(spacing)
        found.append(image)
    return Scan(image=found[0], mask=found[1])


SCAN = scan_of()


@pytest.mark.parametrize(
    ("slices", "n_slices", "n_pictures"),
    [("largest", 1, 1), ("adjacent", 1, 1), ("planes", 1, 3), ("several", 4, 4), ("all", 7, 7)],
)
@pytest.mark.parametrize("focus", ["lesion", "whole"])
def test_every_pixel_shows_the_world_where_its_grid_says(
    slices: str, n_slices: int, n_pictures: int, focus: str
) -> None:
    """Brute force: a pixel's value is that of the formula at its place in millimetres."""
    view = SliceView(
        size=12, focus=focus, use_mask=True, slices=slices, n_slices=n_slices, margin=0.1, gap=0.1
    )
    seen, grids = pictures([SCAN], UNIT, view), picture_grids([SCAN], view)
    assert seen.shape == (n_pictures, 3, 12, 12)
    assert len(grids) == view.n_positions == n_pictures
    for picture, place in zip(seen, grids, strict=True):
        for channel, grid in zip(picture, place if len(place) == 3 else place * 3, strict=True):
            at = [grid.TransformIndexToPhysicalPoint(index) for index in np.ndindex(*grid.GetSize())]
            values = channel.reshape(tuple(reversed(grid.GetSize()))).transpose(2, 1, 0).ravel()
            points = np.array(at)
            within = (points >= 0.5).all(axis=1) & (points < np.array([46.5, 58.5, 39.5])).all(axis=1)
            tolerance = 0.02 if focus == "lesion" else 0.05  # a coarse grid is smoothed
            np.testing.assert_allclose(values[within], world(*points[within].T), atol=tolerance)


@pytest.mark.parametrize("slices", ["several", "all"])
def test_slices_are_spread_evenly_over_the_lesion(slices: str) -> None:
    view = SliceView(size=8, focus="lesion", slices=slices, n_slices=6)
    heights = [grid.GetOrigin()[2] for (grid,) in picture_grids([SCAN], view)]
    steps = np.diff(heights)
    np.testing.assert_allclose(steps, steps[0])
    length = 11 * 1.5  # slices of 1.5 mm with the ellipsoid of 18 mm in them
    assert steps[0] == pytest.approx(length / 6)
    assert np.mean(heights) == pytest.approx(21.0, abs=0.8)


def test_without_masks_slices_are_spread_over_the_volume() -> None:
    bare = Scan(image=SCAN.image, mask=None)
    view = SliceView(size=8, slices="several", n_slices=4)
    heights = [grid.GetOrigin()[2] for (grid,) in picture_grids([bare], view)]
    np.testing.assert_allclose(heights, -0.75 + 42 * (np.arange(4) + 0.5) / 4)


def test_neighbours_are_a_slice_away_or_a_share_of_the_lesion() -> None:
    def step(gap: float) -> float:
        view = SliceView(size=8, focus="lesion", slices="adjacent", gap=gap)
        ((below, middle, above),) = picture_grids([SCAN], view)
        heights = [grid.GetOrigin()[2] for grid in (below, middle, above)]
        assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1])
        return heights[1] - heights[0]

    assert step(0.0) == pytest.approx(1.5)
    assert step(0.05) == pytest.approx(1.5)
    assert step(0.25) == pytest.approx(0.25 * 11 * 1.5)


def test_a_neighbour_outside_of_the_scan_shows_the_slice_itself() -> None:
    thin = Scan(image=SCAN.image[:, :, 13:14], mask=SCAN.mask[:, :, 13:14])
    seen = pictures([thin], UNIT, SliceView(size=8, focus="lesion", slices="adjacent"))
    assert (seen[0, 0] == seen[0, 1]).all()
    assert (seen[0, 2] == seen[0, 1]).all()
    assert seen.std() > 0


def test_planes_lie_across_one_another_through_the_lesion() -> None:
    grids = [place[0] for place in picture_grids([SCAN], SliceView(size=9, focus="lesion", slices="planes"))]
    assert [grid.GetSize().index(1) for grid in grids] == [2, 1, 0]
    for grid in grids:
        middle = grid.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in grid.GetSize()])
        np.testing.assert_allclose(middle, CENTRE_MM, atol=0.8)


@pytest.mark.parametrize("slices", ["largest", "adjacent", "planes", "several"])
def test_the_orientation_of_the_file_does_not_matter(slices: str) -> None:
    view = SliceView(
        size=10, focus="lesion", slices=slices, n_slices=3, background="blank", mask_channel=True
    )
    expected = pictures([SCAN], UNIT, view)
    for code in ("RAS", "PIR", "SAL"):
        turned = Scan(image=sitk.DICOMOrient(SCAN.image, code), mask=sitk.DICOMOrient(SCAN.mask, code))
        np.testing.assert_allclose(pictures([turned], UNIT, view), expected, atol=1e-4)


def test_mask_channel_and_blank_background_follow_the_mask() -> None:
    view = SliceView(size=32, focus="lesion", margin=0.5, background="blank", mask_channel=True)
    (seen,) = pictures([SCAN], UNIT, view)
    assert seen.shape == (4, 32, 32)
    mask = seen[3]
    assert set(np.unique(mask.round(3))) >= {0.0, 1.0}
    assert (seen[:3, mask == 0] == 0).all()
    kept = pictures([SCAN], UNIT, dataclasses.replace(view, background="keep"))[0]
    assert (seen[:3, mask == 1] == kept[:3, mask == 1]).all()
    assert (kept[:3, mask == 0] > 0).any()
    # the share of an ellipse of 16 mm by 12 in a square of 32 mm
    assert mask.mean() == pytest.approx(np.pi * 8 * 6 / 32**2, rel=0.1)


def test_a_box_is_stretched_so_that_the_lesion_fills_both_sides() -> None:
    square, box = (
        pictures(
            [SCAN], UNIT, SliceView(size=64, focus="lesion", margin=0.5, shape=shape, mask_channel=True)
        )[0, 3]
        for shape in ("square", "box")
    )

    def sides(mask: np.ndarray) -> list[int]:
        return [int(np.ptp(np.flatnonzero((mask > 0.5).any(axis=axis)))) + 1 for axis in (0, 1)]

    wide, high = sides(square)
    assert wide / high == pytest.approx(8 / 6, rel=0.15)
    np.testing.assert_allclose(sides(box), 32, atol=3)


def test_sequences_are_channels_or_pictures_of_their_own() -> None:
    scans = [scan_of(), scan_of((1.5, 1.0, 2.0), scale=0.5)]
    together = SliceView(size=16, focus="lesion", slices="planes")
    seen = pictures(scans, UNIT * 2, together)
    assert seen.shape == (3, 3, 16, 16)
    np.testing.assert_allclose(seen[:, 0], 2 * seen[:, 1], atol=0.03)
    assert (seen[:, 2] == seen[:, 0]).all()
    apart = pictures(scans, UNIT * 2, dataclasses.replace(together, sequences="late"))
    assert apart.shape == (6, 3, 16, 16)
    np.testing.assert_array_equal(apart[:3, 0], seen[:, 0])
    np.testing.assert_array_equal(apart[3:, 0], seen[:, 1])
    assert (apart[:, 0] == apart[:, 1]).all()


def test_late_sequences_share_the_lesion_that_was_drawn_on_one_of_them() -> None:
    scans = [scan_of(), Scan(image=scan_of((1.5, 1.0, 2.0)).image, mask=None)]
    view = SliceView(size=16, focus="lesion", sequences="late", background="blank", mask_channel=True)
    first, second = pictures(scans, UNIT * 2, view)
    np.testing.assert_array_equal(first[3], second[3])
    assert (second[:3, second[3] == 0] == 0).all()


@pytest.mark.parametrize(
    ("slices", "sequences", "n", "n_pictures", "grey"),
    [
        ("largest", "channels", 1, 1, 3),
        ("largest", "channels", 2, 1, 3),
        ("largest", "channels", 5, 1, 5),
        ("adjacent", "channels", 2, 1, 6),
        ("adjacent", "late", 2, 2, 3),
        ("planes", "late", 4, 12, 3),
        ("several", "channels", 4, 3, 4),
    ],
)
@pytest.mark.parametrize("mask_channel", [False, True])
def test_spec_knows_the_shape_of_what_a_view_gives(
    slices: str, sequences: str, n: int, n_pictures: int, grey: int, mask_channel: bool
) -> None:
    names = [f"s{index}" for index in range(n)]
    view = SliceView(
        size=8, focus="lesion", slices=slices, n_slices=3, sequences=sequences, mask_channel=mask_channel
    )
    spec = InputSpec(intensity=dict.fromkeys(names, Intensity.UNIT), view=view, ndim=3)
    seen = pictures([SCAN] * n, UNIT * n, view)
    assert (spec.n_pictures, spec.grey_channels, spec.n_masks) == (n_pictures, grey, mask_channel)
    assert seen.shape == (n_pictures, spec.in_channels, 8, 8)
    assert spec.shape == (n_pictures * spec.in_channels, 8, 8)
    assert InputSpec.from_json(spec.to_json()) == spec


def test_crops_come_apart_as_the_pictures_that_were_made(tmp_path: Path) -> None:
    """Grey channels of all pictures first, then masks: what changes grey values while training leaves masks alone."""
    paths = {}
    for name, image in (("image", SCAN.image), ("mask", SCAN.mask)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        sitk.WriteImage(image, str(paths[name]))
    case = Case(case="a", patient="a", images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=1)
    view = SliceView(size=8, focus="lesion", slices="planes", mask_channel=True)
    spec = InputSpec(intensity={"image": Intensity.UNIT}, view=view, ndim=3)
    kept = crops([case], spec, ArtefactCache(tmp_path / "cache"))
    assert kept.shape == (1, 12, 8, 8)
    expected = np.rint(pictures([SCAN], UNIT, view) * 255)
    np.testing.assert_allclose(split_pictures(kept, spec)[0], expected, atol=1)
    np.testing.assert_array_equal(kept[0, spec.n_image_channels :], split_pictures(kept, spec)[0][:, 3])
    with pytest.raises(DataError, match=r"row 1: .*mask"):
        crop(dataclasses.replace(case, masks={}), spec)


FINGERPRINT = Fingerprint(
    n_cases=10,
    n_patients=10,
    classes=("a", "b"),
    class_counts=(5, 5),
    ndim=3,
    channels=("image",),
    is_colour=False,
    has_mask=True,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0, 2.5),
    shape=(100, 100, 30),
    lesion_mm=(20.0, 20.0, 20.0),
    lesion_voxels=400.0,
    intensity={"image": Intensity.HOUNSFIELD},
)


def test_all_slices_are_those_of_the_usual_lesion_within_limits() -> None:
    assert slices_of(FINGERPRINT) == 8
    assert slices_of(dataclasses.replace(FINGERPRINT, lesion_mm=(9.0, 9.0, 2.5))) == MIN_SLICES
    assert slices_of(dataclasses.replace(FINGERPRINT, lesion_mm=(9.0, 9.0, 900.0))) == MAX_SLICES
    without = dataclasses.replace(FINGERPRINT, has_mask=False, lesion_mm=None, shape=(100, 100, 11))
    assert slices_of(without) == 11
