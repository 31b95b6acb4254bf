"""ONNX files give what their networks give, for any number of crops, and are refused where they would not."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoonco.errors import ExportError, MissingDependencyError
from autoonco.nets import onnx_export as module
from autoonco.nets.builders import Network, build_2d, build_3d
from autoonco.nets.onnx_export import to_onnx
from autoonco.nets.volumes import Anatomy, VolumeBackbone

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def answer(path: Path, crops: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        None, {"crops": crops}
    )[0]


@pytest.mark.parametrize(
    ("name", "channels", "masks"),
    [
        ("tf_efficientnet_lite0", 3, 0),
        pytest.param("vit_tiny", 2, 1, marks=pytest.mark.slow),
        pytest.param("swin_tiny", 3, 0, marks=pytest.mark.slow),
    ],
)
def test_pictures(name: str, channels: int, masks: int, tmp_path: Path) -> None:
    network = build_2d(name, n_classes=3, in_channels=channels, mask_channels=masks, seed=4).eval()
    shape = (channels + masks, 64, 64)
    path = to_onnx(network, tmp_path / "net.onnx", shape, facts={"classes": ["a", "b", "c"]})
    rng = np.random.default_rng(1)
    for n in (1, 5):
        crops = rng.integers(0, 256, (n, *shape), np.uint8)
        with torch.inference_mode():
            expected = network(torch.from_numpy(crops)).numpy()
        assert expected.std() > 0
        np.testing.assert_allclose(answer(path, crops), expected, atol=1e-4, rtol=1e-4)
    (kept,) = onnx.load(path).metadata_props
    assert json.loads(kept.value) == {"classes": ["a", "b", "c"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["monai_resnet10", "monai_vit_tiny"])
def test_volumes(name: str, tmp_path: Path) -> None:
    network = build_3d(name, n_classes=2, in_channels=2, size=24).eval()
    path = to_onnx(network, tmp_path / "net.onnx", (2, 24, 24, 24))
    crops = np.random.default_rng(1).integers(0, 256, (2, 2, 24, 24, 24), np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops)).numpy()
    np.testing.assert_allclose(answer(path, crops), expected, atol=1e-4, rtol=1e-4)


class Drifting(torch.nn.Module):
    """Gives other numbers each time, as no exported copy could repeat."""

    calls = 0.0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        Drifting.calls += 1
        return values.mean((2, 3)) + Drifting.calls


def tiny(backbone: torch.nn.Module) -> Network:
    return Network(backbone, {"mean": 0.5, "std": 0.5}).eval()


def test_a_file_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="other numbers"):
        to_onnx(tiny(Drifting()), tmp_path / "net.onnx", (1, 8, 8))
    assert not list(tmp_path.iterdir())


def test_what_onnx_can_not_say_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bytes:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(module, "_traced", refuse)
    monkeypatch.setattr(module, "_captured", refuse)
    with pytest.raises(ExportError, match="no such operation"):
        to_onnx(tiny(torch.nn.Flatten()), tmp_path / "net.onnx", (1, 8, 8))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("gone", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"onnxruntime.*autoonco\[onnx\]"):
        to_onnx(tiny(torch.nn.Flatten()), tmp_path / "net.onnx", (1, 8, 8))


def test_a_classifier_writes_the_network_of_each_member(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from autoonco.families.embedded import Features
    from autoonco.nets.test_time import Views
    from autoonco.predictor import Predictor

    def spec(n_pictures: int) -> SimpleNamespace:
        return SimpleNamespace(in_channels=3, shape=(3 * n_pictures, 8, 8), to_json=lambda: {"size": 8})

    network = tiny(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2)))
    network(torch.zeros(1, 3, 8, 8))
    seen = Features(pooling="gem", n_layers=2)
    stages = torch.nn.ModuleDict({"one": torch.nn.Conv2d(3, 4, 3), "two": torch.nn.Conv2d(4, 5, 3)})
    anatomy = Anatomy(stem=(), stages=(("one",), ("two",)), width=5)
    layered = tiny(VolumeBackbone(stages, anatomy, n_classes=0))
    frozen = SimpleNamespace(network=layered, spec=spec(4), head="a learner", features=seen)
    trained = SimpleNamespace(network=network, spec=spec(1), views=Views(n=4))
    table = SimpleNamespace(state=None)
    classifier = Predictor()
    members = ((0.5, table), (0.3, frozen), (0.2, trained))
    classifier._bundle = SimpleNamespace(classes=("no", "yes"), members=members)
    paths = classifier.to_onnx(tmp_path / "onnx")
    assert [path.name for path in paths] == ["member-1.onnx", "member-2.onnx"]
    facts = [json.loads(onnx.load(path).metadata_props[0].value) for path in paths]
    assert [fact["outputs"] for fact in facts] == ["embedding", "logits"]
    assert [fact["member_weight"] for fact in facts] == [0.3, 0.2]
    crops = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    with torch.inference_mode():
        expected = layered.embed(torch.from_numpy(crops), pooling="gem", layers=(-1, -2)).numpy()
    assert expected.shape == (2, 5 + 4)
    np.testing.assert_allclose(answer(paths[0], crops), expected, atol=1e-4)
    # what the file alone does not do: told, or its probabilities would be taken for the model's
    assert facts[0]["features"] | {"pooling": "gem", "n_layers": 2} == facts[0]["features"]
    assert facts[1]["views"]["n"] == 4
    expected = network(torch.from_numpy(crops)).detach().numpy()
    np.testing.assert_allclose(answer(paths[1], crops), expected, atol=1e-4)
    classifier._bundle = SimpleNamespace(classes=("no", "yes"), members=((1.0, table),))
    with pytest.raises(ExportError, match="No member"):
        classifier.to_onnx(tmp_path / "none")
