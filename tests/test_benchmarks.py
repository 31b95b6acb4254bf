"""Parts of the benchmarks whose mistake would be a wrong figure."""

from __future__ import annotations

import ast
import importlib
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoonco.data.checks import errors_of, findings, inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.evaluation import ensemble
from autoonco.evaluation.refit import Refit
from autoonco.evaluation.splits import OuterSplit, groups_of
from autoonco.families import get_family
from autoonco.families.contract import Fidelity
from autoonco.search import source
from autoonco.search.clock import Clock
from autoonco.search.store import Store
from autoonco.search.trial import Ended, Origin, Status, Trial
from autoonco.settings import Settings
from autoonco.tabular.pipeline import complete
from benchmarks.draws import Candidate, interleave
from benchmarks.fault_counts import Counts, compare, incumbent, judge
from benchmarks.faults import resumed
from benchmarks.record import Recorder, development_cases
from benchmarks.recording import CONFIG_COLUMNS, FOLD_COLUMNS, Table
from benchmarks.replay import OURS
from benchmarks.replay import compare as compare_methods
from benchmarks.scale import make_cases
from benchmarks.spent import family_seconds


def test_what_is_replayed_as_ours_is_what_a_run_does():
    assert OURS.affordable == source.AFFORDABLE
    assert OURS.settings.min_budget == pytest.approx(Settings().min_budget)
    assert OURS.settings.cooling == Settings().cooling
    assert OURS.floor == Settings().floor
    assert OURS.order == "cheapest"


def test_a_recording_that_was_stopped_goes_on_with_what_was_written(tmp_path):
    table = Table(stem=tmp_path / "task")
    fold = {
        "config": "a",
        "repeat": 0,
        "fold": 0,
        "epochs": "",
        "score": "0.5",
        "cpu_s": 1.5,
        "wall_s": 2,
        "reason": "",
    }
    table.add("folds", FOLD_COLUMNS, fold)
    table.add("folds", FOLD_COLUMNS, fold | {"fold": 1, "cpu_s": 0.25})
    table.add("folds", FOLD_COLUMNS, fold | {"config": "b"})
    again = Table(stem=tmp_path / "task")
    assert again.rows == table.rows
    assert again.seconds_of("a") == 1.75
    assert again.folds_of("a") == {(0, 0, ""), (0, 1, "")}
    assert not again.has_config("a")  # its own row comes last
    again.add("configs", CONFIG_COLUMNS, dict.fromkeys(CONFIG_COLUMNS, "") | {"config": "a"})
    assert Table(stem=tmp_path / "task").has_config("a")


RECORDED = {
    "radiomics": {"learner": "naive_bayes", "robustness": "icc"},
    "frozen": {"mode": "frozen", "size": 128, "classifier": "pipeline", "head:learner": "knn"},
}


@pytest.mark.parametrize("group", RECORDED)
def test_what_a_recorded_fit_reads_was_made_and_charged_before(group, tmp_path, monkeypatch):
    """Else the first config's fold would be charged for what every later one finds."""
    monkeypatch.setenv("AUTOONCO_CACHE_DIR", str(tmp_path / "cache"))
    data = development_cases(make_phantoms(tmp_path, n=12, ndim=2, test_share=0.1), max_cases=99, seed=0)
    print_ = fingerprint(data, inspect(data, n_jobs=1))
    table = Table(stem=tmp_path / "task")
    recorder = Recorder(data, print_, table, n_folds=2, repeat_below_s=0, seed=0)
    candidate = Candidate(group=group, config={}, is_default=False)
    space = get_family(candidate.family).space(print_)
    candidate = replace(candidate, config=complete(space, RECORDED[group]))
    recorder._make_artefacts(candidate)

    def kept() -> set[Path]:
        return {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}

    before = kept()
    recorder.record(candidate)
    assert before
    assert kept() == before
    assert [row["reason"] for row in table.rows["folds"]] == ["", ""]
    assert table.has_config(candidate.key)


def test_any_beginning_of_what_is_recorded_is_balanced_after_the_defaults():
    groups = [
        [Candidate(group=group, config={"n": i}, is_default=i == 0) for i in range(n)]
        for group, n in (("radiomics", 30), ("frozen", 10))
    ]
    mixed = interleave(groups)
    assert len(mixed) == 40
    assert [c.is_default for c in mixed[:3]] == [True, True, False]
    for end in range(3, 41):
        assert abs(sum(c.group == "frozen" for c in mixed[:end]) - end / 4) <= 2


def run_folder(folder, events, *, n_fits):
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "predictions.csv").write_text("p\n0.5\n")
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    folder.with_suffix(".log").write_text("fit\n" * n_fits)
    return folder


def trial(number, loss, **more):
    given = {"event": "trial", "id": number, "origin": "search", "config": {"n": number}, "budget": 1.0}
    return given | {"loss": loss, "status": "success"} | more


