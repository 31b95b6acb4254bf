from __future__ import annotations

import copy

import pytest
import torch

from autoonco.families.networks import fill, to_arrays
from autoonco.nets.builders import Network, build_2d, build_3d
from autoonco.nets.embeddings import weights_id
from autoonco.nets.zoo import entry_of, networks

PICTURES = ["tf_efficientnet_lite0", "vit_tiny"]  # all are in test_zoo
VOLUMES = [
    pytest.param(name, marks=[pytest.mark.slow] if entry["parameters"] > 40e6 else [])
    for name, entry in sorted(networks(3).items())
    if entry["builder"] != "parametric"
]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_give_logits(name: str) -> None:
    network = build_2d(name, n_classes=5).eval()
    assert network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 5)
    assert len({id(parameter) for parameter in network.parameters()}) == len(list(network.parameters()))


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize(("size", "channels"), [(24, 1), (32, 2)])
def test_volumes_give_logits(name: str, size: int, channels: int) -> None:
    network = build_3d(name, n_classes=3, in_channels=channels, size=size).eval()
    volumes = torch.zeros(2, channels, *(size,) * 3, dtype=torch.uint8)
    assert network(volumes).shape == (2, 3)


@pytest.mark.parametrize("changed", ["mean", "std"])
def test_normalisation_is_part_of_the_network(changed: str) -> None:
    """Another one names other embeddings; a stored network brings its own, whatever the zoo says by then."""
    entry = entry_of("tf_efficientnet_lite0")
    backbone = torch.nn.Conv2d(3, 1, 1)
    stored = Network(backbone, entry | {changed: [0.4, 0.5, 0.6]}).eval()
    network = Network(copy.deepcopy(backbone), entry).eval()
    assert weights_id(stored) != weights_id(network)
    picture = torch.full((1, 3, 4, 4), 200, dtype=torch.uint8)
    assert not torch.allclose(network(picture), stored(picture))
    fill(network, to_arrays(stored))
    assert torch.equal(network(picture), stored(picture))
    assert weights_id(stored) == weights_id(network)


@pytest.mark.parametrize("name", VOLUMES)
def test_parameters_are_as_the_zoo_says(name: str) -> None:
    """Of a network from scratch all, for one channel and two classes; of a pretrained one its encoder's."""
    entry = entry_of(name)
    channels = entry["in_channels"] if entry["weights"] else 1
    two, three = (
        sum(
            p.numel()
            for p in build_3d(name, n_classes=n, in_channels=channels, size=entry["input_size"]).parameters()
        )
        for n in (2, 3)
    )
    head = 2 * (three - two) if entry["weights"] else 0
    assert two - head == entry["parameters"]


def test_stride_of_the_stem_shrinks_the_work() -> None:
    shapes = []
    for stride in (1, 2):
        network = build_3d("monai_resnet10", n_classes=2, in_channels=1, size=24, stem_stride=stride).eval()
        shapes.append(network.backbone.maps(torch.zeros(1, 1, 24, 24, 24))[0].shape[-1])
    assert shapes == [12, 6]


def test_random_weights_follow_the_seed_alone() -> None:
    def weight(seed: int) -> torch.Tensor:
        network = build_3d("monai_vit_tiny", n_classes=2, in_channels=1, size=24, seed=seed)
        return torch.cat([p.flatten() for p in network.parameters()])

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(weight(1), weight(1))
    assert not torch.equal(weight(1), weight(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_stages_do_not_move() -> None:
    network = build_2d("tf_efficientnet_lite0", n_classes=2)
    network.freeze_stages(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train()
    network(torch.rand(4, 3, 64, 64)).sum().backward()
    optimizer.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    frozen = ("conv_stem", "bn1", "blocks.0", "blocks.1")
    assert not {key for key in moved if key.removeprefix("backbone.").startswith(frozen)}
    assert any(key.startswith("backbone.blocks.2") for key in moved)
    assert "backbone.blocks.2.0.bn1.running_mean" in moved
    assert "backbone.classifier.weight" in moved


def test_every_convolution_that_meets_the_crop_takes_more_sequences() -> None:
    """STU-Net has a way around its first unit: the same volume twice gives what it gives alone."""
    volume = torch.randint(0, 255, (1, 1, 32, 32, 32), dtype=torch.uint8)
    one, two = (
        build_3d("stunet_small", n_classes=0, in_channels=channels, size=32, seed=3).eval()
        for channels in (1, 2)
    )
    with torch.no_grad():
        torch.testing.assert_close(two(volume.repeat(1, 2, 1, 1, 1)), one(volume), rtol=1e-4, atol=1e-5)
