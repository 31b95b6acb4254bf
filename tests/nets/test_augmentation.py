from __future__ import annotations

import pytest
import torch

from autoonco.nets.augmentation import Augmentation, augment, move, rotation


def change(crops: torch.Tensor, how: Augmentation, seed: int = 0, n_image_channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return augment(crops, how, n_image_channels=n_image_channels, generator=generator)


@pytest.mark.parametrize("shape", [(4, 3, 12, 12), (4, 2, 8, 8, 8)])
def test_no_strength_and_no_flips_change_nothing(shape: tuple[int, ...]) -> None:
    crops = torch.rand(shape)
    torch.testing.assert_close(
        change(crops, Augmentation(strength=0.0, flips="none")), crops, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("shape", [(32, 1, 6, 6), (32, 1, 6, 6, 6)])
def test_left_right_flips_turn_the_last_axis_of_half_the_crops(shape: tuple[int, ...]) -> None:
    crops = torch.rand(shape)
    flipped = change(crops, Augmentation(strength=0.0, flips="left_right"))
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(flipped, crops, strict=True)]
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(flipped, crops, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 6 < sum(mirrored) < 26


def test_all_flips_reach_every_axis() -> None:
    crops = torch.rand(200, 1, 4, 4, 4)
    flipped = change(crops, Augmentation(strength=0.0, flips="all"))
    for axes in ([], [2], [3], [4], [2, 3], [2, 4], [3, 4], [2, 3, 4]):
        turned = crops.flip(axes) if axes else crops
        assert (flipped - turned).abs().amax(dim=(1, 2, 3, 4)).min() < 1e-5


@pytest.mark.parametrize("n_space", [2, 3])
def test_rotations_are_rotations(n_space: int) -> None:
    turns = rotation(torch.rand(10, 1 if n_space == 2 else 3) * 6)
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(n_space).expand(10, -1, -1))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(10))


def test_mask_channel_moves_along_and_keeps_its_values() -> None:
    """A mask equal to the image stays 0 and 1 where the image's contrast changes."""
    block = torch.zeros(8, 1, 16, 16, 16)
    block[:, :, 4:12, 4:12, 4:12] = 1
    moved = change(block.repeat(1, 2, 1, 1, 1), Augmentation(strength=1.0, intensity=1.0), n_image_channels=1)
    image, mask = moved[:, 0], moved[:, 1]
    assert mask[:, 8, 8, 8].gt(0.9999).all()
    assert mask[:, 0, 0, 0].eq(0).all()
    assert not torch.allclose(image, mask)
    for one, other in zip(image, mask, strict=True):  # brighter where the mask is
        assert one[other > 0.99].mean() > one[other < 0.01].mean()


def test_values_stay_in_range_and_follow_the_generator() -> None:
    crops = torch.rand(4, 3, 10, 10)
    first, again, other = (change(crops, Augmentation(strength=1.0), seed, 3) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


def test_what_does_not_move_is_not_resampled() -> None:
    crops = torch.rand(2, 1, 5, 6, 7)
    still = Augmentation(strength=0.0, flips="none")
    moved = move(crops, still, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved, crops)
    assert moved.data_ptr() != crops.data_ptr()
