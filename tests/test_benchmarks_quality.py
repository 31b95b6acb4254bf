"""The quality benchmark: what is compared shares its cases, and the tables say what the rows say."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from benchmarks import methods, peers
from benchmarks.quality import _append, _is_done, _task_argument, run_cell
from benchmarks.quality_tables import absent, figures, judge, ranks, reached, signed_ranks, write_tables
from benchmarks.radiomics_paper import _AtLeast, lasso, xgboost
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
