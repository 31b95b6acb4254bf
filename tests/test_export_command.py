"""`autoonco export` from the outside: each form, its defaults, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import autoonco
from autoonco.cli import app
from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.export_command import FORMS
from tests.exporting.conftest import model as model
from tests.exporting.conftest import scans as scans


def run(*words: object) -> str:
    found = CliRunner().invoke(app, ["export", *map(str, words)])
    if found.exception is not None:
        raise found.exception
    return found.output


def test_a_model_is_exported_and_told_where(
    model: autoonco.AutoOncoClassifier, scans: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(model._path, folder / "model.onco")
    assert f"folder: {tmp_path / 'run-folder'}" in run(folder)
    again = autoonco.load(tmp_path / "run-folder", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(scans), model.predict_proba(scans))
    told = json.loads(run(tmp_path / "run-folder", "--to", "monai-bundle", "-o", tmp_path / "b", "--json"))
    assert told["form"] == "monai-bundle"
    assert [Path(item).name for item in told["written"]] == [f"member-{number}" for number in range(4)]


def test_unknown_forms_and_models_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'folder'"):
        run(tmp_path, "--to", "folders")
    assert "pickle" not in FORMS
    with pytest.raises(AutoOncoError, match="no model file"):
        run(tmp_path / "gone.onco")
    with pytest.raises(AutoOncoError, match="no run folder"):
        run(tmp_path, "--to", "deepcave")
