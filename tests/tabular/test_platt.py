"""Platt's sigmoid: on held-out patients, never upside down, and that of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from autoonco.tabular.platt import FEWEST_CALIBRATING, PlattMachine, calibration_parts, sigmoid
from autoonco.tabular.resampling import ResampledLearner, resample


def table(
    n_patients: int, seed: int = 0, *, signal: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three cases a patient, nearly alike."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_patients), 3)
    y = (groups % 2 == 0).astype(int)
    X = rng.normal(size=(n_patients, 20))[groups] + 0.05 * rng.normal(size=(len(groups), 20))
    X[:, 0] += signal * y
    return X, y, groups


def test_the_sigmoid_is_that_of_the_paper():
    """Minimising Platt's regularised likelihood by another way."""
    rng = np.random.default_rng(0)
    is_class = rng.random(80) < 0.3
    scores = 40 * (is_class + rng.normal(size=80))
    n = is_class.sum()
    target = np.where(is_class, (n + 1) / (n + 2), 1 / (80 - n + 2))

    def loss(ab: np.ndarray) -> float:
        p = expit(ab[0] * scores / 40 + ab[1])
        return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)).sum())

    slope, shift = minimize(loss, [1.0, 0.0], tol=1e-12).x
    np.testing.assert_allclose(sigmoid(scores, is_class), (slope / 40, shift), rtol=1e-3)


def test_no_patient_scores_a_machine_that_saw_them():
    _, y, groups = table(20)
    order = np.random.default_rng(1).permutation(len(y))
    parts = calibration_parts(y[order], groups[order])
    assert len(parts) == 3
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(len(y)))
    for rows, held in parts:
        assert not set(groups[order][rows]) & set(groups[order][held])


def test_patients_of_many_cases_would_make_probabilities_too_sure():
    """Without a signal each patient's twins are recognised, unless they are held out together."""
    X, y, groups = table(60, signal=0.0)
    machine = PlattMachine(SVC(C=100.0, gamma=0.05))
    alone = machine.fit(X, y).predict_proba(X)[:, 1]
    held = PlattMachine(SVC(C=100.0, gamma=0.05)).fit(X, y, groups=groups)
    fresh, *_ = table(60, seed=9, signal=0.0)
    assert np.abs(alone - 0.5).mean() > 0.4
    assert np.abs(held.predict_proba(fresh)[:, 1] - 0.5).mean() < 0.2


@pytest.mark.parametrize("n_patients", [4, 6, 8, 10])
@pytest.mark.parametrize("seed", range(6))
def test_probabilities_rise_with_the_score_however_few_patients(n_patients, seed):
    X, y, groups = table(n_patients, seed)
    fitted = PlattMachine(SVC(kernel="linear")).fit(X, y, groups=groups)
    scores = fitted.machine_.decision_function(X)
    assert (np.diff(fitted.predict_proba(X)[np.argsort(scores), 1]) >= 0).all()
    assert roc_auc_score(y, fitted.predict_proba(X)[:, 1]) == roc_auc_score(y, scores) == 1.0
    assert (fitted.slope_ > 0).all()
    if n_patients // 2 < FEWEST_CALIBRATING:
        np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], expit(scores))


def test_scores_that_lean_the_wrong_way_are_taken_as_they_are():
    found = sigmoid(np.array([-3.0, -1.0, 1.0, 3.0]), np.array([True, True, False, False]))
    assert found == pytest.approx((1.0, 0.0), abs=1e-9)
    assert sigmoid(np.zeros(6), np.arange(6) < 3) == (1.0, 0.0)


def test_three_classes_sum_to_one_and_are_found():
    rng = np.random.default_rng(3)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + 2 * np.eye(4)[y]
    proba = PlattMachine(SVC()).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba.argmax(axis=1) == y).mean() > 0.8


def test_a_rare_class_that_nothing_tells_has_its_share_of_the_probability():
    """Its held-out scores lean the wrong way as often as not; as they are they would stand for a third."""
    shares, n_wrong = [], 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y = np.r_[np.zeros(40, int), np.ones(32, int), np.full(8, 2)]
        X = rng.normal(size=(80, 8))
        X[:, 0] += 1.5 * (y == 1)
        fitted = PlattMachine(SVC()).fit(X, y)
        shares.append(fitted.predict_proba(rng.normal(size=(500, 8)))[:, 2].mean())
        n_wrong += fitted.slope_[2] == 1.0
    assert n_wrong >= 3
    assert max(shares) < 0.2


def test_repeated_cases_are_not_scored_by_machines_that_saw_them():
    """Twenty cases of the rare class without a signal, repeated: their copies would be recognised with certainty."""
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(120, int), np.ones(20, int)]
    X = rng.normal(size=(140, 10))
    machine = PlattMachine(SVC(C=100.0, gamma=0.3))
    ours = ResampledLearner("over", machine).fit(X, y).learner_
    copies_on_both_sides = clone(machine).fit(*resample("over", X, y, seed=0)[:2])
    assert copies_on_both_sides.slope_[0] > 4 * ours.slope_[0]
