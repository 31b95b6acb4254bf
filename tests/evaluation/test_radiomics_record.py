"""The record of the best radiomics model: what is written, on which cases, and that no test case is looked at."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from autoonco.classifier import AutoOncoClassifier
from autoonco.data.cache import ArtefactCache
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError
from autoonco.evaluation import experiment
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.radiomics_record import SETTINGS_FILE, TABLE_FILE, radiomics_record
from autoonco.evaluation.splits import OuterSplit
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.radiomics import family
from autoonco.families.state import write_state
from autoonco.features.blocks import extract_table
from autoonco.features.perturbation import PERTURBATIONS
from autoonco.search.space import config_key
from autoonco.settings import Settings
from autoonco.tabular.robustness import icc
from autoonco.tabular.univariate import univariate_tests
from tests.families.test_radiomics import fingerprint, quick, write_case

N = 14


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A refitted model in a run folder, and the scope's result that names it."""
    folder = tmp_path_factory.mktemp("record")
    y = np.tile([0, 1], N // 2)
    cases = [write_case(folder, 500 + i, label, 2) for i, label in enumerate(y)]
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    facts = fingerprint(n_cases=N)
    config = quick(facts, learner="logistic_regression", selection="anova")
    context = FitContext(runtime=runtime, fingerprint=facts, seed=0)
    model = family.fit(config, cases, y, fidelity=Fidelity(folds=1), context=context)
    write_state(folder / "models" / config_key("radiomics", config), model.state())
    best = Judged(
        name="radiomics", kind="family", proba=np.zeros((0, 2)), members=[{"config": config, "weight": 1.0}]
    )
    return folder, ScopeResult(judged=(best,), delivered=(), fingerprint=facts), cases, y, model, runtime


def record_of(fitted, limit_s=60.0):
    folder, result, cases, y, _, runtime = fitted
    return radiomics_record(
        result, folder, cases, y, artefacts=runtime.artefacts, n_threads=1, icc_limit_s=limit_s
    )


def test_record_holds_the_models_own_features_and_tests(fitted):
    _, _, cases, y, model, runtime = fitted
    found = record_of(fitted)
    table, names = extract_table(cases, model.spec, artefacts=runtime.artefacts)
    assert found.features["feature"].tolist() == list(names)
    pd.testing.assert_frame_equal(
        found.features[list(univariate_tests(table, y, names))], univariate_tests(table, y, names)
    )
    kept = model.state().meta["kept"]
    assert found.features.query("kept == 1")["feature"].tolist() == [name for name in names if name in kept]
    assert 0 < found.settings["n_kept"] < len(names)
    assert json.loads(json.dumps(found.settings))["config"]["learner"] == "logistic_regression"


def test_icc_is_that_of_the_mask_as_drawn_and_its_perturbations(fitted):
    _, _, cases, _, model, runtime = fitted
    found = record_of(fitted)
    assert found.settings["icc_cases"] == N
    masks = [None, *PERTURBATIONS]
    ratings = [
        extract_table(cases, model.spec, artefacts=runtime.artefacts, perturbation=how)[0] for how in masks
    ]
    np.testing.assert_allclose(found.features["icc"], icc(np.stack(ratings)), rtol=1e-9, atol=1e-12)


def test_without_time_there_is_no_icc(fitted):
    found = record_of(fitted, limit_s=-1.0)
    assert found.settings["icc_cases"] == 0
    assert found.features["icc"].isna().all()


def test_without_a_radiomics_model_there_is_no_record(fitted, tmp_path):
    _, result, cases, y, _, runtime = fitted
    nothing = {"artefacts": runtime.artefacts, "n_threads": 1, "icc_limit_s": 1.0}
    empty = ScopeResult(judged=(), delivered=(), fingerprint=result.fingerprint)
    assert radiomics_record(empty, tmp_path, cases, y, **nothing) is None
    assert radiomics_record(result, tmp_path, cases, y, **nothing) is None  # its state isn't there


def test_features_that_other_machines_made_are_made_again_within_their_time(fitted, tmp_path):
    """As after a run on a cluster: nothing of it is in this machine's cache."""
    folder, result, cases, y, *_ = fitted
    elsewhere = {"n_threads": 1, "icc_limit_s": 0.0, "artefacts": ArtefactCache(tmp_path)}
    with pytest.raises(AutoOncoError, match=f"0 of {N} cases"):
        radiomics_record(result, folder, cases, y, limit_s=-1.0, **elsewhere)
    found = radiomics_record(result, folder, cases, y, limit_s=60.0, **elsewhere)
    pd.testing.assert_frame_equal(
        found.features.drop(columns="icc"), record_of(fitted).features.drop(columns="icc")
    )


@pytest.mark.parametrize("whole_s", [600.0, np.inf], ids=["by the clock", "where no time may matter"])
def test_it_is_written_whoever_did_the_work(fitted, whole_s):
    """Nothing but the run folder and the artefacts of this machine is asked: a cluster is none of its business."""
    folder, result, cases, y, _, runtime = fitted
    data = Dataset(cases=tuple(cases), classes=("a", "b"), y=y)
    rows = np.arange(N)
    split = OuterSplit(scope="final", train=rows, test=rows[:0])
    judge = SimpleNamespace(artefacts=runtime.artefacts, n_threads=1, notes=[])
    written = {}
    run = SimpleNamespace(path=folder, write=written.__setitem__)
    experiment._write_radiomics(run, data, split, result, judge, whole_s=whole_s)
    assert judge.notes == []
    assert written[SETTINGS_FILE]["n_cases"] == N
    assert len(written[TABLE_FILE]) > 100


@pytest.mark.alone
@pytest.mark.slow
def test_a_run_records_its_training_cases_alone(tmp_path):
    """Test cases of another contrast change no figure of the record."""
    tables = []
    for world in ("as it is", "changed"):
        folder = tmp_path / world
        folder.mkdir()
        rows = []
        for i in range(30):
            case = write_case(folder, 700 + i, i % 2, 2)
            is_test = i >= 20
            if is_test and world == "changed":
                sitk.WriteImage(sitk.ReadImage(case.images["image"]) * 50, case.images["image"])
            rows.append(
                {
                    "case": case.case, "image": case.images["image"].name, "mask": case.masks["mask"].name,
                    "label": "ab"[i % 2], "split": "test" if is_test else "train",
                }
            )  # fmt: skip
        pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
        run = folder / "run"
        AutoOncoClassifier(
            time_limit=120,
            families=["radiomics"],
            run_dir=run,
            settings=Settings(max_trials=2, seconds="prior"),
        ).fit(folder / "data.csv")
        tables.append(pd.read_csv(run / TABLE_FILE))
        assert json.loads((run / SETTINGS_FILE).read_text())["n_cases"] == 20
    pd.testing.assert_frame_equal(*tables)
    assert (tables[0]["n"] <= 20).all()
