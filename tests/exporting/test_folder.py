"""A model as plain files: loaded again and packed again it is the same, and a changed file is told."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autoonco
from autoonco.errors import AutoOncoError, BundleVersionError, UnsafeBundleError


@pytest.fixture
def folder(model: autoonco.AutoOncoClassifier, tmp_path: Path) -> Path:
    return model.to_folder(tmp_path / "plain")


def test_it_is_loaded_and_packed_again(
    model: autoonco.AutoOncoClassifier, folder: Path, scans: Path, tmp_path: Path
) -> None:
    again = autoonco.load(folder, device="cpu")
    expected = model.predict_proba(scans)
    assert expected.std() > 0
    np.testing.assert_array_equal(again.predict_proba(scans), expected)
    packed = again.save(tmp_path / "again" / "model.onco")
    assert packed.read_bytes() == model._path.read_bytes()


def test_a_reader_finds_what_the_model_is(folder: Path) -> None:
    files = {item.name for item in folder.iterdir() if item.is_file()}
    assert files == {
        "README.md", "manifest.json", "model_card.md", "predict.py", "preprocessing.json", "requirements.txt",
        "thresholds.json",
    }  # fmt: skip
    told = json.loads((folder / "preprocessing.json").read_text())
    assert [member["preprocessing"]["kind"] for member in told["members"]] == ["slice"] * 3 + ["volume"]
    assert told["input"]["dimensions"] == 3
    assert (folder / "requirements.txt").read_text() == "# Python 3.11.7\nnumpy==2.4.6\n"
    suffixes = {item.suffix for item in (folder / "members").rglob("*") if item.is_file()}
    assert suffixes == {".json", ".safetensors", ".skops"}
    text = "".join(item.read_text() for item in folder.glob("*.*"))
    assert "SECRETCASE" not in text
    assert str(folder.parent) not in text


def test_its_example_predicts(
    model: autoonco.AutoOncoClassifier,
    folder: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out.csv"
    monkeypatch.setattr(sys, "argv", ["predict.py", str(scans), "-o", str(out), "--device", "cpu"])
    runpy.run_path(str(folder / "predict.py"), run_name="__main__")
    found = pd.read_csv(out)
    np.testing.assert_allclose(found["probability_yes"], model.predict_proba(scans)[:, 1], atol=1e-12)


def test_a_changed_foreign_missing_or_linked_file_is_told(folder: Path) -> None:
    weights = folder / "members" / "0" / "tensors.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UnsafeBundleError, match="hash differs"):
        autoonco.load(folder)
    weights.unlink()
    with pytest.raises(UnsafeBundleError, match="lacks members/0/tensors"):
        autoonco.load(folder)
    weights.symlink_to(folder / "members" / "3" / "tensors.safetensors")
    with pytest.raises(UnsafeBundleError, match="is a link"):
        autoonco.load(folder)
    weights.unlink()
    weights.write_bytes(whole)
    (folder / "members" / "0" / "run.py").write_text("")
    with pytest.raises(UnsafeBundleError, match=r"run\.py.*no place"):
        autoonco.load(folder)
    (folder / "members" / "0" / "run.py").unlink()
    (folder / "notes.txt").write_text("mine")  # the user's own, beside the model
    (folder / "members" / "0" / ".DS_Store").write_bytes(b"left by a look at the folder")
    autoonco.load(folder, device="cpu")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(BundleVersionError, match="99"):
        autoonco.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(AutoOncoError, match=r"no manifest\.json"):
        autoonco.load(folder)


def test_what_a_linked_folder_holds_is_not_looked_at(folder: Path, tmp_path: Path) -> None:
    (folder / "members").rename(tmp_path / "elsewhere")
    (folder / "members").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeBundleError, match=r"'members'.*is a link"):
        autoonco.load(folder)


def test_nothing_is_overwritten(
    model: autoonco.AutoOncoClassifier, folder: Path, scans: Path, tmp_path: Path
) -> None:
    for full in (folder, scans.parent, scans):
        with pytest.raises(AutoOncoError, match="already"):
            model.to_folder(full)
    os.mkfifo(folder / "members" / "3" / "head.skops")
    with pytest.raises(UnsafeBundleError, match="special file"):
        autoonco.load(folder)
