"""No block is computed twice, and the table is the same whoever computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.errors import DataError
from autoonco.features import blocks
from autoonco.features.blocks import column_names, extract_outlines, extract_table
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Normalise


def channel(name: str = "image", bins: int = 16, **more) -> ChannelSpec:
    return ChannelSpec(name=name, binning=Binning(kind="count", value=bins), **more)


def spec(*channels: ChannelSpec, ndim: int = 2, **more) -> ExtractionSpec:
    return ExtractionSpec(ndim=ndim, channels=channels or (channel(),), **more)


def write_case(folder: Path, row: int, channels=("image",), ndim: int = 2) -> Case:
    rng = np.random.default_rng(row)
    images, masks = {}, {}
    for name in channels:
        values = rng.normal(100, 20, (24,) * ndim).astype(np.float32)
        distance = np.sqrt(sum((axis - 11.5) ** 2 for axis in np.indices(values.shape)))
        images[name], masks[name] = folder / f"{row}{name}.nii.gz", folder / f"{row}{name}_mask.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(values), images[name])
        inside = distance < rng.uniform(4, 8)
        sitk.WriteImage(sitk.GetImageFromArray(inside.astype(np.uint8)), masks[name])
    return Case(case=f"c{row}", patient=f"p{row}", images=images, masks=masks, row=row)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    return [write_case(tmp_path, row) for row in range(1, 4)]


@pytest.fixture
def cache(tmp_path) -> ArtefactCache:
    blocks.forget()
    return ArtefactCache(tmp_path / "cache")


@pytest.fixture
def computed(monkeypatch) -> list[tuple]:
    """Every (lesion, block) that is computed from here on."""
    seen: list[tuple] = []
    real = blocks.compute_blocks

    def counting(roi, wanted):
        seen.extend((roi.image.tobytes(), block.key) for block in wanted)
        return real(roi, wanted)

    monkeypatch.setattr(blocks, "compute_blocks", counting)
    return seen


def test_no_block_is_computed_twice(cases, cache, computed):
    first, _ = extract_table(cases, spec(), artefacts=cache)
    assert len(computed) == 3 * 4
    blocks.forget()  # as in another process
    again, _ = extract_table(cases[::-1], spec(), artefacts=cache)
    np.testing.assert_array_equal(again[::-1], first)
    assert len(computed) == 3 * 4
    extract_table(cases, spec(log_sigmas_mm=(1.0,)), artefacts=cache)
    assert len(computed) == 3 * (4 + 2)
    extract_table(cases, spec(log_sigmas_mm=(1.0, 2.0), wavelet="coif1"), artefacts=cache)
    assert len(computed) == 3 * (4 + 2 + 2 + 2)
    extract_table(cases, spec(channel(bins=32)), artefacts=cache)
    assert len(computed) == 3 * (10 + 1)
    extract_table(cases, spec(channel(normalise=Normalise.ZSCORE)), artefacts=cache)
    assert len(computed) == 3 * (11 + 1)
    assert len(set(computed)) == len(computed)


def test_columns_of_a_smaller_spec_are_those_of_a_larger(cases, cache):
    small, small_names = extract_table(cases, spec(), artefacts=cache)
    large, large_names = extract_table(cases, spec(log_sigmas_mm=(1.0,), wavelet="coif1"), artefacts=cache)
    assert large_names[: len(small_names)] == small_names == column_names(spec())
    np.testing.assert_array_equal(large[:, : len(small_names)], small)
    assert len(large_names) == large.shape[1] == len(set(large_names))


def test_equal_files_share_blocks_whatever_their_names(cases, cache, computed, tmp_path):
    extract_table(cases[:1], spec(), artefacts=cache)
    for path in (*cases[0].images.values(), *cases[0].masks.values()):
        (tmp_path / f"copy_of_{path.name}").write_bytes(path.read_bytes())
    copy = Case(
        case="other",
        patient="other",
        images={"image": tmp_path / f"copy_of_{cases[0].images['image'].name}"},
        masks={"image": tmp_path / f"copy_of_{cases[0].masks['image'].name}"},
        row=9,
    )
    extract_table([copy], spec(), artefacts=cache)
    assert len(computed) == 4


def test_another_version_of_the_backend_computes_anew(cases, cache, computed, monkeypatch):
    extract_table(cases[:1], spec(), artefacts=cache)
    monkeypatch.setattr(blocks, "BACKEND", "another")
    blocks._columns.cache_clear()
    extract_table(cases[:1], spec(), artefacts=cache)
    blocks._columns.cache_clear()
    assert len(computed) == 4 + 4


def test_outlines_are_the_tables_contours(cases, cache, computed):
    table, names = extract_table(cases, spec(), artefacts=cache)
    found = extract_outlines(cases, "image", artefacts=cache)
    contours = [index for index, name in enumerate(names) if name.startswith("contour_")]
    np.testing.assert_array_equal(found, table[:, contours])
    assert len(computed) == 3 * 4
    extract_outlines(cases, "image", artefacts=ArtefactCache(cache.folder / "empty"))
    assert len(computed) == 3 * 4 + 3


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "ASL", "SAR", "LIP"])
def test_features_do_not_depend_on_how_a_file_stores_its_axes(tmp_path, cache, orientation):
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.normal(100, 20, (14, 24, 20)).astype(np.float32))
    distance = np.sqrt(
        sum((axis - n / 2) ** 2 for axis, n in zip(np.indices((14, 24, 20)), (14, 24, 20), strict=True))
    )
    mask = sitk.GetImageFromArray((distance + rng.normal(0, 0.7, distance.shape) < 5).astype(np.uint8))
    tables = []
    for number, turn in enumerate(("LPS", orientation)):
        paths = {}
        for name, one in (("image", image), ("mask", mask)):
            one.SetSpacing((0.8, 1.0, 2.5))
            one.SetOrigin((-30.0, 12.0, 200.0))
            paths[name] = tmp_path / f"{name}{number}.nrrd"
            sitk.WriteImage(sitk.DICOMOrient(one, turn), paths[name])
        case = Case(
            case="c", patient="p", images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=1
        )
        folder = ArtefactCache(tmp_path / str(number))
        wanted = spec(ndim=3, log_sigmas_mm=(2.0,), wavelet="coif1")
        tables.append(extract_table([case], wanted, artefacts=folder)[0])
    np.testing.assert_array_equal(*tables)


def test_a_damaged_artefact_is_made_again(cases, cache, computed):
    first, _ = extract_table(cases, spec(), artefacts=cache)
    victim = next(cache.folder.rglob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-5])
    blocks.forget()
    again, _ = extract_table(cases, spec(), artefacts=cache)
    np.testing.assert_array_equal(again, first)
    assert len(computed) == 3 * 4 + 1


def test_no_artefact_holds_a_name_or_path(cases, cache):
    extract_table(cases, spec(), artefacts=cache)
    for path in cache.folder.rglob("*"):
        if path.is_file():
            assert not any(word in path.read_bytes() for word in (b"nii", str(path.parent.parent).encode()))


def test_several_channels_are_prefixed_and_keep_their_masks(tmp_path, cache):
    case = write_case(tmp_path, 1, ("ct", "pet"), ndim=3)
    both = spec(channel("ct"), channel("pet"), ndim=3)
    table, names = extract_table([case], both, artefacts=cache)
    half = len(names) // 2
    assert all(name.startswith("ct:") for name in names[:half])
    assert all(name.startswith("pet:") for name in names[half:])
    alone = Case(case="x", patient="x", images={"pet": case.images["pet"]}, masks={"pet": case.masks["pet"]})
    only, only_names = extract_table([alone], spec(channel("pet"), ndim=3), artefacts=cache)
    assert [f"pet:{name}" for name in only_names] == list(names[half:])
    np.testing.assert_array_equal(only[0], table[0, half:])


def test_threads_give_what_one_thread_gives(tmp_path, cache, computed):
    cases = [write_case(tmp_path, row) for row in range(1, 6)]
    parallel, _ = extract_table(cases, spec(), artefacts=cache, n_threads=2)
    assert len(computed) == 5 * 4
    blocks.forget()
    alone, _ = extract_table(cases, spec(), artefacts=ArtefactCache(tmp_path / "other"))
    np.testing.assert_array_equal(parallel, alone)
    assert len(list(cache.folder.rglob("*.safetensors"))) == 5 * 4


@pytest.mark.parametrize(
    ("fault", "message", "n_threads"),
    [("no mask", "mask", 1), ("empty", "empty", 1), ("3D", "3D, expected 2D", 1), ("empty", "empty", 2)],
)
def test_unusable_cases_are_named_by_row(cases, cache, tmp_path, fault, message, n_threads):
    if fault == "3D":
        bad = write_case(tmp_path, 7, ndim=3)
    else:
        bad = write_case(tmp_path, 7)
        empty = tmp_path / "empty.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((24, 24), np.uint8)), empty)
        bad = Case(
            case="c7",
            patient="p7",
            images=bad.images,
            masks={} if fault == "no mask" else {"mask": empty},
            row=7,
        )
    with pytest.raises(DataError, match=rf"row 7.*{message}"):
        extract_table([*cases, bad], spec(), artefacts=cache, n_threads=n_threads)


def test_a_missing_file_is_named_by_row(cases, cache, tmp_path):
    bad = Case(case="c", patient="p", images={"image": tmp_path / "none.nii"}, masks=cases[0].masks, row=12)
    with pytest.raises(DataError, match="row 12"):
        extract_table([bad], spec(), artefacts=cache)


def test_nothing_is_stored_of_a_file_that_was_changed_since_it_was_looked_at(cases, tmp_path):
    """The hash is of the old file, the features would be the new one's, and found by every later run."""
    blocks.forget()
    resting = ArtefactCache(tmp_path / "cache", files_rest=True)
    resting.hash_of(cases[0])
    mask = cases[0].masks["image"]
    kept = mask.read_bytes()
    mask.write_bytes(cases[1].masks["image"].read_bytes())
    with pytest.raises(DataError, match="row 1: a file of this case was changed"):
        extract_table(cases[:1], spec(), artefacts=resting)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    mask.write_bytes(kept)
    extract_table(cases[:1], spec(), artefacts=ArtefactCache(tmp_path / "cache"))
