"""Each network of the zoo is what its YAML says, trains, and comes back from a model file as it went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from autoonco.errors import OfflineWeightsError, UnknownNameError
from autoonco.families.contract import ModelState
from autoonco.families.networks import fill, to_arrays
from autoonco.families.state import state_of, write_state
from autoonco.nets.access import Access, using
from autoonco.nets.builders import build_2d
from autoonco.nets.embeddings import LAYERS
from autoonco.nets.zoo import check_asked, entry_of, left_out, networks, side_for, with_weights

LARGE = 15e6
"""Parameters from which a network's tests are slow ones."""
ALL = {name: entry for name, entry in networks(2).items() if entry["builder"] == "timm"}
KINDS = (
    "convnext_atto", "densenet121", "eva02_tiny", "maxvit_tiny", "mobilenetv3_small_100", "regnety_008", "resnet18",
    "swin_tiny", "tf_efficientnet_lite0", "vit_small_dinov2", "vit_small_dinov3", "vit_tiny",
)  # fmt: skip
"""A small network of each kind of features."""
LICENCES = {"Apache-2.0", "BSD-3-Clause", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "DINOv3", "MIT", "unknown"}


def marked(names: Any) -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] if ALL[name]["parameters"] > LARGE else [], id=name)
        for name in names
    ]


def twins() -> list[str]:
    """Return one network of each architecture: others differ from it in their weights alone."""
    shapes = {
        (entry["architecture"].partition(".")[0], str(entry.get("options"))): name
        for name, entry in ALL.items()
    }
    return sorted(shapes.values())


def test_the_zoo_covers_the_kinds_of_networks() -> None:
    assert len(ALL) >= 23
    for kind in (
        "mobilenetv3", "efficientnet", "resnet18", "resnet50", "regnet", "densenet121", "convnext", "vit", "swin",
        "maxvit", "eva02",
    ):  # fmt: skip
        assert any(kind in entry["architecture"] for entry in ALL.values()), kind
    for weights in ("dino", "dinov2", "dinov3", "clip", "mae"):
        assert any(f"vit_base_{weights}" == name for name in ALL), weights


@pytest.mark.parametrize("name", ALL)
def test_entry_says_what_it_must(name: str) -> None:
    entry = ALL[name]
    weights = entry["weights"]
    assert {"title", "input", "input_size", "parameters", "cost"} <= set(entry)
    assert {"classes", "file", "source", "licence", "gated", "sha256"} <= set(weights)
    assert len(entry["mean"]) == len(entry["std"]) == 3
    assert entry["input"] in ("any", "fixed")
    assert weights["licence"] in LICENCES
    assert isinstance(weights["gated"], bool)
    assert 0 < entry["cost"]["forward"] < entry["cost"]["train"] < 20
    if "package" in weights:
        assert len(weights["sha256"]) == 64
    else:  # nobody here has seen the file
        assert weights["sha256"] is None
        assert weights["source"] == f"https://huggingface.co/{weights['hub']}"


