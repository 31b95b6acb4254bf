"""Pictures as hospitals store them: whatever the depth, the channels and the size, seen or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.preprocessing import SliceView
from autoonco.errors import DataError
from autoonco.nets.inputs import InputSpec, crop, crops

VIEW = SliceView(size=32)
SPEC = InputSpec(intensity={"image": Intensity.BYTE}, view=VIEW, ndim=2)


def ramp(height: int, width: int, top: int) -> np.ndarray:
    return np.linspace(0, top, height * width).reshape(height, width)


def case_of(path: Path, **more: object) -> Case:
    return Case(case="a", patient="a", images={"image": path}, row=1, **more)


def save(array: np.ndarray, path: Path, mode: str | None = None) -> Case:
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return case_of(path)


def measured_spec(tmp_path: Path, cases: list[Case]) -> InputSpec:
    """Return the spec that a fit would use: units measured on the files."""
    manifest = tmp_path / "labels.csv"
    rows = [f"{case.images['image'].name},{index},{index % 2}" for index, case in enumerate(cases)]
    manifest.write_text("\n".join(["image,patient,label", *rows]), encoding="utf-8")
    data = Dataset.from_csv(manifest)
    return InputSpec.of(fingerprint(data, inspect(data)), VIEW)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_range(suffix: str, tmp_path: Path) -> None:
    """As the same picture in eight bits looks, to a step of the percentile stretch; not clipped to white."""
    cases = []
    for index in range(4):
        values = np.roll(ramp(64, 64, 40_000), 700 * index, axis=0).astype(np.uint16)
        cases.append(save(values, tmp_path / f"{index}.{suffix}"))
    spec = measured_spec(tmp_path, cases)
    assert spec.intensity["image"] is Intensity.ARBITRARY
    seen = crop(cases[0], spec)[0].astype(float)
    assert len(np.unique(seen)) > 100
    expected = crop(save((ramp(64, 64, 255)).astype(np.uint8), tmp_path / "eight.png"), SPEC)[0]
    assert np.abs(seen - expected).max() <= 8


def test_sixteen_bits_of_colour_look_as_eight(tmp_path: Path) -> None:
    """A third of a colour each, of the whole range: Pillow can't write such a file, but hospitals do."""
    parts = [np.roll(ramp(48, 48, 65_535), 16 * shift, axis=0) for shift in range(3)]
    wide = np.stack(parts, axis=-1).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(wide, isVector=True), str(tmp_path / "wide.png"))
    assert (tmp_path / "wide.png").read_bytes()[24:26] == b"\x10\x02"  # 16 bits, colour
    expected = crop(save((wide // 256).astype(np.uint8), tmp_path / "eight.png"), SPEC)
    seen = crop(case_of(tmp_path / "wide.png"), SPEC)
    assert np.abs(seen.astype(int) - expected).max() <= 1
    assert not (seen == seen[0]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_one_channel_fills_three(mode: str, tmp_path: Path) -> None:
    case = save(ramp(40, 40, 255).astype(np.uint8), tmp_path / "a.png", mode)
    seen = crop(case, SPEC)
    assert seen.shape == (3, 32, 32)
    assert (seen == seen[0]).all()
    assert seen.std() > 30


def test_alpha_shows_black_where_nothing_is_and_else_the_colours(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 255
    pixels[:16, :, :] = [255, 255, 255, 0]
    seen = crop(save(pixels, tmp_path / "a.png"), SPEC)
    assert (seen[:, :16] == 0).all()
    assert (seen[0, 16:] == 200).all()
    assert (seen[1:, 16:] == 0).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 5), (1, 1), (3, 40)])
def test_tiny_pictures_are_enlarged(shape: tuple[int, int], tmp_path: Path) -> None:
    values = (ramp(*shape, 200) + 40).astype(np.uint8)
    seen = crop(save(values, tmp_path / "a.png"), SPEC)
    assert seen.shape == (3, 32, 32)
    assert seen.max() > 0
    assert seen.mean() < 256 * min(shape) / max(shape) + 40  # padded to a square


def test_tiny_picture_with_its_lesion(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[3, 4] = 1
    save(mask, tmp_path / "m.png")
    save(ramp(8, 8, 255).astype(np.uint8), tmp_path / "a.png")
    case = case_of(tmp_path / "a.png", masks={"mask": tmp_path / "m.png"})
    view = SliceView(size=32, focus="lesion", margin=0.0, mask_channel=True)
    spec = InputSpec(intensity={"image": Intensity.BYTE}, view=view, ndim=2)
    seen = crop(case, spec)
    assert seen.shape == (4, 32, 32)
    assert 0 < (seen[3] > 127).mean() < 0.05


def test_twenty_megapixels_are_seen_whole(tmp_path: Path) -> None:
    """Brute force: every block of the reduced picture is the mean of its part of the large one."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 220, (4, 5), np.uint8)
    large = np.kron(coarse, np.ones((1000, 1000), np.uint8))
    Image.fromarray(np.stack([large, large // 2, 255 - large], axis=-1)).save(tmp_path / "a.jpg", quality=90)
    spec = InputSpec(intensity={"image": Intensity.BYTE}, view=SliceView(size=40), ndim=2)
    seen = crop(case_of(tmp_path / "a.jpg"), spec).astype(float)
    middles = seen[:, 4 + 4 : 4 + 32 : 8, 4::8]  # blocks of 8 pixels, below four rows of padding
    expected = np.stack([coarse, coarse // 2, 255 - coarse]).astype(float)
    np.testing.assert_allclose(middles, expected, atol=12)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\x89PNG\r\n\x1a\n garbage", "truncated, damaged or of another format")],
)
def test_what_is_no_picture_is_refused_with_its_row_and_a_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"row 1, image 'image': .*{reason}"):
        crop(case_of(path), SPEC)


def test_a_bomb_is_refused_before_its_pixels_are_made(tmp_path: Path) -> None:
    """A few bytes that claim a picture of four gigapixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="row 1"):
        crop(case_of(tmp_path / "a.png"), SPEC)


def test_all_kinds_together_make_one_batch(tmp_path: Path) -> None:
    grey = save(ramp(50, 60, 255).astype(np.uint8), tmp_path / "g.png")
    colour = save(np.random.default_rng(0).integers(0, 255, (9, 30, 3), np.uint8), tmp_path / "c.png")
    alpha = save(np.random.default_rng(1).integers(0, 255, (30, 9, 4), np.uint8), tmp_path / "a.png")
    assert crops([grey, colour, alpha], SPEC, None).shape == (3, 3, 32, 32)


def test_many_crops_lie_in_a_mapped_file_that_goes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoonco.data.cache import ArtefactCache
    from autoonco.nets import inputs

    cases = [save(ramp(40, 40, 200 + n).astype(np.uint8), tmp_path / f"{n}.png") for n in range(4)]
    plain = crops(cases, SPEC, ArtefactCache(tmp_path / "cache"))
    assert not isinstance(plain, np.memmap)
    monkeypatch.setattr(inputs, "MAPPED_FROM", 1)
    mapped = crops(cases, SPEC, ArtefactCache(tmp_path / "cache"))
    assert isinstance(mapped, np.memmap)
    assert (mapped == plain).all()
    left = [path.name for path in (tmp_path / "cache").iterdir() if path.is_file()]
    assert all(name.startswith(".") for name in left)  # the cache's own; the mapped file has no name


def test_a_cube_of_a_model_file_of_version_0_1_is_read_as_it_was() -> None:
    """There the mask was a channel or none, and nothing was said of windows or layers."""
    from autoonco.data.preprocessing import VolumeView

    view = {"size": 32, "focus": "lesion", "extent_mm": 40.0, "margin": 0.25}
    for with_mask, mask in ((True, "channel"), (False, "none")):
        plain = {"kind": "volume", "intensity": [["ct", "hounsfield"]], "ndim": 3}
        found = InputSpec.from_json(plain | {"view": view | {"with_mask": with_mask}})
        assert found.view == VolumeView(size=32, extent_mm=40.0, mask=mask)
        assert InputSpec.from_json(found.to_json()) == found
