from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autoonco.errors import AutoOncoError
from autoonco.evaluation.patients import by_patient, check_level, has_several, patient_table
from autoonco.evaluation.tables import evaluation_table


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


def test_one_case_a_patient_is_no_other_question():
    cases = predicted().drop_duplicates(["group", "model"])
    assert not has_several(cases)
    assert patient_table(cases, ["no", "yes"]).empty
    same = evaluation_table(by_patient(cases), ["no", "yes"], figures=["brier"])
    assert same["auc"].tolist() == evaluation_table(cases, ["no", "yes"], figures=["brier"])["auc"].tolist()
