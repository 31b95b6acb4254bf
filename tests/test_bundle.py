from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest

from autoonco.bundle import Content, read_bundle, write_bundle
from autoonco.data.cache import ArtefactCache
from autoonco.errors import AutoOncoError, BundleVersionError, UnsafeBundleError
from autoonco.families.contract import Runtime
from autoonco.families.state import write_state


@pytest.fixture
def runtime(tmp_path):
    return Runtime(artefacts=ArtefactCache(tmp_path / "cache"))


@pytest.fixture
def model(toy, problem, tmp_path):
    """A model file of two toy members."""
    from toy_family import ToyModel

    members = []
    for number, (weight, strength) in enumerate([(0.25, 0.1), (0.75, 0.9)]):
        folder = tmp_path / str(number)
        write_state(folder, ToyModel(strength, "work").state())
        members.append(("toy", weight, folder))
    path = tmp_path / "model.onco"
    write_bundle(
        path, Content(members=members, classes=["no", "yes"], fingerprint=problem.fingerprint, facts={"a": 1})
    )
    return path


def rewrite(path, change=None, *, extra=None, drop=None, manifest=None):
    """Write the archive anew with members changed, added or dropped, and the manifest edited."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != drop}
    if manifest is not None:
        content = json.loads(files["manifest.json"])
        manifest(content)
        files["manifest.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files | (change or {})).items():
            archive.writestr(name, data)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)


def test_a_model_file_predicts_the_weighted_mean_of_its_members(model, dataset, runtime):
    from toy_family import ToyModel

    bundle = read_bundle(model, runtime)
    expected = 0.25 * ToyModel(0.1, "").predict_proba(dataset.cases) + 0.75 * ToyModel(0.9, "").predict_proba(
        dataset.cases
    )
    np.testing.assert_array_equal(bundle.predict_proba(dataset.cases), expected)
    assert bundle.classes == ("no", "yes")
    assert bundle.predict_proba([]).shape == (0, 2)


def test_equal_models_are_equal_files(model, toy, problem, tmp_path):
    other = tmp_path / "other.onco"
    members = [("toy", 0.25, tmp_path / "0"), ("toy", 0.75, tmp_path / "1")]
    content = Content(members=members, classes=["no", "yes"], fingerprint=problem.fingerprint, facts={"a": 1})
    write_bundle(other, content)
    assert hashlib.sha256(other.read_bytes()).digest() == hashlib.sha256(model.read_bytes()).digest()


def _newer(content):
    content["format"] = 2


def _no_classes(content):
    del content["classes"]


def _no_weight(content):
    del content["members"][0]["weight"]


def _no_fingerprint(content):
    content["fingerprint"] = {}


def _list_of_hashes(content):
    content["sha256"] = [1]


def _unknown_family(content):
    content["members"][0]["family"] = "nonesuch"


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        ({"change": {"members/0/meta.json": b'{"meta": {}}'}}, UnsafeBundleError, "its hash differs"),
        ({"drop": "members/1/meta.json"}, UnsafeBundleError, "lacks members/1/meta.json"),
        ({"drop": "manifest.json"}, UnsafeBundleError, "no manifest"),
        ({"extra": {"../evil.py": b"print()"}}, UnsafeBundleError, "no place"),
        ({"extra": {"/etc/passwd": b"x"}}, UnsafeBundleError, "no place"),
        ({"extra": {"members/0/model.pkl": b"x"}}, UnsafeBundleError, "no place"),
        ({"extra": {"members/7/bomb.skops": bytes(10**7)}}, UnsafeBundleError, "compressed more"),
        ({"extra": {"members/7/extra.skops": b"unlisted"}}, UnsafeBundleError, "its hash differs"),
        ({"change": {"manifest.json": b"[1]"}}, UnsafeBundleError, "not one of autoonco"),
        ({"manifest": _newer}, BundleVersionError, "Update autoonco"),
        ({"manifest": _no_classes}, UnsafeBundleError, "lacks 'classes'"),
        ({"manifest": _no_weight}, UnsafeBundleError, "does not fit together"),
        ({"manifest": _no_fingerprint}, UnsafeBundleError, "does not fit together"),
        ({"manifest": _list_of_hashes}, UnsafeBundleError, "not one of autoonco"),
        ({"manifest": _unknown_family}, AutoOncoError, "Unknown family 'nonesuch'"),
    ],
)
def test_a_tampered_file_is_refused(model, runtime, edit, error, words):
    rewrite(model, **edit)
    with pytest.raises(error, match=words):
        read_bundle(model, runtime)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_refused(model, runtime, share):
    data = model.read_bytes()
    model.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AutoOncoError, match="not a whole model file"):
        read_bundle(model, runtime)


def test_a_missing_file_is_told(tmp_path, runtime):
    with pytest.raises(AutoOncoError, match="no model file"):
        read_bundle(tmp_path / "none.onco", runtime)


def test_what_a_kill_left_behind_stays_out(toy, problem, tmp_path, runtime):
    from toy_family import ToyModel

    write_state(tmp_path / "0", ToyModel(0.5, "work").state())
    (tmp_path / "0" / ".tensors.safetensors.abc123").write_bytes(b"half")
    content = Content(
        members=[("toy", 1.0, tmp_path / "0")],
        classes=["no", "yes"],
        fingerprint=problem.fingerprint,
        facts={},
    )
    write_bundle(tmp_path / "m.onco", content)
    assert read_bundle(tmp_path / "m.onco", runtime).members[0][0] == 1.0
