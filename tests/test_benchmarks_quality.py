"""The quality benchmark: what is compared shares its cases, and the tables say what the rows say."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from benchmarks import methods, peers, worc_search
from benchmarks.quality import _append, _is_done, _task_argument, run_cell
from benchmarks.quality_tables import absent, figures, judge, ranks, reached, signed_ranks, write_tables
from benchmarks.radiomics_paper import _AtLeast, feature_names, features_of, lasso, numbers_of, xgboost
from benchmarks.tasks import outer_split, task_of, task_specs


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("quality"), n=40, ndim=2, seed=5)


def test_tasks_name_no_leaky_set_and_can_be_written_and_read_back(manifest):
    assert not [spec for spec in task_specs().values() if "leaky" in str(spec.manifest)]
    own = task_of(f"{manifest}:label=label:classes=malignant,benign")
    again = task_of(_task_argument(own))
    assert (again.manifest, again.read) == (own.manifest, own.read)
    assert own.load(manifest.parent).classes == ("malignant", "benign")
    assert task_of(_task_argument(task_of("lidc"))) == task_of("lidc")


def test_splits_part_patients_and_development_never_sees_test_cases(manifest):
    data = Dataset.from_csv(manifest)
    hidden = {case.case for case in data.subset(data.split == "test").cases}
    names = []
    for repeat, development in ((0, False), (1, False), (0, True), (1, True)):
        train, test = outer_split(data, repeat=repeat, development=development)
        assert not {case.patient for case in train.cases} & {case.patient for case in test.cases}
        assert train.split is None
        assert test.split is None
        seen = {case.case for case in (*train.cases, *test.cases)}
        assert seen.isdisjoint(hidden) if development else {case.case for case in test.cases} == hidden
        names.append(frozenset(case.case for case in test.cases))
    assert names[2] != names[3]


@pytest.mark.parametrize(
    "name", ["autoonco", "random_search", "no_ensemble", "only_radiomics", "paper_lasso"]
)
def test_methods_have_names(name):
    assert name in methods.method_names()
    assert callable(methods.method_of(name))


def test_an_unknown_method_is_told_with_the_known_ones():
    with pytest.raises(SystemExit, match="autogluon"):
        methods.method_of("autogloun")


def test_every_ablation_is_a_setting():
    from autoonco.settings import Settings

    usual = Settings()
    for name, changes in methods.ABLATIONS.items():
        changed = Settings.checked(dict(changes))
        assert changed != usual or name == "no_warm_start", name
        assert {key for key in changes if getattr(changed, key) != getattr(usual, key)} == set(changes), name


def test_pips_own_words_are_not_the_cause():
    said = """WARNING: Location is ignored
  × Getting requirements to build wheel did not run successfully.
      ModuleNotFoundError: No module named 'numpy'
      [end of output]
