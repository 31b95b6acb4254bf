from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    classification_report,
    confusion_matrix,
    roc_auc_score,
)

from autoonco.errors import AutoOncoError, DataError, UnknownNameError
from autoonco.metrics.scores import METRICS, get_metric

OF_CALIBRATION = {"ece", "calibration_slope", "calibration_intercept"}


def random_task(rng: np.random.Generator, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n) % k, rng.dirichlet(np.ones(k), n)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("name", sorted(METRICS.keys() - OF_CALIBRATION))
def test_better_predictions_score_higher_and_lose_less(name: str, k: int) -> None:
    rng = np.random.default_rng(k)
    metric = get_metric(name)
    y, noise = random_task(rng, 200, k)
    truth = np.eye(k)[y]
    scores = [metric(y, (1 - a) * noise + a * truth) for a in (0.0, 0.3, 0.6, 1.0)]
    losses = [metric.loss(score) for score in scores]
    assert scores == sorted(scores)
    assert scores[0] < scores[2]
    assert scores[-1] == pytest.approx(metric.best, abs=1e-12)
    assert losses[-1] == pytest.approx(0, abs=1e-12)
    assert all(loss >= 0 for loss in losses)
    assert losses == sorted(losses, reverse=True)
    worst = metric(y, np.eye(k)[(y + 1) % k])
    assert worst >= metric.worst


def test_hand_computed_binary() -> None:
    # pairs: .8 beats .3 and .6, .4 beats .3 only: 3 of 4
    y = [0, 0, 1, 1]
    proba = [[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]]
    assert get_metric("roc_auc")(y, proba) == pytest.approx(0.75)
    assert get_metric("accuracy")(y, proba) == pytest.approx(0.5)
    assert get_metric("brier")(y, proba) == pytest.approx(-(0.09 + 0.36 + 0.04 + 0.36) / 4)
    assert get_metric("log_loss")(y, proba) == pytest.approx(np.log([0.7, 0.4, 0.8, 0.4]).mean())
    # ranked .8 (hit), .6 (miss), .4 (hit): precision 1 and 2/3 at the two hits
    assert get_metric("average_precision")(y, proba) == pytest.approx((1 + 2 / 3) / 2)


