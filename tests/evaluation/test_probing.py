"""Changed scans: what a probe changes and what it leaves, on pictures, volumes and colours, and within its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.data.readers import read_scan
from autoonco.errors import DataError
from autoonco.evaluation.probing import PROBES, Painted, changed_case, probe


@pytest.fixture(scope="module", params=[2, 3])
def data(request, tmp_path_factory):
    return Dataset.from_csv(make_phantoms(tmp_path_factory.mktemp("phantoms"), n=12, ndim=request.param))


def painted(case):
    scan = read_scan(case, "image")
    return Painted(
        values=sitk.GetArrayFromImage(scan.image),
        mask=sitk.GetArrayFromImage(scan.mask) > 0,
        spacing_mm=tuple(scan.image.GetSpacing()[::-1]),
    )


def brightness(cases):
    """A model: how bright the mask is against the rest."""
    p = []
    for case in cases:
        scan = painted(case)
        ratio = scan.values[scan.mask].mean() / scan.values[~scan.mask].mean()
        p.append(1 / (1 + np.exp(-4 * (ratio - 1.3))))
    return np.c_[1 - np.array(p), p]


def test_an_unchanged_copy_is_the_same_case(data, tmp_path):
    before, after = data.cases[0], changed_case(data.cases[0], lambda scan: scan, tmp_path)
    for one, two in zip(
        (read_scan(before, "image").image, read_scan(before, "image").mask),
        (read_scan(after, "image").image, read_scan(after, "image").mask),
        strict=True,
    ):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(two))
        assert one.GetSpacing() == two.GetSpacing()
        assert one.GetPixelID() == two.GetPixelID()
    assert (after.case, after.patient, after.row) == (before.case, before.patient, before.row)


def test_colours_stay_colours(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    mask = np.zeros((20, 24), dtype=np.uint8)
    mask[6:12, 8:15] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    case = Case(
        case="a", patient="a", images={"image": tmp_path / "a.png"}, masks={"mask": tmp_path / "m.png"}
    )
    after = read_scan(changed_case(case, PROBES["lesion masked out"], tmp_path / "out"), "image").image
    before = read_scan(case, "image").image
    assert after.GetPixelID() == before.GetPixelID()
    changed = (sitk.GetArrayFromImage(after) != sitk.GetArrayFromImage(before)).any(axis=-1)
    assert changed[mask > 0].mean() > 0.9
    assert not changed[:3].any()


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_changes_what_its_name_says(data, name):
    before = painted(data.cases[0])
    after = PROBES[name](before)
    paints, moves = name in ("lesion masked out", "background only"), name != "lesion masked out"
    assert np.array_equal(after.values, before.values) != paints
    assert np.array_equal(after.mask, before.mask) != moves
    assert after.mask.any()
    assert after.values.dtype == before.values.dtype
    box = np.array([[axis.min(), axis.max()] for axis in np.nonzero(before.mask)])
    if name == "box in place of mask":
        assert after.mask.sum() == np.prod(box[:, 1] - box[:, 0] + 1)
    if name == "mask dilated":
        assert (after.mask & before.mask).sum() == before.mask.sum() < after.mask.sum()
    if name == "mask eroded":
        assert (after.mask & before.mask).sum() == after.mask.sum() < before.mask.sum()
    if name == "mask shifted":
        assert 0.8 < after.mask.sum() / before.mask.sum() < 1.2


def test_what_is_painted_over_looks_like_its_surroundings(data):
    contrasts = []
    for case in data.cases[:8]:
        before = painted(case)
        after = PROBES["lesion masked out"](before)
        outside = before.values[~before.mask]
        inside = after.values[before.mask]
        contrasts.append((inside.mean() - outside.mean()) / outside.std())
        assert inside.std() > 0.3 * outside.std()
    assert np.abs(np.mean(contrasts)) < 1.0
    untouched = PROBES["background only"](before)
    assert np.array_equal(untouched.values[~untouched.mask], before.values[~untouched.mask])


def test_a_model_that_reads_the_lesion_sees_little_without_it(data):
    found = {each.name: each for each in probe(data.cases, data.y, brightness, limit_s=np.inf)}
    for each in found.values():
        assert each.positions == tuple(range(len(data)))
        assert each.reason is None
    np.testing.assert_allclose(found["mask eroded"].proba.sum(axis=1), 1)
    contrast = found["lesion masked out"].proba[:, 1].std()
    assert contrast < 0.6 * brightness(data.cases)[:, 1].std()


def test_without_time_nothing_is_done_and_with_little_both_classes_are_there(data, monkeypatch):
    nothing = probe(data.cases, data.y, brightness, limit_s=0)
    assert all(not each.positions and "0 of 12" in each.reason for each in nothing)
    clock = iter(range(0, 10_000))
    monkeypatch.setattr("autoonco.evaluation.probing.time.monotonic", lambda: float(next(clock)))
    some = probe(data.cases, data.y, brightness, limit_s=5)[0]
    assert 4 <= len(some.positions) < 12
    assert len(set(data.y[list(some.positions)])) == 2
    assert "of 12 cases: the time was over" in some.reason


def test_of_very_many_cases_some_are_enough(data, monkeypatch):
    monkeypatch.setattr("autoonco.evaluation.probing.MOST", 8)
    found = probe(
        data.cases, data.y, brightness, limit_s=np.inf, probes={"mask shifted": PROBES["mask shifted"]}
    )
    assert len(found[0].positions) == 8
    assert sorted(data.y[list(found[0].positions)]) == [0] * 4 + [1] * 4
    assert found[0].reason == "8 of 12 cases: enough"


def test_cases_without_a_mask_say_so(data):
    bare = [replace(case, masks={}) for case in data.cases[:3]]
    found = probe(bare, data.y[:3], brightness, limit_s=np.inf)
    assert {each.reason for each in found} == {"the cases have no lesion masks"}


def test_a_case_that_cannot_be_predicted_takes_no_other_with_it(data):
    def picky(cases):
        if any(case.row == 2 for case in cases):
            raise DataError("row 2: the lesion is a single voxel")
        return brightness(cases)

    found = probe(data.cases[:6], data.y[:6], picky, limit_s=np.inf)
    for each in found:
        assert each.positions == (0, 2, 3, 4, 5)
        assert "DataError" in each.reason
        assert "row 2" not in each.reason
