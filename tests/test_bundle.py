from __future__ import annotations

import hashlib
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from autoonco.bundle import Content, read_bundle, write_bundle
from autoonco.card import card_text
from autoonco.data.cache import ArtefactCache
from autoonco.errors import AutoOncoError, BundleVersionError, UnsafeBundleError
from autoonco.families.contract import Runtime
from autoonco.families.state import write_state
from tests.fingerprints import PICTURES


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


def _no_members(content):
    content["members"] = []


def _not_a_number(content):
    content["members"][0]["weight"] = float("nan")


def _heavier(content):
    content["members"][0]["weight"] = 0.9


def _one_class_twice(content):
    content["classes"] = ["no", "no"]


def _objects_as_classes(content):
    content["classes"] = [["no"], {"yes": 1}]


DEEP = b"[" * 200_000


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        ({"manifest": _no_members}, UnsafeBundleError, "do not add up to one"),
        ({"manifest": _not_a_number}, UnsafeBundleError, "do not add up to one"),
        ({"manifest": _heavier}, UnsafeBundleError, "do not add up to one"),
        ({"manifest": _one_class_twice}, UnsafeBundleError, "two different names"),
        ({"manifest": _objects_as_classes}, UnsafeBundleError, "does not fit together"),
        ({"change": {"manifest.json": DEEP}}, UnsafeBundleError, "compressed more|not one of autoonco"),
        ({"change": {"manifest.json": b"\xff\xfe"}}, UnsafeBundleError, "not one of autoonco"),
        ({"extra": {"MEMBERS/0/META.JSON": b"x"}}, UnsafeBundleError, "a name twice"),
        ({"extra": {"members/0/..\\evil.skops": b"x"}}, UnsafeBundleError, "no place"),
        ({"extra": {"members/../../evil.skops": b"x"}}, UnsafeBundleError, "no place"),
        ({"extra": {"C:/evil.skops": b"x"}}, UnsafeBundleError, "no place"),
        ({"extra": {"members/0/": b""}}, UnsafeBundleError, "no place"),
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


def with_entry(path, *, mode=0, method=zipfile.ZIP_DEFLATED, flags=0):
    """Add a member that the zip's directory says special things of."""
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("members/0/extra.skops")
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd", method)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= flags
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"mode": stat.S_IFLNK | 0o777}, "is a link"),
        ({"mode": stat.S_IFCHR | 0o666}, "is a link or another special file"),
        ({"mode": stat.S_IFIFO | 0o666}, "is a link or another special file"),
        ({"method": zipfile.ZIP_LZMA}, "packed in an unusual way"),
        ({"method": zipfile.ZIP_BZIP2}, "packed in an unusual way"),
        ({"flags": 1}, "encrypted"),
    ],
)
def test_links_and_unusual_packing_are_refused(model, runtime, how, words):
    with_entry(model, **how)
    with pytest.raises(UnsafeBundleError, match=words):
        read_bundle(model, runtime)


def test_too_many_members_are_refused(model, runtime):
    extra = {f"members/{i // 26}/{chr(97 + i % 26)}.skops": b"x" for i in range(5001)}
    rewrite(model, extra=extra)
    with pytest.raises(UnsafeBundleError, match="holds 500"):
        read_bundle(model, runtime)


def test_a_member_that_claims_terabytes_is_not_unpacked(model, runtime):
    data = bytearray(model.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 0xFFFFFFF0)
    model.write_bytes(bytes(data))
    with pytest.raises(UnsafeBundleError, match="compressed more"):
        read_bundle(model, runtime)


def test_every_flipped_byte_is_told(model, runtime, dataset):
    """Or changes nothing: what a zip's directory says of dates and systems has no part in the model."""
    whole = model.read_bytes()
    expected = read_bundle(model, runtime).predict_proba(dataset.cases)
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x11
        model.write_bytes(bytes(damaged))
        try:
            found = read_bundle(model, runtime)
        except AutoOncoError:
            continue
        np.testing.assert_array_equal(found.predict_proba(dataset.cases), expected)


def rehashed(path, name, data):
    """Replace a member and give the manifest its right hash: what someone who means it would do."""

    def edit(content):
        content["sha256"][name] = hashlib.sha256(data).hexdigest()

    rewrite(path, change={name: data}, manifest=edit)


@pytest.fixture
def clinical_model(dataset, tmp_path, runtime):
    """A model file whose member is a fitted pipeline in skops."""
    from autoonco.families import get_family
    from autoonco.families.contract import FitContext

    known = replace(
        PICTURES, classes=dataset.classes, class_counts=(30, 30), clinical=("signal",), channels=()
    )
    family = get_family("clinical")
    config = family.defaults(known)[0]
    context = FitContext(runtime=runtime, fingerprint=known, seed=0)
    fidelity = family.plan(config, 1.0, inner_folds=3, n_train=60)
    fitted = family.fit(config, dataset.cases, dataset.y, fidelity=fidelity, context=context)
    write_state(tmp_path / "clinical", fitted.state())
    members = [("clinical", 1.0, tmp_path / "clinical")]
    path = tmp_path / "clinical.onco"
    write_bundle(path, Content(members=members, classes=dataset.classes, fingerprint=known, facts={}))
    return path


def test_a_pipeline_of_a_type_that_no_model_needs_is_refused(clinical_model, tmp_path, runtime):
    import skops.io
    from sklearn.pipeline import Pipeline

    with zipfile.ZipFile(clinical_model) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".skops")]
    evil = skops.io.dumps(Pipeline([("evil", Evil(tmp_path / "ran"))]))
    rehashed(clinical_model, name, evil)
    with pytest.raises(UnsafeBundleError, match="which no model needs"):
        read_bundle(clinical_model, runtime)
    rehashed(clinical_model, name, pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(UnsafeBundleError, match="damaged"):
        read_bundle(clinical_model, runtime)
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)

    def fit(self, X, y=None):
        return self


def test_a_fresh_process_gives_the_same_probabilities(clinical_model, runtime, dataset):
    expected = read_bundle(clinical_model, runtime).predict_proba(dataset.cases[:5])
    code = (
        "import sys, json, autoonco\nfrom autoonco.data.case import Case\n"
        "cases = [Case(case=str(i), patient=str(i), images={}, clinical={'signal': s}, row=i + 1)"
        " for i, s in enumerate(json.loads(sys.argv[2]))]\n"
        "print(json.dumps(autoonco.load(sys.argv[1], device='cpu').predict_proba(cases).tolist()))"
    )
    signals = json.dumps([case.clinical["signal"] for case in dataset.cases[:5]])
    found = subprocess.run(
        [sys.executable, "-c", code, str(clinical_model), signals], capture_output=True, text=True, check=True
    )
    np.testing.assert_array_equal(json.loads(found.stdout), expected)


def test_the_manifest_says_what_a_case_has_to_bring_and_the_card_is_readable(clinical_model, runtime):
    with zipfile.ZipFile(clinical_model) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["input"]["clinical"] == ["signal"]
    assert set(manifest["sha256"]) == set(archive.namelist()) - {"manifest.json"}
    assert manifest["card"]["data"]["classes"] == {"no": 30, "yes": 30}
    text = card_text(read_bundle(clinical_model, runtime).card)
    assert "Not a medical device" in text
    assert "no (30), yes (30)" in text
    assert "clinical 100%" in text
    assert "No test case judged it." in text


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
