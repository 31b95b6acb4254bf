"""Where a lesion lies and how it is turned: against lists of voxels, and unmoved by what mustn't move it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from autoonco.errors import AutoOncoError
from autoonco.features.contour import contour_features, contour_names
from autoonco.features.location import location_values, orientation_values
from autoonco.features.moments import moments

SPACINGS = {2: (0.6, 1.7), 3: (3.0, 0.6, 1.7)}


def blob(seed: int, ndim: int):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=rng.integers(5, 15, ndim)), 1.0)
    return noise >= np.quantile(noise, 0.8)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_moments_are_those_of_the_list_of_voxels(seed, ndim):
    mask, spacing = blob(seed, ndim), SPACINGS[ndim]
    where = np.argwhere(mask)
    found = moments(mask, spacing)
    assert found.n_voxels == len(where)
    assert found.centroid == pytest.approx(where.mean(axis=0))
    assert found.covariance_mm2 == pytest.approx(np.cov((where * spacing).T, bias=True))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_locations_are_those_of_the_list_of_voxels(seed, ndim):
    mask, spacing = blob(seed, ndim), np.array(SPACINGS[ndim])
    where, size = np.argwhere(mask), np.array(mask.shape)
    found = location_values(mask, SPACINGS[ndim])
    centre = where.mean(axis=0) + 0.5
    gaps = np.minimum(where, size - 1 - where).min(axis=0)
    for axis, name in enumerate("ZYX"[-ndim:]):
        assert found[f"Centroid{name}"] == pytest.approx(centre[axis] / size[axis])
        assert found[f"Border{name}"] == pytest.approx(gaps[axis] / size[axis])
    assert found["NearestBorder"] == pytest.approx((gaps * spacing).min() / (size * spacing).min())
    off, diagonal = np.linalg.norm((centre - size / 2) * spacing), np.linalg.norm(size * spacing)
    assert found["OffCentre"] == pytest.approx(2 * off / diagonal)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_frame_makes_the_image_around_it_irrelevant(ndim):
    mask, spacing = blob(1, ndim), SPACINGS[ndim]
    padded = np.pad(mask, [(2, 5)] * ndim)
    frame = tuple(slice(2, 2 + side) for side in mask.shape)
    expected = location_values(mask, spacing)
    assert location_values(padded, spacing, frame=frame) == pytest.approx(expected)
    assert location_values(padded, spacing)["OffCentre"] != pytest.approx(expected["OffCentre"])


def test_a_lesion_in_the_middle_is_there():
    mask = np.zeros((7, 9, 11), dtype=bool)
    mask[2:5, 3:6, 4:7] = True
    found = location_values(mask, SPACINGS[3])
    assert [found[f"Centroid{axis}"] for axis in "ZYX"] == pytest.approx([0.5] * 3)
    assert found["OffCentre"] == pytest.approx(0)


@pytest.mark.parametrize("values", [location_values, orientation_values])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_unit_of_length_is_irrelevant(ndim, values):
    mask, spacing = blob(2, ndim), SPACINGS[ndim]
    scaled = tuple(1000 * side for side in spacing)
    assert values(mask, scaled) == pytest.approx(values(mask, spacing))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_tilts_and_the_contours_squared_cosines_are_of_one_unit_vector(seed, ndim):
    mask, spacing = blob(seed, ndim), SPACINGS[ndim]
    found = orientation_values(mask, spacing)
    contour = dict(zip(contour_names(ndim), contour_features(mask, spacing), strict=True))
    squares = [contour[f"contour_MajorAxis{axis}"] for axis in "ZYX"[-ndim:-1]]
    squares.append(1 - sum(squares))
    tilts = [found[name] for name in found if name.startswith("Tilt")]
    pairs = [(i, j) for i in range(ndim) for j in range(i + 1, ndim)]
    expected = [4 * squares[i] * squares[j] for i, j in pairs]
    assert [tilt**2 for tilt in tilts] == pytest.approx(expected, abs=1e-9)
    assert max(map(abs, tilts)) > 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_image_leans_to_the_other_side(seed):
    mask = blob(seed, 3)
    found = orientation_values(mask, SPACINGS[3])
    mirrored = orientation_values(mask[:, :, ::-1], SPACINGS[3])
    for name, value in found.items():
        sign = -1 if name.startswith("Tilt") and "X" in name else 1
        assert mirrored[name] == pytest.approx(sign * value, abs=1e-9), name


@pytest.mark.parametrize("degrees", [10.0, 45.0, 80.0, 120.0])
def test_the_tilt_of_a_bar_is_that_of_its_angle(degrees):
    spacing = (0.5, 1.0)
    y, x = (np.indices((401, 201)) - np.array([200, 100])[:, None, None]) * np.reshape(spacing, (2, 1, 1))
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    bar = (np.abs(x * cosine + y * sine) < 60) & (np.abs(y * cosine - x * sine) < 6)
    assert orientation_values(bar, spacing)["TiltYX"] == pytest.approx(2 * sine * cosine, abs=0.01)


def test_a_flat_lesion_stands_on_its_least_axis():
    found = orientation_values(np.ones((1, 4, 9), dtype=bool), (1.0, 1.0, 1.0))
    assert (found["LeastAxisZ"], found["LeastAxisY"]) == pytest.approx((1, 0))


@pytest.mark.parametrize("side", [1, 3])
def test_without_a_direction_there_is_none(side):
    for ndim in (2, 3):
        found = orientation_values(np.ones((side,) * ndim, dtype=bool), (1.0,) * ndim)
        assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("values", [location_values, orientation_values])
def test_an_empty_mask_is_named(values):
    with pytest.raises(AutoOncoError, match="at least one voxel"):
        values(np.zeros((3, 3), dtype=bool), (1.0, 1.0))
