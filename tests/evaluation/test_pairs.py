"""Pairs of models: figures, compute, and the gain of the ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoonco.evaluation.pairs import (
    BEST_SINGLE,
    COLUMNS,
    FAMILIES,
    GAIN,
    Kind,
    chosen_by_fold,
    compare_models,
    comparison_table,
    kind_of,
    seconds_by_model,
)
from autoonco.evaluation.verdict import verdict
from autoonco.metrics.comparison import compare_auc, compare_folds
from autoonco.metrics.scores import METRICS
from tests.evaluation.test_tables import MODELS, of, predictions

PAIRS = [("ensemble", "radiomics"), ("ensemble", "pretrained2d"), ("radiomics", "pretrained2d")]


def test_comparison_has_every_pair_once_and_no_baseline() -> None:
    table = predictions()
    found = comparison_table(table, MODELS)
    assert list(found) == list(COLUMNS)
    families = found[found["kind"] == FAMILIES]
    assert list(zip(families["first"], families["second"], strict=True)) == PAIRS
    one, two = (of(table, name) for name in ("ensemble", "radiomics"))
    expected = compare_auc(one["truth"], one[["p_0", "p_1"]], two[["p_0", "p_1"]].to_numpy(), one["group"])
    assert found.loc[0, "difference"] == pytest.approx(expected.difference)
    assert found.loc[0, "p"] == pytest.approx(expected.p)
    assert (found["p_holm"] >= found["p"]).all()
    assert found["p_holm"].max() <= 1


def test_comparison_pairs_cases_whatever_their_order() -> None:
    table = predictions()
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(comparison_table(table, MODELS), comparison_table(shuffled, MODELS))


def test_comparison_takes_clean_cases_that_both_predicted() -> None:
    table = predictions(folds=4, unclean=10)
    lost = (table["model"] == "radiomics") & (table["fold"] == 3)
    found = comparison_table(table[~lost], MODELS).set_index(["first", "second"])
    assert found.loc[("ensemble", "radiomics"), "n"] == 80
    assert found.loc[("ensemble", "radiomics"), "n_folds"] == 3
    assert found.loc[("ensemble", "pretrained2d"), "n"] == 110


def test_folds_of_a_single_class_are_not_among_what_is_compared() -> None:
    table = predictions(folds=3)
    table.loc[table["fold"] == 2, "truth"] = 0
    found = comparison_table(table, MODELS)
    assert set(zip(found["n"], found["n_folds"], strict=True)) == {(80, 2)}
    others = comparison_table(table[table["fold"] < 2], MODELS)
    pd.testing.assert_frame_equal(found.drop(columns="p_mcnemar"), others.drop(columns="p_mcnemar"))


def scored(**inner: Any) -> list[dict[str, Any]]:
    return [model | inner.get(model["name"], {}) for model in MODELS]


def test_the_gain_of_the_ensemble_is_over_what_each_fold_would_have_chosen() -> None:
    table = predictions(folds=4)
    inner = {"radiomics": {"fold_scores": [0.9, 0.1, 0.9, 0.1]}, "pretrained2d": {"fold_scores": [0.5] * 4}}
    found = comparison_table(table, scored(**inner)).set_index("kind").loc[GAIN]
    auc = METRICS["roc_auc"]
    differences = []
    for fold, name in enumerate(["radiomics", "pretrained2d", "radiomics", "pretrained2d"]):
        one, two = (of(table[table["fold"] == fold], model) for model in ("ensemble", name))
        differences.append(auc(one["truth"], one[["p_0", "p_1"]]) - auc(two["truth"], two[["p_0", "p_1"]]))
    expected = compare_folds(differences, 1 / 3)
    assert (found["first"], found["second"]) == ("ensemble", BEST_SINGLE)
    assert found["difference"] == pytest.approx(expected.difference)
    assert (found["lower"], found["upper"]) == pytest.approx((expected.lower, expected.upper))
    assert found["p_holm"] == found["p"] == pytest.approx(expected.p)


def test_without_an_ensemble_there_is_no_gain() -> None:
    table = predictions()
    found = comparison_table(table[table["model"] != "ensemble"], MODELS)
    assert list(found["kind"]) == [FAMILIES]


def test_test_cases_choose_nothing() -> None:
    table = predictions(folds=3)
    inner = {"radiomics": {"fold_scores": [0.9, 0.1, 0.9]}, "pretrained2d": {"fold_scores": [0.5] * 3}}
    names = ["radiomics", "pretrained2d"]
    turned = table.assign(truth=1 - table["truth"])
    for each in (table, turned):
        found, chosen = chosen_by_fold(each, scored(**inner), names, "chosen")
        assert chosen == set(names)
        taken = of(found, "chosen").groupby("fold")["p_1"].first()
        assert taken[1] == of(each, "pretrained2d").groupby("fold")["p_1"].first()[1]
        assert taken[2] == of(each, "radiomics").groupby("fold")["p_1"].first()[2]


def test_seconds_are_those_of_every_scope() -> None:
    models = [
        {"name": "radiomics", "search_seconds": 5.0, "refit_seconds": 1.0, "fold_seconds": [2.0, 3.0, 6.0]},
        {"name": "old", "search_seconds": 5.0, "refit_seconds": 1.0},
        {"name": "baseline: majority class"},
    ]
    assert seconds_by_model(models) == {"radiomics": 11.0, "old": 6.0, "baseline: majority class": 0.0}
    inner = {
        name: {"fold_seconds": [1.0, k]} for k, name in enumerate(["ensemble", "radiomics", "pretrained2d"])
    }
    found = comparison_table(predictions(), scored(**inner)).set_index(["first", "second"])
    assert tuple(found.loc[PAIRS[2], ["first_seconds", "second_seconds"]]) == (2.0, 3.0)


def test_the_verdict_of_a_pair_is_by_the_adjusted_p_values() -> None:
    found = comparison_table(predictions(n=400), MODELS)
    families = found[found["kind"] == FAMILIES]
    assert (families["p_holm"] >= families["p"]).all()
    assert (families["p_equivalent_holm"] >= families["p_equivalent"]).all()
    for _, pair in found.iterrows():
        assert pair["verdict"] == kind_of(pair["difference"], pair["p_holm"], pair["p_equivalent_holm"])
    assert (found["p_mcnemar"] >= 0).all()
    assert (found["p_mcnemar"] <= 1).all()


def test_unknown_p_values_show_nothing() -> None:
    assert kind_of(0.2, np.nan, np.nan) is Kind.INCONCLUSIVE
    assert kind_of(-0.2, 0.01, np.nan) is Kind.WORSE


@pytest.mark.parametrize("folds", [1, 5])
def test_of_two_models_that_tell_no_more_than_a_guess_neither_is_called_better(folds: int) -> None:
    """One turned round is surely worse than a guess, and the other's lead over it is no reason to use it."""
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    logits = {"radiomics": rng.normal(size=200), "pretrained2d": rng.normal(-1.5 * truth)}
    logits["ensemble"] = rng.normal(1.5 * truth)
    table = pd.concat(
        pd.DataFrame(
            {
                "fold": np.arange(200) // 2 % folds,
                "row": np.arange(200),
                "group": np.arange(200),
                "truth": truth,
            }
            | {"is_clean": 1, "model": name, "p_0": 1 / (1 + np.exp(x)), "p_1": 1 / (1 + np.exp(-x))}
        )
        for name, x in logits.items()
    )
    useless = compare_models(table, "radiomics", "pretrained2d")
    useful = compare_models(table, "pretrained2d", "ensemble")
    assert useless is not None
    assert useful is not None
    assert useless["p"] < 0.01
    assert (useless["above_chance"], useful["above_chance"]) == (False, True)
    found = comparison_table(table, MODELS).set_index(["first", "second"])
    verdicts = found["verdict"]
    assert verdicts[("radiomics", "pretrained2d")] == "inconclusive"
    assert verdicts[("ensemble", "pretrained2d")] == "better"
    told = verdict(table, MODELS, {"radiomics": None, "pretrained2d": None})
    assert told.kind is Kind.INCONCLUSIVE
    assert told.sentence.startswith("No difference shown")
    assert "the better of them is not shown to be better than a guess" in told.sentence


