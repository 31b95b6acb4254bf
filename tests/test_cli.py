from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoonco.cli import app, main

pytestmark = pytest.mark.alone

COMMANDS = ["fit", "predict", "report", "check", "leaderboard", "status", "demo", "features", "export"]


def autoonco(*words: object, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    code = "from autoonco.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"COLUMNS": "400"},
    )


def inside(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Do what `autoonco` does within this process: each start costs the seconds of all that is imported."""
    out, told, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(told),
        warnings.catch_warnings(),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(sys, "argv", ["autoonco", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            logging.disable(logging.NOTSET)
    return subprocess.CompletedProcess(words, status, out.getvalue(), told.getvalue())


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Twenty-four pictures of two classes with masks, and a test split."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        label = i % 2
        pixels = rng.integers(0, 60, (40, 40)).astype(np.uint8)
        mask = np.zeros((40, 40), dtype=np.uint8)
        mask[12 : 24 + 4 * label, 12:26] = 255
        pixels[mask > 0] += 80 + 40 * label
        Image.fromarray(pixels).save(tmp_path / f"scan{i}.png")
        Image.fromarray(mask).save(tmp_path / f"mask{i}.png")
        rows.append(
            {
                "case": f"c{i}",
                "patient": f"Jane Doe {i}",
                "image": f"scan{i}.png",
                "mask": f"mask{i}.png",
                "label": ["benign", "malignant"][label],
                "split": "test" if i >= 16 else "train",
            }
        )
    path = tmp_path / "data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_each_command(command):
    found = CliRunner().invoke(app, [command, "--help"])
    assert found.exit_code == 0
    assert "Usage" in found.output


def spoil(manifest: Path, **cells: object) -> None:
    table = pd.read_csv(manifest)
    for column, value in cells.items():
        table.loc[2, column] = value
    table.to_csv(manifest, index=False)


def one_class(manifest: Path) -> None:
    pd.read_csv(manifest).assign(label="benign").to_csv(manifest, index=False)


def no_label_column(manifest: Path) -> None:
    pd.read_csv(manifest).rename(columns={"label": "lable"}).to_csv(manifest, index=False)


def large_mask(manifest: Path) -> None:
    Image.fromarray(np.full((50, 40), 255, dtype=np.uint8)).save(manifest.parent / "mask2.png")


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (lambda m: m.unlink(), ["data.csv"]),
        (no_label_column, ["label", "lable"]),
        (one_class, ["benign", "--label"]),
        (lambda m: spoil(m, label=None), ["row 3", "label"]),
        (lambda m: spoil(m, image="nowhere.png"), ["row 3", "'image'", "does not exist"]),
        (lambda m: spoil(m, split="trian"), ["row 3", "trian", "train"]),
    ],
    ids=["missing file", "unknown column", "one class", "label missing", "missing image", "unknown split"],
)
def test_a_user_s_mistake_is_a_sentence_and_exit_code_2(manifest, spoiled, words):
    spoiled(manifest)
    found = inside("fit", manifest, "--time-limit", "30s", cwd=manifest.parent)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "Traceback" not in found.stderr
    for word in words:
        assert word in found.stderr
    assert not (manifest.parent / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--metric", "roc_acu", "Did you mean 'roc_auc'"),
        ("--families", "radiomic", "Did you mean 'radiomics'"),
        ("--time-limit", "soon", "is no time"),
        ("--preset", "quik", "Did you mean 'quick'"),
        ("--evaluation", "nestd", "Did you mean 'nested'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(manifest, option, value, words):
    found = inside("fit", manifest, option, value, cwd=manifest.parent)
    assert found.returncode == 2
    assert words in found.stderr
    assert found.stderr.count("\n") <= 2


def test_check_names_the_row_whose_mask_has_another_size(manifest):
    large_mask(manifest)
    found = autoonco("check", manifest, cwd=manifest.parent)
    assert found.returncode == 2
    assert "row 3" in found.stdout
    assert "40×50" in found.stdout
    assert "40×40" in found.stdout


def test_predict_and_report_say_what_is_no_model_and_no_run(manifest):
    cwd = manifest.parent
    found = inside("predict", manifest, manifest, cwd=cwd)
    assert (found.returncode, "not a whole model file" in found.stderr) == (2, True)
    found = inside("report", cwd, cwd=cwd)
    assert (found.returncode, "no run folder" in found.stderr) == (2, True)


@pytest.mark.slow
def test_fit_report_predict_from_the_command_line(manifest):
    cwd = manifest.parent
    fit = [
        "fit",
        manifest,
        "--time-limit",
        "60s",
        "--families",
        "radiomics",
        "--preset",
        "quick",
        "-o",
        "run",
    ]
    found = autoonco(*fit, cwd=cwd, timeout=300)
    assert found.returncode == 0, found.stderr
    assert (cwd / "run" / "report" / "index.html").exists()
    assert "radiomics" in found.stdout
    for file in (cwd / "run").rglob("*"):
        if file.is_file():
            assert b"Jane" not in file.read_bytes(), file
    found = autoonco("predict", "run/model.onco", manifest, "-o", "out.csv", cwd=cwd)
    assert found.returncode == 0, found.stderr
    table = pd.read_csv(cwd / "out.csv")
    assert list(table)[:4] == ["case", "prediction", "probability_benign", "probability_malignant"]
    assert list(table)[-2:] == ["status", "message"]
    assert (table["status"] == "ok").all()
    judged = pd.read_csv(cwd / "run" / "evaluation" / "predictions.csv").query("model == 'ensemble'")
    np.testing.assert_array_equal(table["probability_malignant"].to_numpy()[16:], judged["p_1"].to_numpy())
    # One bad scan does not lose the others.
    (cwd / "scan3.png").write_bytes(b"no picture")
    (cwd / "scan5.png").unlink()
    assert autoonco("predict", "run/model.onco", manifest, "-o", "out.csv", cwd=cwd).returncode == 0
    again = pd.read_csv(cwd / "out.csv")
    assert again["status"].tolist() == ["ok"] * 3 + ["error", "ok", "error"] + ["ok"] * 18
    # Alone and together differ in the last bit of a matrix product, no more.
    columns = [found["probability_malignant"][6:] for found in (again, table)]
    np.testing.assert_allclose(*columns, rtol=1e-12)
    for command, word in [("status", "finished"), ("leaderboard", "radiomics"), ("report", "index.html")]:
        found = autoonco(command, "run", cwd=cwd)
        assert found.returncode == 0
        assert word in found.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit", "data.csv", "-o", "data.csv"], "is a file"),
        (["fit", "data.csv", "--seed", "-1"], "seed must be 0 or more"),
        (["fit", "data.csv", "--device", "tpu"], "device must be"),
        (["fit", "data.csv", "--on-bad-case", "shrug"], "on_bad_case"),
        (["predict", "data.csv", "data.csv", "--by", "patient", "--dicom-sr", "out"], "report is of a case"),
    ],
)
def test_a_wrong_argument_is_a_sentence(manifest, words, sentence):
    found = inside(*words, cwd=manifest.parent)
    assert found.returncode == 2
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


def test_fit_stops_at_a_mask_of_another_size(manifest):
    large_mask(manifest)
    found = inside("fit", manifest, "--time-limit", "30s", cwd=manifest.parent)
    assert found.returncode == 2
    assert "row 3" in found.stderr
    assert found.stderr.count("autoonco:") == 1


@pytest.mark.slow
def test_fit_leaves_a_bad_case_out_if_told_to_and_says_so(manifest):
    large_mask(manifest)
    fit = [
        "fit",
        manifest,
        "--time-limit",
        "40s",
        "--families",
        "radiomics",
        "--preset",
        "quick",
        "-o",
        "run",
    ]
    found = autoonco(*fit, "--on-bad-case", "exclude", cwd=manifest.parent)
    assert found.returncode == 0, found.stderr
    assert "left out: row 3" in found.stderr


@pytest.mark.slow
def test_ctrl_c_twice_says_that_nothing_is_lost(manifest):
    # what is begun in the background may be deaf to Ctrl-C, and hands that on
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    main = hears + "from autoonco.cli import main; main()"
    command = [sys.executable, "-c", main, "fit", "data.csv", "-o", "run"]
    process = subprocess.Popen(
        command, cwd=manifest.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (manifest.parent / "run" / "journal.jsonl").exists():
        time.sleep(0.2)
    for _ in range(2):
        time.sleep(1)
        process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "What was finished is kept" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_features_writes_a_table_keyed_by_case(manifest, tmp_path):
    (tmp_path / "scan3.png").write_bytes(b"no picture")
    found = CliRunner().invoke(app, ["features", str(manifest), "-o", str(tmp_path / "f.parquet")])
    assert found.exit_code == 0, found.output
    assert "24 cases, 1 failed" in " ".join(found.output.split())
    table = pd.read_parquet(tmp_path / "f.parquet")
    assert table["case"].tolist() == [f"c{i}" for i in range(24)]
    assert table.query("status != 'ok'")["case"].tolist() == ["c3"]
    assert (tmp_path / "f.json").is_file()
    words = ["features", str(manifest), "-o", str(tmp_path / "g.parquet"), "--no-names"]
    assert CliRunner().invoke(app, words).exit_code == 0
    bare = pd.read_parquet(tmp_path / "g.parquet")
    assert bare["case"].tolist() == [f"row-{row}" for row in range(1, 25)]
    pd.testing.assert_frame_equal(bare.drop(columns="case"), table.drop(columns="case"))
