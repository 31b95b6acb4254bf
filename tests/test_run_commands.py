"""`status`, `leaderboard` and the JSON of commands: what scripts read has the keys that the page on it names."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoonco.cli import app
from autoonco.errors import AutoOncoError
from autoonco.evaluation.run_folder import RunFolder
from autoonco.reporting.result import Result
from autoonco.search.space import config_key
from tests.reporting.conftest import write_run

PAGE = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    models = json.loads((folder / "evaluation" / "models.json").read_text())
    keys = [config_key(member["family"], member["config"]) for member in models[0]["members"]]
    speed = {
        "configs": dict(zip(keys, [0.25, 0.5], strict=True)),
        "models": {"ensemble": 0.75, "radiomics": 0.5},
    }
    (folder / "evaluation" / "speed.json").write_text(json.dumps(speed))
    return folder


def told(*words: object, code: int = 0) -> str:
    found = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "120"})
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == code, found.output
    return found.stdout


def keys_told(command: str) -> set[str]:
    """Return what the page names in the paragraph of a command's JSON."""
    paragraph = re.search(rf"^`{command}`: .*?(?=\n\n)", PAGE, flags=re.M | re.S)
    assert paragraph is not None
    return set(re.findall(r"`(\w+)`", paragraph[0].removeprefix(f"`{command}`")))


def keys_of(document: object) -> set[str]:
    if isinstance(document, dict):
        return set(document) | set().union(*map(keys_of, document.values()))
    return set().union(*map(keys_of, document)) if isinstance(document, list) else set()


def test_the_leaderboard_shows_models_with_intervals_cost_and_seconds_a_case(run: Path) -> None:
    text = told("leaderboard", run)
    assert re.search(r"ensemble +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] +\d+ +0\.940 +2:20 +0:22 +0\.750", text)
    assert re.search(r"baseline: lesion size +0\.\d{3} \[[^]]+\] +\d+ +– +– +– +–", text)
    assert re.search(r"radiomics +0\.500 +0\.900 +0\.500 +learner=svm", text)
    models = Result(run).models()
    assert models["model"].tolist()[0] == "ensemble"
    assert models["kind"].tolist() == ["ensemble", "family", "family", "baseline"]
    aucs = models.query("kind == 'family'")["auc"].tolist()
    assert aucs == sorted(aucs, reverse=True)
    figures = Result(run).evaluation().query("subset == 'test, clean'").set_index("model")
    shown = models.set_index("model")
    for name in ("auc", "auc_lower", "auc_upper"):
        np.testing.assert_array_equal(shown[name], figures[name].loc[shown.index])
    assert Result(run).members()["weight"].sum() == pytest.approx(1)


def test_the_leaderboard_as_csv_and_json(run: Path) -> None:
    models = pd.read_csv(io.StringIO(told("leaderboard", run, "--csv")))
    pd.testing.assert_frame_equal(models, Result(run).models(), check_dtype=False)
    trials = pd.read_csv(io.StringIO(told("leaderboard", run, "--csv", "--trials")))
    assert len(trials) == len(Result(run).leaderboard())
    document = json.loads(told("leaderboard", run, "--json", "--top", "3"))
    assert set(document) == {"run", "models", "members", "trials"}
    assert len(document["trials"]) == 3
    fixed = {"rank", "id", "score", "fresh_score", "budget", "status", "seconds", "origin", "reason"}
    assert keys_of(document) - fixed == keys_told("leaderboard")
    assert "models" not in json.loads(told("leaderboard", run, "--json", "--trials"))
    with pytest.raises(AutoOncoError, match="one answer"):
        told("leaderboard", run, "--json", "--csv")


def test_the_leaderboard_of_a_run_that_judged_nothing_yet(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", status="running", n_trials=6)
    (folder / "evaluation").rmdir()
    models = Result(folder).models()
    assert models["auc"].isna().all()
    assert set(models["model"]) == {"pretrained2d", "radiomics"}
    assert "not judged" in told("leaderboard", folder)
    before = models.set_index("model")["inner_score"]
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    last = events[-1] | {"status": "success", "budget": 1.0, "score": 0.999, "origin": "finalist"}
    other = last | {"scope": "outer0", "origin": "search"}
    with (folder / "journal.jsonl").open("a") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in (other, last))
    # neither another search nor fresh folds compare with the trials of this one
    assert Result(folder).models().set_index("model")["inner_score"].equals(before)
    (folder / "journal.jsonl").unlink()
    assert "not judged" not in told("leaderboard", folder)


def test_the_status_of_each_run_is_told_with_the_keys_that_the_page_names(run: Path) -> None:
    text = told("status", run)
    assert text.startswith("state        finished: all done\ntime         7:42 of 8:00\n")
    assert "left out     volumetric3d: 2D images" in text
    assert "predictions" in text
    document = json.loads(told("status", run, "--json"))
    assert keys_of(document) | {"report", "model", "log"} == keys_told("status")
    for state in ("running", "finished", "stopped", "failed", "killed"):
        assert f"| `{state}` |" in PAGE
    with pytest.raises(AutoOncoError, match="one of them"):
        told("status", run, "--json", "--watch")
    with pytest.raises(AutoOncoError, match="holds no run"):
        told("status", run.parent)


def test_watching_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoonco.run_commands._LINE_EVERY_S", 0.0)
    folder = RunFolder(tmp_path / "run", identity={})
    folder.update(session_s=0.0, status="running", time_limit_s=60.0)

    def end() -> None:
        time.sleep(1.0)
        folder.update(session_s=1.0, status="finished")
        folder.close()

    ending = threading.Thread(target=end)
    ending.start()
    lines = told("status", tmp_path / "run", "--watch", "--every", "0.2").splitlines()
    ending.join()
    assert lines[0].startswith("running, reading the data")
    assert lines[-1].startswith("finished")
    assert len(told("status", tmp_path / "run", "--watch").splitlines()) == 1


def test_the_check_as_json_is_one_document_with_the_keys_that_the_page_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / f"{i}.png")
    rows = [{"image": f"{i}.png", "label": ("no", "yes")[i % 2]} for i in range(12)]
    rows[3]["image"] = "gone.png"
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    document = json.loads(told("check", tmp_path / "data.csv", "--json", code=2))
    assert (document["cases"], document["classes"], document["errors"]) == (12, ["no", "yes"], 1)
    (wrong,) = [finding for finding in document["findings"] if finding["severity"] == "error"]
    assert wrong["row"] == 4
    assert keys_of(document) == keys_told("check")


def test_networks_as_json(tmp_path: Path) -> None:
    document = json.loads(told("weights", "list", "--json", "--weights-dir", tmp_path))
    assert document["usable"] == sum(network["used"] for network in document["networks"])
    assert all(network["used"] == (network["why_not"] is None) for network in document["networks"])
    assert keys_of(document) == keys_told("weights list")
