"""Arrays on disk are read without pickle, in their place, one of a stack at a time."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import content_hash, default_cache_dir
from autoonco.data.case import Case
from autoonco.data.files import read_image
from autoonco.data.pick import Pick
from autoonco.data.readers import read_scan
from autoonco.errors import DimensionError, ImageReadError

RNG = np.random.default_rng(0)


def read(path: Path, **pick: object) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(path, Pick(**pick)))


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "f4", "f8", "?", "u8"])
@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 7), (1, 5, 7), (1, 4, 5, 7, 1)])
def test_numbers_come_out_as_they_went_in(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = (
        RNG.integers(0, 2, shape).astype(dtype) if dtype == "?" else RNG.integers(0, 99, shape).astype(dtype)
    )
    expected = values.astype(np.float32).reshape(
        shape[-2:] if len(shape) == 2 else [n for n in shape if n > 1] or 1
    )
    for path, write in ((tmp_path / "a.npy", np.save), (tmp_path / "a.npz", np.savez_compressed)):
        write(path, values)
        found = read(path)
        assert found.ndim == (2 if len(shape) == 2 else 3)
        assert np.array_equal(np.squeeze(found), np.squeeze(expected))
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    assert np.array_equal(read(tmp_path / "f.npy"), found)


def test_bytes_of_three_channels_are_colour(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (6, 5, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", colours)
    image = read_image(tmp_path / "a.npy")
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert np.array_equal(sitk.GetArrayFromImage(image), colours)
    alpha = np.full((6, 5, 1), 255, np.uint8)
    alpha[0] = 0
    np.save(tmp_path / "b.npy", np.concatenate([colours, alpha], axis=-1))
    found = read(tmp_path / "b.npy")
    assert np.array_equal(found[1:], colours[1:])
    assert not found[0].any()


def test_colours_that_are_no_bytes_are_not_taken_for_a_volume(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.random((20, 30, 3)))
    with pytest.raises(DimensionError, match="20×30×3 of float64 is a picture in colour"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((2, 20, 30, 3)))
    with pytest.raises(DimensionError):
        read(tmp_path / "b.npy", index=1)


def test_spacing_is_in_the_order_of_the_axes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((4, 5, 7)), spacing_mm=[3.0, 0.5, 0.25])
    assert read_image(tmp_path / "a.npz").GetSpacing() == (0.25, 0.5, 3.0)
    assert read_image(tmp_path / "a.npz", Pick(spacing_mm=(2.0,))).GetSpacing() == (2.0, 2.0, 2.0)
    np.save(tmp_path / "a.npy", np.zeros((5, 7)))
    assert read_image(tmp_path / "a.npy").GetSpacing() == (1.0, 1.0)
    assert read_image(tmp_path / "a.npy", Pick(spacing_mm=(0.5, 0.2))).GetSpacing() == (0.2, 0.5)
    with pytest.raises(ImageReadError, match="expected 2 positive millimetres"):
        read_image(tmp_path / "a.npy", Pick(spacing_mm=(1.0, 2.0, 3.0)))
    np.savez(tmp_path / "b.npz", image=np.zeros((4, 5)), spacing_mm=[0.0, 1.0])
    with pytest.raises(ImageReadError, match="positive millimetres"):
        read_image(tmp_path / "b.npz")


def test_the_array_that_is_meant_is_found_or_asked_for(tmp_path: Path) -> None:
    one, two = RNG.normal(size=(2, 5, 7)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=one, other=two)
    assert np.array_equal(read(tmp_path / "a.npz"), one)
    assert np.array_equal(read(tmp_path / "a.npz", member="other"), two)
    with pytest.raises(ImageReadError, match="None of the 2 arrays of the file has this name") as caught:
        read(tmp_path / "a.npz", member="third")
    assert "other" not in str(caught.value)  # arrays may be called after patients
    np.savez(tmp_path / "b.npz", first=one, second=two)
    with pytest.raises(ImageReadError, match="2 arrays"):
        read(tmp_path / "b.npz")


def test_a_picture_of_a_stack_is_read_alone(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (9, 6, 5)).astype(np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=stack)
    np.save(tmp_path / "a.npy", stack)
    for position in (0, 4, 8):
        assert np.array_equal(read(tmp_path / "a.npz", member="images", index=position), stack[position])
        assert np.array_equal(read(tmp_path / "a.npy", index=position), stack[position])
    with pytest.raises(ImageReadError, match="Number 9 is asked for, but there are 9 pictures"):
        read(tmp_path / "a.npz", member="images", index=9)
    assert list((default_cache_dir() / "unpacked").glob("*.npy"))


def test_a_stack_that_changed_is_unpacked_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        stack = np.random.default_rng(seed).integers(0, 255, (3, 6, 5 + seed)).astype(np.uint8)
        np.savez_compressed(tmp_path / "a.npz", images=stack)
        assert np.array_equal(read(tmp_path / "a.npz", member="images", index=1), stack[1])


def test_pictures_of_a_stack_differ_in_hash(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=RNG.integers(0, 255, (3, 6, 5)).astype(np.uint8))

    def hashed(**pick: object) -> str:
        picks = {"image": Pick(member="images", **pick)}
        return content_hash(
            Case(case="c", patient="p", images={"image": tmp_path / "a.npz"}, image_picks=picks)
        )

    assert hashed(index=0) == hashed(index=0)
    assert len({hashed(index=0), hashed(index=1), hashed(index=0, spacing_mm=(2.0,))}) == 3


def test_an_image_and_its_mask_may_share_a_file(tmp_path: Path) -> None:
    image, mask = RNG.normal(size=(4, 5, 6)), RNG.integers(0, 3, (4, 5, 6))
    np.savez(tmp_path / "a.npz", image=image, mask=mask, spacing_mm=[2.0, 1.0, 1.0])
    scan = read_scan(
        Case(
            case="c", patient="p", images={"image": tmp_path / "a.npz"}, masks={"mask": tmp_path / "a.npz"},
            mask_picks={"mask": Pick(labels=(2,))},
        ),
        "image",
    )  # fmt: skip
    assert scan.mask is not None
    assert np.array_equal(sitk.GetArrayFromImage(scan.mask), mask == 2)
    assert scan.mask.GetSpacing() == (1.0, 1.0, 2.0)


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def bomb(path: Path) -> None:
    """An entry whose directory claims more than deflate can hold."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\0" * 5_000_000)
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02")
    data[place + 24 : place + 28] = (4_000_000_000).to_bytes(4, "little")
    path.write_bytes(data)


