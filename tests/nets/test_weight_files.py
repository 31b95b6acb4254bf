"""Weights from a folder, the hub's cache, or the hub itself: each way in, and each way for a file to be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from autoonco.errors import AutoOncoError, OfflineWeightsError, UnknownNameError, WeightsError
from autoonco.families.frozen import frozen_network
from autoonco.nets.access import Access, using
from autoonco.nets.builders import build_2d
from autoonco.nets.fetching import fetch, verify
from autoonco.nets.weight_files import Source, locate, read_record, write_record
from autoonco.nets.weights import renamed
from autoonco.nets.zoo import entry_of, left_out, with_weights

SMALL = "mobilenetv3_small_100"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch pwned",))


def timm_of(name: str, seed: int = 7) -> torch.nn.Module:
    """Return timm's own network of a zoo entry, with its own classifier and other random weights than ours."""
    entry = entry_of(name)
    torch.manual_seed(seed)
    return timm.create_model(
        entry["architecture"], num_classes=entry["weights"]["classes"], **entry.get("options", {})
    )


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.safetensors"
    save_file(timm_of(SMALL).state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, theirs: Path) -> Path:
    fetch(SMALL, tmp_path / "weights", given=theirs)
    return tmp_path / "weights"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "name",
    [SMALL, "resnet18", "convnext_atto", "vit_tiny", "eva02_tiny"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "regnety_008",
            "densenet121",
            "swin_tiny",
            "maxvit_tiny",
            "vit_small_dinov2",
            "vit_small_dinov3",
        )
    ],
)
def test_a_prepared_folder_gives_the_network_that_its_file_holds(name: str, tmp_path: Path) -> None:
    reference = timm_of(name)
    save_file(reference.state_dict(), tmp_path / "given.safetensors")
    fetch(name, tmp_path / "weights", given=tmp_path / "given.safetensors")
    with using(Access(folder=tmp_path / "weights", licences=("any",))):
        assert name in with_weights(2)
        network = build_2d(name, n_classes=3, pretrained=True).eval()
    size = 224
    pictures = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    entry = entry_of(name)
    mean, std = (torch.tensor(entry[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        reference.eval().reset_classifier(0)
        expected = reference((pictures.float() / 255 - mean) / std)
        torch.testing.assert_close(network.embed(pictures), expected, atol=1e-4, rtol=1e-4)
        assert network(pictures).shape == (1, 3)
    assert network.backbone.pretrained_cfg["state_dict"] is None


def test_the_folder_says_what_it_holds(folder: Path, theirs: Path) -> None:
    fact = json.loads((folder / "weights.json").read_text())["files"][SMALL]
    assert fact["sha256"] == sha256(folder / fact["file"]) == sha256(theirs)
    assert fact["licence"] == "Apache-2.0"
    assert fact["bytes"] == theirs.stat().st_size
    assert {path.name for path in folder.iterdir()} == {"weights.json", f"{SMALL}.safetensors"}
    assert verify(folder)[SMALL] is None


def test_without_the_folder_the_network_is_left_out_and_its_cure_told() -> None:
    assert SMALL not in with_weights(2)
    assert f"autoonco weights fetch {SMALL} --weights-dir" in left_out(2)[SMALL]
    with pytest.raises(OfflineWeightsError, match=f"autoonco weights fetch {SMALL} --weights-dir"):
        build_2d(SMALL, n_classes=2, pretrained=True)
    with pytest.raises(OfflineWeightsError, match="allow-licences"):
        build_2d("vit_base_mae", n_classes=2, pretrained=True)


@pytest.mark.parametrize("damage", ["byte", "cut", "empty"])
def test_a_file_that_changed_is_refused(folder: Path, damage: str) -> None:
    path = folder / f"{SMALL}.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "byte":
        content[-1] ^= 1
    path.write_bytes({"byte": bytes(content), "cut": bytes(content[:5000]), "empty": b""}[damage])
    with using(Access(folder=folder)), pytest.raises(WeightsError, match="sha256"):
        build_2d(SMALL, n_classes=2, pretrained=True)
    assert "sha256" in str(verify(folder)[SMALL])


def test_a_lost_file_and_one_without_a_record_are_told(folder: Path) -> None:
    (folder / f"{SMALL}.safetensors").rename(folder / "resnet18.safetensors")
    found = verify(folder)
    assert "not in the folder" in str(found[SMALL])
    assert "is not used" in str(found["resnet18.safetensors"])
    with using(Access(folder=folder)):
        assert "resnet18" not in with_weights(2)
        with pytest.raises(OfflineWeightsError, match="weights fetch"):
            build_2d(SMALL, n_classes=2, pretrained=True)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"files": {"%s": {"file": "x"}}}',
        '{"files": {"%s": {"file": "../x.safetensors", "sha256": "' + "0" * 64 + '"}}}',
        '{"files": {"%s": {"file": "x", "sha256": "short"}}}',
    ],
)
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "weights.json").write_text(text.replace("%s", SMALL))
    with pytest.raises(WeightsError, match=r"weights\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize("kind", ["code", "pickle", "noise", "other network", "one tensor short", "absent"])
def test_a_file_that_is_not_this_networks_is_not_taken(
    tmp_path: Path, theirs: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, tensors = tmp_path / "given.pth", load_file(theirs)
    if kind == "code":
        torch.save(tensors | {"x": Evil()}, path)
    elif kind == "pickle":
        path = path.with_suffix(".safetensors")
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 9)
    elif kind == "other network":
        torch.save(timm_of("vit_tiny").state_dict(), path)
    elif kind == "one tensor short":
        torch.save({key: value for key, value in tensors.items() if "conv_head.bias" not in key}, path)
    with pytest.raises(WeightsError, match=SMALL):
        fetch(SMALL, tmp_path / "weights", given=path)
    assert not (tmp_path / "pwned").exists()
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_torch_file_is_converted_and_renamed(tmp_path: Path) -> None:
    """As RadImageNet's are: a torchvision network in a row of anonymous children."""
    reference = timm_of("radimagenet_resnet50")
    names = {new: old for old, new in entry_of("radimagenet_resnet50")["weights"]["rename"].items()}
    tensors = {
        old + key.removeprefix(new): value
        for key, value in reference.state_dict().items()
        for new, old in names.items()
        if key.startswith(new)
    }
    torch.save(tensors | {"classifier.weight": torch.ones(2)}, tmp_path / "ResNet50.pt")
    fetch("radimagenet_resnet50", tmp_path, given=tmp_path / "ResNet50.pt")
    access = Access(folder=tmp_path, licences=("any",))
    with using(access):
        network = build_2d("radimagenet_resnet50", n_classes=0, pretrained=True).eval()
    for key, value in reference.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[key], value), key
    fact = read_record(tmp_path)["radimagenet_resnet50"]
    assert fact["converted"]
    assert fact["sha256"] != fact["sha256_of_original"] == sha256(tmp_path / "ResNet50.pt")


