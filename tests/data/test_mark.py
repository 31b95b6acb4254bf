"""Points and boxes: how they are told, where they lie in any scan, and which lesion of a mask they mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from autoonco.data.cache import content_hash
from autoonco.data.case import Case
from autoonco.data.grids import frame_of
from autoonco.data.manifest import Dataset
from autoonco.data.mark import Mark, box, marks_in, marks_of, point
from autoonco.data.readers import read_scan
from autoonco.data.stand_in import chosen, stand_in
from autoonco.errors import DataError


def scan_of(*, turn: np.ndarray | None = None, spacing=(0.7, 0.9, 3.0), size=(60, 50, 20)) -> sitk.Image:
    image = sitk.Image(list(size), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin((-13.0, 40.0, -200.0))
    if turn is not None:
        image.SetDirection(turn.ravel().tolist())
    return image


TURNS = [
    None,
    np.diag([-1.0, -1.0, 1.0]),
    np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    Rotation.from_euler("zyx", [25, -10, 40], degrees=True).as_matrix(),
]


def voxels_mm(mask: sitk.Image) -> np.ndarray:
    """Return the places of the voxels inside, one by one through SimpleITK."""
    index = np.argwhere(sitk.GetArrayFromImage(mask))[:, ::-1]
    return np.array([mask.TransformIndexToPhysicalPoint(each.tolist()) for each in index])


@pytest.mark.parametrize("turn", TURNS)
def test_a_marked_lesion_lies_where_it_was_pointed_at_in_any_scan(turn: np.ndarray | None) -> None:
    image = scan_of(turn=turn)
    place = np.array(image.TransformContinuousIndexToPhysicalPoint((31.3, 22.8, 9.4)))
    mark = dataclasses.replace(point(place), usual_mm=(14.0, 14.0, 14.0))
    found = voxels_mm(stand_in(mark, image))
    assert np.linalg.norm(found - place, axis=1).max() <= 7.0 + 3.0
    everything = sitk.GetArrayFromImage(image) == 0
    places = np.array(
        [image.TransformIndexToPhysicalPoint(each[::-1].tolist()) for each in np.argwhere(everything)]
    )
    assert len(found) == pytest.approx((np.linalg.norm(places - place, axis=1) <= 7.0).sum(), abs=1)
    half = np.array([4.0, 6.0, 8.0])
    low, high = place - half, place + half
    boxed = voxels_mm(stand_in(box((low, high)), image))
    assert (boxed >= low - 1e-6).all()
    assert (boxed <= high + 1e-6).all()
    np.testing.assert_allclose(boxed.mean(axis=0), place, atol=1.5)


@pytest.mark.parametrize("spacing", [(0.3, 0.3, 9.0), (5.0, 5.0, 5.0)])
def test_no_lesion_falls_between_voxels(spacing: tuple[float, float, float]) -> None:
    image = scan_of(spacing=spacing, size=(30, 30, 3))
    place = image.TransformContinuousIndexToPhysicalPoint((14.5, 14.5, 1.5))
    small = dataclasses.replace(point(place), usual_mm=(1.0, 1.0, 1.0))
    assert sitk.GetArrayViewFromImage(stand_in(small, image)).any()


def test_a_lesion_at_the_border_is_cut_off_not_lost() -> None:
    image = scan_of()
    corner = image.TransformIndexToPhysicalPoint((0, 0, 0))
    inside = sitk.GetArrayFromImage(
        stand_in(dataclasses.replace(point(corner), usual_mm=(20.0, 20.0, 20.0)), image)
    )
    whole = 4 / 3 * np.pi * 10**3 / (0.7 * 0.9 * 3.0)
    assert 0.08 * whole < inside.sum() < 0.2 * whole  # an eighth, and half a voxel more on each side


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (point((0, 0, 0)), "lies outside of the scan"),
        (point((0, 0)), "expected 3"),
    ],
)
def test_a_place_that_is_none_in_this_scan_is_refused(mark: Mark, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        stand_in(mark, scan_of())


@pytest.mark.parametrize(
    "wrong",
    [
        {"lesion": (1, 2, 3), "box_mm": (0, 0, 0, 1, 1, 1)},
        {"lesion": (1, 2, 3, 4)},
        {"lesion": (1, float("nan"), 3)},
        {"lesion": "here"},
        {"lesion": [(1, 2, 3), (1, 2, 3)]},
        {"lesion": (1, 2, 3), "axes": "XYZ"},
        {"box_mm": (0, 0, 0, 1, 0, 1)},
        {"box_mm": (0, 0, 0, 1, 1)},
    ],
)
def test_what_is_no_place_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DataError):
        marks_of(1, **wrong)


def test_one_place_or_one_for_each_case() -> None:
    assert marks_of(3) is None
    assert marks_of(2, box_mm=[(0, 0, 0, 1, 1, 1), (0, 0, 0, 2, 2, 2)])[1].high_mm == (2, 2, 2)
    assert (
        marks_of(2, box_mm=[((0, 0, 0), (1, 1, 1))] * 2)[0] == marks_of(1, box_mm=((0, 0, 0), (1, 1, 1)))[0]
    )
    assert marks_of(1, box_mm=((3, 4), (1, 2)))[0].low_mm == (1, 2)  # of a picture


def two_lesions(folder: Path) -> Case:
    image = scan_of(spacing=(1.0, 1.0, 1.0))
    drawn = np.zeros((20, 50, 60), np.uint8)
    drawn[5:9, 10:14, 10:14] = 1
    drawn[5:9, 30:40, 40:50] = 1
    mask = sitk.GetImageFromArray(drawn)
    mask.CopyInformation(image)
    sitk.WriteImage(image, str(folder / "i.nii.gz"))
    sitk.WriteImage(mask, str(folder / "m.nii.gz"))
    files = {"images": {"image": folder / "i.nii.gz"}, "masks": {"mask": folder / "m.nii.gz"}}
    return Case(case="a", patient="a", row=1, **files)


def test_a_point_chooses_among_the_lesions_of_a_mask(tmp_path: Path) -> None:
    case = two_lesions(tmp_path)
    both = read_scan(case, "image")
    assert both.mask is not None
    for first, n in ((True, 4 * 4 * 4), (False, 4 * 10 * 10)):
        place = both.image.TransformIndexToPhysicalPoint((11, 11, 4) if first else (45, 35, 12))
        scan = read_scan(dataclasses.replace(case, mark=point(place)), "image")
        assert scan.is_drawn
        assert sitk.GetArrayViewFromImage(scan.mask).sum() == n
        np.testing.assert_allclose(
            np.linalg.norm(frame_of(scan.mask, of_lesion=True).centre - place), 0, atol=12
        )
    empty = sitk.Image(both.mask.GetSize(), sitk.sitkUInt8)
    assert not sitk.GetArrayViewFromImage(chosen(empty, point((0, 0, 0)))).any()


def test_a_case_is_known_by_its_mark_too(tmp_path: Path) -> None:
    case = two_lesions(tmp_path)
    keys = {
        content_hash(dataclasses.replace(case, mark=mark))
        for mark in (None, point((1, 2, 3)), point((1, 2, 4)), box((0, 0, 0, 1, 1, 1)))
    }
    assert len(keys) == 4


def test_a_manifest_of_cases_to_predict_may_point_at_lesions(tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text(
        "image,lesion_x,lesion_y,lesion_z,lesion_axes,box_x_min,box_y_min,box_z_min,box_x_max,box_y_max,box_z_max\n"
        "a.nii.gz,1,2,3,RAS,,,,,,\n"
        "b.nii.gz,,,,,0,0,0,4,5,6\n"
        "c.nii.gz,,,,,,,,,,\n"
    )
    marks = [case.mark for case in Dataset.from_csv(table, labelled=False).cases]
    assert marks == [point((-1, -2, 3)), box((0, 0, 0, 4, 5, 6)), None]
    table.write_text("image,lesion_x,lesion_y,lesion_z\na.nii.gz,1,2,\n")
    assert Dataset.from_csv(table, labelled=False).cases[0].mark == point((1, 2))
    table.write_text("image,lesion_x,lesion_y,lesion_z\na.nii.gz,1,two,3\nb.nii.gz,1,2,3\n")
    wrong, right = Dataset.from_csv(table, labelled=False).cases
    assert (wrong.mark, right.problem, right.mark) == (None, None, point((1, 2, 3)))
    with pytest.raises(DataError, match=r"^row 1, columns lesion_x"):
        read_scan(wrong, "image")


@pytest.mark.parametrize(
    ("cells", "missing"),
    [
        ({"lesion_x": "1", "lesion_y": "", "lesion_z": "3"}, "lesion_y"),
        (
            {"box_x_min": "0", "box_y_min": "0", "box_x_max": "4", "box_y_max": "5", "box_z_max": "6"},
            "box_z_min",
        ),
        ({"box_x_min": "0", "box_z_min": "0", "box_x_max": "4", "box_z_max": "6"}, "box_y_min"),
    ],
)
def test_what_is_left_of_a_place_with_a_gap_is_no_place_in_a_picture(
    cells: dict[str, str], missing: str
) -> None:
    with pytest.raises(DataError, match=f"row 1, columns .*{missing} is missing"):
        marks_in({name: [text] for name, text in cells.items()})


def test_a_place_in_a_picture_has_no_z() -> None:
    assert marks_in({"lesion_x": ["1"], "lesion_y": ["2"], "lesion_z": [""]}) == [point((1, 2))]
    corners = {"box_x_min": ["0"], "box_y_min": ["0"], "box_x_max": ["4"], "box_y_max": ["5"]}
    assert marks_in(corners) == [box((0, 0, 4, 5))]
