"""What a search promises over whole runs: the same again, more of the same, one trial alone, equal shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import autoonco
from autoonco.arguments import as_labelled
from autoonco.data.checks import inspect
from autoonco.errors import RunMismatchError, UnknownNameError
from autoonco.evaluation.replay import replay
from tests.test_classifier import SETTINGS, fit, manifest, with_test_split  # noqa: F401

pytestmark = pytest.mark.alone

SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import autoonco
settings = autoonco.Settings(inner_folds=3, max_trials=25, ensemble_rounds=5, min_budget=1 / 9)
autoonco.fit({data!r}, run_dir={run!r}, families=["toy"], clinical=["signal"], time_limit=300, settings=settings)
"""
TIMES = {"seconds", "elapsed_s"}


def trials(run: Path) -> list[dict]:
    events = map(json.loads, (run / "journal.jsonl").read_text().splitlines())
    return [
        {key: value for key, value in event.items() if key not in TIMES}
        for event in events
        if event["event"] == "trial"
    ]


@pytest.mark.slow
def test_twice_with_one_seed_is_the_same_to_the_last_trial(toy, manifest, tmp_path):  # noqa: F811
    with_test_split(manifest)
    for name, hash_seed in (("one", "1"), ("two", "2")):
        script = SCRIPT.format(
            paths=os.environ["PYTHONPATH"].split(os.pathsep), data=str(manifest), run=str(tmp_path / name)
        )
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "TOY_SECONDS": "0.02" if name == "two" else "0",
        }
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=200)
    assert trials(tmp_path / "one") == trials(tmp_path / "two")
    assert len([t for t in trials(tmp_path / "one") if t["origin"] != "finalist"]) == 25
    one, two = (pd.read_csv(tmp_path / name / "evaluation/predictions.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


def test_any_trial_can_be_run_again_alone(manifest, tmp_path):  # noqa: F811
    with_test_split(manifest)
    fit(manifest, tmp_path / "run", settings=SETTINGS.model_copy(update={"max_trials": 5}))
    dataset = as_labelled(manifest, clinical=["signal"])
    facts = inspect(dataset, n_jobs=1)
    recorded = trials(tmp_path / "run")
    assert {trial["origin"] for trial in recorded} == {"default", "search", "finalist"}
    for trial in recorded:
        again, score = replay(tmp_path / "run", dataset, facts, trial["id"], n_threads=1)
        assert score == again.score == trial["score"]
    with pytest.raises(UnknownNameError, match="99"):
        replay(tmp_path / "run", dataset, facts, 99, n_threads=1)
    other = dataset.subset(range(20))
    with pytest.raises(RunMismatchError, match="other data"):
        replay(tmp_path / "run", other, facts[:20], 0, n_threads=1)


def test_a_finished_run_is_extended_by_more_trials(manifest, tmp_path):  # noqa: F811
    with_test_split(manifest)
    fit(manifest, tmp_path / "run", settings=SETTINGS.model_copy(update={"max_trials": 4}))
    first = trials(tmp_path / "run")
    fit(manifest, tmp_path / "run", time_limit=60, settings=SETTINGS.model_copy(update={"max_trials": 8}))
    both = trials(tmp_path / "run")
    assert both[: len(first)] == first
    assert len([t for t in both if t["origin"] != "finalist"]) == 8


@pytest.mark.slow
def test_a_whole_run_keeps_its_time_limit(manifest, tmp_path, toy):  # noqa: F811
    with_test_split(manifest)
    toy.setenv("TOY_SECONDS", "0.5")
    start = time.monotonic()
    fit(manifest, tmp_path / "run", time_limit=30, settings=autoonco.Settings(inner_folds=3))
    assert time.monotonic() - start < 30 * 1.05 + 1.0  # or one fold
