from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from autoonco.errors import DataError
from autoonco.evaluation import tables
from autoonco.evaluation.pairs import comparison_table
from autoonco.evaluation.tables import EXACT, MAJORITY, leaderboard_table, read_predictions
from autoonco.metrics.folds import resampled_t_interval
from autoonco.metrics.intervals import auc_interval

MODELS = [
    {"name": "ensemble", "kind": "ensemble"},
    {"name": "radiomics", "kind": "family"},
    {"name": "pretrained2d", "kind": "family"},
    {"name": "baseline: lesion size", "kind": "baseline"},
]


evaluation_table = partial(tables.evaluation_table, resamples=300)


def predictions(*, k: int = 2, n: int = 120, folds: int = 1, unclean: int = 0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    frames = []
    for model, skill in zip(MODELS, (1.6, 1.0, 1.4, 0.5), strict=True):
        logits = skill * np.eye(k)[truth] + rng.normal(size=(n, k))
        proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        fixed = {
            "fold": np.arange(n) * folds // n,
            "row": np.arange(n) + 1,
            "group": np.arange(n) // 2,
            "truth": truth,
            "is_clean": (np.arange(n) >= unclean).astype(int),
            "model": model["name"],
        }
        frames.append(pd.DataFrame(fixed | {f"p_{j}": proba[:, j] for j in range(k)}))
    return pd.concat(frames, ignore_index=True)


def of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model]


def row(table: pd.DataFrame, model: str, subset: str = "test") -> Any:
    return of(table[table["subset"] == subset], model).iloc[0]


def test_figures_are_those_of_scikit_learn_and_the_last_class_is_positive() -> None:
    table = predictions()
    found = row(evaluation_table(table, ["benign", "malignant"]), "radiomics")
    own = of(table, "radiomics")
    y, p, called = own["truth"], own["p_1"], (own["p_1"] > 0.5).astype(int)
    assert found["auc"] == pytest.approx(roc_auc_score(y, p))
    assert found["sensitivity"] == pytest.approx(recall_score(y, called))
    assert found["specificity"] == pytest.approx(recall_score(y, called, pos_label=0))
    assert found["balanced_accuracy"] == pytest.approx((found["sensitivity"] + found["specificity"]) / 2)
    assert found["log_loss"] == pytest.approx(log_loss(y, p))
    assert found["brier"] == pytest.approx(brier_score_loss(y, p))
    assert found["ppv"] == pytest.approx(precision_score(y, called))
    assert found["npv"] == pytest.approx(precision_score(y, called, pos_label=0))
    assert found["f1"] == pytest.approx(f1_score(y, called))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(y, called))
    assert found["average_precision"] == pytest.approx(average_precision_score(y, p))
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(p.to_numpy())[:, None], y)
    assert found["calibration_slope"] == pytest.approx(fit.coef_[0, 0], rel=1e-3)
    assert (found["n"], found["n_patients"], found["n_folds"]) == (120, 60, 1)
    interval = auc_interval(y, own[["p_0", "p_1"]], own["group"])
    assert (found["auc_lower"], found["auc_upper"]) == (interval.lower, interval.upper)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("folds", [1, 4])
def test_every_figure_has_bounds_around_it(k: int, folds: int) -> None:
    table = evaluation_table(predictions(k=k, folds=folds), [f"class {j}" for j in range(k)])
    names = [name.removesuffix("_lower") for name in table if name.endswith("_lower")]
    assert {"auc", "sensitivity", "specificity", "ppv", "npv", "log_loss", "ece", "calibration_slope"} <= set(
        names
    )
    for name in names:
        assert (table[f"{name}_lower"] < table[name]).all()
        assert (table[f"{name}_upper"] > table[name]).all()
        if name not in ("mcc", "calibration_slope", "calibration_intercept"):
            assert (table[f"{name}_lower"] >= 0).all()
        if name not in ("log_loss", "brier", "calibration_slope", "calibration_intercept"):
            assert (table[f"{name}_upper"] <= 1).all()


def test_the_metric_of_the_search_is_shown_too() -> None:
    few = predictions(n=40)
    table = evaluation_table(few, ["a", "b"], "f1_macro")
    assert (table["f1_macro_lower"] < table["f1_macro"]).all()
    assert "f1_macro" not in evaluation_table(few, ["a", "b"], "log_loss")
    assert "f1_macro" not in evaluation_table(
        few, ["a", "b"], "mylab.scores.own"
    )  # a run folder can't hold it


