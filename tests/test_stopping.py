"""Ctrl-C at a terminal, from the outside: once a model comes, twice the run ends, and the same command goes on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

import autoonco
from autoonco.search.interrupt import SENTENCE, watching

WAIT_S = 600.0


class Terminal:
    """One command after the other in the same folder, each with a clinical toy family that takes a little time."""

    def __init__(self, folder):
        self.folder = folder
        rng = np.random.default_rng(0)
        rows = []
        for i in range(40):
            label = i % 2
            Image.fromarray(rng.integers(0, 255, (12, 12)).astype(np.uint8)).save(folder / f"{i}.png")
            rows.append({"image": f"{i}.png", "label": "ny"[label], "signal": 2 * label - 1 + rng.normal()})
        pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)

    def fit(self):
        # what is begun in the background may be deaf to Ctrl-C, and hands that on
        hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        main = hears + "from autoonco.cli import main; main()"
        entry = [sys.executable, "-c", main, "fit", "data.csv", "-o", "run"]
        options = ["--families", "toy", "--clinical", "signal", "--preset", "quick", "--max-trials", "3"]
        options += ["--time-limit", "1h", "--evaluation", "nested"]
        self.process = subprocess.Popen(
            [*entry, *options], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, n_trials):
        deadline = time.monotonic() + WAIT_S
        while self.n_trials < n_trials:
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def says(self, word):
        """Return whether the command says so before it ends; on a busy machine it may take a while to hear a signal."""
        return any(word in line for line in self.process.stderr)

    def ended(self):
        out, err = self.process.communicate(timeout=WAIT_S)
        assert "Traceback" not in err
        return self.process.returncode, re.sub(r"\s+", " ", out), re.sub(r"\s+", " ", err)

    @property
    def trials(self):
        path = self.folder / "run" / "journal.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [trial for line in lines if (trial := json.loads(line))["event"] == "trial"]

    @property
    def n_trials(self):
        return len(self.trials)

    @property
    def run(self):
        return json.loads((self.folder / "run" / "run.json").read_text())


@pytest.mark.slow
def test_ctrl_c_once_brings_the_model_and_twice_ends_the_run(toy, tmp_path):
    toy.setenv("TOY_SECONDS", "0.2")
    terminal = Terminal(tmp_path)

    terminal.fit()
    terminal.wait_for(5)  # the second outer fold
    terminal.process.send_signal(signal.SIGINT)
    code, out, err = terminal.ended()
    assert code == 0, err
    assert err.count(SENTENCE) == 1
    assert terminal.run["status"] == "stopped"
    assert re.search("[1-4] of 5 outer folds judge its models", terminal.run["stopped"])
    assert terminal.run["stopped"] in err
    assert "model:" in out
    scopes = {*(f"outer{k}" for k in range(5)), "final"}
    assert {"outer0", "final"} <= {trial["scope"] for trial in terminal.trials} < scopes
    page = re.sub(r"\s+", " ", (tmp_path / "run/report/index.html").read_text())
    assert terminal.run["stopped"] in page
    model = autoonco.load(tmp_path / "run/model.onco")
    assert model.predict_proba(tmp_path / "data.csv").shape == (40, 2)

    n_before = terminal.n_trials
    terminal.fit()
    terminal.wait_for(n_before + 2)
    workers = psutil.Process(terminal.process.pid).children(recursive=True)
    assert workers
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.says(SENTENCE.split()[0])
    time.sleep(0.2)  # or it would be one press
    terminal.process.send_signal(signal.SIGINT)
    code, _, err = terminal.ended()
    assert code == 130
    assert "What was finished is kept" in err
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert terminal.run["status"] == "running"

    n_before, before = terminal.n_trials, terminal.trials
    terminal.fit()
    code, _, err = terminal.ended()
    assert code == 0, err
    assert terminal.trials[:n_before] == before
    assert terminal.run["status"] == "finished"
    assert terminal.run["stopped"] is None
    done = [
        (t["scope"], json.dumps(t["config"], sort_keys=True), t["budget"], t["fidelity"]["repeats"])
        for t in terminal.trials
        if t["status"] == "success"
    ]
    assert len(done) == len(set(done))
    assert {trial["scope"] for trial in terminal.trials} == scopes


@pytest.mark.slow
def test_asked_before_any_search_a_model_comes_that_nobody_judged(toy, tmp_path):
    Terminal(tmp_path)

    with watching(pytest.fail) as stop:
        clf = autoonco.fit(
            autoonco.Dataset.from_csv(tmp_path / "data.csv", clinical=["signal"]),
            families=["toy"],
            evaluation="nested",
            time_limit="1h",
            run_dir=tmp_path / "run",
            settings="quick",
            progress=lambda _: stop.ask(),
        )
    result = clf.result_
    assert clf.predict_proba(tmp_path / "data.csv").shape == (40, 2)
    assert len(result.leaderboard()) == 1
    assert result.evaluation().empty
    assert "0 of 5 outer folds" in result.stopped()
    assert result.stopped() in clf.report(tmp_path / "report").read_text()
    assert result.stopped() in result.model_card()["limits"]


def test_asked_while_the_data_are_checked_it_leaves_with_nothing_begun(toy, tmp_path):
    Terminal(tmp_path)
    dataset, begun = autoonco.Dataset.from_csv(tmp_path / "data.csv", clinical=["signal"]), []
    with watching(pytest.fail) as stop:
        stop.ask()
        with pytest.raises(KeyboardInterrupt):
            autoonco.fit(dataset, families=["toy"], run_dir=tmp_path / "run", progress=begun.append)
    assert not begun
    assert not (tmp_path / "run").exists()
