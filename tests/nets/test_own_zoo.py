"""Networks of one's own, as `docs/extending.md` tells a stranger to add them: the example's files as they stand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.errors import AutoOncoError, UnknownNameError, WeightsError
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.embedder import frozen_embedder
from autoonco.families.pretrained2d import Pretrained2D, probe_of
from autoonco.families.volumetric3d import Volumetric3D
from autoonco.nets import own_zoo
from autoonco.nets.access import Access, using
from autoonco.nets.builders import build_2d, build_3d
from autoonco.nets.fetching import fetch, verify
from autoonco.nets.zoo import left_out, networks, own
from autoonco.resources import load_zoo
from tests.fingerprints import PICTURES

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "custom_network"
VOLUMES = ("small_cubes", "thin_resnet")
SCANS = replace(PICTURES, ndim=3, spacing_mm=(2.0, 1.0, 1.0), shape=(28, 48, 48))


def forget() -> None:
    own_zoo._own.cache_clear()
    own_zoo._every.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the example that this process looks for networks in, until the test is over."""
    shutil.copytree(EXAMPLE, tmp_path / "networks", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv(own_zoo.OWN_ZOO, str(tmp_path / "networks"))
    return tmp_path / "networks"


def test_without_the_variable_there_are_the_packaged_networks_alone(monkeypatch):
    monkeypatch.delenv(own_zoo.OWN_ZOO, raising=False)
    assert own_zoo.environment() == {own_zoo.OWN_ZOO: ""}
    assert own_zoo.every_network() == load_zoo()
    assert own(2) == own(3) == ()


def test_own_networks_stand_beside_the_packaged_ones(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv(own_zoo.OWN_ZOO, "networks")
    assert own_zoo.environment() == {own_zoo.OWN_ZOO: str(folder)}  # a worker may stand elsewhere
    assert own(3) == VOLUMES
    assert set(networks(3)) - set(load_zoo()) == set(VOLUMES)
    assert set(networks(2)) - set(load_zoo()) == {"our_resnet"}
    assert "weights fetch our_resnet --from FILE" in left_out(2)["our_resnet"]


@pytest.mark.parametrize("name", VOLUMES)
def test_an_own_network_for_volumes_learns_and_its_parts_are_known(folder, name):
    network = build_3d(name, n_classes=2, in_channels=1, mask_channels=1, size=(12, 24, 24))
    crops = torch.randint(0, 256, (3, 2, 12, 24, 24), dtype=torch.uint8)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        losses.append(torch.nn.functional.cross_entropy(network(crops), torch.tensor([0, 1, 1])))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    held = [key for block in network.blocks(coarse=True) for key in block]
    assert sorted(held) == sorted(key for key, _ in network.named_parameters())
    again = build_3d(**network.build)  # what a model file does
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        assert torch.equal(network.eval()(crops), again.eval()(crops))


def test_own_networks_for_volumes_always_compete(folder):
    defaults = Volumetric3D().defaults(SCANS)
    assert set(VOLUMES) <= set(Volumetric3D().space(SCANS)["network"].choices)
    strided = {config.get("network"): "stem_stride" in config for config in defaults}
    assert strided["thin_resnet"]
    assert not strided["small_cubes"]


def test_own_weights_are_taken_in_used_and_always_compete(folder, tmp_path):
    torch.manual_seed(0)
    trained = timm.create_model("resnet10t", num_classes=4)
    save_file(trained.state_dict(), tmp_path / "ours.safetensors")
    fetch("our_resnet", tmp_path / "weights", given=tmp_path / "ours.safetensors")
    with using(Access.of(weights_dir=tmp_path / "weights")):
        assert own(2) == ("our_resnet",)
        assert verify(None)["our_resnet"] is None
        network = build_2d("our_resnet", n_classes=2, pretrained=True)
        for key, value in trained.state_dict().items():
            if not key.startswith("fc."):
                assert torch.equal(network.backbone.state_dict()[key], value), key
        tried = [config["network"] for config in Pretrained2D().defaults(PICTURES)]
        assert "our_resnet" in tried


def test_an_own_network_of_three_stages_is_probed_in_all_it_has(folder, tmp_path):
    """As the default asks for four; nor does this one know stochastic depth, which nothing in its file says."""
    change(folder / "our_resnet.yaml", architecture="efficientvit_m0", input="fixed", input_size=224)
    torch.manual_seed(0)
    trained = timm.create_model("efficientvit_m0", num_classes=4)
    save_file(trained.state_dict(), tmp_path / "ours.safetensors")
    fetch("our_resnet", tmp_path / "weights", given=tmp_path / "ours.safetensors")
    cases = []
    for row in range(4):
        values = np.random.default_rng(row).integers(0, 100 + 50 * (row % 2), (32, 32), np.uint8)
        Image.fromarray(values).save(tmp_path / f"{row}.png")
        cases.append(
            Case(case=str(row), patient=str(row), row=row, images={"image": tmp_path / f"{row}.png"})
        )
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"))
    context = FitContext(runtime=runtime, fingerprint=PICTURES, seed=0)
    with using(Access.of(weights_dir=tmp_path / "weights")):
        (config,) = (c for c in Pretrained2D().defaults(PICTURES) if c["network"] == "our_resnet")
        assert {**config, **probe_of("our_resnet")} == config
        model = Pretrained2D().fit(
            config, cases, np.arange(4) % 2, fidelity=Fidelity(folds=1), context=context
        )
        beside = frozen_embedder(config, context)
        build_2d("our_resnet", n_classes=2, pretrained=True, drop_path_rate=0.1)
    assert model.embed(cases).shape == (4, 64 + 128 + 192)  # the channels of its stages
    assert model.features.n_layers == 3
    np.testing.assert_array_equal(beside.embed(cases), model.embed(cases))


def test_own_weights_of_another_network_are_refused(folder, tmp_path):
    other = timm.create_model("resnet18", num_classes=4)
    save_file(other.state_dict(), tmp_path / "ours.safetensors")
    with pytest.raises(WeightsError, match="our_resnet does not fit"):
        fetch("our_resnet", tmp_path / "weights", given=tmp_path / "ours.safetensors")


def test_an_own_architecture_for_pictures_is_one_that_timm_is_told_of(folder, tmp_path):
    change(folder / "our_resnet.yaml", architecture="slim_resnet", code="slim_resnet.py")
    trained = build_2d("our_resnet", n_classes=4, drop_path_rate=0.1)
    assert sum(p.numel() for p in trained.backbone.parameters()) < 1e6  # resnet10t has five millions
    tensors = {key: value.contiguous() for key, value in trained.backbone.state_dict().items()}
    save_file(tensors, tmp_path / "ours.safetensors")
    fetch("our_resnet", tmp_path / "weights", given=tmp_path / "ours.safetensors")
    with using(Access.of(weights_dir=tmp_path / "weights")):
        again = build_2d("our_resnet", n_classes=2, in_channels=1, mask_channels=1, pretrained=True)
    assert torch.equal(again.backbone.layer2[0].conv1.weight, trained.backbone.layer2[0].conv1.weight)
    assert again(torch.zeros(2, 2, 32, 32, dtype=torch.uint8)).shape == (2, 2)


def test_a_network_without_a_single_stem_sees_colours(folder):
    change(folder / "our_resnet.yaml", architecture="fastvit_t8")
    with torch.device("meta"):  # shapes alone count
        network = build_2d("our_resnet", n_classes=2)
        assert network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 2)
        with pytest.raises(ValueError, match="no single first convolution"):
            build_2d("our_resnet", n_classes=2, mask_channels=1)


FAULTS = {
    "no builder": ({"builder": None}, "`builder` should be str, got None"),
    "unknown builder": ({"builder": "monay"}, "Did you mean 'monai'"),
    "other dimensions": ({"dimensions": 2}, "makes networks of 3 dimensions, got 2"),
    "a text for a number": ({"input_size": "32"}, "`input_size` should be int, got '32'"),
    "options in a list": ({"options": [1]}, "`options` should be a mapping, got [1]"),
    "no cost": ({"cost": None}, "`cost` should be dict"),
    "half a cost": ({"cost": {"size": 32, "forward": 0.1}}, "`cost` should have a number for train"),
    "a list of means without weights": ({"mean": [0.5]}, "`mean` should be a number, got [0.5]"),
    "weights in a word": ({"weights": "mine"}, "`weights` should be a mapping"),
    "weights of unknown channels": ({"weights": {}}, "a number `in_channels`"),
    "one std for two channels": (
        {"weights": {}, "in_channels": 2, "mean": [0.5, 0.5], "std": [0.5]},
        "`std` should be a list of 2",
    ),
    "code that is not there": ({"code": "else.py"}, "should be a .py file beside it, got 'else.py'"),
    "code without the function": (
        {"code": "small_cubes.py", "architecture": "smal_cubes"},
        "Did you mean 'small_cubes'",
    ),
}


def change(path: Path, **values: object) -> None:
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(entry | values), encoding="utf-8")
    forget()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_told_with_file_and_key(folder, fault):
    values, told = FAULTS[fault]
    change(folder / "thin_resnet.yaml", **values)
    with pytest.raises(AutoOncoError) as caught:
        own_zoo.every_network()
    assert "thin_resnet" in str(caught.value)
    assert told in str(caught.value)
    assert str(folder) not in str(caught.value)


def test_other_mistakes_with_the_folder_are_told(folder, monkeypatch):
    (folder / "small_cubes.py").write_text("def small_cubes(:", encoding="utf-8")
    with pytest.raises(AutoOncoError, match=r"small_cubes\.py, the code of small_cubes, is no Python"):
        own_zoo.every_network()
    shutil.copy(EXAMPLE / "small_cubes.py", folder)
    (folder / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(AutoOncoError, match=r"broken\.yaml is no YAML"):
        own_zoo.every_network()
    (folder / "broken.yaml").rename(folder / "resnet18.yaml")
    shutil.copy(folder / "thin_resnet.yaml", folder / "resnet18.yaml")
    with pytest.raises(AutoOncoError, match="'resnet18', a name that is taken"):
        own_zoo.every_network()
    (folder / "resnet18.yaml").unlink()
    change(folder / "thin_resnet.yaml", architecture="resnett")
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet'"):
        build_3d("thin_resnet", n_classes=2, in_channels=1, size=16)
    monkeypatch.setenv(own_zoo.OWN_ZOO, str(folder / "none"))
    with pytest.raises(AutoOncoError, match="names 'none', which is no folder"):
        own_zoo.every_network()