def test_predictions_of_other_classes_are_told() -> None:
    with pytest.raises(DataError, match="holds 2 probabilities a case, expected 3"):
        evaluation_table(predictions(n=20), ["a", "b", "c"])


@pytest.mark.parametrize("folds", [1, 3])
def test_grades_have_figures_of_their_own(folds: int) -> None:
    table = evaluation_table(predictions(k=4, n=60, folds=folds), list("0123"), task="ordinal")
    found = row(table, "ensemble")
    assert {"quadratic_kappa", "mean_absolute_error", "ranked_probability"} <= set(table)
    assert "sensitivity" not in table
    assert 0 <= found["mean_absolute_error_lower"] < found["mean_absolute_error"] < 3
    assert 0.5 < found["auc"] < 1


def test_training_cases_are_those_that_were_noted() -> None:
    table = predictions(folds=5)
    widths = {}
    for n_train in (96, 48):
        found = row(evaluation_table(table.assign(n_train=n_train), ["a", "b"]), "radiomics")
        lower = found["auc_lower"]
        widths[n_train] = (found["auc"] - lower) / np.sqrt(lower * (1 - lower))  # in errors at the bound
    assert widths[48] / widths[96] == pytest.approx(np.sqrt((1 / 5 + 24 / 48) / (1 / 5 + 24 / 96)))


def test_a_fold_of_one_class_is_left_out_of_what_ranks() -> None:
    table = predictions(folds=3)
    table.loc[(table["fold"] == 2), "truth"] = 1
    found = row(evaluation_table(table, ["a", "b"]), "radiomics")
    own = of(table, "radiomics")
    aucs = [roc_auc_score(f["truth"], f["p_1"]) for k, f in own.groupby("fold") if k < 2]
    assert found["auc"] == pytest.approx(np.mean(aucs))
    assert found["log_loss"] == pytest.approx(
        np.mean([log_loss(f["truth"], f["p_1"], labels=[0, 1]) for _, f in own.groupby("fold")])
    )
    assert np.isfinite(found["sensitivity"])


def test_a_constant_prediction_is_told_as_what_it_is() -> None:
    table = predictions(n=10)
    table[["p_0", "p_1"]] = [0.7, 0.3]
    found = row(evaluation_table(table, ["a", "b"]), "radiomics")
    assert found["auc"] == 0.5
    assert 0 <= found["auc_lower"] < 0.3
    assert found["sensitivity"] == 0
    assert np.isnan([found["ppv"], found["calibration_slope"]]).all()
    assert found["npv"] == 0.5


def constant(model: str, *, folds: int, rare: int = 3) -> pd.DataFrame:
    """Predictions that are those of the training part's classes; of 60 cases every `rare`-th is positive."""
    table = predictions(n=60, folds=folds)
    table = table[table["model"] == "radiomics"].assign(model=model)
    table["truth"] = (table["row"] % rare == 0).astype(int)
    return table.assign(p_0=0.66 + table["fold"] / 100, p_1=0.34 - table["fold"] / 100)


@pytest.mark.parametrize("folds", [1, 4])
def test_what_the_majority_class_has_by_construction_is_exact_and_the_rest_is_not(folds: int) -> None:
    found = row(evaluation_table(constant(MAJORITY, folds=folds), ["a", "b"]), MAJORITY)
    exact = {"auc": 0.5, "balanced_accuracy": 0.5, "sensitivity": 0.0, "specificity": 1.0, "mcc": 0.0}
    for name, value in exact.items():
        assert (found[name], found[f"{name}_lower"], found[f"{name}_upper"]) == (value, value, value)
    assert found["method"] == EXACT
    for name in (
        "accuracy",
        "npv",
        "log_loss",
        "brier",
        "average_precision",
    ):  # these go with the classes' shares
        assert found[f"{name}_lower"] < found[name] < found[f"{name}_upper"]


def test_another_model_that_happened_to_tell_all_the_same_is_not_called_exact() -> None:
    found = row(evaluation_table(constant("radiomics", folds=4), ["a", "b"]), "radiomics")
    assert found["auc"] == 0.5
    assert found["auc_lower"] < 0.4 < 0.6 < found["auc_upper"]


def test_a_majority_that_changes_from_fold_to_fold_has_no_exact_sensitivity() -> None:
    table = constant(MAJORITY, folds=4)
    table.loc[table["fold"] == 2, ["p_0", "p_1"]] = [0.4, 0.6]
    found = row(evaluation_table(table, ["a", "b"]), MAJORITY)
    assert found["auc_lower"] == found["auc_upper"] == found["balanced_accuracy_lower"] == 0.5
    assert found["sensitivity_lower"] < found["sensitivity"] == 0.25 < found["sensitivity_upper"]


