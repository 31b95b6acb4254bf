"""Filters agree with pyradiomics, with loops and with formulas, and a crop gives what the whole image gives."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from autoonco.data.grids import lesion_box
from autoonco.data.readers import read_image
from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.features.convolutions import LAWS, laplacian_of_gaussian, laws, mean_filter
from autoonco.features.filters import (
    FILTERS,
    TRANSFORMS,
    filtered,
    filtered_names,
    gradient_magnitude,
    intensity_transform,
)
from autoonco.features.gabor import gabor, gabor_kernel, wavelength_of
from autoonco.features.images import Roi
from autoonco.features.local_patterns import local_binary_pattern_2d, local_binary_pattern_3d
from autoonco.features.surroundings import Edge, with_room

SHAPES = [(30, 33), (1, 30, 33), (9, 30, 33)]
SPACING = (2.5, 0.7, 0.9)
SIGMA = 1.2


def roi_on(image: np.ndarray, box: tuple[slice, ...] | None = None) -> Roi:
    mask = np.zeros(image.shape, dtype=bool)
    mask[box if box is not None else ...] = True
    return Roi(image=image, mask=mask, box=lesion_box(mask), spacing_mm=SPACING[-image.ndim :])


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(20, 60, shape)


def boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Boxes at the image's border, at its other border, and within."""
    return [
        tuple(slice(start, min(start + 5, length)) for start, length in zip(starts, shape, strict=True))
        for starts in ([0] * len(shape), [max(0, n - 5) for n in shape], [n // 3 for n in shape])
    ]


def every_filter(roi: Roi) -> dict[str, np.ndarray]:
    found = {}
    for name in FILTERS:
        found |= filtered(roi, name, sigma_mm=SIGMA if name == "gabor" else None)
    found["wide lbp"] = local_binary_pattern_2d(roi, radius_px=2.5, n_points=12)
    found["lbp code"] = local_binary_pattern_2d(roi, kind="default")
    found["long gabor"] = gabor(roi, wavelength_mm=4.0, sigma_mm=1.0, gamma=0.5, n_angles=3)
    found["mean"] = mean_filter(roi, support=5)
    found["log"] = laplacian_of_gaussian(roi, sigma_mm=SIGMA)
    names = "L5E5S5"[: 2 * roi.image.ndim]
    found["laws"] = laws(roi, names, edge=Edge.ZERO)
    return found


def pyradiomics(image: np.ndarray, function: str) -> np.ndarray:
    operations = pytest.importorskip("radiomics.imageoperations")
    whole = sitk.GetImageFromArray(image)
    whole.SetSpacing(SPACING[-image.ndim :][::-1])
    return sitk.GetArrayFromImage(next(iter(getattr(operations, function)(whole, None)))[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "sign", [1, -1, 0.01]
)  # the largest magnitude is a positive, a negative, a small value
def test_transforms_are_those_of_pyradiomics(shape, sign):
    functions = ("getSquareImage", "getSquareRootImage", "getLogarithmImage", "getExponentialImage")
    image = sign * noise(shape) / 10
    image.flat[3] = 0
    for name, function in zip(TRANSFORMS, functions, strict=True):
        whole = pyradiomics(image, function)
        for box in boxes(shape):
            found = intensity_transform(name, image[box], image=image)
            np.testing.assert_allclose(found, whole[box], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_that_of_pyradiomics(shape):
    image = noise(shape)
    whole = pyradiomics(image, "getGradientImage")
    for box in boxes(shape):
        found = gradient_magnitude(roi_on(image, box))
        np.testing.assert_allclose(found, whole[box], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_filter_of_a_crop_is_that_of_the_whole_image(shape):
    image = noise(shape)
    whole = every_filter(roi_on(image))
    for box in boxes(shape):
        for name, found in every_filter(roi_on(image, box)).items():
            np.testing.assert_allclose(found, whole[name][box], rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_gaps_spread_as_far_as_the_filter_reaches_and_no_farther(shape):
    image = noise(shape)
    spot = tuple(length // 2 for length in shape)
    clean = every_filter(roi_on(image))
    image[spot] = np.nan
    far = np.abs(np.arange(shape[-1]) - spot[-1]) > 11  # of all filters here the long Gabor reaches farthest
    for name, found in every_filter(roi_on(image)).items():
        assert (np.isnan(found).sum() > 1) == (name not in TRANSFORMS), name
        if name != "gradient":  # which looks at neighbours alone
            assert np.isnan(found[spot]), name
        if name != "long gabor":
            np.testing.assert_allclose(found[..., far], clean[name][..., far], atol=1e-8, err_msg=name)


def bilinear(picture: np.ndarray, y: float, x: float) -> float:
    """Return the value between pixels; beyond the picture lies 0."""
    total, (top, left) = 0.0, (math.floor(y), math.floor(x))
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * picture[row, column]
    return total


def pattern_by_loop(picture: np.ndarray, radius: float, n_points: int) -> np.ndarray:
    found = np.zeros(picture.shape)
    for r, c in np.ndindex(picture.shape):
        angles = [2 * math.pi * p / n_points for p in range(n_points)]
        at = [(r - round(radius * math.sin(a), 5), c + round(radius * math.cos(a), 5)) for a in angles]
        bits = [bilinear(picture, *place) >= picture[r, c] for place in at]
        changes = sum(one != other for one, other in zip(bits, [*bits[1:], bits[0]], strict=True))
        found[r, c] = sum(bits) if changes <= 2 else n_points + 1
    return found


@pytest.mark.parametrize(("radius", "n_points"), [(1, 8), (2, 8), (1.5, 12), (3, 5)])
def test_local_pattern_is_that_of_a_loop_on_each_slice(radius, n_points):
    image = noise((2, 11, 9))
    expected = np.stack([pattern_by_loop(picture, radius, n_points) for picture in image])
    found = local_binary_pattern_2d(roi_on(image), radius_px=radius, n_points=n_points)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 4
    picture = local_binary_pattern_2d(roi_on(image[1]), radius_px=radius, n_points=n_points)
    np.testing.assert_array_equal(picture, expected[1])


def test_local_pattern_is_that_of_scikit_image():
    feature = pytest.importorskip("skimage.feature")
    for seed, (radius, n_points) in enumerate([(1, 8), (2, 16), (1.5, 7)]):
        image = noise((40, 37), seed)
        for kind in ("uniform", "default"):
            expected = feature.local_binary_pattern(image, P=n_points, R=radius, method=kind)
            found = local_binary_pattern_2d(roi_on(image), radius_px=radius, n_points=n_points, kind=kind)
            np.testing.assert_array_equal(found, expected)


def test_a_flat_patch_ties_everywhere():
    inside = (slice(4, -4), slice(4, -4))
    for level in (0.1, 1 / 3, 1234.567, -0.7):
        flat = np.full((40, 40), level)
        assert (local_binary_pattern_2d(roi_on(flat, inside)) == 8).all()
        turned = local_binary_pattern_3d(roi_on(np.full((5, 9, 9), level)))
        assert (turned["count"] == 26).all()
        assert (turned["mean"] == 0).all()


def test_local_patterns_follow_no_monotone_change_and_no_turn():
    image = np.round(noise((9, 9, 9)))
    cube = Roi(image=image, mask=image == image, box=(slice(0, 9),) * 3, spacing_mm=(1.0,) * 3)
    inner = (slice(1, -1),) * 3
    ours, scaled = (
        local_binary_pattern_3d(cube),
        local_binary_pattern_3d(
            Roi(image=3 * image + 7, mask=cube.mask, box=cube.box, spacing_mm=cube.spacing_mm)
        ),
    )
    np.testing.assert_array_equal(scaled["count"][inner], ours["count"][inner])
    np.testing.assert_allclose(scaled["deviation"], 3 * ours["deviation"])
    for axes in ((0, 1), (1, 2), (0, 2)):
        turned = Roi(image=np.rot90(image, axes=axes), mask=cube.mask, box=cube.box, spacing_mm=(1.0,) * 3)
        for name, found in local_binary_pattern_3d(turned).items():
            np.testing.assert_allclose(found, np.rot90(ours[name], axes=axes), atol=1e-9)


def test_volume_pattern_is_that_of_interpolated_neighbours():
    image, side = noise((7, 8, 9)), np.array(SPACING)
    found = local_binary_pattern_3d(roi_on(image), radius_px=1.5)
    for z, y, x in [(0, 0, 0), (3, 4, 5), (6, 7, 8)]:
        around = []
        for step in itertools.product((-1, 0, 1), repeat=3):
            if any(step):
                unit = np.array(step) / np.linalg.norm(step)
                at = np.array([z, y, x]) + 1.5 * 0.7 * unit / side
                around.append(ndimage.map_coordinates(image, at[:, None], order=1, mode="nearest")[0])
        rest = np.array(around) - image[z, y, x]
        assert found["count"][z, y, x] == (rest >= -1e-9).sum()  # beyond the border are ties
        # Neighbours are placed to five decimals of a voxel.
        np.testing.assert_allclose(found["mean"][z, y, x], rest.mean(), atol=2e-3)
        np.testing.assert_allclose(found["deviation"][z, y, x], rest.std(), atol=2e-3)


@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_gabor_is_the_mean_magnitude_of_direct_sums(gamma):
    image, sigma, wavelength, n_angles = noise((2, 8, 7)) + 1000, 0.8, 1.9, 3
    found = gabor(roi_on(image), wavelength_mm=wavelength, sigma_mm=sigma, gamma=gamma, n_angles=n_angles)
    half = 14
    mirrored = np.pad(image, ((0, 0), (half, half), (half, half)), mode="symmetric")
    for z, r, c in [(0, 0, 0), (1, 4, 3), (1, 7, 6)]:
        total = 0.0
        for step in range(n_angles):
            angle, response = math.pi * step / n_angles, 0j
            for i, j in itertools.product(range(-half, half + 1), repeat=2):
                y, x = i * SPACING[1], j * SPACING[2]
                u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
                window = math.exp(-(u * u + gamma**2 * v * v) / (2 * sigma**2))
                wave = complex(math.cos(2 * math.pi * u / wavelength), math.sin(2 * math.pi * u / wavelength))
                response += window * wave * mirrored[z, r + half - i, c + half - j]
            total += abs(response)
        np.testing.assert_allclose(found[z, r, c], total / n_angles, rtol=1e-6)


def test_gabor_finds_stripes_of_its_width_in_every_direction():
    rows, columns = np.indices((64, 64)).astype(float)
    window, box = {"wavelength_mm": 8.0, "sigma_mm": 4.5, "n_angles": 8}, (slice(28, 36),) * 2

    def response(width: float, degrees: float) -> float:
        along = columns * np.cos(np.radians(degrees)) + rows * np.sin(np.radians(degrees))
        stripes = np.sin(2 * np.pi * along / width)
        picture = Roi(image=stripes, mask=stripes < 2, box=box, spacing_mm=(1.0, 1.0))
        return float(gabor(picture, **window).mean())

    at_width = [response(8.0, angle) for angle in (0, 22.5, 45, 90, 157.5)]
    np.testing.assert_allclose(at_width, at_width[0], rtol=1e-3)
    assert max(response(4.0, 0.0), response(16.0, 0.0)) < at_width[0] / 3


def test_gabor_of_an_impulse_is_the_magnitude_of_its_kernel():
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 255
    found = gabor(roi_on(impulse), wavelength_mm=3.0, sigma_mm=1.0, n_angles=4)
    y, x = (np.arange(-20, 21) * side for side in SPACING[-2:])
    np.testing.assert_allclose(found, 255 * np.exp(-(y[:, None] ** 2 + x**2) / 2), atol=1e-5)
    kernel = gabor_kernel([8, 8], SPACING[-2:], wavelength_mm=3.0, sigma_mm=1.0, gamma=1.0, angle=0.3)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1].conj())


@pytest.mark.parametrize("octaves", [0.5, 1.0, 2.0])
def test_the_band_is_as_many_octaves_wide(octaves):
    wavelength = wavelength_of(2.0, bandwidth_octaves=octaves)
    half = math.sqrt(2 * math.log(2)) / (2 * math.pi * 2.0)  # where the Gaussian's transform is a half
    assert (1 / wavelength + half) / (1 / wavelength - half) == pytest.approx(2**octaves)


def centred(spacing: float = 2.0) -> Roi:
    impulse = np.zeros((33,) * 3)
    impulse[16, 16, 16] = 255
    return Roi(image=impulse, mask=impulse >= 0, box=(slice(0, 33),) * 3, spacing_mm=(spacing,) * 3)


def log_kernel(sigma: float, half: int, length: int) -> np.ndarray:
    """Return IBSI-2's formula in voxels, in the middle of a cube of `length`."""
    at = np.arange(length) - length // 2
    squared = sum(np.meshgrid(at**2, at**2, at**2))
    values = -((2 * np.pi * sigma**2) ** -1.5) * (3 / sigma**2 - squared / sigma**4)
    is_near = np.all(np.abs(np.meshgrid(at, at, at)) <= half, axis=0)
    return np.where(is_near, values * np.exp(-squared / (2 * sigma**2)), 0.0)


def test_log_of_an_impulse_is_its_formula():
    found = laplacian_of_gaussian(centred(), sigma_mm=3.0, edge=Edge.ZERO)
    np.testing.assert_allclose(found, 255 * log_kernel(1.5, 6, 33), atol=1e-12)


def test_mean_of_an_impulse_is_a_cube():
    found = mean_filter(centred(), support=5, edge=Edge.ZERO)
    expected = np.zeros((33,) * 3)
    expected[14:19, 14:19, 14:19] = 255 / 125
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("edge", Edge)
def test_edges_are_those_of_scipy(edge):
    modes = {Edge.MIRROR: "reflect", Edge.NEAREST: "nearest", Edge.ZERO: "constant"}
    image = noise((4, 9, 8))  # thinner than the filter
    found = mean_filter(roi_on(image), support=11, edge=edge)
    expected = image
    for axis in range(3):
        expected = ndimage.convolve1d(expected, np.full(11, 1 / 11), axis=axis, mode=modes[edge])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert with_room(roi_on(image), [0, 2, 3], edge).shape == (4, 13, 14)


def test_laws_of_an_impulse_is_the_product_of_its_kernels():
    found = laws(centred(), "L5E5S3", edge=Edge.ZERO)  # x, y, z
    level = np.array([1, 4, 6, 4, 1]) / math.sqrt(70)
    edge = np.array([-1, -2, 0, 2, 1]) / math.sqrt(10)
    spot = np.array([-1, 2, -1]) / math.sqrt(6)
    expected = np.zeros((33,) * 3)
    expected[15:18, 14:19, 14:19] = 255 * np.einsum("z,y,x->zyx", spot, edge, level)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_laws_energy_is_the_mean_magnitude_around():
    roi, reach = roi_on(noise((12, 13, 14))), 2
    response = np.abs(laws(roi, "E5W5R5"))
    energy = laws(roi, "E5W5R5", energy_px=reach)
    for z, y, x in [(3, 4, 5), (8, 9, 10)]:
        around = response[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3]
        assert energy[z, y, x] == pytest.approx(around.mean())
    inner = roi_on(roi.image, (slice(0, 3), slice(5, 9), slice(10, 14)))
    np.testing.assert_allclose(laws(inner, "E5W5R5", energy_px=reach), energy[inner.box])


def test_laws_kernels_but_level_ignore_the_grey_level():
    assert all(sum(kernel) == 0 for name, kernel in LAWS.items() if name[0] not in "L")


@pytest.mark.shared
def test_filters_on_the_impulse_of_ibsi_2(shared_data):
    path = shared_data / "ibsi/ibsi_2_digital_phantom/nifti/impulse/image/impulse.nii.gz"
    image = sitk.GetArrayFromImage(read_image(path)).astype(np.float64)
    spacing = read_image(path).GetSpacing()[::-1]
    roi = Roi(image=image, mask=image >= 0, box=(slice(0, 64),) * 3, spacing_mm=spacing)
    centre = np.argwhere(image)
    assert len(centre) == 1
    at = tuple(slice(middle - 10, middle + 11) for middle in centre[0])
    height = image.max()
    log = laplacian_of_gaussian(roi, sigma_mm=3.0, edge=Edge.ZERO)[at]
    np.testing.assert_allclose(log, height * log_kernel(3.0 / spacing[0], 6, 21), atol=1e-9)
    mean = mean_filter(roi, support=15, edge=Edge.ZERO)[at]
    assert mean.max() == pytest.approx(height / 15**3)
    assert (mean > 1e-9).sum() == 15**3


def test_names_are_told_without_computing():
    for shape, name in itertools.product(SHAPES, FILTERS):
        sigma_mm = 2.0 if name == "gabor" else None
        found = filtered(roi_on(noise(shape), boxes(shape)[2]), name, sigma_mm=sigma_mm)
        assert tuple(found) == filtered_names(name, len(shape), sigma_mm=sigma_mm)


def test_an_image_of_zeros_or_gaps_has_no_scale():
    for name in TRANSFORMS:
        assert (intensity_transform(name, np.zeros(4), image=np.zeros(9)) == 0).all()
        assert np.isnan(intensity_transform(name, np.full(4, np.nan), image=np.full(9, np.nan))).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda roi: filtered(roi, "gabor"), "sigma_mm"),
        (lambda roi: gabor(roi, wavelength_mm=0, sigma_mm=1), "wavelength_mm"),
        (lambda roi: wavelength_of(math.nan), "sigma_mm"),
        (lambda roi: local_binary_pattern_2d(roi, radius_px=0), "radius_px"),
        (lambda roi: local_binary_pattern_2d(roi, n_points=1), "n_points"),
        (lambda roi: local_binary_pattern_2d(roi, n_points=60, kind="default"), "52"),
        (lambda roi: local_binary_pattern_3d(roi), "volume"),
        (lambda roi: mean_filter(roi, support=4), "odd"),
        (lambda roi: laplacian_of_gaussian(roi, sigma_mm=-1), "sigma_mm"),
        (lambda roi: laws(roi, "L5E5S5"), "must be 2"),
        (lambda roi: laws(roi, "L5X5"), "X5"),
        (lambda roi: laws(roi, "L5E5", energy_px=-1), "energy_px"),
    ],
)
def test_a_wrong_setting_is_named(call, says):
    with pytest.raises(AutoOncoError, match=says):
        call(roi_on(np.ones((5, 5))))


def test_a_wrong_name_is_answered_with_the_nearest():
    roi = roi_on(np.ones((5, 5)))
    with pytest.raises(UnknownNameError, match="Did you mean 'gradient'"):
        filtered(roi, "gradiant")
    with pytest.raises(UnknownNameError, match="Did you mean 'uniform'"):
        local_binary_pattern_2d(roi, kind="unifrom")
    with pytest.raises(UnknownNameError, match="Did you mean 'square'"):
        intensity_transform("sqare", roi.image, image=roi.image)
