"""Each 3D network of the zoo is what its YAML says, has the face of every network, and follows its crops' spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.data.cache import ArtefactCache
from autoonco.data.fingerprint import Intensity
from autoonco.data.preprocessing import VolumeView
from autoonco.families.contract import Runtime
from autoonco.families.cubes import ANY_SIZE
from autoonco.families.networks import TrainedNetwork, fill, to_arrays
from autoonco.families.state import state_of, write_state
from autoonco.families.volumetric3d import family
from autoonco.nets.builders import build_2d, build_3d
from autoonco.nets.checkpointing import activation_bytes, asks_for_it
from autoonco.nets.inputs import InputSpec
from autoonco.nets.lora import add_low_rank, merge_low_rank
from autoonco.nets.recipe import Recipe
from autoonco.nets.spacing import PaddedShortcut
from autoonco.nets.strides import steps
from autoonco.nets.training import train
from autoonco.nets.volumes import TokenBackbone
from autoonco.nets.zoo import entry_of, networks, seconds_per_crop

ALL = {name: entry for name, entry in networks(3).items() if entry["builder"] != "parametric"}
LARGE = 15e6
"""Parameters from which a network's tests are slow ones."""
KINDS = (
    "inflated_lite0", "monai_densenet121", "monai_efficientnet_b0", "monai_resnet10", "monai_swin24", "monai_vit_tiny",
    "stunet_small",
)  # fmt: skip
"""A small network of each kind of features."""


HEAVY = (
    "inflated_lite1", "inflated_lite2", "medicalnet_resnet10", "monai_densenet121", "monai_efficientnet_b0",
    "monai_swin48", "suprem_swin", "swin_unetr_ssl",
)  # fmt: skip
"""Smaller networks whose tests are slow ones too: another is like them but for weights or size, or they take long."""


def marked(names: Any) -> list[Any]:
    return [
        pytest.param(
            name,
            marks=[pytest.mark.slow] if ALL[name]["parameters"] > LARGE or name in HEAVY else [],
            id=name,
        )
        for name in names
    ]


def built(name: str, size: Any = 24, *, n_classes: int = 2, **more: Any) -> Any:
    channels = more.pop("in_channels", int(ALL[name].get("in_channels", 1)))
    return build_3d(name, n_classes=n_classes, in_channels=channels, size=size, **more)


def volumes(name: str, size: Any = 24, n: int = 4, channels: int | None = None) -> np.ndarray:
    sides = (size,) * 3 if isinstance(size, int) else size
    channels = channels or int(ALL[name].get("in_channels", 1))
    return np.random.default_rng(0).integers(0, 255, (n, channels, *sides), dtype=np.uint8)


def test_the_zoo_covers_the_kinds_of_networks() -> None:
    scratch = {name for name, entry in ALL.items() if not entry["weights"]}
    assert scratch == {
        "monai_resnet10", "monai_resnet18", "monai_resnet34", "monai_resnet50", "monai_seresnet50", "monai_densenet121",
        "monai_efficientnet_b0", "monai_vit_tiny", "monai_vit_small", "monai_vit_base", "monai_swin24", "monai_swin48",
        "monai_unetr",
    }  # fmt: skip
    for kind in ("medicalnet", "swin_unetr_ssl", "suprem", "stunet", "ct_fm", "merlin", "astra", "inflated"):
        assert any(name.startswith(kind) for name in set(ALL) - scratch), kind


@pytest.mark.parametrize("name", ALL)
def test_entry_says_what_it_must(name: str) -> None:
    entry = ALL[name]
    assert {"title", "input_size", "parameters", "cost", "mean", "std"} <= set(entry)
    assert 0 < entry["cost"]["forward"] < entry["cost"]["train"] < 5
    assert entry["cost"]["size"] == 32
    if not (weights := entry["weights"]):
        return
    assert len(entry["mean"]) == len(entry["std"]) == entry["in_channels"]
    assert {"file", "source", "licence", "gated", "sha256"} <= set(weights)
    if "inflates" in entry:  # one file, so one description of it
        flat = entry_of(entry["inflates"])
        assert weights == {key: value for key, value in flat["weights"].items() if key != "classes"}
        assert (entry["mean"], entry["std"]) == (flat["mean"], flat["std"])
    else:  # nobody here has seen the file
        assert weights["sha256"] is None
        assert weights["licence"] in ("MIT", "Apache-2.0", "unknown")
        assert "hub" not in weights or weights["source"] == f"https://huggingface.co/{weights['hub']}"


@pytest.mark.parametrize("name", marked(ALL))
def test_parameters_are_as_the_zoo_says(name: str) -> None:
    entry = ALL[name]
    network = built(name, entry["input_size"], n_classes=0 if entry["weights"] else 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]