def test_faults_are_counted(tmp_path):
    folds = [{"event": "fold", "name": name} for name in "abc"]
    events = [*folds, trial(0, 0.4), trial(1, 0.2), trial(2, 0.1, budget=0.5), trial(3, None)]
    good = run_folder(tmp_path / "good", events, n_fits=4)
    counts = Counts()
    judge(good, counts, n_kills=1, n_jobs=1, hit_worker=False)
    compare(good, good, counts)
    assert (counts.lost_fits, counts.is_good) == (1, True)
    assert incumbent(good)[3] == 0.2  # a partial training is none

    bad = run_folder(tmp_path / "bad", [*events, folds[0], trial(0, 0.0, status="failed")], n_fits=6)
    judge(bad, counts, n_kills=1, n_jobs=1, hit_worker=False)
    compare(bad, good, counts)
    assert (counts.lost_fits, counts.over_allowance, counts.counted_twice) == (4, 2, 2)
    assert (counts.other_failures, counts.other_incumbents, counts.other_trials) == (1, 1, 1)
    assert not counts.is_good
    counts.kill("search")
    counts.kill("a worker's work", of_worker=True)
    assert Counts.from_json(json.loads(json.dumps(counts.to_json()))) == counts


def test_a_part_of_the_kills_goes_on_where_the_last_one_ended_and_with_what_it_was_asked(tmp_path):
    state, asked = tmp_path / "counts.json", {"trials": 25, "jobs": 1, "seed": 0}
    assert resumed(state, asked) == (Counts(), 0.0, 0.0)
    counts = Counts(runs=3, run_kills=7)
    state.write_text(
        json.dumps({"asked": asked, "counts": counts.to_json(), "whole_s": 12.5, "seconds": 60.0})
    )
    assert resumed(state, asked) == (counts, 12.5, 60.0)
    with pytest.raises(SystemExit, match="another folder"):
        resumed(state, asked | {"jobs": 2})


def test_cases_to_be_counted_can_be_split(tmp_path):
    data = Dataset.from_csv(make_cases(100, tmp_path), clinical=["age"])
    facts = inspect(data, n_jobs=1)
    assert not errors_of(findings(data, facts))
    assert len(set(groups_of(data, facts))) == 100


class AtHand:
    """An executor whose every task is done in two seconds."""

    def n_idle(self, *, gpu):
        return 1

    def submit(self, task, *, timeout_s):
        self.task = task

    def poll(self):
        proba = np.full((len(self.task.fold.test), 2), 0.5)
        yield Ended(task_id=self.task.id, status=Status.SUCCESS, seconds=2.0, proba=proba)


def test_refits_are_time_inside_a_family(toy, problem, tmp_path):
    """They counted as overhead: of three minutes as a fifth to a third."""
    done = Trial(
        id=0, scope="final", family="toy", config={"act": "work", "strength": 0.3}, budget=1.0,
        fidelity=Fidelity(folds=3), status=Status.SUCCESS, seconds=5.0, elapsed_s=5.0, origin=Origin.DEFAULT, seed=0,
        loss=0.1, score=0.9,
    )  # fmt: skip
    store, split = Store(tmp_path), OuterSplit(scope="final", train=np.arange(40), test=np.arange(0))
    store.add_trial(done)
    store.add_trial(replace(done, id=1, status=Status.FAILED, seconds=0.5, loss=None, score=None))
    assert family_seconds(tmp_path) == 5.5
    refit = Refit(problem=problem, split=split, pool=AtHand(), store=store, seed=0, clock=Clock(60))
    refit.run([ensemble.Candidate(trial=done, probas=(), refit_s=1.0, score=0.9)], stop_s=60)
    assert family_seconds(tmp_path) == 7.5


def test_methods_are_compared_seed_by_seed():
    rows = [
        (method, "task", seed, 1.0, 0.1 * seed + better)
        for method, better in (("ours", 0.0), ("same", 0.0), ("worse", 0.05))
        for seed in range(10)
    ]
    frame = pd.DataFrame(rows, columns=["method", "table", "seed", "fraction", "regret"])
    found = compare_methods(frame).set_index("method")["p"]
    assert found["ours"] == found["same"] == 1.0
    assert found["worse"] == pytest.approx(2 / 2**10)  # ten of ten: the exact two-sided test


@pytest.mark.slow
def test_what_benchmarks_import_of_autoonco_is_there():
    """Inside functions too, where only a long run would tell."""
    missing = []
    for path in sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "autoonco":
                module = importlib.import_module(node.module)
                missing += [
                    f"{path.name}: {node.module}.{one.name}"
                    for one in node.names
                    if not hasattr(module, one.name)
                    and not (hasattr(module, "__path__") and find_spec(f"{node.module}.{one.name}"))
                ]
    assert not missing
