"""The main job on real scans, as a user runs it. The levels are smoke levels: far below what is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autoonco
from autoonco.data.manifest import Dataset

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.shared]

PREDICT = """
import sys, numpy as np, autoonco
proba = autoonco.load(sys.argv[1]).predict_proba(sys.argv[2])
np.save(sys.argv[3], proba)
"""


def auc(clf, model="ensemble"):
    table = clf.result_.evaluation()
    row = table[(table["model"] == model) & (table["subset"] == "test")].iloc[0]
    assert row["auc_lower"] <= row["auc"] <= row["auc_upper"]
    return row["auc"]


def predict_in_a_fresh_process(model: Path, manifest: Path, folder: Path):
    subprocess.run(
        [sys.executable, "-c", PREDICT, str(model), str(manifest), str(folder / "p.npy")], check=True
    )
    return np.load(folder / "p.npy")


def moved(source: Path, folder: Path, rows: slice) -> Path:
    """Copy some cases to a new place under new names: files the model never saw."""
    table = pd.read_csv(source).iloc[rows].reset_index(drop=True)
    folder.mkdir()
    for kind in ("image", "mask"):
        for row, name in enumerate(table.get(kind, [])):
            suffix = "".join(Path(name).suffixes)
            (folder / f"{kind}{row}{suffix}").write_bytes((source.parent / name).read_bytes())
            table.loc[row, kind] = f"{kind}{row}{suffix}"
    table.drop(columns=["label", "split", "case", "patient"], errors="ignore").to_csv(folder / "new.csv")
    return folder / "new.csv"


def test_ultrasound_with_masks(shared_data, tmp_path):
    manifest = shared_data / "busi" / "lesions.csv"
    clf = autoonco.fit(manifest, families=["radiomics"], time_limit="100s", run_dir=tmp_path / "run")
    assert auc(clf) >= 0.96
    assert {"test", "test, clean"} <= set(clf.result_.evaluation()["subset"])
    new = moved(manifest, tmp_path / "new", slice(0, 12))
    expected = clf.predict_proba(Dataset.from_csv(manifest).subset(range(12)))
    fresh = predict_in_a_fresh_process(tmp_path / "run" / "model.onco", new, tmp_path)
    np.testing.assert_array_equal(fresh, expected)


def test_ultrasound_without_masks(shared_data, tmp_path):
    manifest = shared_data / "busi" / "labels.csv"
    clf = autoonco.fit(manifest, time_limit="5min", run_dir=tmp_path / "run")
    board = clf.leaderboard()
    full = board[(board["status"] == "success") & (board["budget"] == 1)]
    assert full["score"].max() >= 0.92  # of 624 cases; a frozen network's last stage alone has 0.90 to 0.91
    assert (
        auc(clf) >= 0.85
    )  # of 156, with a standard error of 0.025: three seeds of 20 minutes had 0.89 to 0.93
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "mask" in run["families"]["radiomics"]
    assert "2D" in run["families"]["volumetric3d"]
    new = moved(manifest, tmp_path / "new", slice(0, 6))
    expected = clf.predict_proba(Dataset.from_csv(manifest).subset(range(6)))
    fresh = predict_in_a_fresh_process(tmp_path / "run" / "model.onco", new, tmp_path)
    np.testing.assert_array_equal(fresh, expected)


def test_nodules_in_three_classes_by_all_families(shared_data, tmp_path):
    manifest = shared_data / "lidc3d" / "labels.csv"
    clf = autoonco.fit(manifest, time_limit="4min", evaluation="holdout", run_dir=tmp_path / "run")
    assert clf.classes_.tolist() == ["benign", "indeterminate", "malignant"]
    board = clf.leaderboard()
    tried = set(board.loc[board["status"] == "success", "family"])
    assert {"radiomics", "pretrained2d", "volumetric3d"} <= tried
    assert tried <= set(clf.result_.evaluation()["model"])
    new = moved(manifest, tmp_path / "new", slice(0, 4))
    expected = clf.predict_proba(Dataset.from_csv(manifest).subset(range(4)))
    fresh = predict_in_a_fresh_process(tmp_path / "run" / "model.onco", new, tmp_path)
    np.testing.assert_array_equal(fresh, expected)
