"""An image and its mask come out on one grid, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.case import Case
from autoonco.data.readers import read_scan
from autoonco.errors import DataError, GeometryError, ImageReadError


def write(path: Path, shape: tuple[int, ...], *, spacing: float = 1.0, origin: float = 0.0) -> Path:
    """A box of ones in the middle half of a grid."""
    values = np.zeros(shape, dtype=np.uint8)
    values[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = 1
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([origin] * 3)
    sitk.WriteImage(image, str(path))
    return path


def case(images: dict[str, Path], masks: dict[str, Path]) -> Case:
    return Case(case="c", patient="p", images=images, masks=masks, row=12)


def test_noise_of_headers_is_healed(tmp_path: Path) -> None:
    image = write(tmp_path / "i.nii.gz", (20, 20, 20))
    mask = write(tmp_path / "m.nii.gz", (20, 20, 20), spacing=1.0004, origin=1e-3)
    scan = read_scan(case({"image": image}, {"mask": mask}), "image")
    assert scan.mask is not None
    assert scan.mask.GetSpacing() == scan.image.GetSpacing()
    assert scan.mask.GetOrigin() == scan.image.GetOrigin()
    assert sitk.GetArrayFromImage(scan.mask).sum() == 1000


@pytest.mark.parametrize(
    ("shape", "spacing", "origin", "words"),
    [
        ((20, 20, 19), 1.0, 0.0, r"19×20×20.*20×20×20"),
        ((20, 20, 20), 1.0, 5.0, r"origin \(5, 5, 5\)"),
        ((20, 20, 20), 1.5, 0.0, r"spacing \(1.5"),
    ],
)
def test_another_grid_is_told_with_the_row(
    tmp_path: Path, shape: tuple[int, ...], spacing: float, origin: float, words: str
) -> None:
    image = write(tmp_path / "i.nii.gz", (20, 20, 20))
    mask = write(tmp_path / "m.nii.gz", shape, spacing=spacing, origin=origin)
    with pytest.raises(GeometryError, match=rf"^row 12, mask of 'image'.*{words}") as caught:
        read_scan(case({"image": image}, {"mask": mask}), "image")
    assert str(tmp_path) not in str(caught.value)


def test_a_shared_mask_follows_each_channel(tmp_path: Path) -> None:
    fine = write(tmp_path / "fine.nii.gz", (40, 40, 40), spacing=0.5)
    coarse = write(tmp_path / "coarse.nii.gz", (20, 20, 20))
    scan = read_scan(case({"a": fine, "b": coarse}, {"mask": fine}), "b")
    assert scan.mask is not None
    assert scan.mask.GetSize() == (20, 20, 20)
    volume_mm3 = sitk.GetArrayFromImage(scan.mask).sum()
    assert volume_mm3 == pytest.approx(20**3 * 0.5**3, rel=0.2)


def test_a_shared_mask_elsewhere_is_refused(tmp_path: Path) -> None:
    here = write(tmp_path / "here.nii.gz", (20, 20, 20))
    far = write(tmp_path / "far.nii.gz", (20, 20, 20), origin=500.0)
    with pytest.raises(GeometryError, match="don't overlap"):
        read_scan(case({"a": here, "b": far}, {"mask": here}), "b")


def test_pictures_of_unequal_size_are_never_resampled(tmp_path: Path) -> None:
    for name, side in (("a", 10), ("b", 12)):
        Image.fromarray(np.full((side, side), 255, np.uint8)).save(tmp_path / f"{name}.png")
    images = {"a": tmp_path / "a.png", "b": tmp_path / "b.png"}
    with pytest.raises(GeometryError, match=r"^row 12.*10×10.*12×12"):
        read_scan(case(images, {"mask": tmp_path / "a.png"}), "b")


def test_a_picture_as_mask_of_a_volume_is_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "i.nii.gz", (8, 8, 8))
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(GeometryError, match="2D, expected 3D"):
        read_scan(case({"image": image}, {"mask": tmp_path / "m.png"}), "image")


def test_what_a_reader_says_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"^row 12, image 'ct': "):
        read_scan(case({"ct": tmp_path / "none.nii.gz"}, {}), "ct")
    with pytest.raises(DataError, match=r"^row 12: no image for channel 'cd'; the case has ct"):
        read_scan(case({"ct": tmp_path / "none.nii.gz"}, {}), "cd")


@pytest.mark.shared
def test_each_modality_of_a_patient_has_its_own_grid(shared_data: Path) -> None:
    folder = shared_data / "sarcoma3d"
    names = {"ct": "CT", "pet": "PET"}
    patient = case(
        {key: folder / "images" / f"STS_001_{name}.nii.gz" for key, name in names.items()},
        {key: folder / "masks" / f"STS_001_{name}.nii.gz" for key, name in names.items()},
    )
    volumes = []
    for channel in names:
        scan = read_scan(patient, channel)
        assert scan.mask is not None
        assert scan.mask.GetSize() == scan.image.GetSize()
        volumes.append(sitk.GetArrayFromImage(scan.mask).sum() * np.prod(scan.image.GetSpacing()))
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)