def test_renaming_leaves_other_parts_out() -> None:
    ones = torch.ones(1)
    beginnings = entry_of("biomedclip")["weights"]["rename"]
    found = renamed({"visual.trunk.norm.weight": ones, "text.a": ones}, beginnings)
    assert found == {"norm.weight": ones}


def test_the_hash_that_the_zoo_knows_counts(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dict(entry_of(SMALL))
    entry["weights"] = entry["weights"] | {"sha256": "0" * 64}
    monkeypatch.setattr("autoonco.nets.fetching.entry_of", lambda _: entry)
    with pytest.raises(WeightsError, match="expected 0000"):
        fetch(SMALL, tmp_path / "weights", given=theirs)


def test_what_a_package_ships_or_nobody_knows_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(AutoOncoError, match="come with the package efficientnet-lite0"):
        fetch("tf_efficientnet_lite0", tmp_path)
    with pytest.raises(UnknownNameError, match=SMALL):
        fetch("mobilenetv3_small_10", tmp_path)


def test_a_second_network_joins_the_first(folder: Path) -> None:
    fact = dict(read_record(folder)[SMALL])
    write_record(folder, "resnet18", fact)
    assert set(read_record(folder)) == {SMALL, "resnet18"}


# --- the hub: a server of this machine that speaks its protocol, and its cache -----------------------------------


class Hub(BaseHTTPRequestHandler):
    """Gives the file of one repository; another one is for those who have asked."""

    content: bytes = b""
    asked: list[str] = []  # noqa: RUF012 - one hub a test

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        repository = entry_of(SMALL)["weights"]["hub"]
        if not self.path.startswith(f"/{repository}/resolve/"):
            self.send_response(403 if "UNI" in self.path else 404)
            self.send_header("X-Error-Code", "GatedRepo" if "UNI" in self.path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        if body:
            self.wfile.write(self.content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(theirs: Path) -> Iterator[str]:
    Hub.content, Hub.asked = theirs.read_bytes(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def command(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with a hub's cache of its own; the client reads its variables once, when imported."""
    code = "from autoonco.cli import main; main()"
    known = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", code, "weights", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=known | {"HF_HOME": str(home)} | variables,
    )


@pytest.mark.slow
def test_fetch_downloads_from_the_hub_and_records_the_commit(hub: str, tmp_path: Path, theirs: Path) -> None:
    target = tmp_path / "weights"
    done = command("fetch", SMALL, "--weights-dir", str(target), home=tmp_path / "hf", HF_ENDPOINT=hub)
    assert done.returncode == 0, done.stderr
    assert (target / f"{SMALL}.safetensors").read_bytes() == theirs.read_bytes()
    fact = read_record(target)[SMALL]
    assert fact["revision"] == "c" * 40
    assert fact["source"] == entry_of(SMALL)["weights"]["source"]
    assert {path.name for path in target.iterdir()} == {"weights.json", f"{SMALL}.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "variables", "told"),
    [
        ("uni", {}, "ask for access at https://huggingface.co/MahmoodLab/UNI"),
        ("resnet18", {}, "The hub does not give the weights of resnet18"),
        (SMALL, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (SMALL, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "on a machine with an internet"),
    ],
    ids=["gated", "gone", "offline", "unreachable"],
)
def test_why_a_fetch_failed_is_told_in_a_sentence(
    hub: str, tmp_path: Path, network: str, variables: dict[str, str], told: str
) -> None:
    options = {"HF_ENDPOINT": hub} | variables
    done = command(
        "fetch", network, "--weights-dir", str(tmp_path / "weights"), home=tmp_path / "hf", **options
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "weights").glob("*.safetensors"))


def test_the_hubs_cache_is_used_without_asking_the_hub(tmp_path: Path, theirs: Path) -> None:
    """Laid out as the hub's client does; its name for the file is the sha256."""
    entry = entry_of(SMALL)
    repository = tmp_path / "hf" / "hub" / f"models--{entry['weights']['hub'].replace('/', '--')}"
    blob, commit = repository / "blobs" / sha256(theirs), "c" * 40
    blob.parent.mkdir(parents=True)
    shutil.copy(theirs, blob)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    dead = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    listed = command("list", home=tmp_path / "hf", **dead)
    (line,) = (line for line in listed.stdout.splitlines() if line.startswith(SMALL))
    assert line.split(None, 4)[1:] == ["2.5", "M", "Apache-2.0", "used, from the hub cache"]
    good = command("verify", home=tmp_path / "hf", **dead)
    assert f"{SMALL}: ok" in good.stdout
    assert good.returncode == 0
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    bad = command("verify", home=tmp_path / "hf", **dead)
    assert bad.returncode == 2
    assert f"{SMALL}: The weight file of {SMALL} has sha256" in bad.stdout


def test_the_package_comes_before_the_folder(folder: Path) -> None:
    write_record(folder, "tf_efficientnet_lite0", read_record(folder)[SMALL])
    found = locate("tf_efficientnet_lite0", entry_of("tf_efficientnet_lite0"), Access(folder=folder))
    assert found is not None
    assert found.source is Source.PACKAGE


def test_frozen_networks_of_several_folders_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """In one process: a notebook that fits twice, a worker that outlives a run."""
    save_file(timm_of(SMALL, seed=8).state_dict(), tmp_path / "others.safetensors")
    other = tmp_path / "other weights"
    fetch(SMALL, other, given=tmp_path / "others.safetensors")
    seen = []
    for one in (folder, other, folder):
        with using(Access(folder=one)):
            seen.append(frozen_network(SMALL, {"in_channels": 3}))
    (first, first_id), (_, other_id), (again, again_id) = seen
    assert first_id != other_id
    assert again_id == first_id
    assert again is first  # read once
    with using(Access(folder=folder, licences=("MIT",))), pytest.raises(OfflineWeightsError, match="licen"):
        frozen_network(SMALL, {"in_channels": 3})
