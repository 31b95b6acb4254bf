"""`autoonco check` from the outside, and a fit that repairs and leaves out what the check found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

import autoonco
from autoonco.cli import app
from autoonco.errors import AutoOncoError, DataError
from autoonco.options import case_names
from autoonco.reporting.result import Result

N = 24


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Small volumes with a lesion; the mask of row 7 lies one voxel beside its image."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        image = sitk.GetImageFromArray(rng.normal(0, 1, (4, 12, 12)).astype(np.float32))
        drawn = np.zeros((4, 12, 12), np.uint8)
        drawn[1:3, 3:7, 3:8] = 1
        mask = sitk.GetImageFromArray(drawn)
        if i == 6:
            mask.SetOrigin([1.0, 0.0, 0.0])
        sitk.WriteImage(image, str(tmp_path / f"{i}.nrrd"))
        sitk.WriteImage(mask, str(tmp_path / f"m{i}.nrrd"))
        label = ("no", "yes")[i % 2]
        signal = 80.0 * (i % 2) - 40
        rows.append(
            {"image": f"{i}.nrrd", "mask": f"m{i}.nrrd", "patient": f"p{i}", "label": label, "signal": signal}
        )
    path = tmp_path / "data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def edit(manifest: Path, row: int, column: str, value: str | None) -> None:
    table = pd.read_csv(manifest)
    table.loc[row - 1, column] = value
    table.to_csv(manifest, index=False)


def check(*words: object) -> tuple[int, list[str]]:
    found = CliRunner().invoke(app, ["check", *map(str, words)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.output.splitlines()


def test_the_check_tells_all_faulty_rows_and_fails(manifest: Path) -> None:
    edit(manifest, 3, "image", "gone.nrrd")
    edit(manifest, 5, "label", None)
    status, lines = check(manifest)
    assert status == 2
    codes = [line.split()[0] for line in lines[:-1]]
    assert codes[:3] == ["AO101", "AO102", "AO303"]
    assert "--repair" in lines[1]
    assert lines[-1].startswith(f"{N} cases, 3 errors")


def test_a_repair_is_noted_and_a_table_written(manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.csv"
    status, lines = check(manifest, "--repair", "resample-mask", "-o", output)
    assert status == 0
    assert lines[0].startswith("AO111 note: 1 masks were resampled")
    table = pd.read_csv(output)
    assert table["code"].tolist()[0] == "AO111"
    assert set(table.columns) == {"code", "severity", "row", "case", "found", "expected", "remedy"}
    with pytest.raises(AutoOncoError, match="repair"):
        check(manifest, "--repair", "pray")


def test_many_findings_of_a_kind_are_counted(manifest: Path) -> None:
    for row in range(1, 9):
        edit(manifest, row, "image", f"gone{row}.nrrd")
    _, lines = check(manifest, "--most", 2)
    assert sum(line.startswith("AO101 error") for line in lines) == 2
    assert "AO101: 6 more of this kind." in lines


@pytest.mark.slow
@pytest.mark.alone
def test_a_fit_repairs_and_leaves_out_what_it_is_told_to(toy, manifest: Path, tmp_path: Path) -> None:
    edit(manifest, 3, "image", "gone.nrrd")
    edit(manifest, 5, "label", None)

    def fit(run: str, **settings) -> autoonco.AutoOncoClassifier:
        chosen = autoonco.Settings(inner_folds=2, max_trials=2, finalists=0, trial_share=0.5, **settings)
        return autoonco.fit(
            manifest,
            families=["toy"],
            clinical=["signal"],
            time_limit=300,
            evaluation="none",
            run_dir=tmp_path / run,
            settings=chosen,
        )

    with pytest.raises(DataError, match="row 3"):
        fit("strict")
    classifier = fit("kind", on_bad_case="exclude", repair="resample-mask")
    run = Result(tmp_path / "kind")
    assert len(run.excluded()) == 2
    checks = pd.read_csv(tmp_path / "kind" / "checks.csv")
    assert set(checks["code"]) >= {"AO101", "AO303", "AO111"}
    # a model that was made with a repair reads new scans with it
    assert classifier._fitted().facts["repair"] == "resample-mask"
    assert (classifier.predict_table(manifest)["status"] == "ok").sum() == N
    # and a trial is replayed on the cases that were left
    number = int(run.read().trials[0]["id"])
    words = ["replay", str(tmp_path / "kind"), str(manifest), str(number), "--clinical", "signal"]
    replayed = CliRunner().invoke(app, words, catch_exceptions=False)
    recorded, now = re.findall(r"recorded (\S+), now (\S+)", replayed.output)[0]
    assert float(recorded) == float(now)


def test_a_report_finds_the_names_of_cases_whatever_the_manifest_calls_its_images(tmp_path: Path) -> None:
    (tmp_path / "clinic.csv").write_text("case,scan,diagnosis\nanna,a.png,x\n,b.png,y\n", encoding="utf-8")
    assert case_names(tmp_path / "clinic.csv") == {1: "anna", 2: "2"}
