"""Every way to judge, from the arguments of `fit` to the run folder, with a family that needs no picture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import autoonco
from autoonco.errors import AutoOncoError, DataError, RunMismatchError

pytestmark = pytest.mark.alone

SETTINGS = autoonco.Settings(
    inner_folds=2, outer_folds=2, max_trials=2, ensemble_rounds=2, finalists=0, shortcuts=False
)


@pytest.fixture
def make(toy, tmp_path):
    """Return a function that writes a manifest of `n` cases, two a patient, at three sites."""

    def written(name, n=36, seed=0, prefix="P", **columns):
        rng = np.random.default_rng(seed)
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (8, 8)).astype(np.uint8)).save(folder / f"{i}.png")
            label = (i // 2) % 2
            row = {"case": f"{name}-{i}", "patient": f"{prefix}{i // 2}", "image": f"{i}.png"}
            row |= {
                "label": ["no", "yes"][label],
                "signal": 2 * label - 1 + rng.normal(),
                "site": "abc"[i // 4 % 3],
            }
            rows.append(row | {key: values[i] for key, values in columns.items()})
        pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
        return folder / "data.csv"

    return written


def fit(path, run_dir, **arguments):
    given = {"families": ["toy"], "clinical": ["signal"], "time_limit": 600, "settings": SETTINGS}
    clf = autoonco.fit(path, run_dir=run_dir, **(given | arguments))
    run = json.loads((run_dir / "run.json").read_text())
    predictions = pd.read_csv(run_dir / "evaluation/predictions.csv")
    return clf, run, predictions[predictions["model"] == "ensemble"]


@pytest.mark.slow
def test_an_external_dataset_judges_and_is_never_learned_from(make, tmp_path):
    ours, theirs = make("ours"), make("theirs", n=16, seed=1, prefix="Q")
    clf, run, judged = fit(ours, tmp_path / "run", external=theirs)
    assert (run["evaluation"], run["n"]["train"], run["n"]["test"]) == ("external", 36, 16)
    assert judged["row"].tolist() == list(range(37, 53))
    patients = pd.read_csv(tmp_path / "run/evaluation/patients.csv")
    patients = patients[patients["model"] == "ensemble"]
    cases = autoonco.Dataset.from_csv(theirs, clinical=["signal"]).cases
    cases = [replace(case, row=case.row + 36) for case in cases]  # the toy's noise is of the row
    told = clf.predict_table(cases, by="patient")  # as they were judged
    assert told["n_cases"].tolist() == [2] * 8
    np.testing.assert_allclose(np.sort(told["probability_yes"]), np.sort(patients["p_1"]), atol=1e-6)
    assert (told["prediction_set"] != "").any()
    record = json.loads((tmp_path / "run/evaluation/decisions.json").read_text())["patients"]
    assert (record["how"], record["n"], record["conformal"]["test"]["n"]) == ("mean", 18, 8)
    assert judged["is_clean"].all()
    with pytest.raises(RunMismatchError, match="another data"):
        fit(ours, tmp_path / "run", external=make("others", n=16, seed=2, prefix="Q"))


@pytest.mark.slow
def test_patients_of_an_external_dataset_who_were_learned_from_are_not_clean(make, tmp_path):
    _, run, judged = fit(
        make("ours"), tmp_path / "run", external=make("theirs", n=16, seed=1), evaluation="external"
    )
    assert not judged["is_clean"].any()
    assert any("16 test cases have their patient" in note for note in run["notes"])


@pytest.mark.slow
def test_ready_splits_are_replayed_and_so_are_those_that_a_run_wrote(make, tmp_path):
    path = make("ours")
    roles = {"one": ["train"] * 20 + ["test"] * 16, "two": ["test"] * 12 + ["train"] * 20 + [""] * 4}
    table = pd.DataFrame({"case": [f"ours-{i}" for i in range(36)], **roles})
    clf, run, judged = fit(path, tmp_path / "run", splits=table)
    assert run["evaluation"] == "splits"
    assert [each["n_test"] for each in run["searches"]["outer"]] == [16, 12, 0]
    assert run["searches"]["seconds_each"] == pytest.approx(200)
    by_fold = judged.groupby("fold")["row"].apply(list).to_dict()
    assert by_fold == {0: list(range(21, 37)), 1: list(range(1, 13))}
    assert judged.groupby("fold")["n_train"].first().tolist() == [20, 20]
    assert clf.result_.evaluation()["n_folds"].max() == 2
    again = fit(path, tmp_path / "again", splits=tmp_path / "run/evaluation/splits.csv")[2]
    pd.testing.assert_frame_equal(judged, again)
    with pytest.raises(RunMismatchError, match="table of splits"):
        fit(path, tmp_path / "run", splits=table.assign(two=roles["one"][::-1]))


@pytest.mark.slow
def test_each_site_is_left_out_once(make, tmp_path):
    _, run, judged = fit(make("ours"), tmp_path / "run", evaluation="leave_one_site_out")
    site = np.arange(36) // 4 % 3
    for fold, rows in judged.groupby("fold")["row"]:
        assert sorted(rows) == (np.flatnonzero(site == fold) + 1).tolist()
    assert any("3 sites, each left out once" in note for note in run["notes"])


@pytest.mark.slow
def test_repeats_of_nested_folds_share_the_time_evenly_and_say_so(make, tmp_path):
    settings = SETTINGS.model_copy(update={"outer_repeats": 2})
    _, run, judged = fit(make("ours"), tmp_path / "run", evaluation="nested", settings=settings)
    assert run["searches"]["n"] == 5
    assert run["searches"]["seconds_each"] == pytest.approx(120)
    assert any("5 searches of 120 s each" in note and "2 repeats" in note for note in run["notes"])
    assert "5 searches of 120 s each" in (tmp_path / "run/log.txt").read_text()
    for _, rows in judged.groupby("repeat")["row"]:
        assert sorted(rows) == list(range(1, 37))
    assert judged.groupby(["repeat", "group"])["fold"].nunique().max() == 1


@pytest.mark.slow
def test_a_run_that_goes_on_reads_the_outer_searches_it_had_finished(make, tmp_path, monkeypatch):
    path, stopped = make("ours"), RuntimeError("killed before the final search")
    from autoonco.evaluation.judge import Judge

    whole = Judge.run

    def until_final(self, split, **options):
        if split.scope == "final":
            raise stopped
        return whole(self, split, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "run", until_final)
        with pytest.raises(RuntimeError, match="killed"):
            fit(path, tmp_path / "run", evaluation="nested")
    first = pd.read_csv(tmp_path / "run/evaluation/predictions.csv")
    journal = (tmp_path / "run/journal.jsonl").read_text()
    _, run, _ = fit(path, tmp_path / "run", evaluation="nested")
    now = pd.read_csv(tmp_path / "run/evaluation/predictions.csv")
    pd.testing.assert_frame_equal(first, now)
    added = [
        json.loads(line) for line in (tmp_path / "run/journal.jsonl").read_text()[len(journal) :].splitlines()
    ]
    assert {event["scope"] for event in added if "scope" in event} == {"final"}
    assert run["status"] == "finished"


@pytest.mark.slow
def test_a_short_time_holds_out_a_part_and_the_run_says_why(make, tmp_path):
    many = SETTINGS.model_copy(update={"outer_folds": 20})
    _, run, _ = fit(make("ours"), tmp_path / "run", settings=many)
    assert run["evaluation"] == "holdout"
    said = [note for note in run["notes"] if "too short for nested" in note]
    assert len(said) == 1
    assert said[0] in (tmp_path / "run/log.txt").read_text()


@pytest.mark.parametrize(
    ("label", "error", "says"),
    [
        (["yes"] * 36, DataError, "gives the class yes, expected two different ones"),
        (["yes"] * 34 + ["no"] * 2, DataError, r"Class 'no' has 1 patient\(s\)"),
        (["yes"] * 30 + ["no"] * 6, DataError, r"Class 'no' has 3 patient.*at most 3 folds.*outer_folds"),
    ],
    ids=["one class", "a class of one patient", "fewer patients than folds"],
)
def test_labels_that_can_t_be_judged_end_before_the_search(make, tmp_path, label, error, says):
    settings = SETTINGS.model_copy(update={"outer_folds": 5})
    with pytest.raises(error, match=says):
        fit(make("ours", label=label), tmp_path / "run", evaluation="nested", settings=settings)
    assert not (tmp_path / "run/journal.jsonl").exists()


def test_two_ways_at_once_are_refused(make, tmp_path):
    ours = make("ours")
    table = pd.DataFrame({"s": ["train"] * 20 + ["test"] * 16})
    with pytest.raises(AutoOncoError, match="goes with evaluation 'splits', got 'nested'"):
        fit(ours, tmp_path / "run", splits=table, evaluation="nested")


def test_grades_are_ordered_judged_and_told_as_grades(make, tmp_path):
    """As text 10 stands before 2; it is rare, so that it shares a stratum with its neighbour."""
    rng = np.random.default_rng(0)
    grades = np.repeat([1, 2, 3, 10], [14, 12, 12, 4])
    path = make("ours", n=42, label=grades, patient=range(42))
    place = np.searchsorted([1, 2, 3, 10], grades)
    features = pd.DataFrame(
        {"case": [f"ours-{i}" for i in range(42)]} | {f"f{k}": place + rng.normal(size=42) for k in range(3)}
    )
    clf, run, _ = fit(
        path,
        tmp_path / "run",
        task="ordinal",
        families=["own_features"],
        features=features,
        evaluation="holdout",
        settings=SETTINGS.model_copy(update={"max_trials": 1}),
    )
    assert clf.classes_.tolist() == ["1", "2", "3", "10"]
    assert (run["task"], run["metric"]) == ("ordinal", "ordinal_auc")
    table = clf.result_.evaluation().set_index("model")
    assert table.loc["ensemble", "auc"] > 0.6
    assert {"quadratic_kappa", "mean_absolute_error", "ranked_probability"} <= set(table)
    data = autoonco.Dataset.from_csv(path, clinical=["signal"]).with_features(features)
    proba = clf.predict_proba(data)
    median = (np.cumsum(proba, axis=1) >= 0.5 - 1e-9).argmax(axis=1)
    loaded = autoonco.load(clf.save(tmp_path / "model.onco"))
    for one in (clf, loaded):
        assert one.predict(data).tolist() == clf.classes_[median].tolist()
        assert one.predict_table(data)["prediction"].tolist() == clf.classes_[median].tolist()
    with pytest.raises(RunMismatchError, match="another"):
        fit(path, tmp_path / "run", families=["own_features"], features=features, evaluation="holdout")
