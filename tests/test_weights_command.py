"""`autoonco weights`, and the way of what it prepares into a run and its workers."""

from __future__ import annotations

import os
import threading
from multiprocessing import Pipe
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from autoonco.arguments import access_of, with_weights_given
from autoonco.classifier import AutoOncoClassifier
from autoonco.cli import app
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, OfflineWeightsError
from autoonco.evaluation.request import settings_json
from autoonco.nets.access import Access, using
from autoonco.nets.zoo import networks
from autoonco.resources import load_zoo
from autoonco.search.worker import Setup, serve
from autoonco.settings import Settings

SMALL = "mobilenetv3_small_100"
NOTHING = {"weights_dir": None, "allow_licences": None, "networks": None}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(timm.create_model(SMALL).state_dict(), tmp_path / "given.safetensors")
    return tmp_path / "given.safetensors"


def told(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["weights", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_every_network_is_listed_with_its_licence_and_what_to_do() -> None:
    text = told("list")
    for name, entry in networks(2).items():
        if entry["weights"]:
            assert f"{name} " in text
    assert "tf_efficientnet_lite0 4.7 M Apache-2.0 used, from the package" in text
    assert "uni 303.4 M CC-BY-NC-ND-4.0 (gated) left out: its licence CC-BY-NC-ND-4.0 is not allowed" in text
    assert "resnet18 11.7 M Apache-2.0 left out: its weights are not on this machine" in text
    shipped = [name for name, entry in load_zoo().items() if (entry["weights"] or {}).get("package")]
    assert f"{len(shipped)} networks can be used." in text
    assert "left out: its licence Apache-2.0 is not allowed" in told("list", "--allow-licences", "MIT")


def test_a_file_is_taken_listed_verified_and_found_damaged(tmp_path: Path, given: Path) -> None:
    folder = str(tmp_path / "weights")
    assert f"--weights-dir {folder}" in told("fetch", SMALL, "--weights-dir", folder, "--from", str(given))
    assert f"{SMALL} 2.5 M Apache-2.0 used, from the folder" in told("list", "--weights-dir", folder)
    assert f"{SMALL}: ok" in told("verify", "--weights-dir", folder)
    path = tmp_path / "weights" / f"{SMALL}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    text = told("verify", "--weights-dir", folder, code=2)
    assert f"{SMALL}: The weight file of {SMALL} has sha256" in text
    assert "1 wrong." in text


def test_a_file_is_for_one_network(tmp_path: Path, given: Path) -> None:
    with pytest.raises(AutoOncoError, match="one network, got 2"):
        told("fetch", SMALL, "resnet18", "--weights-dir", str(tmp_path), "--from", str(given))


def test_what_is_said_beside_settings_wins_over_them_and_they_over_the_environment(tmp_path: Path) -> None:
    outside = Access(folder=tmp_path, licences=("any",), networks=("resnet18",))
    with using(outside):
        assert access_of(with_weights_given(Settings(), **NOTHING)) == outside
        inner = with_weights_given(
            Settings(allow_licences=("MIT",), networks=("vit_tiny",)), **NOTHING | {"networks": ["uni"]}
        )
    assert access_of(inner) == Access(folder=tmp_path, licences=("MIT",), networks=("uni",))
    assert access_of(with_weights_given(Settings(), **NOTHING)) == Access()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AutoOncoError, match="no folder"):
        access_of(with_weights_given(Settings(), **NOTHING | {"weights_dir": tmp_path / "none"}))


def test_the_folders_path_stays_on_this_machine(tmp_path: Path) -> None:
    settings = with_weights_given(Settings(), **NOTHING | {"weights_dir": tmp_path})
    assert settings.weights_dir == str(tmp_path)
    assert str(tmp_path) not in str(settings_json(settings))


def test_a_fit_that_asks_for_absent_weights_ends_at_once(dataset: Dataset, tmp_path: Path) -> None:
    classifier = AutoOncoClassifier(networks=["vit_base_dino"], run_dir=tmp_path / "run")
    with pytest.raises(OfflineWeightsError, match="autoonco weights fetch vit_base_dino --weights-dir DIR"):
        classifier.fit(dataset)
    assert not (tmp_path / "run").exists()


def test_a_worker_learns_which_weights_it_may_use(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in Access().environment():
        monkeypatch.setenv(name, "")
    access = Access(folder=tmp_path, licences=("any",), networks=("resnet18",))
    ours, theirs = Pipe()
    worker = threading.Thread(target=serve, args=(theirs,))
    worker.start()
    fields = {name: getattr(setup, name) for name in ("dataset", "cache_dir", "device", "n_threads")}
    ours.send(Setup(**fields, environment=access.environment()))
    ours.close()
    worker.join(timeout=120)
    assert Access.current() == access
    assert os.environ["AUTOONCO_NETWORKS"] == "resnet18"
