"""Decoding files: an independent reader agrees, and no damaged file is used in silence."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.readers import read_image, read_mask
from autoonco.errors import ImageReadError

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
ROTATION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def volume(seed: int = 0, shape: tuple[int, ...] = (6, 7, 9)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16))
    image.SetSpacing([0.7, 0.8, 2.5])
    image.SetOrigin([-100.0, 35.5, 12.25])
    image.SetDirection(ROTATION)
    return image


def pixels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("compressed", [False, True])
def test_volume_agrees_with_simpleitk(tmp_path: Path, suffix: str, compressed: bool) -> None:
    path = tmp_path / f"v{suffix}"
    sitk.WriteImage(volume(), str(path), compressed)
    got, expected = read_image(path), sitk.ReadImage(str(path))
    assert got.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(pixels(got), pixels(expected))
    np.testing.assert_allclose(got.GetSpacing(), expected.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(got.GetOrigin(), expected.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(got.GetDirection(), expected.GetDirection(), atol=1e-6)


def test_nifti_scaling_and_units_agree_with_simpleitk(tmp_path: Path) -> None:
    import nibabel

    image = nibabel.Nifti1Image(
        np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([0.001, 0.002, 0.003, 1])
    )
    image.header.set_slope_inter(0.5, -1000)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "v.nii.gz")
    got, expected = read_image(tmp_path / "v.nii.gz"), sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    np.testing.assert_allclose(pixels(got), pixels(expected))
    np.testing.assert_allclose(got.GetSpacing(), (1, 2, 3), rtol=1e-5)
    np.testing.assert_allclose(got.GetSpacing(), expected.GetSpacing(), rtol=1e-5)


def test_the_file_asked_for_is_read_with_a_namesake_beside_it(tmp_path: Path) -> None:
    sitk.WriteImage(volume(0), str(tmp_path / "c.nii"))
    sitk.WriteImage(volume(1), str(tmp_path / "c.nii.gz"))
    assert np.array_equal(pixels(read_image(tmp_path / "c.nii")), pixels(volume(0)))
    assert np.array_equal(pixels(read_image(tmp_path / "c.nii.gz")), pixels(volume(1)))


def data_file(path: Path) -> Path:
    return next((p for s in (".raw", ".zraw") if (p := path.with_suffix(s)).exists()), path)


@pytest.mark.parametrize("suffix", [*VOLUMES, ".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_raises_or_gives_all_its_pixels(
    tmp_path: Path, suffix: str, compressed: bool
) -> None:
    path = tmp_path / f"v{suffix}"
    if suffix in VOLUMES:
        sitk.WriteImage(volume(), str(path), compressed)
    else:
        grey = np.random.default_rng(0).integers(1, 255, (40, 50)).astype(np.uint8)
        Image.fromarray(grey).save(path)
    whole = pixels(read_image(path))
    target = data_file(path)
    stored = target.read_bytes()
    raised = 0
    for share in np.linspace(0, 0.999, 25):
        target.write_bytes(stored[: int(len(stored) * share)])
        try:
            got = pixels(read_image(path))
        except ImageReadError:
            raised += 1
        else:
            assert np.array_equal(got, whole), f"cut at {share:.0%}: other pixels without an error"
    assert raised >= 24


def test_a_flipped_byte_in_a_gzip_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    sitk.WriteImage(volume(), str(path))
    stored = bytearray(path.read_bytes())
    stored[-6] ^= 1  # inside the checksum
    path.write_bytes(stored)
    with pytest.raises(ImageReadError):
        read_image(path)


def test_an_absurd_claim_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    sitk.WriteImage(volume(), str(path))
    stored = bytearray(path.read_bytes())
    stored[42:48] = np.array([30000, 30000, 2000], "<i2").tobytes()
    path.write_bytes(stored)
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(path)
    packed = tmp_path / "p.nii.gz"
    packed.write_bytes(gzip.compress(stored))
    with pytest.raises(ImageReadError, match="claims"):
        read_image(packed)
    text = "ObjectType = Image\nNDims = 3\nDimSize = 30000 30000 2000\nElementType = MET_SHORT\n"
    (tmp_path / "v.mha").write_text(text + "ElementDataFile = LOCAL\n")
    with pytest.raises(ImageReadError, match="claims"):
        read_image(tmp_path / "v.mha")


def test_four_dimensions_are_refused_and_one_slice_stays_3d(tmp_path: Path) -> None:
    four = sitk.JoinSeries([volume(0), volume(1)])
    sitk.WriteImage(four, str(tmp_path / "four.nii.gz"))
    with pytest.raises(ImageReadError, match="4D"):
        read_image(tmp_path / "four.nii.gz")
    sitk.WriteImage(volume(shape=(1, 7, 9)), str(tmp_path / "one.nii.gz"))
    assert read_image(tmp_path / "one.nii.gz").GetSize() == (9, 7, 1)


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.nii.gz", "a"])
def test_missing_empty_and_foreign_files_are_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageReadError):
        read_image(tmp_path / name)
    for content in (b"", b"not an image at all" * 30):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageReadError) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (5, 8)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (5, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(BYTES), BYTES),
        (Image.fromarray(BYTES.astype(np.uint16) * 257), BYTES.astype(np.uint16) * 257),
        (Image.fromarray(BYTES > 99), (BYTES > 99) * 255),
        (Image.fromarray(np.repeat(BYTES[..., None], 3, axis=2)), BYTES),
        (Image.fromarray(np.dstack([BYTES, np.full_like(BYTES, 255)]), "LA"), BYTES),
        (Image.fromarray(COLOUR), COLOUR),
        (Image.fromarray(np.dstack([COLOUR, np.full_like(BYTES, 255)])), COLOUR),
        (Image.fromarray(np.dstack([COLOUR, np.zeros_like(BYTES)])), np.zeros_like(BYTES)),
        (Image.fromarray(COLOUR // 64 * 64).quantize(256), COLOUR // 64 * 64),
    ],
    ids=["L", "I16", "1", "grey RGB", "LA", "RGB", "RGBA", "transparent", "palette"],
)
@pytest.mark.filterwarnings("ignore:.*mode.*:DeprecationWarning")
def test_picture_modes(tmp_path: Path, picture: Image.Image, expected: np.ndarray) -> None:
    picture.save(tmp_path / "p.png")
    got = read_image(tmp_path / "p.png")
    assert np.array_equal(pixels(got), expected)
    is_colour = expected.ndim == 3
    assert got.GetPixelID() == (sitk.sitkVectorUInt8 if is_colour else sitk.sitkFloat32)
    assert got.GetSpacing() == (1.0, 1.0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_and_masks_are_turned_as_their_exif_says(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    stored = np.zeros((16, 24), np.uint8)  # whole JPEG blocks, so that it is stored as it is
    stored[:8, :8] = 255
    stored[8:, 16:] = 128
    turned = {  # TIFF 6.0, orientation: the edges that row 0 and column 0 of what is stored lie at
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: stored[::-1].T, 7: stored[::-1, ::-1].T, 8: stored[:, ::-1].T,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"p{suffix}", exif=exif)
    np.testing.assert_allclose(pixels(read_image(tmp_path / f"p{suffix}")), turned, atol=3)
    Image.fromarray((stored == 255).astype(np.uint8) * 255).save(tmp_path / f"m{suffix}", exif=exif)
    assert np.array_equal(pixels(read_mask(tmp_path / f"m{suffix}")) == 1, turned == 255)


def test_pages_of_a_tiff_are_not_dropped_in_silence(tmp_path: Path) -> None:
    page = Image.fromarray(BYTES)
    page.save(tmp_path / "p.tif", save_all=True, append_images=[page, page])
    with pytest.raises(ImageReadError, match="3 pages"):
        read_image(tmp_path / "p.tif")


def test_masks_of_every_kind_say_the_same(tmp_path: Path) -> None:
    truth = np.zeros((40, 60), dtype=bool)
    truth[8:24, 16:48] = True
    values = np.where(truth, 255, 0).astype(np.uint8)
    pictures = {
        "byte.png": Image.fromarray(values),
        "one.png": Image.fromarray((values // 255).astype(np.uint8)),
        "bit.png": Image.fromarray(truth),
        "colour.png": Image.fromarray(np.dstack([values, values * 0, values * 0])),
        "blurred.jpg": Image.fromarray(values),
        "palette.png": Image.fromarray(values).convert("P"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        mask = read_mask(tmp_path / name)
        assert mask.GetPixelID() == sitk.sitkUInt8
        assert np.array_equal(pixels(mask) == 1, truth), name
        assert pixels(mask).max() == 1


def test_mask_keeps_one_label(tmp_path: Path) -> None:
    labels = RNG.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    image = sitk.GetImageFromArray(labels)
    sitk.WriteImage(image, str(tmp_path / "m.nii.gz"))
    assert np.array_equal(pixels(read_mask(tmp_path / "m.nii.gz", label=2)) == 1, labels == 2)
    assert np.array_equal(pixels(read_mask(tmp_path / "m.nii.gz")) == 1, labels > 0)


def test_mask_of_nan_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((3, 3, 3), np.nan, np.float32)), str(tmp_path / "m.nrrd"))
    with pytest.raises(ImageReadError, match="NaN"):
        read_mask(tmp_path / "m.nrrd")


@pytest.mark.shared
def test_real_volumes_agree_with_simpleitk(shared_data: Path) -> None:
    paths = [
        *sorted((shared_data / "sarcoma3d" / "images").iterdir())[:12],
        *sorted((shared_data / "pyradiomics_cases").glob("b*_*.nrrd")),
    ]
    assert len(paths) > 12
    for path in paths:
        got, expected = read_image(path), sitk.ReadImage(str(path))
        assert np.array_equal(pixels(got), pixels(expected).astype(np.float32))
        np.testing.assert_allclose(got.GetOrigin(), expected.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(got.GetDirection(), expected.GetDirection(), atol=1e-5)
