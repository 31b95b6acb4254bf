"""Any number of channels: what pretrained weights make of grey sequences and of masks."""

from __future__ import annotations

import pytest
import torch

from autoonco.nets.builders import build_2d
from autoonco.nets.stems import adapted

NAMES = ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "vit_tiny"]


def pictures(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, channels, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_changes_nothing_before_training_and_something_after(name: str) -> None:
    plain = build_2d(name, n_classes=2).eval()
    network = build_2d(name, n_classes=2, mask_channels=1).eval()
    colours, mask = pictures(3), 255 * (pictures(1) > 127).to(torch.uint8)
    both = torch.cat([colours, mask], 1)
    with torch.inference_mode():
        torch.testing.assert_close(network(both), plain(colours), atol=1e-5, rtol=1e-5)
    network.train()
    network(both).square().sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.05).step()
    network.eval()
    with torch.inference_mode():
        assert not torch.allclose(network(both), network(torch.cat([colours, 0 * mask], 1)))


@pytest.mark.parametrize("name", NAMES)
def test_channels_of_one_picture_give_what_it_gives_alone(name: str) -> None:
    grey = pictures(1)
    with torch.inference_mode():
        found = [
            build_2d(name, n_classes=0, in_channels=n).eval()(grey.expand(-1, n, -1, -1)) for n in (1, 2, 5)
        ]
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[2], found[0], atol=1e-4, rtol=1e-3)


def test_one_channel_equals_grey_three_times_where_colours_share_their_statistics() -> None:
    """The lite networks were standardised with one mean and std, so this is exact for them."""
    grey = pictures(1)
    three = build_2d("tf_efficientnet_lite0", n_classes=0, pretrained=True).eval()
    one = build_2d("tf_efficientnet_lite0", n_classes=0, in_channels=1, pretrained=True).eval()
    with torch.inference_mode():
        expected = three(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(one(grey), expected, atol=1e-4, rtol=1e-4)


def test_statistics_are_the_weights_own_for_colours_and_their_average_else() -> None:
    colours = build_2d("resnet18", n_classes=0, mask_channels=1).scale
    assert colours.mean.tolist() == pytest.approx([0.485, 0.456, 0.406, 0])
    assert colours.std.tolist() == pytest.approx([0.229, 0.224, 0.225, 1])
    sequences = build_2d("resnet18", n_classes=0, in_channels=2).scale
    assert sequences.mean.tolist() == pytest.approx([0.449, 0.449])
    assert sequences.std.tolist() == pytest.approx([0.226, 0.226])


def test_colours_keep_their_weights() -> None:
    weight = torch.randn(4, 3, 2, 2)
    assert torch.equal(adapted(weight, in_channels=3, mask_channels=0), weight)
    wide = adapted(weight, in_channels=3, mask_channels=2)
    assert torch.equal(wide[:, :3], weight)
    assert not wide[:, 3:].any()


def test_an_adapted_network_is_rebuilt_from_what_it_says_of_itself() -> None:
    network = build_2d("vit_tiny", n_classes=2, in_channels=4, mask_channels=1, drop_path_rate=0.2)
    again = build_2d(**network.build, seed=3)
    again.load_state_dict(network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.equal(again.eval()(pictures(5)), network.eval()(pictures(5)))