@pytest.mark.parametrize(
    "name", [name for name, e in ALL.items() if e["weights"].get("hub", "").startswith("timm/")]
)
def test_entry_agrees_with_what_timm_says_of_its_weights(name: str) -> None:
    entry = ALL[name]
    told = timm.models.get_pretrained_cfg(entry["architecture"])
    assert entry["weights"]["hub"] == told.hf_hub_id
    assert entry["weights"]["classes"] == told.num_classes
    assert (tuple(entry["mean"]), tuple(entry["std"])) == (told.mean, told.std)
    assert entry["input_size"] == told.input_size[-1]
    assert entry["weights"]["licence"].lower().removesuffix("-license") == told.license.removesuffix(
        "-license"
    )


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_those_of_the_network_with_its_own_classifier(name: str) -> None:
    entry = ALL[name]
    with torch.device("meta"):  # counted without being filled
        network = timm.create_model(
            entry["architecture"], num_classes=entry["weights"]["classes"], **entry.get("options", {})
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == entry["parameters"]


@pytest.mark.parametrize("name", marked(twins()))
def test_network_trains_a_step_and_comes_back_from_a_model_file(name: str, tmp_path: Path) -> None:
    size = 224 if ALL[name]["input"] == "fixed" else 64
    network = build_2d(name, n_classes=3, drop_path_rate=0.1)
    pictures = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    ends = [f"backbone.{network.backbone.pretrained_cfg[key]}.weight" for key in ("first_conv", "classifier")]
    before = [network.get_parameter(key).detach().clone() for key in ends]
    network.train()
    torch.nn.functional.cross_entropy(network(pictures), torch.tensor([0, 2])).backward()
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    # not all at once: where a norm starts at a weight of zero, what is before it gets no gradient yet
    assert sum(bool(gradient.any()) for gradient in gradients) > 0.2 * len(list(network.parameters()))
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    for key, value in zip(ends, before, strict=True):
        assert not torch.equal(network.get_parameter(key), value), key
    network.zero_grad()  # large ones need the room
    network.eval()

    write_state(tmp_path, ModelState(meta={"build": network.build}, tensors=to_arrays(network)))
    state = state_of({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    again = build_2d(**state.meta["build"], seed=1)
    fill(again, state.tensors)
    with torch.inference_mode():
        assert network(pictures).isfinite().all()
        assert torch.equal(again(pictures), network(pictures))


@pytest.mark.parametrize("name", twins())
def test_blocks_hold_every_parameter_once_from_stem_to_classifier(name: str) -> None:
    with torch.device("meta"):  # names and shapes alone count
        network = build_2d(name, n_classes=3)
    for coarse in (False, True):
        blocks = network.blocks(coarse=coarse)
        held = [key for block in blocks for key in block]
        assert sorted(held) == sorted(key for key, _ in network.named_parameters())
        assert len(blocks) >= 5
        assert f"backbone.{network.backbone.pretrained_cfg['first_conv']}.weight" in blocks[0]
        assert f"backbone.{network.backbone.pretrained_cfg['classifier']}.weight" in blocks[-1]
        assert sum(value.numel() for value in blocks[0].values()) < 0.2 * sum(
            value.numel() for value in network.parameters()
        )


@pytest.mark.parametrize("name", marked(KINDS))
def test_poolings_are_those_of_the_features(name: str) -> None:
    """One pass gives all poolings and layers; the last layer's are recomputed from timm's own features."""
    network = build_2d(name, n_classes=0).eval()
    side = 224 if ALL[name]["input"] == "fixed" else 2 * side_for(ALL[name], 32)
    pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    with torch.inference_mode():
        every = network.embed_all(pictures, layers=LAYERS)
        values = network.scale(pictures)
        last = network.backbone.forward_features(values)
        torch.testing.assert_close(every["native"], network(pictures))
        if last.ndim == 3:
            n_prefix = network.backbone.num_prefix_tokens
            torch.testing.assert_close(every["cls@-1"], last[:, 0])
            torch.testing.assert_close(every["mean@-1"], last[:, n_prefix:].mean(1))
        else:
            maps = last.permute(0, 3, 1, 2) if getattr(network.backbone, "output_fmt", "") == "NHWC" else last
            torch.testing.assert_close(every["mean@-1"], maps.mean((2, 3)))
        joined = network.embed(pictures, pooling="mean", layers=(-1, -2))
        torch.testing.assert_close(joined, torch.cat([every["mean@-1"], every["mean@-2"]], 1))
    assert set(every) == {"native"} | {f"{p}@{k}" for p in network.poolings[1:] for k in LAYERS}
    assert all((every[f"gem@{k}"] >= every[f"mean@{k}"] - 1e-5).all() for k in LAYERS)  # power means grow
    assert every["native"].shape[1] == network.num_features


def test_the_layer_before_the_last_is_what_its_block_gives() -> None:
    network = build_2d("vit_tiny", n_classes=0).eval()
    held = []
    network.backbone.blocks[-2].register_forward_hook(lambda *args: held.append(args[2]))
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        every = network.embed_all(pictures, layers=(-1, -2))
        torch.testing.assert_close(every["cls@-2"], network.backbone.norm(held[0])[:, 0])


@pytest.mark.parametrize("name", ["vit_tiny", "eva02_tiny", "convnext_atto", "swin_tiny"])
@pytest.mark.parametrize("size", [8, 100, 160])
def test_any_size_of_picture_goes_through(name: str, size: int) -> None:
    network = build_2d(name, n_classes=2).eval()
    pictures = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        assert network(pictures).isfinite().all()


def test_positions_of_another_size_are_interpolated() -> None:
    """A picture twice as large, of the same content, has nearly the same token of its class."""
    network = build_2d("vit_tiny", n_classes=0).eval()
    grid = torch.linspace(0, 1, 14)
    network.backbone.pos_embed.data[:, 1:] = (grid[:, None] + grid[None, :]).reshape(1, -1, 1)
    seen: list[torch.Tensor] = []
    network.backbone.norm_pre.register_forward_hook(lambda *args: seen.append(args[1][0]))
    with torch.inference_mode():
        for size in (112, 224):
            network(torch.full((1, 3, size, size), 128, dtype=torch.uint8))
    small, large = (tokens[0, 1:, 0] - tokens[0, 1:, 0].mean() for tokens in seen)
    assert len(small) == 49
    assert len(large) == 196
    coarse = torch.nn.functional.avg_pool2d(large.reshape(1, 1, 14, 14), 2).flatten()
    torch.testing.assert_close(small, coarse, atol=0.05, rtol=0)


def test_a_licence_decides_and_is_told(tmp_path: Path) -> None:
    permissive = left_out(2)
    assert (
        "CC-BY-NC-4.0 is not allowed; `--allow-licences permissive,CC-BY-NC-4.0`"
        in permissive["vit_base_mae"]
    )
    assert "weights fetch resnet18 --weights-dir" in permissive["resnet18"]
    with using(Access(licences=("any",))):
        assert "not on this machine" in left_out(2)["vit_base_mae"]
        assert "ask for access at https://huggingface.co/MahmoodLab/UNI" in left_out(2)["uni"]
    with using(Access(licences=("MIT",))):
        assert with_weights(2) == ()
        assert "Apache-2.0 is not allowed" in left_out(2)["tf_efficientnet_lite0"]
    assert with_weights(2)[0] == "tf_efficientnet_lite0"


def test_a_network_asked_for_by_name_has_to_be_there() -> None:
    access = Access(networks=("tf_efficientnet_lite1",))
    check_asked(access)
    with using(access):
        assert with_weights(2) == ("tf_efficientnet_lite1",)
        assert "not among" in left_out(2)["tf_efficientnet_lite0"]
    with pytest.raises(OfflineWeightsError, match="autoonco weights fetch vit_base_dino --weights-dir"):
        check_asked(Access(networks=("tf_efficientnet_lite0", "vit_base_dino")))
    with pytest.raises(OfflineWeightsError, match="allow-licences"):
        check_asked(Access(networks=("vit_base_dinov3",)))
    with pytest.raises(UnknownNameError, match="vit_base_dino"):
        check_asked(Access(networks=("vit_base_dyno",)))


def test_using_ends_with_its_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOONCO_ALLOW_LICENCES", "permissive,DINOv3")
    before = Access.current()
    assert before.licences == ("permissive", "DINOv3")
    inner = Access.of(weights_dir=tmp_path, networks=["resnet18"])
    assert inner == Access(folder=tmp_path, licences=before.licences, networks=("resnet18",))
    with using(inner):
        assert Access.current() == inner
    assert Access.current() == before


def test_cost_follows_the_side_that_is_worked_on() -> None:
    from autoonco.nets.zoo import seconds_per_crop

    fixed, free = entry_of("maxvit_tiny"), entry_of("resnet18")
    assert seconds_per_crop(fixed, size=96, train=True) == seconds_per_crop(fixed, size=224, train=True)
    assert np.isclose(
        seconds_per_crop(free, size=112, train=True), seconds_per_crop(free, size=224, train=True) / 4
    )


def test_allowing_nothing_is_not_the_default_and_a_text_is_not_its_letters() -> None:
    assert Access.of(allow_licences="MIT, CC-BY-NC-4.0").licences == ("MIT", "CC-BY-NC-4.0")
    assert Access.of(networks="resnet18").networks == ("resnet18",)
    for access in (Access(licences=()), Access(networks=())):
        with using(access):
            assert Access.current() == access
            assert not with_weights(2)


@pytest.mark.parametrize("name", ["radimagenet_densenet121", "radimagenet_resnet50"])
def test_radimagenet_sees_grey_values_as_its_authors_trained_it(name: str) -> None:
    """``(image - 127.5) * 2 / 255`` in their notebooks (github.com/BMEII-AI/RadImageNet)."""
    scale = build_2d(name, n_classes=0).scale
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(scale(grey), (grey.float() - 127.5) * 2 / 255)
