"""What textures must keep whatever the lesion: aggregations that agree, and odd lesions that don't break."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Aggregation, Definition
from autoonco.features.texture_features import texture_values

IN_PLANE = [how for how in Aggregation if how.is_in_plane]


def volume(seed: int, n_levels: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, n_levels + 1, (5, 8, 7))
    return np.where(rng.random(levels.shape) < 0.8, levels, 0)


def flat(values: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{name}_{feature}": value for name, part in values.items() for feature, value in part.items()}


def assert_same(one, other, rel=1e-12) -> None:
    one, other = flat(one), flat(other)
    assert set(one) == set(other)
    for name, value in one.items():
        assert value == pytest.approx(other[name], rel=rel, abs=1e-12, nan_ok=True), name


def test_names_are_those_of_pyradiomics_for_each_class():
    counts = {name: len(part) for name, part in texture_values(volume(0)).items()}
    assert counts == {"glcm": 24, "glrlm": 16, "glszm": 16, "gldm": 14, "ngtdm": 5}


@pytest.mark.parametrize("how", IN_PLANE)
def test_a_picture_is_a_volume_of_one_slice(how):
    picture = volume(1)[2]
    assert_same(texture_values(picture, aggregation=how), texture_values(picture[None], aggregation=how))
    assert_same(texture_values(picture), texture_values(picture[None]))


def test_slices_that_are_alike_give_the_values_of_one():
    picture = volume(2)[0]
    stack = np.stack([picture] * 4)
    one = texture_values(picture)
    assert_same(texture_values(stack, aggregation=Aggregation.SLICES), one)
    merged = texture_values(stack, aggregation=Aggregation.IN_PLANE)
    for name in ("Contrast", "MCC", "Imc1"):
        assert merged["glcm"][name] == pytest.approx(one["glcm"][name], rel=1e-12)
    assert merged["glszm"]["GrayLevelNonUniformity"] == pytest.approx(
        4 * one["glszm"]["GrayLevelNonUniformity"]
    )


def test_a_mean_over_slices_is_one():
    levels = volume(3)
    levels[1] = 0
    slices = [flat(texture_values(part)) for part in levels if part.any()]
    found = flat(texture_values(levels, aggregation=Aggregation.SLICES))
    for name, value in found.items():
        if not name.endswith(("Idn", "Idmn")):  # which the highest level of the whole lesion normalises
            assert value == pytest.approx(np.mean([part[name] for part in slices]), rel=1e-12), name


@pytest.mark.parametrize("definition", Definition)
@pytest.mark.parametrize("how", Aggregation)
def test_mirrored_and_transposed_in_plane_nothing_changes(definition, how):
    levels = volume(4)
    one = texture_values(levels, definition=definition, aggregation=how)
    for other in (levels[::-1], levels[:, ::-1], levels.transpose(0, 2, 1)):
        assert_same(one, texture_values(other, definition=definition, aggregation=how))


def test_merging_directions_changes_what_has_directions_only():
    one, other = texture_values(volume(5)), texture_values(volume(5), aggregation=Aggregation.VOLUME_MERGED)
    assert {name for name in one if one[name] != other[name]} == {"glcm", "glrlm"}


@pytest.mark.parametrize("definition", Definition)
@pytest.mark.parametrize("how", Aggregation)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1)])
def test_a_single_voxel_has_no_co_occurrence(shape, how, definition):
    found = texture_values(np.full(shape, 3), definition=definition, aggregation=how)
    assert np.isnan(list(found["glcm"].values())).all()
    assert np.isnan(list(found["glrlm"].values())).all()  # it has no extent along any direction
    assert found["glszm"]["ZonePercentage"] == 1
    assert found["gldm"]["HighGrayLevelEmphasis"] == 9
    is_counted = definition is Definition.PYRADIOMICS
    assert (found["ngtdm"]["Coarseness"] == 1e6) == is_counted
    assert np.isnan(found["ngtdm"]["Coarseness"]) != is_counted


@pytest.mark.parametrize("how", Aggregation)
def test_a_constant_lesion_has_the_limits(how):
    found = texture_values(np.full((3, 4, 5), 2), aggregation=how)
    glcm = found["glcm"]
    assert glcm["Correlation"] == glcm["MCC"] == glcm["JointEnergy"] == 1
    assert glcm["Contrast"] == glcm["JointEntropy"] == glcm["Imc1"] == glcm["Imc2"] == 0
    assert found["ngtdm"] == {"Coarseness": 1e6, "Contrast": 0, "Busyness": 0, "Complexity": 0, "Strength": 0}
    n_voxels = 60 if not how.is_in_plane else 20
    assert found["glszm"]["LargeAreaEmphasis"] == n_voxels**2
    assert found["glrlm"]["GrayLevelVariance"] == pytest.approx(0, abs=1e-12)


def test_isolated_voxels_count_for_pyradiomics_only():
    levels = np.zeros((1, 9, 9), dtype=int)
    levels[0, :3, :3] = np.arange(1, 10).reshape(3, 3)
    with_isolated = levels.copy()
    with_isolated[0, 6, 6] = with_isolated[0, 8, 8] = 4
    for definition in Definition:
        one, other = (
            texture_values(part, definition=definition)["ngtdm"] for part in (levels, with_isolated)
        )
        assert (one == other) == (definition is Definition.IBSI)


@pytest.mark.parametrize("seed", range(3))
def test_independent_grey_levels_are_not_correlated_and_copies_are(seed):
    rng = np.random.default_rng(seed)
    noise = texture_values(rng.integers(1, 5, (30, 30, 30)))["glcm"]
    assert abs(noise["Correlation"]) < 0.02
    assert 0 <= noise["MCC"] < 0.05
    stripes = texture_values(
        np.broadcast_to(np.arange(1, 9)[:, None], (8, 40)), aggregation=Aggregation.IN_PLANE
    )
    assert stripes["glcm"]["MCC"] > 0.8


def test_levels_with_gaps_are_weighed_by_their_number():
    levels = np.where(volume(6, 2) == 2, 9, volume(6, 2))
    contrast = texture_values(volume(6, 2))["glcm"]["Contrast"]
    assert texture_values(levels)["glcm"]["Contrast"] == pytest.approx(64 * contrast)


def test_256_levels_and_long_runs_fit():
    rng = np.random.default_rng(0)
    found = texture_values(rng.integers(1, 257, (12, 40, 40)))
    assert np.isfinite(list(flat(found).values())).all()
    line = texture_values(np.ones((1, 1, 5000), dtype=int))
    assert line["glrlm"]["LongRunEmphasis"] == 5000**2


@pytest.mark.slow
def test_ten_million_voxels_fit():
    side = 216
    levels = np.random.default_rng(0).integers(1, 33, (side, side, side), dtype=np.uint8)
    found = texture_values(levels)
    assert side**3 > 10**7
    assert found["ngtdm"]["Coarseness"] > 0
    assert found["glcm"]["JointAverage"] == pytest.approx(16.5, rel=1e-3)


@pytest.mark.parametrize("how", Aggregation)
def test_no_lesion_is_an_error(how):
    with pytest.raises(AutoOncoError, match="without any"):
        texture_values(np.zeros((3, 3, 3), dtype=int), aggregation=how)
