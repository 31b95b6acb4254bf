"""What the radiomics benchmarks count and change: masks, differences, the mix of pipelines."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.case import Case
from autoonco.tabular.learners import LEARNERS
from autoonco.tabular.pipeline import needs_perturbed
from benchmarks.radiomics_cases import PHANTOMS, largest_difference, ours, pyradiomics, timed_case
from benchmarks.radiomics_honesty import EIGHT, MASKS, changed, shape_numbers
from benchmarks.radiomics_pipelines import mixed_configs


@pytest.fixture
def disc():
    y, x = np.indices((80, 80)) - 39.5
    return x**2 + 2 * y**2 < 25**2


def test_changed_masks_are_what_they_are_called(disc):
    made = {name: change(disc) for name, change in MASKS.items() if change is not None}
    assert made["shifted"].sum() == disc.sum()
    centres = [np.argwhere(mask).mean(axis=0) for mask in (made["shifted"], disc)]
    assert (centres[0] - centres[1] > 1).all()
    assert not (made["eroded"] & ~disc).any()
    assert not (disc & ~made["dilated"]).any()
    assert made["eroded"].sum() < disc.sum() < made["dilated"].sum()
    rows, columns = np.where(disc)
    assert made["box only"].sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    tiny = np.zeros((9, 9), dtype=bool)
    tiny[8, 8] = True
    assert all(change(tiny).any() for change in MASKS.values() if change is not None)


def test_cases_get_the_changed_masks_and_nothing_else(disc, tmp_path):
    image, mask = tmp_path / "i.png", tmp_path / "m.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.full(disc.shape, 7, dtype=np.uint8)), str(image))
    sitk.WriteImage(sitk.GetImageFromArray((disc * 255).astype(np.uint8)), str(mask))
    case = Case(case="a", patient="a", images={"image": image}, masks={"mask": mask}, row=3)
    (other,) = changed([case], MASKS["eroded"], tmp_path / "eroded")
    assert other.images == case.images
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(other.masks["mask"]))) != 0
    assert np.array_equal(written, MASKS["eroded"](disc))
    numbers = dict(zip(EIGHT, shape_numbers([case])[0], strict=True))
    assert numbers["original_shape2D_PixelSurface"] == pytest.approx(math.log(disc.sum()))
    assert 0.9 < numbers["contour_Solidity"] <= 1
    assert numbers["contour_AspectYX"] < 0  # wider than tall


def test_difference_is_relative_and_knows_gaps():
    one = {"a": 1.0, "b": math.nan, "c": -2.0, "d": 1e-12, "only": 5.0}
    other = {"a": 1.0 + 1e-6, "b": math.nan, "c": -2.0, "d": 0.0, "more": 1.0}
    n, difference = largest_difference(one, other)
    assert n == 4
    assert difference == pytest.approx(1e-6, rel=1e-3)
    assert math.isnan(largest_difference({"a": math.nan}, {"a": 1.0})[1])


def test_both_extract_the_same_features(tmp_path):
    pytest.importorskip("radiomics")
    item = timed_case(next(iter(PHANTOMS)), tmp_path, tmp_path)
    n, difference = largest_difference(
        ours(item, "original", tmp_path / "cache"), pyradiomics(item, "original")
    )
    assert n == 107
    assert difference < 1e-6


@pytest.mark.slow
def test_the_mix_has_every_learner_alike(problem):
    from dataclasses import replace

    from autoonco.data.fingerprint import Intensity

    facts = replace(
        problem.fingerprint, channels=("image",), has_mask=True, intensity={"image": Intensity.BYTE}
    )
    found = mixed_configs(replace(problem, fingerprint=facts), each=2, seed=0)
    assert [config["learner"] for config in found] == [name for name in LEARNERS for _ in range(2)]
    assert found == mixed_configs(replace(problem, fingerprint=facts), each=2, seed=0)
    assert {config["log_filter"] for config in found} == {"none"}
    assert not any(map(needs_perturbed, found))


@pytest.mark.slow
@pytest.mark.shared
def test_filters_of_a_flipped_scan_are_those_of_the_scan_turned_to_the_canonical_frame(shared_data, tmp_path):
    """brain1 is stored with a flipped axis, and a wavelet is not symmetric: in the same frame all 1130 agree."""
    pytest.importorskip("radiomics")
    flipped = timed_case("brain1", shared_data, tmp_path)
    turned = {}
    for kind, path in (("image", flipped.case.images["image"]), ("mask", flipped.case.masks["mask"])):
        scan = sitk.ReadImage(str(path))
        assert scan.GetDirection() != tuple(np.eye(3).ravel())
        turned[kind] = tmp_path / f"{kind}.nrrd"
        sitk.WriteImage(sitk.DICOMOrient(scan, "LPS"), turned[kind])
    case = replace(flipped.case, images={"image": turned["image"]}, masks={"mask": turned["mask"]})
    expected = pyradiomics(replace(flipped, case=case), "filtered")
    n, difference = largest_difference(ours(flipped, "filtered", tmp_path / "cache"), expected)
    assert n == 1130
    assert difference < 1e-6