error: subprocess-exited-with-error
"""
    assert peers.first_cause(said) == "ModuleNotFoundError: No module named 'numpy'"
    assert peers.first_cause("ERROR: No matching distribution found for x==1") == (
        "ERROR: No matching distribution found for x==1"
    )
    assert peers.first_cause("") == "unknown error"


def test_a_failed_installation_is_remembered(tmp_path):
    folder = tmp_path / "environments" / "x"
    folder.mkdir(parents=True)
    (folder / "failed.txt").write_text("pip install x: no", encoding="utf-8")
    with pytest.raises(peers.NotHereError, match="pip install x: no"):
        peers.environment("x", "x", tmp_path)


def trial(score, seconds=5.0):
    """What one workflow of five folds told."""
    return {"results": [{"test_scores": score}] * 5, "error": None, "seconds": seconds}


def test_worcs_script_needs_nothing_of_autoonco():
    """It runs in WORC's environment, where neither the package nor what it depends on is."""
    tree = ast.parse(Path(worc_search.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in names}
    assert {"WORC", "numpy"} < tops
    assert tops - sys.stdlib_module_names == {"WORC", "numpy", "sklearn", "joblib"}


def test_worc_gets_a_row_and_its_labels_a_case_and_gaps_for_what_is_no_number():
    table = numbers_of(np.array([[1.0, np.inf, 3.0], [np.nan, 2.0, -1e300]]))
    cases = worc_search.cases_of(table, ["a", "b", "c"])
    assert [labels for _, labels in cases] == [["a", "b", "c"]] * 2
    np.testing.assert_array_equal([values for values, _ in cases], [[1, np.nan, 3], [np.nan, 2, np.nan]])


def test_worcs_probabilities_sum_to_one_and_order_cases_as_its_scores():
    one, two = np.array([0.2, 0.9]), np.array([0.0, 0.3])
    np.testing.assert_allclose(worc_search.probabilities([one]), [[0.8, 0.2], [0.1, 0.9]])
    table = worc_search.probabilities([one, two, two])
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(table, [[1, 0, 0], [0.6, 0.2, 0.2]])
    np.testing.assert_allclose(worc_search.probabilities([two * 0] * 3), 1 / 3)  # no class has a voice


def test_worcs_refits_are_reckoned_by_the_best_workflows():
    slow_and_good, quick_and_bad, failed = trial(0.9, 50.0), trial(0.5, 5.0), trial(np.nan, 500.0)
    assert worc_search.refit_s([], 100) == 0
    nine = [quick_and_bad] * 8 + [slow_and_good]
    assert worc_search.kept(9, 100) == worc_search.kept(10, 100) == 1
    assert worc_search.refit_s(nine, 100) == pytest.approx(worc_search.REFIT_COST * 10)
    eleven = [*nine, failed, failed]
    assert worc_search.kept(11, 100) == 2
    assert worc_search.refit_s(eleven, 100) == pytest.approx(worc_search.REFIT_COST * 11)
    assert worc_search.kept(1000, 100) == worc_search.kept(5000, 100) == 100


def test_names_are_those_of_the_features_in_their_order(manifest):
    pytest.importorskip("radiomics")
    cases = Dataset.from_csv(manifest).cases[:2]
    found = features_of(cases[0])
    names = feature_names(cases, len(found))
    assert ["_".join(pair) for pair in names] == sorted(found)
    assert {channel for channel, _ in names} == set(cases[0].images)
    assert ("image", "original_shape2D_Elongation") in names


PEER = """
import json, os, sys
import numpy as np
job = json.load(open(sys.argv[1]))
data = np.load(job["data"], allow_pickle=False)
if len(data["test"]) == 1:
    raise ValueError("one case\\nis too few")
np.save(job["out"], np.c_[data["test"], data["test"] * job["factor"]])
open(os.path.expanduser("~/left"), "w").close()
"""


def test_a_peer_answers_from_its_own_home_and_its_error_is_told(tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    command = [str(python), "-c", PEER]
    test = np.array([1.0, 2.0])
    answer = peers._answer("Peer", command, tmp_path / "cell", {"factor": 3}, test=test)
    np.testing.assert_array_equal(answer, [[1, 3], [2, 6]])
    assert (tmp_path / "environment" / "home" / "left").exists()
    with pytest.raises(RuntimeError, match=r"^Peer: ValueError: one case$"):
        peers._answer("Peer", command, tmp_path / "cell", {"factor": 3}, test=test[:1])


@pytest.mark.parametrize("make", [lasso, xgboost])
def test_papers_pipelines_find_a_signal_and_take_gaps(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    x = rng.normal(size=(120, 30))
    x[:, 4] += 2.5 * y
    x[::7, 3], x[5, 8], x[:, 9] = np.nan, np.inf, 1.0
    proba = make(0).fit(x[:80], y[:80]).predict_proba(x[80:])
    assert proba.shape == (40, 2)
    better = proba[y[80:] == 1, 1].mean() - proba[y[80:] == 0, 1].mean()
    assert better > 0.3


def test_without_a_feature_left_the_strongest_stand_in():
    class Nothing:
        def fit(self, X, y):
            return self

        def get_support(self):
            return np.zeros(6, dtype=bool)

    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    x = rng.normal(size=(60, 6))
    x[:, 2] += 3 * y
    chosen = _AtLeast(Nothing(), 2).fit(x, y).chosen_
    assert chosen.sum() == 2
    assert chosen[2]


def rows(**aucs) -> pd.DataFrame:
    found = []
    for (method, values), repeat in ((item, k) for item in aucs.items() for k in range(len(item[1]))):
        auc = values[repeat]
        found.append({
            "task": "t", "method": method, "repeat": repeat, "time_limit_s": 60.0, "status": "ok", "message": "",
            "n_train": 90, "n_test": 30, "auc": auc, "auc_lower": auc - 0.1, "auc_upper": min(1.0, auc + 0.1),
            "balanced_accuracy": auc, "wall_s": 61.0, "cpu_s": 100.0, "peak_mb": 900.0, "trials": 10.0, "fit_s": 60.0,
            "overhead_share": 0.25,
        })  # fmt: skip
    return pd.DataFrame(found)


def test_figures_and_ranks_are_those_of_the_rows():
    table = rows(autoonco=[0.9, 0.8, 0.85], other=[0.8, 0.7, 0.75])
    text = figures(table)
    first, second = (line for line in text.splitlines() if line.startswith(("| autoonco", "| other")))
    assert first.startswith("| autoonco | 0.850 (0.900, 0.800, 0.850) | [0.750, 0.950]")
    assert "| 10.0 | 25 % |" in first
    assert second.startswith("| other | 0.750")
    assert "| autoonco | 1.00 |" in ranks(table)
    assert "| other | 2.00 |" in ranks(table)


def test_signed_ranks_know_who_is_better_and_what_is_the_same():
    base = np.linspace(0.7, 0.9, 12)
    table = rows(autoonco=base.tolist(), worse=(base - 0.05).tolist(), same=(base + 0.001).tolist())
    found = {
        line.split(" | ")[0].strip("| "): line
        for line in signed_ranks(table).splitlines()
        if line.startswith("| ")
    }
    better = float(found["worse"].split(" | ")[2])
    assert better > 0.95
    assert float(found["same"].split(" | ")[3]) > 0.95


def test_seconds_to_reach_a_peer_come_from_the_shorter_runs():
    short = rows(autoonco=[0.8, 0.8]).assign(time_limit_s=20.0, wall_s=21.0)
    long = rows(autoonco=[0.9, 0.9], peer=[0.79, 0.79], strong=[0.95, 0.95])
    text = reached(pd.concat([short, long]))
    assert "| t | peer | 0.790 | 21 |" in text
    assert "| t | strong | 0.950 | not reached |" in text


def test_what_has_no_figure_is_listed_and_tables_are_written(tmp_path):
    bad = {
        "task": "t",
        "method": "worc",
        "repeat": 0,
        "time_limit_s": 60.0,
        "status": "not here",
        "message": "pip: no",
    }
    table = pd.concat([rows(autoonco=[0.9]), pd.DataFrame([bad])], ignore_index=True)
    assert "- worc on t: not here. pip: no" in absent(table)
    text = write_tables(table, tmp_path)
    assert (tmp_path / "results.md").read_text(encoding="utf-8").strip() == text.strip()
    assert (tmp_path / "t.svg").stat().st_size > 1000


def test_rows_are_kept_and_not_run_again(tmp_path):
    path = tmp_path / "results.csv"
    _append(path, {"task": "t", "method": "a", "repeat": 0, "time_limit_s": 60.0, "status": "ok"})
    _append(
        path, {"task": "t", "method": "b", "repeat": 0, "time_limit_s": 60.0, "status": "ok", "trials": 3}
    )
    assert _is_done(path, ("t", "a", 0, 60.0))
    assert not _is_done(path, ("t", "a", 1, 60.0))
    assert list(pd.read_csv(path)["method"]) == ["a", "b"]


@pytest.mark.slow
def test_a_cell_learns_on_its_side_and_is_judged_on_the_other(manifest, tmp_path):
    pytest.importorskip("radiomics")
    folder = tmp_path / "cell"
    folder.mkdir()
    job = {
        "task": str(manifest), "method": "paper_lasso", "repeat": 0, "limit_s": 60.0, "jobs": 1,
        "development": False, "out": str(tmp_path),
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    run_cell(folder)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "ok", result
    figure = judge(folder / "proba.npz")
    assert 0 <= figure["auc_lower"] <= figure["auc"] <= figure["auc_upper"] <= 1
    assert result["n_train"] + result["n_test"] == 40
    assert (
        result["n_features"] == 9 + 93 * 5
    )  # shape, then first order and textures of the picture and four wavelet bands