def test_clean_rows_are_those_of_the_clean_cases() -> None:
    table = predictions(unclean=30)
    found = evaluation_table(table, ["a", "b"])
    alone = evaluation_table(table[table["is_clean"] == 1], ["a", "b"])
    assert len(found) == 8
    assert len(alone) == 4
    for model in found["model"].unique():
        clean, expected = row(found, model, "test, clean"), row(alone, model)
        assert clean["n"] == 90
        same = [name for name in found if name not in ("model", "subset")]
        assert clean[same].to_dict() == expected[same].to_dict()
        assert clean["auc"] != row(found, model)["auc"]


def test_baselines_stand_last() -> None:
    table = predictions().iloc[::-1]
    assert list(evaluation_table(table, ["a", "b"])["model"])[-1] == "baseline: lesion size"


def test_outer_folds_are_averaged_and_not_pooled() -> None:
    table = predictions(folds=5)
    found = row(evaluation_table(table, ["a", "b"]), "radiomics")
    aucs = [roc_auc_score(f["truth"], f["p_1"]) for _, f in of(table, "radiomics").groupby("fold")]
    interval = resampled_t_interval(aucs, 1 / 4)
    assert found["auc"] == pytest.approx(np.mean(aucs))
    assert (found["auc_lower"], found["auc_upper"]) == pytest.approx((interval.lower, interval.upper))
    assert found["n_folds"] == 5


def test_a_subset_of_one_class_is_undefined_and_nothing_breaks() -> None:
    table = predictions(n=20)
    table["is_clean"] = (table["truth"] == 1).astype(int)
    found = row(evaluation_table(table, ["a", "b"]), "radiomics", "test, clean")
    assert np.isnan(found["auc"])
    assert np.isfinite(found["log_loss"])
    assert comparison_table(table, MODELS).empty


def trial(id_: int, score: float | None, budget: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "scope": "final",
        "id": id_,
        "family": "radiomics",
        "config": {"learner": "svm", "C": 0.5},
        "score": score,
        "budget": budget,
        "status": "failed" if score is None else "success",
        "seconds": 1.0,
    } | more


def test_leaderboard_ranks_full_budget_first_and_failures_last() -> None:
    trials = [
        trial(0, 0.7),
        trial(1, 0.99, 1 / 9),
        trial(2, None),
        trial(3, 0.8),
        trial(4, 0.9, scope="outer0"),
    ]
    table = leaderboard_table(trials)
    assert list(table["id"]) == [3, 0, 1, 2]
    assert list(table["rank"]) == [1, 2, 3, 4]
    assert list(leaderboard_table(trials, scope="outer0")["id"]) == [4]
    assert leaderboard_table([]).empty


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "lacks the column 'fold'"),
        ("fold,row,group,truth,is_clean,model,p_0,p_1\n0,1,1,0,1,ensemble,0.5,\n", "damaged"),
        ("fold,row,group,truth,is_clean,model,p_0,p_1\n0,1,1,x,1,ensemble,0.5,0.5\n", "damaged"),
    ],
)
def test_damaged_predictions_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "predictions.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        read_predictions(tmp_path)


@pytest.mark.parametrize("content", [None, "", "fold,row,group,truth,is_clean,model\n"])
def test_no_predictions_are_none(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "evaluation").mkdir()
    if content is not None:
        (tmp_path / "evaluation" / "predictions.csv").write_text(content)
    assert read_predictions(tmp_path) is None


def test_predictions_come_back(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    table = predictions(k=3)
    table.to_csv(tmp_path / "evaluation" / "predictions.csv", index=False)
    found = read_predictions(tmp_path)
    assert found is not None
    pd.testing.assert_frame_equal(found, table, check_dtype=False)


def test_perfect_folds_are_not_told_as_certain() -> None:
    truth = np.tile([0, 1], 9)
    table = pd.DataFrame(
        {
            "fold": np.repeat([0, 1, 2], 6),
            "row": np.arange(18),
            "group": np.arange(18),
            "truth": truth,
            "is_clean": 1,
        }
        | {"model": "radiomics", "p_0": 1.0 - truth, "p_1": truth}
    )
    found = evaluation_table(table, ["no", "yes"]).iloc[0]
    assert found["auc"] == 1.0
    assert found["auc_lower"] < 0.75  # three of each class say little about a fold
