from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.nets.architecture import Architecture, multiply_adds, seconds_per_crop
from autoonco.nets.builders import build_parametric
from autoonco.nets.parametric import AttentionLayer
from autoonco.nets.recipe import Recipe
from autoonco.nets.training import train
from autoonco.nets.zoo import entry_of
from autoonco.resources import load_space

DIMENSIONS = (2, 3)
SIZES = {2: (64, 128), 3: (24, 48)}


def drawn(dimensions: int, n: int, *, seed: int = 0) -> list[Architecture]:
    """Architectures of the space: of each only what is active in it."""
    space = load_space(f"parametric{dimensions}d")
    space.seed(seed)
    return [Architecture(**dict(c)) for c in space.sample_configuration(n + 1)[:n]]  # of one there is no list


def build(
    a: Architecture, dimensions: int, *, size: int, channels: int = 1, n_classes: int = 2, seed: int = 0
):
    name = f"parametric{dimensions}d"
    return build_parametric(name, a, n_classes=n_classes, in_channels=channels, size=size, seed=seed)


def counted(network: nn.Module, crops: torch.Tensor) -> int:
    """Count what the modules of a forward pass multiply, from the shapes they really met."""
    total = []

    def conv(module: nn.Module, _: object, out: torch.Tensor) -> None:
        total.append(out[0].numel() * module.weight[0].numel())

    def linear(module: nn.Module, _: object, out: torch.Tensor) -> None:
        total.append(out[0].numel() * module.in_features)

    def attention(_: nn.Module, inputs: tuple[torch.Tensor], __: object) -> None:
        tokens, channels = inputs[0].shape[1:]
        total.append(2 * tokens * tokens * channels)

    kinds = {nn.Conv2d: conv, nn.Conv3d: conv, nn.Linear: linear, AttentionLayer: attention}
    for module in network.modules():
        if type(module) in kinds:
            module.register_forward_hook(kinds[type(module)])
    with torch.no_grad():
        network.eval()(crops)
    return sum(total)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("seed", range(12))
def test_counted_work_is_the_work_done(dimensions: int, seed: int) -> None:
    """On a meta device: shapes alone."""
    (a,) = drawn(dimensions, 1, seed=seed) if seed else [Architecture()]
    size = SIZES[dimensions][seed % 2]
    network = build(a, dimensions, size=size, channels=3, n_classes=4).to("meta")
    crops = torch.empty(1, 3, *(size,) * dimensions, device="meta")
    expected = multiply_adds(a, dimensions=dimensions, in_channels=3, size=size, n_classes=4)
    assert counted(network, crops) == expected


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_any_architecture_trains_at_the_smallest_size(dimensions: int) -> None:
    size = SIZES[dimensions][0]
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (4, 2, *(size,) * dimensions), dtype=np.uint8)
    recipe = Recipe(epochs=1, learning_rate=1e-3, batch_size=4)
    cheap = [
        a
        for a in drawn(dimensions, 60)
        if multiply_adds(a, dimensions=dimensions, in_channels=2, size=size, n_classes=3) < 2e8
    ]
    chosen = [
        a for body in ("conv", "hybrid", "transformer") for a in [b for b in cheap if b.body == body][:3]
    ]
    assert len(chosen) == 9
    for a in chosen:
        network = build(a, dimensions, size=size, channels=2, n_classes=3)
        before = {key: value.clone() for key, value in network.named_parameters()}
        trained = train(
            network, crops, np.arange(4) % 3, recipe, n_classes=3, n_image_channels=2, until_epoch=1, seed=0
        )
        moved = {key for key, value in trained.named_parameters() if not torch.equal(value, before[key])}
        assert moved == set(before), a  # no part without use
        assert torch.isfinite(trained(torch.from_numpy(crops))).all()


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_a_case_hangs_on_its_company_only_by_batch_normalisation(norm: str) -> None:
    network = build(Architecture(norm=norm, width=16), 2, size=64).train()
    crops = torch.rand(4, 1, 64, 64)
    apart = not torch.allclose(network(crops)[:2], network(crops[:2]), atol=1e-5)
    assert apart == (norm == "batch")


def test_stages_never_shrink_maps_to_a_point() -> None:
    for size, stages, stride, stem in itertools.product(
        (24, 32, 48, 64, 128), (2, 3, 4), (1, 2, 4), ("conv", "patch")
    ):
        a = Architecture(stages=stages, stem_stride=stride, stem_patch=max(2, stride), stem=stem)
        sides = [stage.side for stage in a.plan(size)]
        assert sides == sorted(sides, reverse=True)
        assert min(sides) >= 3
        assert len(sides) == stages


def test_attention_tells_places_apart() -> None:
    """Without positions, the mean over tokens would not change when patches are swapped."""
    network = build(Architecture(body="transformer", width=16, patch_size=8), 2, size=32).eval()
    crop = torch.rand(1, 1, 32, 32)
    swapped = torch.cat([crop[..., 16:, :], crop[..., :16, :]], dim=2)
    assert not torch.allclose(network(crop), network(swapped), atol=1e-6)
    for parameter in network.backbone.attention.position.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(network(crop), network(swapped))


def test_squeeze_excite_sees_the_whole_map() -> None:
    """One residual block's output in a corner changes with a far corner only by squeeze and excite."""

    def corner(kind: str) -> bool:
        a = Architecture(channel_attention=kind, stages=1, width=8, stem_stride=1, norm="batch")
        block = build(a, 2, size=32).backbone.stages.eval()
        maps = torch.rand(1, 8, 32, 32)
        moved = maps.clone()
        moved[..., -4:, -4:] += 5
        return not torch.equal(block(maps)[..., 0, 0], block(moved)[..., 0, 0])

    assert corner("squeeze_excite")
    assert not corner("none")


def test_random_weights_follow_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        return build(Architecture(), 2, size=64, seed=seed).backbone.classifier.weight

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("dimensions", "channels"), [(2, 3), (3, 1)])
def test_zoo_and_space_agree_with_the_defaults(dimensions: int, channels: int) -> None:
    entry = entry_of(f"parametric{dimensions}d")
    network = build(Architecture(), dimensions, size=entry["input_size"], channels=channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]
    default = load_space(f"parametric{dimensions}d").get_default_configuration()
    assert Architecture(**default) == Architecture()


def test_no_inactive_knob_is_set_and_every_field_is_searched() -> None:
    fields = {field.name for field in dataclasses.fields(Architecture)}
    for dimensions in DIMENSIONS:
        space = load_space(f"parametric{dimensions}d")
        assert set(space) == fields
        space.seed(0)
        for config in space.sample_configuration(100):
            conv = config["body"] != "transformer"
            assert ("kernel" in config) == ("stem" in config) == conv
            assert ("patch_size" in config) == (not conv)
            assert ("layers" in config) == (config["body"] != "conv")
            assert ("stem_patch" in config) == (config.get("stem") == "patch")
            assert ("stem_stride" in config) == (config.get("stem") == "conv")


def test_prior_cost_grows_with_the_work() -> None:
    entry = entry_of("parametric3d")
    costs = [
        seconds_per_crop(entry, Architecture(width=width), in_channels=1, size=32, n_classes=2)
        for width in (16, 32, 48)
    ]
    assert costs == sorted(costs)
    assert costs[2] > 3 * costs[0]