def cut(path: Path) -> None:
    write = np.save if path.suffix == ".npy" else np.savez
    write(path, np.zeros((50, 50)))
    path.write_bytes(path.read_bytes()[:-300])


def encoded(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("image.npy", b"x" * 100)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.npy", pickled, "can't be decoded as a NumPy file"),
        (
            "a.npz",
            lambda path: np.savez(path, np.array([{}], dtype=object)),
            "can't be decoded as a NumPy file",
        ),
        ("a.npz", bomb, "more than .* stored bytes can hold"),
        ("a.npz", encoded, "deflate"),
        ("a.npz", cut, "can't be decoded as a NumPy file"),
        ("a.npy", cut, "can't be decoded as a NumPy file"),
        ("a.npy", lambda path: np.save(path, np.zeros((3, 3), complex)), "expected real numbers"),
        ("a.npy", lambda path: np.save(path, np.array([["a", "b"]])), "expected real numbers"),
        ("a.npy", lambda path: path.write_bytes(b"no array at all, not by far"), "can't be decoded"),
    ],
    ids=["objects", "objects in zip", "bomb", "bzip2", "cut zip", "cut", "complex", "text", "noise"],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, name: str, make, words: str) -> None:
    make(tmp_path / name)
    with pytest.raises(ImageReadError, match=words):
        read_image(tmp_path / name)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (0, 4)])
def test_other_numbers_of_axes_are_told(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(
        DimensionError if 0 not in shape else ImageReadError, match=r"expected 2D or 3D|decoded"
    ):
        read_image(tmp_path / "a.npy")
