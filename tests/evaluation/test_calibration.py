"""Calibration: it mends what is wrong, never the order, and is chosen on folds that it has not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from autoonco.errors import UnsafeBundleError
from autoonco.evaluation.calibration import (
    METHODS,
    Calibrator,
    OutOfFold,
    choose_calibrator,
    fit_calibrator,
)
from autoonco.metrics.scores import METRICS


def binary(n, distort, seed=0, n_folds=5):
    """Cases whose true probability is known, and a model that says `distort` of it."""
    rng = np.random.default_rng(seed)
    true = expit(rng.normal(0, 1.5, n))
    y = (rng.random(n) < true).astype(int)
    said = distort(true)
    return OutOfFold(y=y, proba=np.c_[1 - said, said], fold=np.arange(n) % n_folds), true


def several(n, temperature, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(3, p=row) for row in p])
    said = p ** (1 / temperature)
    return OutOfFold(y=y, proba=said / said.sum(axis=1, keepdims=True), fold=np.arange(n) % 5)


DISTORTIONS = {
    "none": lambda p: p,
    "temperature": lambda p: expit(3 * logit(p)),
    "sigmoid": lambda p: expit(0.6 * logit(p) - 1.5),
    # a step in the middle: no line of log odds bends so
    "isotonic": lambda p: np.where(p < 0.5, 0.05 + 0.1 * p, 0.85 + 0.1 * p),
}


@pytest.mark.parametrize("wrong", DISTORTIONS)
def test_the_right_method_is_chosen_and_mends_new_cases(wrong):
    cases, _ = binary(4000, DISTORTIONS[wrong])
    found = choose_calibrator(cases)
    if wrong == "none":
        assert min(found.log_losses.values()) > found.log_losses["none"] - 0.001
    else:
        assert found.calibrator.method == wrong
    new, true = binary(4000, DISTORTIONS[wrong], seed=1)
    error = np.abs(found.calibrator(new.proba)[:, 1] - true).mean()
    assert error < 0.025
    assert error <= np.abs(new.proba[:, 1] - true).mean() + 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [20, 300])
def test_no_method_changes_an_auc_of_two_classes(method, n):
    cases, _ = binary(n, DISTORTIONS["isotonic"])
    calibrator = fit_calibrator(method, cases.y, cases.proba)
    new, _ = binary(500, DISTORTIONS["isotonic"], seed=2)
    after = calibrator(new.proba)
    assert roc_auc_score(new.y, after[:, 1]) == roc_auc_score(new.y, new.proba[:, 1])
    assert (np.argsort(after[:, 1], kind="stable") == np.argsort(new.proba[:, 1], kind="stable")).all()


@pytest.mark.parametrize("method", METHODS)
def test_several_classes_stay_probabilities_and_are_mended(method):
    cases = several(3000, temperature=0.3)
    new = several(3000, temperature=0.3, seed=1)
    after = fit_calibrator(method, cases.y, cases.proba)(new.proba)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-12)
    assert (after >= 0).all()
    gain = METRICS["log_loss"](new.y, after) - METRICS["log_loss"](new.y, new.proba)
    assert gain == 0 if method == "none" else gain > 0.2
    assert METRICS["roc_auc"](new.y, after) > METRICS["roc_auc"](new.y, new.proba) - 0.01


def test_certain_and_wrong_probabilities_are_softened():
    y = np.tile([0, 1], 50)
    y[:10] = 1 - y[:10]
    p = np.tile([0.0, 1.0], 50)
    for method in METHODS[1:]:
        after = fit_calibrator(method, y, np.c_[1 - p, p])(np.array([[1.0, 0.0], [0.0, 1.0]]))
        assert np.isfinite(after).all()
        assert 0.5 < after[1, 1] < 0.99, method


def test_what_a_fold_is_given_was_learned_without_it():
    cases, _ = binary(200, DISTORTIONS["temperature"])
    base = choose_calibrator(cases, ("isotonic",)).proba
    held = cases.fold == 3
    lied = OutOfFold(y=np.where(held, 1 - cases.y, cases.y), proba=cases.proba, fold=cases.fold)
    again = choose_calibrator(lied, ("isotonic",)).proba
    np.testing.assert_array_equal(again[held], base[held])
    assert not np.array_equal(again[~held], base[~held])


def test_labels_without_meaning_are_not_calibrated_into_one():
    """A leak would show as a log loss below that of the prevalence."""
    losses = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y, p = rng.permutation(np.tile([0, 1], 40)), rng.random(80)
        found = choose_calibrator(OutOfFold(y=y, proba=np.c_[1 - p, p], fold=np.arange(80) % 5))
        losses.append(found.log_losses[found.calibrator.method])
    assert np.mean(losses) > np.log(2) - 0.01


def test_too_few_cases_are_left_as_they_are_and_it_says_why():
    cases, _ = binary(16, DISTORTIONS["temperature"])
    found = choose_calibrator(cases)
    assert found.calibrator.method == "none"
    assert "smallest class" in found.reason
    np.testing.assert_array_equal(found.calibrator(cases.proba), cases.proba)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_stored_gives_the_same_numbers(method):
    for cases in (binary(200, DISTORTIONS["sigmoid"])[0], several(300, 0.5)):
        found = fit_calibrator(method, cases.y, cases.proba)
        again = Calibrator.from_json(json.loads(json.dumps(found.to_json())))
        np.testing.assert_array_equal(again(cases.proba), found(cases.proba))


def test_a_strangers_calibration_is_refused():
    with pytest.raises(UnsafeBundleError, match="none of none"):
        Calibrator.from_json({"method": "eval", "parameters": {}})
    with pytest.raises(UnsafeBundleError, match="finite"):
        Calibrator.from_json({"method": "temperature", "parameters": {"temperature": float("nan")}})
