"""What a cell of a manifest may name beside a file, and what becomes of it when the case is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.cache import content_hash
from autoonco.data.manifest import Dataset
from autoonco.data.pick import WHOLE, Pick, parse_cell
from autoonco.data.readers import read_image, read_scan
from autoonco.errors import DataError, GeometryError, ImageReadError
from tests.dicom_files import SECONDARY, base, noise, save, slices, with_pixels, write_series

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 4, (4, 5, 6)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(RNG.normal(size=(4, 5, 6))), str(tmp_path / "i.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(MASK), str(tmp_path / "m.nii.gz"))
    for name in ("a", "b"):
        Image.fromarray(RNG.integers(0, 255, (5, 7)).astype(np.uint8)).save(tmp_path / f"{name}.png")
        Image.fromarray((RNG.integers(0, 2, (5, 7)) * 255).astype(np.uint8)).save(
            tmp_path / f"{name}_mask.png"
        )
    return tmp_path


def dataset(folder: Path, columns: dict[str, list[Any]], **options: Any) -> Dataset:
    return Dataset.from_frame(pd.DataFrame(columns | {"label": ["x", "y"]}), root=folder, **options)


def mask_of(data: Dataset, position: int = 0, channel: str = "image") -> np.ndarray:
    scan = read_scan(data.cases[position], channel)
    assert scan.mask is not None
    return sitk.GetArrayFromImage(scan.mask)


def test_lesions_of_one_mask_are_rows_of_one_patient(folder: Path) -> None:
    table = {
        "image": ["i.nii.gz"] * 2,
        "mask": ["m.nii.gz"] * 2,
        "mask_label": [1, "2,3"],
        "patient": ["p", "p"],
    }
    data = dataset(folder, table)
    assert np.array_equal(mask_of(data, 0), MASK == 1)
    assert np.array_equal(mask_of(data, 1), MASK >= 2)
    assert content_hash(data.cases[0]) != content_hash(data.cases[1])
    assert set(data.groups) == {"p"}


def test_a_label_for_all_rows_and_one_for_a_row(folder: Path) -> None:
    table = {"image": ["i.nii.gz"] * 2, "mask": ["m.nii.gz"] * 2, "mask_label": ["", "3"]}
    for given in (2, "2", [2]):
        data = dataset(folder, table, mask_label=given)
        assert np.array_equal(mask_of(data, 0), MASK == 2)
        assert np.array_equal(mask_of(data, 1), MASK == 3)


def test_options_of_one_channel_come_before_those_of_all(folder: Path) -> None:
    table = {
        "image_a": ["i.nii.gz"] * 2, "image_b": ["i.nii.gz"] * 2, "mask_a": ["m.nii.gz"] * 2, "mask_b": ["m.nii.gz"]
        * 2, "mask_label": [1, 1], "mask_label_b": [2, 3],
    }  # fmt: skip
    data = dataset(folder, table)
    assert data.channels == ("a", "b")
    assert np.array_equal(mask_of(data, 1, "a"), MASK == 1)
    assert np.array_equal(mask_of(data, 1, "b"), MASK == 3)
    assert not data.others  # none of them is left over for the data check to suspect


def test_parts_of_a_mask_are_joined(folder: Path) -> None:
    data = dataset(folder, {"image": ["a.png", "b.png"], "mask": ["a_mask.png | b_mask.png", ""]})
    parts = [np.asarray(Image.open(folder / f"{name}_mask.png")) > 0 for name in ("a", "b")]
    assert np.array_equal(mask_of(data), parts[0] | parts[1])
    with pytest.raises(DataError, match="row 1: the file in column 'mask' does not exist"):
        dataset(folder, {"image": ["a.png", "b.png"], "mask": ["a_mask.png | c_mask.png", ""]})


def test_pictures_have_the_spacing_that_the_manifest_says(folder: Path) -> None:
    data = dataset(folder, {"image": ["a.png", "i.nii.gz"], "spacing_mm": ["0.5 0.2", "9"]})
    assert read_scan(data.cases[0], "image").image.GetSpacing() == (0.2, 0.5)
    assert read_scan(data.cases[1], "image").image.GetSpacing() == (1, 1, 1)  # the file says its own


def test_a_mask_without_a_place_lies_on_the_pixels_of_its_image(folder: Path) -> None:
    """Of pictures, arrays and DICOM pictures, of which the manifest or the image alone knows the spacing."""
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:7] = 1
    Image.fromarray(mask).save(folder / "m.png")
    Image.fromarray(RNG.integers(0, 255, (8, 9, 3)).astype(np.uint8)).save(folder / "colour.png")
    Image.fromarray(RNG.integers(0, 255, (8, 9)).astype(np.uint8)).save(folder / "grey.png")
    np.save(folder / "m.npy", np.stack([mask] * 4))
    np.save(folder / "v.npy", RNG.normal(size=(4, 8, 9)))
    us = base(SECONDARY, PixelSpacing=[0.3, 0.2])
    save(with_pixels(us, RNG.integers(0, 255, (8, 9)).astype(np.uint8)), folder / "us.dcm")
    for image, drawn, spacing, expected in (
        ("grey.png", "m.png", "0.5 0.2", (0.2, 0.5)),
        ("colour.png", "m.png", "0.5", (0.5, 0.5)),
        ("v.npy", "m.npy", "3 0.5 0.4", (0.4, 0.5, 3.0)),
        ("us.dcm", "m.png", "", (0.2, 0.3)),
    ):
        data = dataset(folder, {"image": [image] * 2, "mask": [drawn] * 2, "spacing_mm": [spacing] * 2})
        scan = read_scan(data.cases[0], "image")
        assert scan.mask is not None
        assert scan.image.GetSpacing() == scan.mask.GetSpacing() == pytest.approx(expected)
        assert np.array_equal(sitk.GetArrayFromImage(scan.mask).reshape(-1, 8, 9)[-1], mask)
    volume = sitk.GetImageFromArray(RNG.normal(size=(4, 8, 9)))
    volume.SetSpacing((0.5, 0.5, 3.0))
    sitk.WriteImage(volume, str(folder / "v.nii.gz"))
    data = dataset(folder, {"image": ["v.nii.gz"] * 2, "mask": ["m.npy"] * 2})
    with pytest.raises(
        GeometryError, match="voxels away"
    ):  # in which order an array has a NIfTI's axes nobody says
        read_scan(data.cases[0], "image")


def test_a_series_of_a_folder_is_chosen_row_by_row(folder: Path) -> None:
    for number in (3, 5):
        made = slices(noise(seed=number), SeriesNumber=number, SeriesInstanceUID=f"1.2.{number}")
        write_series(folder / "study" / f"{number}", made)
    data = dataset(folder, {"image": ["study", "study"], "series": ["3", "1.2.5"]})
    for case, number in zip(data.cases, (3, 5), strict=True):
        assert np.array_equal(sitk.GetArrayFromImage(read_scan(case, "image").image), noise(seed=number))
    alone = dataset(folder, {"image": ["study/3", "study/5"]})
    assert [content_hash(case) for case in data.cases] == [content_hash(case) for case in alone.cases]


def test_a_page_of_a_tiff_and_a_volume_of_four_dimensions(folder: Path) -> None:
    pages = [RNG.integers(0, 255, (5, 7)).astype(np.uint8) for _ in range(3)]
    first, *others = map(Image.fromarray, pages)
    first.save(folder / "t.tif", save_all=True, append_images=others)
    volumes = RNG.normal(size=(6, 5, 4, 3)).astype(np.float32)
    for end in (".nii", ".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), folder / f"v{end}")
    for position in range(3):
        path, pick = parse_cell(f"t.tif[{position}]", folder)
        assert np.array_equal(sitk.GetArrayFromImage(read_image(path, pick)), pages[position])
        for end in (".nii", ".nii.gz"):
            path, pick = parse_cell(f"v{end}[{position}]", folder)
            found = sitk.GetArrayFromImage(read_image(path, pick))
            assert np.array_equal(found, volumes[..., position].T)
    for cell, words in (
        ("t.tif", r"3 pages.*file\.tif\[0\]"),
        ("v.nii", r"file\.nii\.gz\[0\]"),
        ("v.nii[3]", "Number 3"),
    ):
        path, pick = parse_cell(cell, folder)
        with pytest.raises(ImageReadError, match=words):
            read_image(path, pick)


@pytest.mark.parametrize("between", ["", "masks\\"])
def test_many_masks_make_a_cell_longer_than_a_name_may_be(tmp_path: Path, between: str) -> None:
    names = [f"{between}lesion-{number}.png" for number in range(60)]
    path, pick = parse_cell(" | ".join(names), tmp_path, may_be_several=True)
    home = tmp_path / "masks" if between else tmp_path
    assert [path, *pick.also] == [home / f"lesion-{number}.png" for number in range(60)]


def test_a_file_that_is_called_so_comes_first(folder: Path) -> None:
    for name in ("scan[1]", "a::b", "x | y.png"):
        (folder / name).write_bytes(b"")
        assert parse_cell(name, folder, may_be_several=True) == (folder / name, WHOLE)
    assert parse_cell("scan[2]", folder) == (folder / "scan", Pick(index=2))
    assert parse_cell("x | z.png", folder) == (folder / "x | z.png", WHOLE)  # images are never joined


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"mask_label": ["", "one"]}, {}, "row 2: mask_label is 'one'"),
        ({"spacing_mm": ["", "-1"]}, {}, "row 2: spacing_mm is '-1'"),
        ({"spacing_mm": ["1 1 1 1", ""]}, {}, "row 1: spacing_mm"),
        ({"spacing_mm": ["", "1,5"]}, {}, "row 2: spacing_mm is '1,5', expected a point"),  # or one and five?
        ({}, {"mask_label": "tumour"}, "mask_label is 'tumour'"),
    ],
)
def test_options_that_mean_nothing_are_told(folder: Path, columns: dict, options: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        dataset(
            folder, {"image": ["a.png", "b.png"], "mask": ["a_mask.png", "b_mask.png"]} | columns, **options
        )


def test_suv_is_for_a_channel_that_is_there(folder: Path) -> None:
    table = {"image_pet": ["i.nii.gz"] * 2, "image_ct": ["i.nii.gz"] * 2}
    for name in ("pet", "image_pet"):
        picks = dataset(folder, table, suv=name).cases[0].image_picks
        assert picks == {"pet": Pick(suv=True)}
    with pytest.raises(DataError, match=r"Unknown channel 'mr'.*suv="):
        dataset(folder, table, suv="mr")


def test_every_file_of_a_mask_is_redacted(folder: Path) -> None:
    data = dataset(folder, {"image": ["a.png", "b.png"], "mask": ["a_mask.png | b_mask.png", ""]})
    assert data.redact(f"{folder / 'b_mask.png'} and b_mask.png") == "row 1 and row 1"
