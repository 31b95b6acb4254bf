"""Perturbed masks stay near the mask, repeat, and know nothing of labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from autoonco.features.perturbation import Perturbing, perturb

SPACINGS = {2: (0.5, 0.5), 3: (3.0, 0.7, 0.7)}


def ellipsoid(ndim: int) -> np.ndarray:
    shape = (12, 60, 60)[-ndim:]
    radii = (4, 10, 18)[-ndim:]
    grid = np.indices(shape).astype(float)
    centre = np.array(shape) / 2
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)) <= 1


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("kind", Perturbing)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_masks_change_but_stay_near(kind, ndim, seed):
    mask = ellipsoid(ndim)
    found = perturb(mask, SPACINGS[ndim], kind, seed)
    assert 0.7 < dice(mask, found) < 1
    assert 0.7 < found.sum() / mask.sum() < 1.4
    np.testing.assert_array_equal(found, perturb(mask, SPACINGS[ndim], kind, seed))
    assert (found != perturb(mask, SPACINGS[ndim], kind, seed + 1)).any()


def test_translation_moves_the_centre_and_keeps_the_size():
    mask = ellipsoid(2)
    found = perturb(mask, (0.5, 0.5), Perturbing.TRANSLATION, 0)
    moved = np.subtract(ndimage.center_of_mass(found), ndimage.center_of_mass(mask)) * 0.5
    assert 0.3 < np.linalg.norm(moved) < 1.5
    assert found.sum() == pytest.approx(mask.sum(), rel=0.05)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5)])
def test_rotation_keeps_the_centre_and_turns_the_long_axis(spacing):
    y, x = np.indices((80, 80)) - 40.0
    mask = (y * spacing[0] / 6) ** 2 + (x * spacing[1] / 14) ** 2 <= 1
    found = perturb(mask, spacing, Perturbing.ROTATION, 1)
    centres = [np.array(ndimage.center_of_mass(item)) for item in (mask, found)]
    np.testing.assert_allclose(centres[0], centres[1], atol=0.3)
    long = np.linalg.eigh(np.cov((np.argwhere(found) * spacing).T))[1][:, -1]
    assert 4 < np.rad2deg(np.arctan2(abs(long[0]), abs(long[1]))) < 16


@pytest.mark.parametrize("kind", Perturbing)
@pytest.mark.parametrize("shape", [(7, 7), (1, 5, 5), (1, 1, 1)])
def test_a_single_voxel_leaves_something(kind, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(side // 2 for side in shape)] = True
    for seed in range(5):
        found = perturb(mask, (1.0,) * len(shape), kind, seed)
        assert found.any()
        assert found.shape == shape
