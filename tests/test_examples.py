"""The examples run as they stand, on the data that they make themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
WITHOUT_DATA = {"cluster.py": "asks SLURM for workers"}
LEAVES = {
    "ultrasound_2d.py": ["report/index.html", "model.onco"],
    "ct_3d.py": ["where.nii.gz"],
    "dicom_folder.py": ["studies/00/000.dcm"],
}
"""Files that an example leaves in its folder."""
LIMIT_S = {"ct_3d.py": 90, "dicom_folder.py": 60}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_tells_its_options(script):
    if script.name in WITHOUT_DATA:
        pytest.importorskip("dask_jobqueue")
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.name not in WITHOUT_DATA], ids=lambda path: path.stem
)
def test_example_runs(script, tmp_path):
    limit = str(LIMIT_S.get(script.name, 40))
    done = run(script, "--time-limit", limit, "--out", str(tmp_path))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    for name in (*LEAVES.get(script.name, ()), "run/model.onco"):
        assert (tmp_path / name).stat().st_size > 200


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.alone
def test_notebook_runs_from_data_to_report():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "from_data_to_report.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "it is kept without its outputs"
    nbclient.NotebookClient(notebook, timeout=600).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in shown)  # the ROC curves
    assert any("text/html" in output.get("data", {}) for output in shown)  # the tables
