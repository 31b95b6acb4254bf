"""Small pictures: the lesion is in view and outlined, a map lies over it, a volume is cut along the patient's axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from autoonco.data.readers import Scan
from autoonco.data.thumbnails import OUTLINE, OUTLINE_ON_MAP, SIDE, panels, picture, save_png


def volume(direction: tuple[float, ...] | None = None) -> Scan:
    values = np.random.default_rng(0).normal(size=(12, 40, 60)).astype(np.float32)
    inside = np.zeros(values.shape, np.uint8)
    inside[4:8, 10:20, 30:42] = 1
    image, mask = sitk.GetImageFromArray(values), sitk.GetImageFromArray(inside)
    image.SetSpacing((1.0, 1.0, 4.0))
    if direction:
        image.SetDirection(direction)
    mask.CopyInformation(image)
    return Scan(image=image, mask=mask)


def test_a_volume_shows_three_planes_through_its_lesion() -> None:
    found = panels(volume())
    assert [view.inside is not None and bool(view.inside.any()) for view in found] == [True] * 3
    # axial pixels are square, the others as tall as a slice is thick
    assert [view.aspect for view in found] == [1.0, 4.0, 4.0]
    areas = [int(view.inside.sum()) for view in found if view.inside is not None]
    assert areas == [10 * 12, 4 * 12, 4 * 10]


def test_planes_are_the_patients_however_the_file_is_turned() -> None:
    plain, flipped = volume(), volume((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    one, two = panels(plain)[0], panels(flipped)[0]
    np.testing.assert_array_equal(one.grey, two.grey[::-1, ::-1])


def test_outline_and_map_are_drawn(tmp_path: Path) -> None:
    heat = np.zeros((12, 40, 60), np.float32)
    heat[4:8, 10:20, 30:42] = 1.0
    views = panels(volume(), heat)
    plain, shown = picture(views), picture(views, with_heat=True)
    assert plain.shape[0] == SIDE
    assert shown.shape[0] == 2 * SIDE + 4
    assert (plain == OUTLINE).all(axis=-1).any()
    assert (shown[-SIDE:] == OUTLINE_ON_MAP).all(axis=-1).any()
    np.testing.assert_array_equal(shown[:SIDE], plain)  # the map is below, the case as it is above
    below = shown[-SIDE:].astype(int)
    assert np.abs(below - plain.astype(int)).sum(axis=-1).max() > 100
    save_png(shown, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as opened:
        assert opened.size == (shown.shape[1], shown.shape[0])
        assert not opened.info.get("Software")


def test_a_picture_without_a_mask_is_shown_whole_and_nothing_breaks_without_contrast() -> None:
    colour = np.zeros((20, 30, 3), np.uint8)
    colour[5:9, 5:9] = (200, 10, 10)
    (view,) = panels(Scan(image=sitk.GetImageFromArray(colour, isVector=True), mask=None))
    assert view.grey.shape == (20, 30, 3)
    assert picture([view]).shape == (SIDE, 240, 3)
    flat = sitk.GetImageFromArray(np.full((8, 8), np.nan, np.float32))
    assert picture(panels(Scan(image=flat, mask=None))).max() == 0