@pytest.mark.parametrize("name", marked(ALL))
def test_it_trains_goes_on_exactly_and_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    crops, y = volumes(name), np.arange(4) % 2
    recipe = Recipe(epochs=2, learning_rate=1e-3, batch_size=4)

    def run(until: int, checkpoint: Path | None) -> Any:
        network = built(name)
        how = {"n_classes": 2, "n_image_channels": 1, "seed": 0, "checkpoint": checkpoint}
        return train(network, crops, y, recipe, until_epoch=until, **how)

    trained, seen = run(2, None), torch.from_numpy(crops)
    run(1, tmp_path)
    continued = run(2, tmp_path)
    with torch.inference_mode():
        expected = trained(seen)
        torch.testing.assert_close(continued(seen), expected, rtol=1e-6, atol=1e-6)
    before = dict(built(name).named_parameters())
    still = {key for key, value in trained.named_parameters() if torch.equal(value, before[key])}
    # what comes before an instance's or a layer's mean is taken off has no gradient but rounding
    assert not {key for key in still if not key.endswith("bias")}
    spec = InputSpec(intensity={"ct": Intensity.UNIT}, view=VolumeView(size=24), ndim=3)
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"))
    model = TrainedNetwork(network=trained, build=trained.build, spec=spec, runtime=runtime)
    write_state(tmp_path / "model", model.state())
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    restored = family.restore(state_of(files), runtime)
    with torch.inference_mode():
        assert torch.equal(restored.network(seen), expected)


@pytest.mark.parametrize("name", marked(ALL))
def test_blocks_hold_each_parameter_once_and_end_with_the_head(name: str) -> None:
    network = built(name)
    for coarse in (False, True):
        blocks = network.blocks(coarse=coarse)
        names = [key for block in blocks for key in block]
        assert sorted(names) == sorted(key for key, _ in network.named_parameters())
        assert "backbone.classifier.weight" in blocks[-1]
        stem = next(module for module in network.backbone.net.modules() if isinstance(module, nn.Conv3d))
        assert any(value is stem.weight for value in blocks[0].values()) or name.startswith("stunet")
        assert len(blocks) >= 5


@pytest.mark.parametrize("name", marked(KINDS))
def test_layers_are_embedded_and_the_state_brings_them_back(name: str) -> None:
    network = built(name, n_classes=0).eval()
    crops = torch.from_numpy(volumes(name, n=2))
    with torch.inference_mode():
        found = network.embed_all(crops, layers=(-1, -2))
        assert found["native"].shape == (2, network.num_features)
        assert torch.equal(network(crops), found["native"])
        again = built(name, n_classes=0, seed=1)
        assert not torch.equal(again.eval()(crops), found["native"])
        fill(again, to_arrays(network))
        assert torch.equal(again(crops), found["native"])
    token = isinstance(network.backbone, TokenBackbone) and network.backbone.num_prefix_tokens
    assert ("cls@-1" in found) == bool(token)
    if token:
        assert torch.equal(found["cls@-1"], found["native"])


@pytest.mark.parametrize("name", KINDS)
def test_a_thin_axis_is_reduced_last(name: str) -> None:
    """Of 8 layers and 32 rows, the first two steps halve the rows alone."""
    network = built(name, (8, 32, 32)).eval()
    with torch.inference_mode():
        maps = network.backbone.maps(network.prepared(torch.from_numpy(volumes(name, (8, 32, 32), n=2))))
    for layer in maps:
        depth, height, width = layer.shape[2:]
        assert height == width
        assert depth <= height
        if height > 8:  # rows have not caught up yet
            assert depth == 8


@pytest.mark.parametrize(
    "name",
    [name for name, entry in ALL.items() if not entry["weights"] and entry["architecture"] in ANY_SIZE],
)
def test_crops_of_half_the_size_pass_through(name: str) -> None:
    """As far as the space lets a training begin coarse: the least size that can be halved, thin crops too."""
    for sides, half in (((32, 32, 32), (16, 16, 16)), ((8, 32, 32), (8, 16, 16))):
        with torch.inference_mode():
            logits = built(name, sides).eval()(torch.zeros(1, 1, *half, dtype=torch.uint8))
        assert logits.shape == (1, 2)


def test_strides_of_cubes_are_the_networks_own() -> None:
    assert steps((32, 32, 32), 4) == [(2, 2, 2)] * 4
    assert steps((3, 48, 48), 5) == [(1, 2, 2)] * 4 + [(2, 2, 2)]
    network = built("monai_resnet10", 32)
    assert network.backbone.net.conv1.stride == (2, 2, 2)
    assert network.backbone.net.layer4[0].conv1.stride == (2, 2, 2)


@pytest.mark.parametrize("name", ["monai_resnet10", "monai_swin24"])
def test_stride_of_the_stem_shrinks_the_work(name: str) -> None:
    fine, coarse = (
        built(name, 24, stem_stride=stride).eval().backbone.maps(torch.zeros(1, 1, 24, 24, 24))[0].shape[-1]
        for stride in (1, 2)
    )
    assert fine == 2 * coarse