def test_ten_cases_and_perfect_models_prove_nothing() -> None:
    table = predictions(n=10)
    table["p_1"] = 0.6 * table["truth"] + 0.2 + 0.01 * (table["model"] == "radiomics")
    table["p_0"] = 1 - table["p_1"]
    found = comparison_table(table, MODELS)
    assert (found["difference"] == 0).all()
    same = (found["first"] == "ensemble") & (found["second"] == "pretrained2d")
    assert set(found.loc[~same & (found["kind"] == FAMILIES), "verdict"]) <= {"inconclusive", "equivalent"}
    assert (found["p"] == 1).all()


def test_grades_are_compared_by_the_ordinal_auc() -> None:
    found = comparison_table(predictions(k=4, n=80), MODELS, task="ordinal")
    nominal = comparison_table(predictions(k=4, n=80), MODELS)
    assert len(found) == 4
    assert not np.allclose(found["difference"], nominal["difference"])
    assert (found["method"] == "paired bootstrap of patients").all()


def test_repeats_of_outer_folds_are_folds_of_cases_that_count_once() -> None:
    once = predictions(folds=5)
    again = predictions(folds=5, seed=1)
    again["fold"] += 5
    both = pd.concat([once.assign(n_train=96), again.assign(n_train=96)], ignore_index=True)
    found = comparison_table(both, MODELS).iloc[0]
    assert (found["n"], found["n_folds"]) == (120, 10)
    auc = METRICS["roc_auc"]
    differences = [
        auc(*(f[c] for c in ("truth",)), f[["p_0", "p_1"]]) for _, f in of(both, "ensemble").groupby("fold")
    ]
    others = [auc(f["truth"], f[["p_0", "p_1"]]) for _, f in of(both, "radiomics").groupby("fold")]
    expected = compare_folds(list(np.subtract(differences, others)), 24 / 96)
    assert found["p"] == pytest.approx(expected.p)
    assert found["lower"] == pytest.approx(expected.lower)


def test_one_test_set_is_compared_by_patient() -> None:
    table = predictions()
    one, two = of(table, "ensemble"), of(table, "radiomics")
    expected = compare_auc(one["truth"], one[["p_0", "p_1"]], two[["p_0", "p_1"]].to_numpy(), one["group"])
    found = comparison_table(table, MODELS).iloc[0]
    assert (found["p_equivalent"], found["margin"]) == pytest.approx((expected.p_equivalent, 0.05))
    wide = comparison_table(table, MODELS, margin=0.3).iloc[0]
    assert wide["p_equivalent"] < found["p_equivalent"]
