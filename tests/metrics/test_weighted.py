from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from autoonco.metrics.scores import METRICS
from autoonco.metrics.weighted import STATISTICS


def task(k: int, *, ties: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(60) % k
    proba = rng.dirichlet(np.ones(k), 60)
    if ties:
        proba = rng.multinomial(10, proba) / 10
    return y, proba, rng.integers(1, 4, size=(7, 60)).astype(float)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_w_is_the_case_w_times(name: str, k: int, ties: bool) -> None:
    y, proba, weights = task(k, ties=ties)
    found = STATISTICS[name](y, proba, weights)
    target = METRICS[name].target

    def score(figure: float) -> float:
        return figure if target is None else -abs(figure - target)

    for row, value in zip(weights.astype(int), found, strict=True):
        assert score(value) == pytest.approx(METRICS[name](np.repeat(y, row), np.repeat(proba, row, axis=0)))
    assert score(STATISTICS[name](y, proba, np.ones((1, 60)))[0]) == pytest.approx(METRICS[name](y, proba))


def test_every_metric_has_a_statistic_and_the_other_way_round() -> None:
    assert STATISTICS.keys() == METRICS.keys()


def test_what_is_never_called_has_no_predictive_value() -> None:
    y, proba = np.array([0, 0, 1, 1]), np.tile([0.9, 0.1], (4, 1))
    assert np.isnan(STATISTICS["ppv"](y, proba, np.ones((1, 4)))[0])
    assert STATISTICS["sensitivity"](y, proba, np.ones((1, 4)))[0] == 0


@pytest.mark.parametrize("ties", [False, True])
def test_the_same_as_scikit_learns_sample_weight(ties: bool) -> None:
    y, proba, weights = task(2, ties=ties, seed=1)
    called = proba.argmax(axis=1)
    for row in weights:
        one = row[None]
        assert STATISTICS["roc_auc"](y, proba, one)[0] == pytest.approx(
            sk.roc_auc_score(y, proba[:, 1], sample_weight=row)
        )
        assert STATISTICS["mcc"](y, proba, one)[0] == pytest.approx(
            sk.matthews_corrcoef(y, called, sample_weight=row)
        )
        assert STATISTICS["sensitivity"](y, proba, one)[0] == pytest.approx(
            sk.recall_score(y, called, sample_weight=row)
        )
        assert STATISTICS["specificity"](y, proba, one)[0] == pytest.approx(
            sk.recall_score(y, called, pos_label=0, sample_weight=row)
        )


@pytest.mark.parametrize(
    "name",
    [
        "roc_auc",
        "average_precision",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "ppv",
        "calibration_slope",
        "calibration_intercept",
    ],
)
def test_a_resample_without_a_class_is_undefined(name: str) -> None:
    y, proba, weights = task(2, ties=False)
    weights[0, y == 1] = 0
    found = STATISTICS[name](y, proba, weights)
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()
