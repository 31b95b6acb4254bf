"""The top of the page: whose figure it is, what was spent, what a run that came to no good end says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoonco.reporting.content import make_content
from autoonco.reporting.files import as_json
from autoonco.reporting.judged import comparison_of, evaluation_of, verdict_of
from autoonco.reporting.key_facts import Fact
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.summary import banners, delivered_model, facts

BuildRun = Callable[..., Path]


def told(data: RunData) -> dict[str, Fact]:
    """Return the large figures by their label."""
    evaluation, comparison = evaluation_of(data, figures=()), comparison_of(data)
    found = facts(data, evaluation, comparison, verdict_of(data), delivered_model(data))
    return {fact.label: fact for fact in found}


def searches(*n_test: int) -> dict[str, Any]:
    """Return what a run notes of its searches, the final one last."""
    scopes = [*(f"outer{k}" for k in range(len(n_test) - 1)), "final"]
    return {"outer": [{"scope": scope, "n_test": n} for scope, n in zip(scopes, n_test, strict=True)]}


@pytest.mark.parametrize(
    ("evaluation", "n_folds", "n_test", "alike"),
    [
        ("external", 1, (60,), None),
        ("holdout", 1, (60,), None),
        ("splits", 1, (60,), None),  # a single ready split judges what is delivered
        (
            "splits",
            2,
            (30, 30, 0),
            "may have learned from these cases too; the figure is the mean of 2 models",
        ),
        ("splits", 1, (60, 60, 0), "that of a single model made alike, of a split"),
        ("nested", 3, (20, 20, 20, 0), "the mean of 3 models made alike, one an outer fold"),
        ("nested", 1, (60, 60, 0), "that of a single model made alike, of an outer fold"),
        ("leave_one_site_out", 3, (20, 20, 20, 0), "the mean of 3 models made alike, one a site"),
    ],
)
def test_what_is_delivered_is_told_as_judged_only_where_it_is(
    build_run: BuildRun, evaluation: str, n_folds: int, n_test: Sequence[int], alike: str | None
) -> None:
    data = read_run(build_run(n_trials=2, evaluation=evaluation, n_folds=n_folds, n_test=60))
    data = replace(data, run={**data.run, "searches": searches(*n_test)})
    note = told(data)["AUC of the delivered model"].note
    assert ("chosen without the test cases" in note) == (alike is None)
    assert ("it is itself not judged" in note) == (alike is not None)
    assert ("learned from these cases too" in note) == (alike is not None)
    assert (alike or "Ensemble of 2 models") in note


def test_folds_without_an_auc_are_not_counted_as_judges(build_run: BuildRun) -> None:
    data = read_run(build_run(n_trials=2, evaluation="nested", n_folds=3, n_test=60))
    assert data.predictions is not None
    table = data.predictions.assign(is_clean=1)
    table.loc[table["fold"] == 2, "truth"] = 0
    assert "the mean of 2 models" in told(replace(data, predictions=table))["AUC of the delivered model"].note


def test_a_run_without_a_model_yet_has_no_words_on_one(build_run: BuildRun) -> None:
    run = build_run(n_trials=2, evaluation="nested", n_folds=3, n_test=60)
    (run / "evaluation" / "models.json").unlink()
    fact = told(read_run(run))["AUC of the delivered model"]
    assert fact.value == "not measured"
    assert not fact.note.startswith(";")
    assert "made alike" not in fact.note


def test_the_compute_of_a_killed_run_is_that_of_all_its_searches(build_run: BuildRun) -> None:
    run = build_run(n_trials=4, status="running")
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    trials = [event for event in lines if event["event"] == "trial"]
    for number, trial in enumerate(trials):
        trial |= {"scope": f"outer{number // 2}", "elapsed_s": 300.0 + 280.0 * (number % 2)}
    (run / "journal.jsonl").write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"elapsed_s": 10.0}))
    assert told(read_run(run))["Compute"].value == "19 min 20 s"


@pytest.mark.parametrize("status", ["stopped", "running", "failed"])
def test_what_is_read_first_stands_in_the_json_too(build_run: BuildRun, status: str) -> None:
    content = make_content(read_run(build_run(n_trials=2, status=status, evaluation="none")))
    said = as_json(content, [])["banners"]
    assert said == banners(content.data)
    assert {"stopped": "stopped after 100 s", "running": "has not finished", "failed": "This run failed"}[
        status
    ] in said[0]
    assert "No model was judged on cases it never saw" in said[-1]


def test_the_strongest_shortcut_is_of_the_clean_cases(build_run: BuildRun) -> None:
    data = read_run(build_run(n_trials=2))
    evaluation = evaluation_of(data, figures=())
    own = evaluation[evaluation["model"] == "baseline: lesion size"].set_index("subset")["auc"]
    fact = told(data)["Strongest shortcut"]
    assert f"{own['test']:.2f}" != f"{own['test, clean']:.2f}"
    assert fact.value.startswith(f"{own['test, clean']:.2f} [")
    assert fact.note.endswith("on the clean cases")
    assert data.predictions is not None
    every = pd.DataFrame(data.predictions).assign(is_clean=1)
    fact = told(replace(data, predictions=every))["Strongest shortcut"]
    assert fact.value.startswith(f"{own['test']:.2f} [")
    assert fact.note.endswith("without the picture")
