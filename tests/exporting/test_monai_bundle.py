"""Exported bundles are parsed by MONAI, follow its metadata schema, and give the probabilities of their members."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from monai.bundle import run as run_bundle

import autoonco
from autoonco.errors import AutoOncoError, UnsafeBundleError
from autoonco.exporting.monai_bundle import inert, write_monai_bundle

NUMBERS = range(4)


@pytest.fixture(scope="module")
def bundles(model: autoonco.AutoOncoClassifier, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return list(model.to_monai_bundle(tmp_path_factory.mktemp("monai")))


def parsed(bundle: Path, **changes: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.read_meta(bundle / "configs" / "metadata.json")
    parser.update({"bundle_root": str(bundle), **changes})
    return parser


@pytest.mark.parametrize("number", NUMBERS)
def test_a_bundle_gives_the_probabilities_of_its_member(
    number: int, bundles: list[Path], model: autoonco.AutoOncoClassifier, scans: Path, tmp_path: Path
) -> None:
    cases = autoonco.Dataset.from_csv(scans, labelled=False).cases
    expected = model._fitted().members[number][1].predict_proba(cases)
    assert np.ptp(expected[:, 0]) > 1e-6
    parser = parsed(bundles[number], manifest=str(scans), device="cpu")
    network = parser.get_parsed_content("network_def")
    together = torch.stack([item["image"] for item in parser.get_parsed_content("dataset")])
    with torch.inference_mode():
        np.testing.assert_allclose(network(together).numpy(), expected, atol=1e-5)
        as_bytes = (together * 255).round().byte()
        np.testing.assert_allclose(network(as_bytes).numpy(), expected, atol=1e-5)
    out = tmp_path / "out.csv"
    configs, places = (
        bundles[number] / "configs",
        {"manifest": str(scans), "output": str(out), "device": "cpu"},
    )
    files = {"config_file": str(configs / "inference.json"), "meta_file": str(configs / "metadata.json")}
    run_bundle(bundle_root=str(bundles[number]), **files, **places)
    table = pd.read_csv(out)
    assert list(table) == ["row", "probability_no", "probability_yes"]
    assert table["row"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table.iloc[:, 1:], expected, atol=1e-5)


@pytest.mark.parametrize("number", [2, 3])
def test_monai_finds_the_shapes_that_the_metadata_say(number: int, bundles: list[Path]) -> None:
    configs = bundles[number] / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
        bundle_root=str(bundles[number]),
    )


# What https://project-monai.github.io/schema/meta_schema_20240725.json requires, in our own words.
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
    "copyright", "data_type", "pred_classes", "intended_use",
)  # fmt: skip
TENSOR = {
    "type": str, "format": str, "num_channels": int, "spatial_shape": list, "dtype": str, "value_range": list,
    "is_patch_data": bool, "channel_def": dict,
}  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_the_metadata_follow_the_schema(number: int, bundles: list[Path]) -> None:
    found = json.loads((bundles[number] / "configs" / "metadata.json").read_text())
    assert all(isinstance(found[name], str) and found[name] for name in TEXTS)
    assert found["version"] in found["changelog"]
    assert found["required_packages_version"]["autoonco"] == autoonco.__version__
    tensors = [
        *found["network_data_format"]["inputs"].values(),
        *found["network_data_format"]["outputs"].values(),
    ]
    assert len(tensors) == 2
    for tensor in tensors:
        assert {name: type(tensor[name]) for name in TENSOR} == TENSOR
        assert len(tensor["channel_def"]) == tensor["num_channels"]
    assert list(tensors[1]["channel_def"].values()) == ["no", "yes"]
    assert "Not a medical device" in found["intended_use"]


def test_a_bundle_brings_no_pickle_no_code_and_no_name(bundles: list[Path], scans: Path) -> None:
    for bundle in bundles:
        files = [item for item in bundle.rglob("*") if item.is_file()]
        assert {item.suffix for item in files} <= {".json", ".safetensors", ".skops", ".md", ".txt"}
        text = "".join(item.read_text() for item in files if item.suffix in (".json", ".md", ".txt"))
        assert "SECRETCASE" not in text
        assert str(scans.parent) not in text
        assert str(bundle) not in text


def test_a_name_is_never_run(model: autoonco.AutoOncoClassifier, scans: Path, tmp_path: Path) -> None:
    bundle, names = model._fitted(), ("$1/0", "@device", "%manifest")
    spec = replace(bundle.fingerprint, classes=names[:2], clinical=())
    alone = replace(
        bundle, classes=names[:2], fingerprint=spec, members=bundle.members[3:], families=("volumetric3d",)
    )
    (written,) = write_monai_bundle(alone, tmp_path / "b")
    parser = parsed(written, manifest=str(scans), output=str(tmp_path / "out.csv"), device="cpu")
    parser.get_parsed_content("run")
    assert list(pd.read_csv(tmp_path / "out.csv")) == ["row", *(f"probability_{name}" for name in names[:2])]
    said = parser.get_parsed_content("_meta_")["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(said.values()) == ["'$1/0'", "'@device'"]
    assert json.loads(inert(names)) == list(names)
    assert not set("$@%") & set(inert(names))


def test_changed_weights_are_told_and_nothing_is_overwritten(
    model: autoonco.AutoOncoClassifier, tmp_path: Path
) -> None:
    bundle = model.to_monai_bundle(tmp_path)[3]
    with pytest.raises(AutoOncoError, match="already"):
        model.to_monai_bundle(tmp_path)
    weights = bundle / "models" / "tensors.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    config = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    from autoonco.exporting.monai_parts import member_network

    given = {"family": config["family"], "sha256": config["sha256"]}
    with pytest.raises(UnsafeBundleError, match="hash differs"):
        member_network(str(bundle / "models"), **given)
    weights.unlink()
    with pytest.raises(UnsafeBundleError, match="missing"):
        member_network(str(bundle / "models"), **given)
