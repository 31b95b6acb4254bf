"""The simulations behind the figures of coverage and verdicts: their truth has to be the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from autoonco.evaluation.verdict import verdict
from benchmarks.coverage import auc_coverage, said
from benchmarks.simulated import (
    SHIFT,
    auc_of_pair,
    fold_aucs,
    folds_of,
    gaussian_cases,
    linear_scores,
    repeated_aucs,
    true_auc,
)
from benchmarks.verdicts import (
    EQUAL,
    FAMILIES,
    MODELS,
    Study,
    cases_of,
    predictions_of,
    quick_verdicts_of,
    studies,
    true_difference,
    verdict_of_folds,
    verdicts_of,
)


def test_the_quick_learner_is_fishers_and_the_quick_area_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x, y = gaussian_cases(rng, 300)
    new, truth = gaussian_cases(rng, 2000)
    many, wide = gaussian_cases(rng, 40_000)
    scores = linear_scores(x, y, new)
    assert auc_of_pair(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    usual = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x, y).decision_function(new)
    assert np.corrcoef(scores, usual)[0, 1] > 0.99
    assert true_auc(x, y, SHIFT) == pytest.approx(auc_of_pair(wide, linear_scores(x, y, many)), abs=0.006)
    best = float(norm.cdf(1.3 / np.sqrt(2)))  # of a shift of 1.3 standard deviations
    assert best - 0.04 < auc_of_pair(truth, scores) < best + 0.02


def test_folds_hold_every_case_once_a_repeat_and_both_classes() -> None:
    y = np.repeat([0, 1], [21, 9])
    parts = list(folds_of(np.random.default_rng(1), y, 5, 3))
    assert len(parts) == 15
    for repeat in range(3):
        tests = [test for _, test in parts[5 * repeat : 5 * repeat + 5]]
        np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(30))
    assert all(set(y[test]) == {0, 1} and not set(train) & set(test) for train, test in parts)


def test_folds_of_many_studies_are_those_of_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    studies, repeats, half, k = 3, 2, 20, 5
    classes = [rng.normal(size=(studies, half, 4)) + 0.5 * y for y in (0, 1)]
    orders = [np.argsort(rng.random((studies, repeats, half)), axis=2) for _ in classes]
    found = fold_aucs(classes, orders, k)
    assert found.shape == (studies, repeats, k)
    y = np.repeat([0, 1], half)
    for study, repeat, fold in np.ndindex(found.shape):
        x = np.concatenate([each[study] for each in classes])
        part = slice(fold * half // k, (fold + 1) * half // k)
        test = np.concatenate([order[study, repeat, part] + half * c for c, order in enumerate(orders)])
        train = np.setdiff1d(np.arange(2 * half), test)
        plain = auc_of_pair(y[test], linear_scores(x[train], y[train], x[test]))
        assert abs(found[study, repeat, fold] - plain) < 1e-12


def test_what_cannot_be_learned_is_guessed() -> None:
    aucs = repeated_aucs(np.random.default_rng(0), 40, signal=0.0, k=5, repeats=2, studies=300)
    assert abs(aucs.mean() - 0.5) < 0.02
    assert repeated_aucs(np.random.default_rng(0), 40, signal=3.0, k=5, repeats=2, studies=50).mean() > 0.9


def test_equal_signals_make_no_difference_and_unequal_ones_the_one_that_is_said() -> None:
    assert abs(true_difference(60, (1.5, 1.5), seed=0, draws=60)) < 0.02
    assert 0.05 < true_difference(60, (1.5, 2.2), seed=0, draws=60) < 0.15
    one, two, y = cases_of(np.random.default_rng(2), 4000, (1.5, 1.5))
    noise = [x - x[y == 0].mean(axis=0) for x in (one, two)]
    within = np.corrcoef(noise[0][y == 0, 0], noise[1][y == 0, 0])[0, 1]
    assert within == pytest.approx(0.5, abs=0.05)


def test_a_large_difference_is_found_and_its_direction() -> None:
    large = Study(title="", n=200, repeats=0, signals=(0.3, 3.0))
    assert verdicts_of(large, tries=5, seed=0) == {"better": 5}
    turned = Study(title="", n=200, repeats=2, signals=(3.0, 0.3))
    assert verdicts_of(turned, tries=3, seed=0) == {"worse": 3}
    table = predictions_of(np.random.default_rng(0), turned)
    assert table["fold"].nunique() == 10
    assert (table["n_train"] == 160).all()


def test_marks_are_for_what_simulation_error_can_not_explain() -> None:
    assert said(0.95, 1000) == "0.950"
    assert said(0.975, 1000) == "0.975"
    assert said(0.99, 1000) == "0.990 !"
    assert said(0.90, 1000) == "0.900 !"
    assert 0.8 < auc_coverage(30, 0.5, 0.8, tries=40, seed=0) <= 1


def test_studies_are_those_that_are_asked_for() -> None:
    found = list(studies(0, sizes=[60], repeats=[0, 10]))
    assert [(each.n, each.repeats, each.signals) for each in found] == [
        (60, repeats, (signal, signal)) for repeats in (0, 10) for signal in EQUAL
    ]


@pytest.mark.parametrize("signals", [(1.5, 1.5), (0.3, 3.0), (0.0, 0.0)])
def test_the_quick_verdict_of_folds_is_the_verdict_of_a_run(signals: tuple[float, float]) -> None:
    table = predictions_of(np.random.default_rng(1), Study(title="", n=60, repeats=2, signals=signals))
    aucs = {
        name: [
            auc_of_pair(fold["truth"].to_numpy(), fold["p_1"].to_numpy()) for _, fold in own.groupby("fold")
        ]
        for name, own in table.groupby("model")
    }
    told = verdict_of_folds(aucs["pretrained2d"], aucs["radiomics"])
    assert told == str(verdict(table, MODELS, FAMILIES).kind)


def test_quick_studies_find_a_large_difference_and_its_direction() -> None:
    study = Study(title="", n=200, repeats=2, signals=(3.0, 0.3))
    assert quick_verdicts_of(study, tries=4, seed=0) == {"worse": 4}
