"""Filling contours: against a second implementation, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from autoonco.data.contours import fill


def star(rng: np.random.Generator, centre: tuple[float, float], radius: float, n: int = 17) -> np.ndarray:
    """A closed contour that does not cross itself."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    lengths = radius * rng.uniform(0.4, 1.0, n)
    return np.asarray(centre) + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("seed", range(8))
def test_a_contour_holds_the_pixels_whose_centres_it_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    contour = star(rng, rng.uniform(5, 25, 2), 14.0)
    rows, columns = 30, 26
    y, x = np.mgrid[:rows, :columns]
    oracle = Outline(contour).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(rows, columns)
    assert np.array_equal(fill([contour], (rows, columns)), oracle)
    assert oracle.any()


@pytest.mark.parametrize("seed", range(4))
def test_contours_in_contours_are_holes_and_islands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = [star(rng, (15, 15), radius) for radius in (14, 10, 6)]
    alone = [fill([ring], (30, 30)) for ring in rings]
    assert np.array_equal(fill(rings, (30, 30)), alone[0] ^ alone[1] ^ alone[2])


def test_neither_start_nor_sense_of_a_contour_matters() -> None:
    contour = star(np.random.default_rng(0), (15, 15), 12)
    expected = fill([contour], (30, 30))
    for other in (contour[::-1], np.roll(contour, 5, axis=0), np.vstack([contour, contour[:1]])):
        assert np.array_equal(fill([other], (30, 30)), expected)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    """Two boxes with a common side through pixel centres part them between them."""
    left = np.array([[0.0, 0.0], [5.0, 0.0], [5.0, 9.0], [0.0, 9.0]])
    right = left + np.array([5.0, 0.0])
    one, other = (fill([box], (12, 14)) for box in (left, right))
    assert not (one & other).any()
    both = fill([np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 9.0], [0.0, 9.0]])], (12, 14))
    assert np.array_equal(one | other, both)


def test_what_lies_outside_of_the_plane_is_cut_off() -> None:
    big = np.array([[-50.0, -50.0], [50.0, -50.0], [50.0, 50.0], [-50.0, 50.0]])
    assert fill([big], (5, 6)).all()
    assert not fill([big + 200], (5, 6)).any()
    assert not fill([big - 200], (5, 6)).any()