def test_a_volume_of_equal_slices_is_seen_as_its_picture() -> None:
    """The inflated network on a volume constant along the depth gives the 2D network's features (I3D)."""
    flat = build_2d("tf_efficientnet_lite0", n_classes=0, pretrained=True).eval()
    deep = built("inflated_lite0", (16, 64, 64), n_classes=0, pretrained=True).eval()
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8))
    stacked = pictures.unsqueeze(2).expand(-1, -1, 16, -1, -1).contiguous()
    with torch.inference_mode():
        expected, got = (
            net.embed_all(x, layers=(-1, -2, -3)) for net, x in ((flat, pictures), (deep, stacked))
        )
    for name, features in expected.items():
        torch.testing.assert_close(got[name], features, rtol=1e-4, atol=1e-4)
    changed = stacked.clone()
    changed[:, :, 8:] = 0
    with torch.inference_mode():
        assert not torch.allclose(deep(changed), got["native"], atol=1e-2)


def test_pretrained_weights_take_other_channels_and_masks() -> None:
    """Two channels of the same grey are that grey three times; a mask says nothing at first."""
    grey = torch.from_numpy(volumes("inflated_lite0", 32, n=1, channels=1))
    mask = torch.full_like(grey, 255)
    one = built("inflated_lite0", 32, n_classes=0, pretrained=True).eval()
    two = built("inflated_lite0", 32, n_classes=0, in_channels=2, mask_channels=1, pretrained=True).eval()
    with torch.inference_mode():
        expected = one(grey.expand(-1, 3, -1, -1, -1))
        torch.testing.assert_close(two(torch.cat([grey, grey, mask], dim=1)), expected, rtol=1e-4, atol=1e-4)


def test_shortcuts_without_weights_let_gradients_through() -> None:
    shortcut = PaddedShortcut(4, (2, 2, 2))
    x = torch.rand(1, 2, 4, 4, 4, requires_grad=True)
    out = shortcut(x)
    assert out.shape == (1, 4, 2, 2, 2)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2, ::2])
    assert not out[:, 2:].any()
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.sum() == 2 * 8


@pytest.mark.parametrize("name", ["monai_densenet121", "monai_vit_tiny", "monai_efficientnet_b0"])
def test_computing_again_changes_no_gradient_and_no_statistic(name: str) -> None:
    def once(again: bool) -> dict[str, torch.Tensor]:
        network = built(name, 16).train()
        network.backbone.set_grad_checkpointing(again)
        torch.manual_seed(0)
        network(torch.from_numpy(volumes(name, 16))).square().sum().backward()
        state = {f"state {key}": value for key, value in network.state_dict().items()}
        return state | {key: value.grad for key, value in network.named_parameters()}

    kept, made = once(again=False), once(again=True)
    assert set(kept) == set(made)
    for key, value in kept.items():
        assert torch.equal(value, made[key]), key


def test_computing_again_is_asked_for_by_memory_and_saves_it() -> None:
    network = built("monai_densenet121", 32)
    needed = activation_bytes(network, (1, 32, 32, 32))
    assert not asks_for_it(network, (1, 32, 32, 32), batch_size=4, free_bytes=40 * needed)
    assert asks_for_it(network, (1, 32, 32, 32), batch_size=4, free_bytes=4 * needed)
    network.backbone.set_grad_checkpointing()
    assert activation_bytes(network, (1, 32, 32, 32)) < needed / 2


@pytest.mark.parametrize("name", ["monai_swin24", "monai_vit_tiny"])
def test_low_rank_changes_find_the_attention_of_volumes(name: str) -> None:
    network = built(name)
    before = network(torch.from_numpy(volumes(name, n=2)))
    found = add_low_rank(network, rank=2, alpha=4, targets="attention", seed=0)
    assert found
    assert all(".attn." in layer for layer in found)
    learning = {key for key, value in network.named_parameters() if value.requires_grad}
    head = set(network.blocks()[-1])
    assert all(key.endswith((".up", ".down")) for key in learning - head)
    assert "backbone.classifier.weight" in learning & head
    torch.testing.assert_close(merge_low_rank(network)(torch.from_numpy(volumes(name, n=2))), before)


def test_frozen_stages_do_not_move() -> None:
    network = built("inflated_lite0", 32)
    network.freeze_stages(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    network(torch.rand(2, 3, 32, 32, 32)).square().sum().backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    frozen = ("backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0", "backbone.net.blocks.1.")
    assert not {key for key in moved if key.startswith(frozen)}
    assert any(key.startswith("backbone.net.blocks.2") for key in moved)


def test_positions_and_tokens_do_not_decay() -> None:
    network = built("monai_vit_tiny")
    names = {f"backbone.{name}" for name in network.backbone.no_weight_decay()}
    assert names <= {key for key, _ in network.named_parameters()}
    assert len(names) == 2


def test_cost_follows_the_voxels() -> None:
    entry = entry_of("monai_resnet10")
    cube = seconds_per_crop(entry, size=32, train=True)
    assert cube == entry["cost"]["train"]
    assert seconds_per_crop(entry, size=(8, 32, 32), train=True) == pytest.approx(cube / 4)
    assert seconds_per_crop(entry, size=64, train=True) == pytest.approx(cube * 8)
