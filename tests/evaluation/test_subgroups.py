"""Subgroups: figures against scikit-learn on the group's cases, differences that are found and that aren't made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts, ChannelFacts, LesionFacts
from autoonco.data.manifest import Dataset
from autoonco.evaluation.subgroups import COLUMNS, attributes_of, subgroup_table

METRICS = ("roc_auc", "balanced_accuracy", "log_loss")


def predicted(n, *, good, seed=0, n_folds=1):
    """Predictions that tell the classes apart where `good` ``(n,)`` says so."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + np.where(good, 2.5, 0.0) * (2 * y - 1))))
    rows = np.arange(1, n + 1)
    return pd.DataFrame(
        {"fold": np.arange(n) % n_folds, "row": rows, "group": rows, "truth": y, "p_0": 1 - p, "p_1": p}
    )


def halves(n):
    return {row: "ab"[row <= n // 2] for row in range(1, n + 1)}


def test_a_group_has_the_figures_of_its_cases():
    n = 200
    table = predicted(n, good=np.ones(n, bool))
    found = subgroup_table(table, {"site": halves(n)}, METRICS)
    assert tuple(found) == COLUMNS
    own = table[table["row"] > n // 2]
    oracles = {
        "roc_auc": roc_auc_score(own["truth"], own["p_1"]),
        "balanced_accuracy": balanced_accuracy_score(own["truth"], own["p_1"] > 0.5),
        "log_loss": log_loss(own["truth"], own["p_1"]),
    }
    rows = found[found["group"] == "a"].set_index("metric")
    for name, value in oracles.items():
        assert rows.loc[name, "value"] == pytest.approx(value)
        assert rows.loc[name, "lower"] <= value <= rows.loc[name, "upper"]
    assert (rows["n"] == n // 2).all()


def test_a_site_where_the_model_fails_is_found_and_both_sites_are_one_test():
    n = 300
    found = subgroup_table(predicted(n, good=np.arange(n) < n // 2), {"site": halves(n)}, METRICS)
    auc = found[found["metric"] == "roc_auc"].set_index("group")
    assert auc.loc["b", "difference"] > 0.2
    assert auc.loc["b", "difference_lower"] > 0
    assert auc.loc["a", "difference"] == pytest.approx(-auc.loc["b", "difference"])
    assert auc["p_holm"].tolist() == pytest.approx(auc["p"].tolist())  # no more than one test to adjust for
    loss = found[found["metric"] == "log_loss"].set_index("group")
    assert loss.loc["b", "difference"] < 0  # told as users know it: lower is better


def test_differences_are_not_made_up():
    found = []
    for seed in range(15):
        n = 160
        third = {row: "abc"[row % 3] for row in range(1, n + 1)}
        table = subgroup_table(predicted(n, good=np.ones(n, bool), seed=seed), {"site": third}, ("roc_auc",))
        found.append((table["p_holm"] < 0.05).any())
    assert np.sum(found) <= 3  # 5 % of 15, and what chance may add to it


def test_holm_counts_the_tests_of_every_attribute():
    n = 120
    attributes = {
        name: {row: "ab"[row % 2] for row in range(1, n + 1)} for name in ("sex", "scanner", "site")
    }
    table = subgroup_table(predicted(n, good=np.ones(n, bool)), attributes, ("roc_auc",))
    expected = np.minimum(1, 3 * table["p"])
    np.testing.assert_allclose(table["p_holm"], expected)


def test_over_folds_it_is_the_mean_of_each_models_figure():
    n = 240
    table = predicted(n, good=np.ones(n, bool), n_folds=3)
    table.loc[table["fold"] == 1, ["p_0", "p_1"]] **= (
        4  # another scale in one fold: pooled cases would suffer
    )
    total = table[["p_0", "p_1"]].sum(axis=1)
    table[["p_0", "p_1"]] = table[["p_0", "p_1"]].div(total, axis=0)
    found = subgroup_table(table, {"site": halves(n)}, ("roc_auc",))
    own = table[table["row"] <= n // 2]
    by_fold = [(len(fold), roc_auc_score(fold["truth"], fold["p_1"])) for _, fold in own.groupby("fold")]
    expected = np.average([auc for _, auc in by_fold], weights=[size for size, _ in by_fold])
    assert found.set_index("group").loc["b", "value"] == pytest.approx(expected)


@pytest.mark.parametrize("n_folds", [1, 2])
def test_a_group_told_without_an_error_is_not_certain(n_folds):
    n = 80
    table = predicted(n, good=np.ones(n, bool), n_folds=n_folds)
    table = table.assign(p_1=np.where(table["truth"] == 1, 0.9, 0.1)).assign(p_0=lambda t: 1 - t["p_1"])
    found = subgroup_table(table, {"site": halves(n)}, ("roc_auc", "balanced_accuracy"))
    assert (found["value"] == 1).all()
    assert (found["lower"] < 0.95).all()
    assert (found["difference"] == 0).all()
    assert (found["difference_lower"] < -0.05).all()
    assert (found["difference_upper"] > 0.05).all()
    assert (found["p"] == 1).all()


def test_groups_that_no_resample_can_tell_more_of_have_no_p_value():
    n = 60
    table = predicted(n, good=np.ones(n, bool), n_folds=2)
    called = np.where(table["row"] <= n // 2, 1 - table["truth"], table["truth"])  # one group is all wrong
    table = table.assign(p_1=np.where(called == 1, 0.9, 0.1)).assign(p_0=lambda t: 1 - t["p_1"])
    found = subgroup_table(table, {"site": halves(n)}, ("balanced_accuracy",))
    assert (found["difference"].abs() == 1).all()
    assert found["p"].isna().all()


def test_a_small_group_s_calibration_error_is_not_told_as_a_difference():
    n = 300
    rng = np.random.default_rng(0)
    p = rng.random(n)
    rows = np.arange(1, n + 1)
    truth = (rng.random(n) < p).astype(int)
    table = pd.DataFrame(
        {"fold": 0, "row": rows, "group": rows, "truth": truth, "p_0": 1 - p, "p_1": p}
    )  # calibrated everywhere
    small = {row: "small" if row <= 25 else "rest" for row in range(1, n + 1)}
    found = subgroup_table(table, {"site": small}, ("ece", "brier")).set_index(["group", "metric"])
    assert found.loc[("small", "ece"), "value"] > 2 * found.loc[("rest", "ece"), "value"]
    assert np.isnan(found.loc[("small", "ece"), ["difference", "p", "p_holm"]].astype(float)).all()
    assert found.loc[("small", "ece"), "lower"] < 0.05
    assert np.isfinite(found.loc[("small", "brier"), "p"])


def test_groups_too_small_or_of_one_class_say_so():
    n = 100
    table = predicted(n, good=np.ones(n, bool))
    ones = table.loc[table["truth"] == 1, "row"].tolist()
    few = {row: "few" if row in ones[:5] else "rest" for row in range(1, n + 1)}
    found = subgroup_table(table, {"site": few}, METRICS).set_index(["group", "metric"])
    assert np.isnan(found.loc[("few", "roc_auc"), "value"])
    assert np.isnan(found.loc[("few", "roc_auc"), "p"])
    assert np.isfinite(found.loc[("few", "log_loss"), "value"])
    assert np.isnan(found.loc[("few", "log_loss"), "p"])
    assert found.loc[("few", "log_loss"), "n"] == 5


def made(n=9):
    cases = tuple(
        Case(
            case=f"c{i}",
            patient=f"p{i}",
            images={},
            clinical={"Age": float(20 + 10 * i)},
            site=["north", "south"][i % 2],
            row=i + 1,
        )
        for i in range(n)
    )
    others = {"gender": tuple("MF"[i % 2] for i in range(n)), "label_again": ("x",) * n}
    return Dataset(cases=cases, classes=("a", "b"), y=np.arange(n) % 2, clinical=("Age",), others=others)


def sized(voxels):
    lesion = LesionFacts(voxels=voxels, extent_mm=(1.0, 1.0), touches_border=False)
    channel = ChannelFacts(
        shape=(9, 9), spacing_mm=(1.0, 1.0), is_colour=False, low=0.0, high=1.0, whole_share=1.0,
        n_not_finite=0, content="", lesion=lesion,
    )  # fmt: skip
    return CaseFacts(row=1, channels={"image": channel})


def test_attributes_are_found_by_their_names_and_no_other_column_is():
    found = {
        each.name: each.groups.tolist()
        for each in attributes_of(made(), [sized(10 * k + 1) for k in range(9)])
    }
    assert set(found) == {"site", "sex", "age", "lesion size"}
    assert found["sex"][:2] == ["m", "f"]
    assert found["age"] == [
        "under 40", "under 40", "40 to 59", "40 to 59", "60 to 74", "60 to 74", "75 and over", "75 and over",
        "75 and over",
    ]  # fmt: skip
    assert found["lesion size"] == ["small"] * 3 + ["medium"] * 3 + ["large"] * 3


def test_what_is_unknown_or_always_the_same_is_no_group():
    data = made()
    nobody = replace(
        data, cases=tuple(replace(case, site="one", clinical={"Age": None}) for case in data.cases)
    )
    assert [each.name for each in attributes_of(nobody, [])] == ["sex"]
