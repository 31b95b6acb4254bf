"""Outlines whose numbers are known: discs, boxes, ellipses, an L, stars."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.features.contour import contour_features, contour_names


def numbers(mask, spacing=None) -> dict[str, float]:
    spacing = spacing or (1.0,) * mask.ndim
    values = contour_features(mask, spacing)
    names = [name.removeprefix("contour_") for name in contour_names(mask.ndim)]
    assert len(values) == len(names)
    return dict(zip(names, values, strict=True))


def grid(*shape):
    return np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")


def star(lobes: int, depth: float, radius: float = 60.0, size: int = 161) -> np.ndarray:
    y, x = grid(size, size)
    return np.hypot(x, y) < radius * (1 + depth * np.cos(lobes * np.arctan2(y, x)))


def ellipse(half_y: float, half_x: float, size: int = 161) -> np.ndarray:
    y, x = grid(size, size)
    return (y / half_y) ** 2 + (x / half_x) ** 2 < 1


def test_square():
    mask = np.zeros((50, 50), bool)
    mask[5:45, 5:45] = True
    found = numbers(mask)
    assert found["Solidity"] == pytest.approx(1)
    assert found["Extent"] == 1
    assert found["AspectYX"] == 0
    assert found["Components"] == 1
    assert found["InscribedRadius"] == pytest.approx(20 / (40 / np.sqrt(np.pi)), rel=0.03)
    assert found["RadialMaximum"] == pytest.approx(np.sqrt(2) * 20 / (40 / np.sqrt(np.pi)), rel=0.03)


def test_l_shape_has_the_solidity_of_its_hull():
    mask = np.ones((40, 40), bool)
    mask[:20, 20:] = False  # 3 of 4 quarters; the hull adds half a quarter
    found = numbers(mask)
    assert found["Solidity"] == pytest.approx(3 / 3.5)
    assert found["Extent"] == 0.75
    assert found["Notches3"] > numbers(np.ones((40, 40), bool))["Notches3"] + 0.02  # the inner corner


@pytest.mark.parametrize("shape", [(121, 121), (61, 61, 61)])
def test_disc_and_ball(shape):
    mask = sum(axis**2 for axis in grid(*shape)) < 25**2
    found = numbers(mask)
    assert found["Solidity"] > 0.93
    assert found["Extent"] == pytest.approx(np.pi / 4 if len(shape) == 2 else np.pi / 6, rel=0.06)
    assert found["RadialCV"] < 0.02
    assert found["InscribedRadius"] == pytest.approx(1, rel=0.03)
    for scale in (1, 2, 3):
        assert found[f"Roughness{scale}"] < 0.07
        assert found[f"Notches{scale}"] - found[f"Spikes{scale}"] < 0.2
    shares = [found[f"Spikes{scale}"] + found[f"Notches{scale}"] for scale in (1, 2, 3)]
    assert shares == sorted(shares, reverse=True)  # the wider the window, the less of it is inside


def test_ellipse():
    found = numbers(ellipse(60, 20))
    assert found["AspectYX"] == pytest.approx(np.log(3), rel=0.02)
    assert found["MajorAxisY"] == pytest.approx(1, abs=1e-6)
    assert found["RadialMaximum"] == pytest.approx(np.sqrt(3), rel=0.02)
    assert found["RadialMinimum"] == pytest.approx(np.sqrt(1 / 3), rel=0.05)
    assert found["InscribedRadius"] == pytest.approx(np.sqrt(1 / 3), rel=0.05)
    turned = numbers(ellipse(20, 60))
    assert turned["AspectYX"] == pytest.approx(-np.log(3), rel=0.02)
    assert turned["MajorAxisY"] == pytest.approx(0, abs=1e-6)


def test_axes_of_a_volume():
    z, y, x = grid(61, 41, 31)
    found = numbers((z / 28) ** 2 + (y / 14) ** 2 + (x / 7) ** 2 < 1)
    assert found["MajorAxisZ"] == pytest.approx(1, abs=1e-6)
    assert found["MajorAxisY"] == pytest.approx(0, abs=1e-6)
    assert found["AspectZY"] == pytest.approx(np.log(2), abs=0.06)
    assert found["AspectYX"] == pytest.approx(np.log(2), abs=0.1)
    assert found["AspectZX"] == pytest.approx(np.log(4), abs=0.1)


def test_lobes_lower_solidity_and_raise_roughness():
    depths = [numbers(star(8, depth)) for depth in (0.0, 0.05, 0.1, 0.2)]
    for name, sign in (
        ("Solidity", -1),
        ("Roughness1", 1),
        ("Roughness2", 1),
        ("Spikes2", -1),
        ("RadialCV", 1),
    ):
        series = [sign * found[name] for found in depths]
        assert series == sorted(series), name
        assert series[-1] > series[0] + 0.02, name


def test_size_place_and_turns_change_nothing():
    small, large = numbers(star(7, 0.15, 50)), numbers(star(7, 0.15, 100, 321))
    moved = numbers(np.pad(star(7, 0.15, 50), ((3, 30), (20, 0))))
    turned = numbers(np.rot90(star(7, 0.15, 50)))
    for name, value in small.items():
        assert moved[name] == pytest.approx(value, abs=1e-9), name
        assert large[name] == pytest.approx(value, abs=0.05), name
        if not name.startswith(("Aspect", "MajorAxis")):
            assert turned[name] == pytest.approx(value, abs=1e-6), name


def test_spacing_is_honoured():
    fine = ellipse(60, 30)
    coarse = fine[1::3]  # rows three pixels apart
    found, expected = numbers(coarse, (3.0, 1.0)), numbers(fine)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.06), name
    unit = numbers(fine, (0.004, 0.004))
    for name, value in expected.items():
        assert unit[name] == pytest.approx(value, abs=1e-6), name


def test_parts_are_counted_with_diagonal_contact():
    mask = np.zeros((12, 12), bool)
    mask[1:3, 1:3] = mask[3:5, 3:5] = mask[8:10, 8:10] = True
    assert numbers(mask)["Components"] == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_one_voxel_has_no_axis_and_crashes_nothing(ndim):
    found = numbers(np.ones((1,) * ndim, bool))
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert all(name.startswith(("MajorAxis", "RadialCV")) for name in undefined)
    assert found["Solidity"] == pytest.approx(1)