def test_macro_auc_is_the_mean_over_classes_and_brier_is_scikit_learns() -> None:
    y, proba = random_task(np.random.default_rng(0), 90, 3)
    expected = roc_auc_score(y, proba, multi_class="ovr", average="macro")
    assert get_metric("roc_auc")(y, proba) == pytest.approx(expected)
    assert get_metric("brier")(y, proba) == pytest.approx(-brier_score_loss(y, proba))
    assert get_metric("balanced_accuracy")(y, proba) == pytest.approx(
        balanced_accuracy_score(y, proba.argmax(1))
    )


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    proba = rng.dirichlet(np.ones(3), 40)
    y = np.arange(40) % 2
    expected = np.mean([roc_auc_score(y == k, proba[:, k]) for k in (0, 1)])
    assert get_metric("roc_auc")(y, proba) == pytest.approx(expected)
    assert np.isfinite([metric(y, proba) for metric in METRICS.values()]).all()


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_one_class_cannot_be_ranked(name: str) -> None:
    with pytest.raises(DataError, match="two classes"):
        get_metric(name)([1, 1], [[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("y", "proba", "said"),
    [
        ([0, 1], [[0.5, 0.5]], "shapes"),
        ([], np.empty((0, 2)), "at least one case"),
        ([0, 1], [[1.0], [1.0]], "two classes"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "class indices 0 to 1"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "position 1"),
        ([0, 1], [[0.5, 0.6], [0.5, 0.5]], "sum to 1"),
        ([0, 1], [[-0.5, 1.5], [0.5, 0.5]], "not negative"),
    ],
)
def test_bad_input_is_named(y: list[int], proba: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        get_metric("roc_auc")(y, proba)  # type: ignore[arg-type]


def test_single_precision_rows_are_as_good(recwarn: pytest.WarningsRecorder) -> None:
    y, proba = random_task(np.random.default_rng(3), 500, 5)
    for metric in METRICS.values():
        assert metric(y, proba.astype(np.float32)) == pytest.approx(metric(y, proba), abs=1e-5)
    assert not recwarn.list


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'roc_auc'.*balanced_accuracy"):
        get_metric("roc_aux")


def test_the_area_under_the_curve_is_scikit_learn_s_ties_and_all():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 200):
        y = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
        p = rng.integers(0, 6, n) / 10  # many ties
        assert get_metric("roc_auc")(y, np.column_stack([1 - p, p])) == pytest.approx(
            roc_auc_score(y, p), abs=1e-14
        )


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_the_confusion_matrix(k: int, seed: int) -> None:
    y, proba = random_task(np.random.default_rng(seed), 120, k)
    called = proba.argmax(axis=1)
    found = {name: [] for name in ("sensitivity", "specificity", "ppv", "npv", "f1")}
    for of in [1] if k == 2 else range(k):
        tn, fp, fn, tp = confusion_matrix(y == of, called == of).ravel()
        found["sensitivity"].append(tp / (tp + fn))
        found["specificity"].append(tn / (tn + fp))
        found["ppv"].append(tp / (tp + fp))
        found["npv"].append(tn / (tn + fn))
        found["f1"].append(2 * tp / (2 * tp + fp + fn))
    for name, values in found.items():
        assert get_metric(name)(y, proba) == pytest.approx(np.mean(values))
    report = classification_report(y, called, output_dict=True)
    assert get_metric("f1_macro")(y, proba) == pytest.approx(report["macro avg"]["f1-score"])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [2, 3])
def test_a_constant_prediction_has_a_score(name: str, k: int, recwarn: pytest.WarningsRecorder) -> None:
    y = np.arange(10) % k
    for first in (1.0, 0.8, 1 / k):
        proba = np.tile([first, *[(1 - first) / (k - 1)] * (k - 1)], (10, 1))
        score = get_metric(name)(y, proba)
        assert METRICS[name].worst <= score <= METRICS[name].best
        assert np.isfinite(METRICS[name].loss(score))
    assert not recwarn.list


def test_a_class_that_is_never_called_has_no_predictive_value() -> None:
    y, never = [0, 0, 1, 1], [[0.9, 0.1]] * 4
    assert (
        get_metric("ppv")(y, never) == get_metric("sensitivity")(y, never) == get_metric("f1")(y, never) == 0
    )
    assert get_metric("specificity")(y, never) == 1
    assert get_metric("npv")(y, never) == 0.5


def test_calibration_is_best_where_probabilities_are_true() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 20_000)
    y = (rng.random(p.size) < p).astype(int)
    for name, wrong in {
        "ece": p**2,
        "calibration_slope": p**2 / (p**2 + (1 - p) ** 2),  # the logits doubled
        "calibration_intercept": p**2,
    }.items():
        right, off = (get_metric(name)(y, np.c_[1 - q, q]) for q in (p, wrong))
        assert right > -0.05
        assert off < right - 0.05
    slope = get_metric("calibration_slope")(y, np.c_[1 - p, p])
    assert get_metric("calibration_slope").loss(slope) == -slope


def test_a_users_function_of_a_run_folder_has_a_title_and_says_what_is_missing() -> None:
    found = get_metric("mylab.scores.cost")
    assert found.title == "cost"
    with pytest.raises(AutoOncoError, match=r"your function mylab\.scores\.cost"):
        found([0, 1], [[0.5, 0.5]] * 2)


def test_headings_are_without_the_sign_of_the_search() -> None:
    assert get_metric("log_loss").heading == "Log loss"
    assert get_metric("roc_auc").heading == "ROC AUC"
