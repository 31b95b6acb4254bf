"""From a tree of DICOM with names in every header to a report and predictions, and no name in any file between."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from autoonco.cli import app
from tests.dicom_files import SECRETS, slices, write_seg, write_series

SHAPE = (8, 24, 24)


def lesion(seed: int, *, is_large: bool) -> tuple[np.ndarray, np.ndarray]:
    """Stored values of a scan and its mask: a ball whose size and texture go with the label."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    place = np.array(SHAPE) / 2 + rng.uniform(-1, 1, 3)
    radius = (7.5 if is_large else 5.5) + rng.uniform(-1, 1)
    inside = ((z - place[0]) * 2.5) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2 < radius**2
    values = rng.normal(-900, 20, SHAPE) + inside * (900 + rng.normal(0, 80 if is_large else 20, SHAPE))
    return values.astype(np.int16), inside.astype(np.uint8)


def write_patient(root: Path, number: int, *, is_large: bool) -> str:
    """Write a study with a segmentation; the patient's id comes back."""
    patient, uid = f"SECRETPATIENT{number}", f"1.2.99.{number}"
    values, mask = lesion(number, is_large=is_large)
    made = slices(
        values,
        spacing=(1.0, 1.0),
        PatientID=patient,
        StudyInstanceUID=f"{uid}.1",
        SeriesInstanceUID=f"{uid}.2",
        FrameOfReferenceUID=f"{uid}.3",
        SeriesDescription=f"thorax SECRETSERIES{number}",
    )
    write_series(root / f"SECRETFOLDER{number}", made)
    write_seg(root / f"SECRETFOLDER{number}" / "s" / "seg.dcm", made, {"SECRETSEGMENT tumour": mask})
    return patient


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file, and of each member of a model file."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
            if path.suffix == ".onco":
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield f"{path.name}/{name}", archive.read(name)


def run(*arguments: str | Path) -> str:
    found = CliRunner().invoke(app, list(map(str, arguments)))
    assert found.exit_code == 0, f"{found.output}\n{found.exception!r}"
    return found.output


@pytest.mark.slow
def test_a_tree_of_dicom_is_fitted_and_predicted_and_no_name_is_written(tmp_path: Path) -> None:
    rows = [
        {
            "patient": write_patient(tmp_path / "seen", number, is_large=number % 2 == 1),
            "label": ("small", "large")[number % 2],
        }
        for number in range(24)
    ]
    labels = tmp_path / "labels.csv"
    pd.DataFrame(rows).to_csv(labels, index=False)
    for number in (101, 102):
        write_patient(tmp_path / "new", number, is_large=number % 2 == 1)

    looked = run("look", tmp_path / "new")
    assert "SEG" in looked
    run_dir = tmp_path / "run"
    how = (
        "--families",
        "radiomics",
        "--evaluation",
        "holdout",
        "--time-limit",
        "5min",
        "--max-trials",
        "3",
        "--preset",
        "quick",
    )
    out = run("fit", tmp_path / "seen", "--labels", labels, *how, "-o", run_dir)
    assert "24 cases" in out
    run("predict", run_dir / "model.onco", tmp_path / "new", "-o", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["status"].tolist() == ["ok", "ok"]
    assert sorted(table["case"]) == [
        "SECRETPATIENT101",
        "SECRETPATIENT102",
    ]  # the user's own table names the user's cases
    assert table.set_index("case")["prediction"].to_dict() == {
        "SECRETPATIENT101": "large",
        "SECRETPATIENT102": "small",
    }

    names = [*SECRETS.values(), "SECRET", "thorax", "1.2.99.", str(tmp_path)]
    held = [
        f"{name} in {file}" for file, data in contents(run_dir) for name in names if name.encode() in data
    ]
    assert not held
    assert len(list(contents(run_dir))) > 10
