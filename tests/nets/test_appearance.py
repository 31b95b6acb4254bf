from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.nets.appearance import LIMITS, Look, looks_of, stain_jitter
from autoonco.nets.augmentation import Augmentation, augment, move
from autoonco.nets.test_time import Views, view_of

PRINT = Fingerprint(
    n_cases=10,
    n_patients=10,
    classes=("a", "b"),
    class_counts=(5, 5),
    ndim=3,
    channels=("ct", "pet", "t1"),
    is_colour=False,
    has_mask=False,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0, 1.0),
    shape=(32, 32, 32),
    lesion_mm=None,
    lesion_voxels=None,
    intensity={"ct": Intensity.HOUNSFIELD, "pet": Intensity.SUV, "t1": Intensity.ARBITRARY},
)
STILL: dict[str, object] = {"strength": 0.0, "flips": "none"}


def change(
    crops: torch.Tensor, seed: int = 0, n_image_channels: int | None = None, **how: object
) -> torch.Tensor:
    return augment(
        crops,
        Augmentation(**STILL | how),
        n_image_channels=crops.shape[1] if n_image_channels is None else n_image_channels,
        generator=torch.Generator().manual_seed(seed),
    )


def smooth(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return crops of 0.2..0.8 without fine structure."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], *(4,) * (len(shape) - 2), generator=rng) * 0.6 + 0.2
    mode = "bilinear" if len(shape) == 4 else "trilinear"
    return torch.nn.functional.interpolate(coarse, size=shape[2:], mode=mode, align_corners=True)


def test_looks_follow_the_units_measured() -> None:
    assert looks_of(PRINT) == (Look.CT, Look.PET, Look.MR)
    assert looks_of(replace(PRINT, is_colour=True)) == (Look.COLOUR,)
    for unit in (Intensity.BYTE, Intensity.UNIT):
        assert looks_of(replace(PRINT, channels=("us",), intensity={"us": unit})) == (Look.GREY,)


@pytest.mark.parametrize("look", list(Look))
@pytest.mark.parametrize("shape", [(6, 3, 24, 24), (6, 1, 12, 12, 12)])
def test_each_look_changes_its_values_and_stays_in_range(look: Look, shape: tuple[int, ...]) -> None:
    crops = smooth(shape)
    how = {"intensity": 1.0, "noise": 1.0, "looks": (look,)}
    first, again, other = (change(crops, seed, **how) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first, crops, atol=0.01)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.dtype == torch.float32
    assert first.shape == crops.shape


@pytest.mark.parametrize("shape", [(6, 3, 24, 24), (6, 2, 12, 12, 12)])
def test_torch_s_own_random_numbers_are_left_alone(shape: tuple[int, ...]) -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    change(smooth(shape), intensity=1.0, noise=1.0, looks=(Look.MR,))
    assert torch.equal(torch.rand(2), expected)


def test_calibrated_units_move_less_than_arbitrary_ones() -> None:
    crops = smooth((200, 1, 8, 8))
    moved = {look: float((change(crops, intensity=1.0, looks=(look,)) - crops).abs().mean()) for look in Look}
    assert moved[Look.CT] < 0.5 * moved[Look.GREY]
    assert moved[Look.CT] < 0.5 * moved[Look.MR]
    # the mean of a crop moves by its brightness at most
    shift = (change(crops, intensity=1.0, looks=(Look.CT,)) - crops).mean(dim=(1, 2, 3)).abs().max()
    assert 0.5 * LIMITS[Look.CT].brightness < shift <= LIMITS[Look.CT].brightness + 1e-5


def test_no_uptake_stays_no_uptake() -> None:
    crops = smooth((50, 1, 10, 10)) * (torch.arange(10) > 4)
    moved = change(crops, intensity=1.0, looks=(Look.PET,))
    assert moved[..., :5].max() < 0.12
    assert moved[..., 5:].mean() > 0.3


def test_channels_of_several_looks_change_each_by_itself() -> None:
    one = smooth((8, 1, 8, 8, 8))
    alike = change(one.repeat(1, 2, 1, 1, 1), intensity=1.0, looks=(Look.GREY,))
    assert torch.equal(alike[:, 0], alike[:, 1])
    apart = change(one.repeat(1, 2, 1, 1, 1), intensity=1.0, looks=(Look.CT, Look.PET))
    assert not torch.allclose(apart[:, 0], apart[:, 1])


def test_grey_pictures_in_three_channels_stay_grey() -> None:
    moved = change(smooth((8, 1, 16, 16)).repeat(1, 3, 1, 1), intensity=1.0, noise=1.0, looks=(Look.GREY,))
    torch.testing.assert_close(moved[:, 0], moved[:, 1])


@pytest.mark.parametrize("look", list(Look))
@pytest.mark.parametrize("ndim", [4, 5])
def test_masks_keep_their_values(look: Look, ndim: int) -> None:
    crops = smooth((6, 4, *(12,) * (ndim - 2)))
    moved = change(crops, n_image_channels=3, intensity=1.0, noise=1.0, looks=(look,))
    torch.testing.assert_close(moved[:, 3], crops[:, 3], atol=1e-5, rtol=0)


def test_half_of_the_crops_have_noise_or_blur_and_the_others_none() -> None:
    crops = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    moved = change(crops, noise=1.0)
    still = [torch.allclose(a, b, atol=1e-5) for a, b in zip(moved, crops, strict=True)]
    rough = (moved - crops).flatten(1).std(dim=1)
    assert 70 < sum(still) < 130
    blurred = moved.flatten(1).std(dim=1) < 0.8 * crops.flatten(1).std(dim=1)
    assert 20 < int(blurred.sum()) < 80
    assert int(((rough > 0.005) & ~blurred).sum()) > 20


def test_speckle_grows_with_the_signal_and_other_noise_does_not() -> None:
    crops = torch.full((300, 1, 16, 16), 0.1)
    crops[..., 8:] = 0.6

    def ratio(look: Look) -> float:
        moved = change(crops, noise=1.0, looks=(look,))[..., [0, 1, 2, 3, 12, 13, 14, 15]] - 0.0
        noisy = moved[moved[..., :4].flatten(1).std(dim=1) > 0.002]
        return float(
            noisy[..., 4:].flatten(1).std(dim=1).mean() / noisy[..., :4].flatten(1).std(dim=1).mean()
        )

    assert ratio(Look.GREY) == pytest.approx(6, rel=0.1)
    assert ratio(Look.COLOUR) == pytest.approx(1, rel=0.2)


# Colours.


def stained(n: int = 40) -> torch.Tensor:
    """Return pictures that Beer and Lambert make of random densities of two stains."""
    rng = np.random.default_rng(0)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    density = rng.uniform(0.1, 0.8, (n, 2, 8, 8))
    return torch.tensor(np.exp(-np.einsum("nshw,sc->nchw", density, vectors)), dtype=torch.float32)


def test_stain_jitter_is_that_of_a_loop_over_pixels() -> None:
    """Oracle: unmix, change and mix each pixel with the drawn numbers, in double precision."""
    pictures = stained(3)
    torch.manual_seed(1)
    found = stain_jitter(pictures, 0.3)
    torch.manual_seed(1)
    drawn = (torch.rand(3, 3, 2) * 2 - 1).double().numpy()
    mix = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    mix /= np.linalg.norm(mix, axis=1, keepdims=True)
    for row in range(3):
        for place in np.ndindex(8, 8):
            density = np.linalg.solve(mix.T, -np.log(pictures[row, :, place[0], place[1]].double().numpy()))
            changed = (1 + 0.3 * drawn[row, :, 0]) * density + 0.06 * drawn[row, :, 1]
            expected = np.clip(np.exp(-changed @ mix), 0, 1)
            np.testing.assert_allclose(found[row, :, place[0], place[1]], expected, atol=1e-4)


def test_stains_in_place_of_light() -> None:
    """A change of stains leaves the plane of the two stains' densities; a change of saturation does not."""
    pictures = stained()
    none, jitter, stain = (
        change(pictures, intensity=1.0, looks=(Look.COLOUR,), colour=colour)
        for colour in ("none", "jitter", "stain")
    )
    assert not torch.allclose(none, jitter)
    assert not torch.allclose(none, stain)
    assert not torch.allclose(jitter, stain)


def test_no_stain_change_is_none() -> None:
    torch.testing.assert_close(stain_jitter(stained(), 0.0), stained(), atol=1e-4, rtol=0)


# Where things are.


@pytest.mark.parametrize("shape", [(6, 1, 32, 32), (4, 1, 16, 16, 16)])
def test_bending_moves_points_but_not_far(shape: tuple[int, ...]) -> None:
    """A ramp along the last axis tells where each pixel came from."""
    side = shape[-1]
    ramp = torch.linspace(0, 1, side).expand(shape).contiguous()
    bent = change(ramp, elastic=1.0)
    inside = (..., *(slice(side // 5, -side // 5),) * (len(shape) - 2))
    moved = (bent - ramp)[inside].abs()
    assert moved.mean() > 0.01
    assert moved.max() < 0.1  # 8 % of the side, and a bicubic's overshoot
    assert len({round(float(m), 4) for m in moved.flatten(1).mean(dim=1)}) == shape[0]


def test_together_all_move_alike() -> None:
    crops = smooth((1, 2, 16, 16)).repeat(5, 1, 1, 1)
    how = Augmentation(strength=1.0, elastic=1.0, flips="all")
    moved = move(crops, how, generator=torch.Generator().manual_seed(0), together=True)
    assert all(torch.equal(moved[0], other) for other in moved[1:])
    assert not torch.allclose(moved, crops, atol=0.01)


def test_views_are_the_same_for_any_company_and_the_first_is_the_case() -> None:
    crops = (smooth((70, 1, 12, 12)) * 255).byte().numpy()
    views = Views(n=3, strength=1.0, flips="all")
    for number in range(3):
        all_of_them = view_of(crops, views, number)
        assert (view_of(crops[66:67], views, number) == all_of_them[66:67]).all()
        assert (all_of_them == crops).all() == (number == 0)
    assert (view_of(crops, views, 1) != view_of(crops, views, 2)).any()


def test_probabilities_are_the_mean_over_views() -> None:
    from autoonco.nets.test_time import predict

    torch.manual_seed(0)
    layers = [torch.nn.Flatten(), torch.nn.Linear(144, 3)]
    scale = torch.nn.Module()
    scale.forward = lambda crops: crops.float() / 255  # type: ignore[method-assign]
    network = torch.nn.Sequential(scale, *layers)
    crops = (smooth((4, 1, 12, 12)) * 255).byte().numpy()
    views = Views(n=3, strength=1.0)
    found = predict(network, crops, views, device="cpu", n_threads=1)
    seen = [torch.from_numpy(view_of(crops, views, number)) for number in range(3)]
    with torch.no_grad():
        expected = torch.stack([network(view).softmax(dim=1) for view in seen]).mean(dim=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert Views.from_json(views.to_json()) == views
    assert Views.from_json(None).n == 1
