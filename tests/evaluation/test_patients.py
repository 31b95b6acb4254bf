from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from autoonco.errors import AutoOncoError
from autoonco.evaluation.calibration import OutOfFold
from autoonco.evaluation.decisions import decide_on, with_test_figures
from autoonco.evaluation.patients import by_patient, check_level, has_several, patient_table, patients_of
from autoonco.evaluation.tables import evaluation_table, fold_ratio
from autoonco.settings import Settings


def predicted(seed=0, k=2, n_patients=40, folds=1):
    """One to three cases a patient, of the patient's class but for a few."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_patients), rng.integers(1, 4, n_patients))
    truth = group % k
    truth[rng.random(len(truth)) < 0.1] = k - 1
    proba = {
        model: (rng.dirichlet(np.ones(k), len(group)) + np.eye(k)[truth]) / 2
        for model in ("ensemble", "radiomics")
    }
    frames = [
        pd.DataFrame(
            {
                "fold": group % folds, "repeat": 0, "n_train": 30, "row": np.arange(len(group)) + 1, "group": group,
                "truth": truth, "is_clean": (group % 9 > 0).astype(int), "model": model,
            }
            | {f"p_{j}": values[:, j] for j in range(k)}
        )
        for model, values in proba.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize(("k", "task"), [(2, "classification"), (4, "ordinal")])
def test_a_patient_s_prediction_is_that_of_a_loop_over_the_cases(how, k, task):
    cases = predicted(k=k)
    found = by_patient(cases, how=how, task=task)
    columns = [f"p_{j}" for j in range(k)]
    assert len(found) == cases.groupby(["model", "group"]).ngroups
    for _, row in found.iterrows():
        own = cases[(cases["group"] == row["group"]) & (cases["model"] == row["model"])]
        p = own[columns].to_numpy()
        expected = p.mean(axis=0) if how == "mean" else p[(p @ np.arange(k)).argmax()]
        np.testing.assert_allclose(row[columns].to_numpy(dtype=float), expected)
        assert (row["truth"], row["n_cases"]) == (own["truth"].max(), len(own))
        assert row["is_clean"] == own["is_clean"].min()


def test_of_more_classes_without_an_order_mixed_patients_have_no_label():
    cases = predicted(k=3)
    mixed = cases.groupby("group")["truth"].nunique()
    found = by_patient(cases)
    assert set(found["group"]) == set(mixed.index[mixed == 1])
    with pytest.raises(AutoOncoError, match="patient_level 'max' wants two classes or grades, got 3"):
        check_level("max", n_classes=3, task="classification")
    check_level("max", n_classes=3, task="ordinal")


def test_figures_of_patients_are_of_as_many_patients_as_there_are():
    cases = predicted(folds=4)
    table = patient_table(cases, ["no", "yes"])
    whole = table[table["subset"] == "patients, mean"]
    assert set(whole["n"]) == set(whole["n_patients"]) == {40}
    assert set(table["subset"]) == {"patients, mean", "patients, mean, clean"}
    assert set(whole["n_folds"]) == {4}


def test_over_folds_patients_are_as_large_a_share_of_the_training_part_as_their_cases():
    cases = predicted(folds=4, n_patients=400)
    n = cases["row"].nunique()
    cases["n_train"] = n - cases.groupby(["fold", "model"])["row"].transform("size")
    patients = by_patient(cases)
    for table in (cases, patients):
        folds = [fold for _, fold in table[table["model"] == "ensemble"].groupby("fold")]
        assert fold_ratio(folds) == pytest.approx(1 / 3, rel=0.02)


def test_one_case_a_patient_is_no_other_question():
    cases = predicted().drop_duplicates(["group", "model"])
    assert not has_several(cases)
    assert patient_table(cases, ["no", "yes"]).empty
    same = evaluation_table(by_patient(cases), ["no", "yes"], figures=["brier"])
    assert same["auc"].tolist() == evaluation_table(cases, ["no", "yes"], figures=["brier"])["auc"].tolist()


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize(("k", "task"), [(2, "classification"), (3, "classification"), (4, "ordinal")])
def test_out_of_fold_cases_become_the_same_patients_as_predictions(how, k, task):
    if how == "max" and (k, task) == (3, "classification"):
        how = "mean"
    table = predicted(k=k, folds=4)
    table = table[table["model"] == "ensemble"]
    columns = [f"p_{j}" for j in range(k)]
    cases = OutOfFold(
        y=table["truth"].to_numpy(),
        proba=table[columns].to_numpy(),
        fold=table["fold"].to_numpy(),
        patient=table["group"].astype(str).to_numpy(),
    )
    found = patients_of(cases, how=how, task=task)
    assert found is not None
    expected = by_patient(table, how=how, task=task)

    def rows(y, fold, proba):
        return sorted(zip(y, fold, *np.round(proba, 12).T, strict=True))

    told = rows(expected["truth"], expected["fold"], expected[columns].to_numpy())
    assert rows(found.y, found.fold, found.proba) == told


def test_nothing_is_learned_of_patients_where_none_has_several_or_none_has_a_label():
    lone = OutOfFold(y=np.array([0, 1]), proba=np.eye(2), fold=np.zeros(2, int), patient=np.array(["a", "b"]))
    assert patients_of(lone, how="mean", task="classification") is None
    assert patients_of(replace(lone, patient=None), how="mean", task="classification") is None
    mixed = OutOfFold(
        y=np.array([0, 1]), proba=np.eye(3)[:2], fold=np.zeros(2, int), patient=np.array(["a", "a"])
    )
    assert patients_of(mixed, how="mean", task="classification") is None
    assert patients_of(mixed, how="mean", task="ordinal") is not None


@pytest.mark.parametrize("how", ["mean", "max"])
def test_sets_of_patients_hold_their_class_as_often_as_asked_and_thresholds_keep_their_sensitivity(how):
    settings = Settings(threshold="sensitivity", sensitivity=0.9, coverage=0.85, patient_level=how)
    decided = decide_on(lesions(seed=0, n_patients=10_000), settings, ("no", "yes"))
    patients = decided.decisions.patients
    assert patients is not None
    assert patients.decisions is not None
    new = lesions(seed=1, n_patients=10_000)
    tested = replace(new, proba=decided.decisions.calibrator(new.proba))
    found = with_test_figures(decided, tested).record["patients"]
    for name in ("no", "yes"):
        assert found["conformal"]["test"]["coverage_by_class"][name] == pytest.approx(0.85, abs=0.025)
    assert found["threshold"]["test_sensitivity"] == pytest.approx(0.9, abs=0.025)
    assert found["n"] == 10_000
    if how == "max":  # the worst of several lesions is worse than one
        assert patients.decisions.threshold > decided.decisions.threshold + 0.1


def test_test_patients_without_a_label_of_their_own_have_no_figures():
    y = np.repeat(np.arange(60) % 3, 2)
    proba = np.random.default_rng(0).dirichlet(np.ones(3), 120)
    whose = np.repeat(np.arange(60), 2)
    decided = decide_on(
        OutOfFold(y=y, proba=proba, fold=whose % 5, patient=whose), Settings(), ("a", "b", "c")
    )
    mixed = OutOfFold(y=np.array([0, 1, 1, 2]), proba=proba[:4], fold=np.zeros(4, int), patient=whose[:4])
    assert "test" not in with_test_figures(decided, mixed).record["patients"]["conformal"]
    lone = replace(mixed, patient=np.arange(4))
    found = with_test_figures(decided, lone).record
    assert found["patients"]["conformal"]["test"]["n"] == 4


def lesions(*, seed, n_patients):
    """One to four lesions a patient, of which some are positive in a positive patient."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    is_positive = rng.random(n_patients) < 0.5
    y = (is_positive[codes] & (rng.random(len(codes)) < 0.7)).astype(np.int64)
    p = 1 / (1 + np.exp(-rng.normal(2.5 * y - 1.25)))
    return OutOfFold(y=y, proba=np.c_[1 - p, p], fold=codes % 5, patient=codes)
