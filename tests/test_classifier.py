from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import autoonco
from autoonco.errors import AutoOncoError, DataError, NothingToFitError, RunMismatchError

pytestmark = pytest.mark.alone

SETTINGS = autoonco.Settings(inner_folds=3, outer_folds=3, max_trials=8, ensemble_rounds=5)


@pytest.fixture
def manifest(toy, tmp_path):
    """Forty cases, two a patient, whose clinical value `signal` half tells the label; the picture says nothing."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for i in range(40):
        label = (i // 2) % 2
        Image.fromarray(rng.integers(0, 255, (12, 12)).astype(np.uint8)).save(folder / f"{i}.png")
        rows.append(
            {
                "case": f"case-{i}",
                "patient": f"Jane Doe {i // 2}",
                "image": f"{i}.png",
                "label": ["no", "yes"][label],
                "signal": 2 * label - 1 + rng.normal(),
            }
        )
    path = folder / "data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def fit(path, run_dir, **arguments):
    arguments = {
        "families": ["toy"],
        "clinical": ["signal"],
        "time_limit": 40,
        "settings": SETTINGS,
    } | arguments
    return autoonco.fit(path, run_dir=run_dir, **arguments)


def with_test_split(path, **columns):
    table = pd.read_csv(path).assign(split=["train"] * 28 + ["test"] * 12, **columns)
    table.to_csv(path, index=False)
    return table


def test_fit_judges_on_the_test_cases_saves_and_loads(manifest, tmp_path):
    table = with_test_split(manifest)
    clf = fit(manifest, tmp_path / "run")
    assert clf.classes_.tolist() == ["no", "yes"]
    proba = clf.predict_proba(manifest)
    assert proba.shape == (40, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    predictions = pd.read_csv(tmp_path / "run/evaluation/predictions.csv")
    assert sorted(set(predictions["row"])) == list(range(29, 41))
    ensemble = predictions[predictions["model"] == "ensemble"]
    np.testing.assert_array_equal(ensemble["p_1"], proba[28:, 1])
    loaded = autoonco.load(clf.save(tmp_path / "model.onco"))
    np.testing.assert_array_equal(loaded.predict_proba(manifest), proba)
    assert clf.score(manifest) == np.mean(clf.predict(manifest) == table["label"].to_numpy())
    board = clf.leaderboard()
    assert len(board) == 8
    assert {"ensemble", "toy"} <= set(clf.result_.evaluation()["model"])
    assert clf.report(tmp_path / "out").name == "index.html"
    with pytest.raises(AutoOncoError, match="came from a file"):
        loaded.leaderboard()


@pytest.mark.slow
def test_labels_of_test_cases_change_no_probability(manifest, tmp_path):
    table = with_test_split(manifest)
    first = fit(manifest, tmp_path / "one").predict_proba(manifest)
    rng = np.random.default_rng(1)
    table.loc[28:, "label"] = rng.permutation(table.loc[28:, "label"])
    table.to_csv(manifest, index=False)
    np.testing.assert_array_equal(fit(manifest, tmp_path / "two").predict_proba(manifest), first)


@pytest.mark.slow
def test_nested_judges_every_case_once_by_a_search_that_never_saw_its_patient(manifest, tmp_path):
    fit(manifest, tmp_path / "run", evaluation="nested", time_limit=90)
    predictions = pd.read_csv(tmp_path / "run/evaluation/predictions.csv").query("model == 'ensemble'")
    assert sorted(predictions["row"]) == list(range(1, 41))
    assert predictions.groupby("group")["fold"].nunique().max() == 1
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert (run["status"], run["n"]["test"]) == ("finished", 0)
    scopes = {
        trial["scope"]
        for trial in map(json.loads, (tmp_path / "run/journal.jsonl").open())
        if "scope" in trial
    }
    assert scopes == {"outer0", "outer1", "outer2", "final"}


def test_no_identifier_of_a_patient_or_case_and_no_path_is_written(manifest, tmp_path, toy):
    toy.setenv("TOY_DEFAULTS", "work,raise")
    clf = fit(manifest, tmp_path / "run", evaluation="holdout")
    clf.report(tmp_path / "run/report")
    reasons = [
        t["reason"] for t in map(json.loads, (tmp_path / "run/journal.jsonl").open()) if t.get("reason")
    ]
    assert any(
        "cannot fit row" in reason for reason in reasons
    )  # the toy says case and patient when it fails
    planted = [b"Jane", str(manifest.parent).encode(), b"case-17"]
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert not [word for word in planted if word in file.read_bytes()], file


def test_another_run_in_the_folder_is_refused(manifest, tmp_path):
    fit(manifest, tmp_path / "run", evaluation="none")
    with pytest.raises(RunMismatchError, match="another seed"):
        fit(manifest, tmp_path / "run", evaluation="none", seed=1)
    table = pd.read_csv(manifest)
    table.loc[0, "label"] = "yes"
    table.to_csv(manifest, index=False)
    with pytest.raises(RunMismatchError, match="another data"):
        fit(manifest, tmp_path / "run", evaluation="none")


def test_a_function_of_one_s_own_is_maximised_and_known_again(manifest, tmp_path):
    with_test_split(manifest)

    def made(weight):
        def own_score(y, proba):
            return -float(np.mean((proba.argmax(axis=1) != y) * np.where(y == 1, weight, 1.0)))

        return own_score

    seen = []
    clf = fit(manifest, tmp_path / "run", metric=made(3.0), progress=seen.append, time_limit=120)
    assert "smallest difference in AUC" in seen[0].notes[-1] or "no difference in AUC" in seen[0].notes[-1]
    assert (seen[0].scope, list(seen[0].trials)) == ("before the search", [])
    assert json.loads((tmp_path / "run/evaluation/power.json").read_text())["patients"] == {"no": 3, "yes": 3}
    scores = clf.leaderboard()["score"].dropna()
    assert (scores <= 0).all()
    assert scores.min() < -0.05
    test = pd.read_csv(manifest)[28:]
    table = clf.result_.evaluation().query("subset == 'test'").set_index("model").loc["ensemble"]
    expected = made(3.0)((test["label"] == "yes").to_numpy().astype(int), clf.predict_proba(manifest)[28:])
    assert table["own_score"] == pytest.approx(expected)
    assert table["own_score_lower"] <= table["own_score"] <= table["own_score_upper"]
    assert clf.report(tmp_path / "out").is_file()
    with pytest.raises(RunMismatchError, match="another metric"):
        fit(manifest, tmp_path / "run", metric=made(4.0))
    again = fit(manifest, tmp_path / "run", metric=made(3.0), time_limit=120)
    np.testing.assert_array_equal(again.predict_proba(manifest), clf.predict_proba(manifest))
    with pytest.raises(AutoOncoError, match="Your metric"):
        fit(manifest, tmp_path / "other", metric=lambda y: 0.0)
    assert not (tmp_path / "other").exists()


def test_a_finished_run_is_not_run_again(manifest, tmp_path):
    first = fit(manifest, tmp_path / "run", evaluation="none")
    journal = (tmp_path / "run/journal.jsonl").read_bytes()
    again = fit(manifest, tmp_path / "run", evaluation="none")
    assert (tmp_path / "run/journal.jsonl").read_bytes() == journal
    np.testing.assert_array_equal(again.predict_proba(manifest), first.predict_proba(manifest))


def test_no_family_or_no_success_is_told_with_the_reasons(manifest, tmp_path, toy):
    with pytest.raises(NothingToFitError, match=r"volumetric3d: .*2D"):
        fit(manifest, tmp_path / "a", families=["volumetric3d"])
    assert json.loads((tmp_path / "a/run.json").read_text())["status"] == "failed"
    toy.setenv("TOY_DEFAULTS", "raise")
    with pytest.raises(NothingToFitError, match="cannot fit row"):
        fit(manifest, tmp_path / "b", settings=SETTINGS.model_copy(update={"max_trials": 3}))


def test_a_class_with_too_few_patients_is_named(manifest, tmp_path):
    table = pd.read_csv(manifest)
    table.loc[table["label"] == "yes", "patient"] = "one"
    table.to_csv(manifest, index=False)
    with pytest.raises(DataError, match="'yes' has 1 patient"):
        fit(manifest, tmp_path / "run")


def test_it_has_scikit_learn_s_manners(manifest):
    clf = autoonco.AutoOncoClassifier(time_limit=5, families=["toy"])
    assert clone(clf).get_params() == clf.get_params()
    with pytest.raises(NotFittedError):
        clf.predict_proba(manifest)
    ours = inspect.signature(autoonco.fit).parameters
    theirs = inspect.signature(autoonco.AutoOncoClassifier).parameters
    assert {n: p.default for n, p in ours.items() if n != "dataset"} == {
        n: p.default for n, p in theirs.items()
    }


@pytest.mark.slow
def test_kill_9_in_mid_search_and_the_same_command_again(manifest, tmp_path, toy):
    toy.setenv("TOY_SECONDS", "0.4")
    with_test_split(manifest)
    command = [sys.executable, "-c", "from autoonco.cli import main; main()", "fit", str(manifest)]
    command += [
        "--families",
        "toy",
        "--clinical",
        "signal",
        "--time-limit",
        "40s",
        "--preset",
        "quick",
        "-o",
        "run",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = tmp_path / "run/journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        journal.exists() and journal.read_text().count('"trial"') >= 4
    ):
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = [line for line in journal.read_text().splitlines() if '"trial"' in line]
    assert len(before) >= 4
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert found.returncode == 0, found.stderr
    after = [line for line in journal.read_text().splitlines() if '"trial"' in line]
    assert after[: len(before)] == before
    trials = [json.loads(line) for line in after]
    done = [
        (json.dumps(trial["config"], sort_keys=True), trial["budget"], trial["fidelity"]["repeats"])
        for trial in trials
        if trial["status"] == "success"
    ]
    assert len(done) == len(set(done))
    assert (tmp_path / "run/model.onco").exists()
