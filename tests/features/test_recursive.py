"""Recursive filters against ITK's, against the Gaussian they stand for, and against what they do to polynomials."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.features.recursive import laplacian, recursion


def itk(image: np.ndarray, spacing_mm: tuple[float, ...], sigma_mm: float) -> np.ndarray:
    whole = sitk.GetImageFromArray(image)
    whole.SetSpacing(spacing_mm[::-1])
    return sitk.GetArrayFromImage(sitk.LaplacianRecursiveGaussian(whole, sigma_mm, True))


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "sigma_mm"),
    [
        ((30, 31, 37), (1.0, 1.0, 1.0), 3.0),
        ((20, 45, 40), (5.0, 0.7, 0.9), 2.0),
        ((70, 71), (1.0, 0.8), 1.5),
        ((5, 20, 90), (3.0, 0.9, 0.8), 1.0),
    ],
)
def test_of_float32_every_bit_is_itks(shape, spacing_mm, sigma_mm):
    image = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    expected = itk(image, spacing_mm, sigma_mm)
    whole = laplacian(image, tuple(slice(0, side) for side in shape), spacing_mm, sigma_mm)
    assert whole.dtype == np.float32
    assert (whole != expected).mean() < 0.002  # where a double lies half-way between two floats
    np.testing.assert_allclose(whole, expected, rtol=0, atol=2e-7 * np.abs(expected).max())
    inner = tuple(slice(side // 3, side // 3 + 2) for side in shape)
    np.testing.assert_array_equal(laplacian(image, inner, spacing_mm, sigma_mm), whole[inner])


def impulse(sigma_px: float, *, curved: bool) -> np.ndarray:
    """Both ways of the recursion run over one voxel of 1, by the sums of its definition."""
    how, half = recursion(sigma_px, curved=curved), 80
    forth, back = np.zeros(2 * half + 1), np.zeros(2 * half + 1)
    for k in range(half, len(forth)):
        forth[k] = (how.forth[k - half] if k - half < 5 else 0) - how.memory @ forth[k - 4 : k][::-1]
        back[k] = (how.back[k - half] if k - half < 5 else 0) - how.memory @ back[k - 4 : k][::-1]
    return forth + back[::-1]


@pytest.mark.parametrize("sigma_px", [1.0, 2.0, 5.0])
def test_impulse_is_a_gaussian_and_its_second_derivative(sigma_px):
    x = np.arange(-80, 81)
    gauss = np.exp(-(x**2) / (2 * sigma_px**2)) / np.sqrt(2 * np.pi) / sigma_px
    smooth, curved = (impulse(sigma_px, curved=curved) for curved in (False, True))
    assert np.abs(smooth - gauss).max() < 3e-3 * gauss.max()
    curvature = gauss * (x**2 / sigma_px**2 - 1)
    assert np.abs(curved - curvature).max() < 0.05 * np.abs(curvature).max()
    # Constants and parabolas are exact: 0th and 2nd moments of both.
    assert smooth.sum() == pytest.approx(1, abs=1e-9)
    assert curved.sum() == pytest.approx(0, abs=1e-9)
    assert (curved * x**2).sum() / 2 == pytest.approx(sigma_px**2, rel=1e-6)


def test_a_parabola_has_the_curvature_of_all_axes_in_millimetres():
    """Of z²/2 + y² + 3x²/2 the Laplacian is 1 + 2 + 3, times σ², whatever the voxels' sides."""
    spacing = (2.0, 1.0, 0.5)
    z, y, x = ((np.arange(n) - n // 2) * side for n, side in zip((61, 81, 121), spacing, strict=True))
    image = z[:, None, None] ** 2 / 2 + y[:, None] ** 2 + 1.5 * x**2
    inner = (slice(30, 31), slice(40, 41), slice(60, 61))
    assert laplacian(image, inner, spacing, 2.0).item() == pytest.approx(6 * 4, rel=2e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.75, 0.75)])
def test_a_ball_has_the_laplacian_of_its_surface(spacing):
    """At its centre: the Gaussian's slope over the surface, 4πR² · -R/σ² · (2πσ²)^(-3/2) exp(-R²/(2σ²)), times σ²."""
    radius, sigma = 9.0, 5.0
    shape = [2 * round(45 / side) + 1 for side in spacing]
    grid = np.meshgrid(
        *((np.arange(n) - n // 2) * side for n, side in zip(shape, spacing, strict=True)), indexing="ij"
    )
    distance = np.sqrt(sum(axis**2 for axis in grid))
    ball = np.clip(0.5 + (radius - distance) / np.cbrt(np.prod(spacing)), 0, 1)  # part of a voxel at the rim
    centre = tuple(slice(n // 2, n // 2 + 1) for n in shape)
    expected = -4 * np.pi * radius**3 * np.exp(-(radius**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** 1.5
    assert laplacian(ball, centre, spacing, sigma).item() == pytest.approx(expected, rel=0.02)
