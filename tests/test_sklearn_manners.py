"""scikit-learn's manners: its own checks where they make sense, and its tools on cases instead of a matrix."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import autoonco
from autoonco.errors import DataError

MATRIX = "fits on a matrix of numbers; our cases are files"
APPLY = {
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_estimators_unfitted",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_decision_proba_consistency",
    "check_non_transformer_estimators_n_iter",
    "check_estimators_partial_fit_n_features",
}
NOT = {
    "check_fit_score_takes_y": MATRIX,
    "check_estimators_overwrite_params": MATRIX,
    "check_dont_overwrite_parameters": MATRIX,
    "check_estimators_fit_returns_self": MATRIX + "; the tests of the classifier hold it to that",
    "check_readonly_memmap_input": MATRIX,
    "check_n_features_in_after_fitting": "n_features_in_ would be made up: a case has no number of features",
    "check_n_features_in": "n_features_in_ would be made up: a case has no number of features",
    "check_positive_only_tag_during_fit": MATRIX,
    "check_estimators_dtypes": MATRIX,
    "check_complex_data": MATRIX,
    "check_dtype_object": MATRIX,
    "check_estimators_empty_data_messages": MATRIX
    + "; an empty manifest is told, see the tests of manifests",
    "check_pipeline_consistency": MATRIX,
    "check_estimators_nan_inf": MATRIX + "; the data check tells of NaN in scans",
    "check_estimator_sparse_tag": MATRIX,
    "check_estimator_sparse_array": MATRIX,
    "check_estimator_sparse_matrix": MATRIX,
    "check_estimators_pickle": "a model is saved as a bundle; no pickle is written or read",
    "check_array_api_input": MATRIX,
    "check_f_contiguous_array_estimator": MATRIX,
    "check_classifier_data_not_an_array": MATRIX,
    "check_classifiers_one_label": "one class is refused: there is nothing to learn",
    "check_classifiers_one_label_sample_weights": "cases have no sample weights",
    "check_classifiers_classes": MATRIX,
    "check_classifiers_train": MATRIX,
    "check_classifiers_regression_target": MATRIX,
    "check_supervised_y_no_nan": MATRIX + "; a missing label is told, see the tests of manifests",
    "check_supervised_y_2d": MATRIX,
    "check_methods_sample_order_invariance": MATRIX + "; below on cases",
    "check_methods_subset_invariance": MATRIX + "; below on cases",
    "check_fit2d_1sample": MATRIX,
    "check_fit2d_1feature": MATRIX,
    "check_dict_unchanged": MATRIX,
    "check_fit_idempotent": MATRIX + "; the tests of reruns hold it to that",
    "check_fit_check_is_fitted": MATRIX,
    "check_fit1d": MATRIX,
    "check_fit2d_predict1d": MATRIX,
    "check_requires_y_none": MATRIX,
}
CHECKS = [
    (getattr(check, "func", check).__name__, estimator, check)
    for estimator, check in estimator_checks_generator(autoonco.AutoOncoClassifier(), mark=None)
]
SETTINGS = autoonco.Settings(inner_folds=2, max_trials=2, ensemble_rounds=2, finalists=0, trial_share=0.5)


@pytest.mark.parametrize(
    ("estimator", "check"), [pytest.param(e, c, id=name) for name, e, c in CHECKS if name in APPLY]
)
def test_a_check_of_scikit_learn_holds(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)


def test_every_other_check_has_a_reason() -> None:
    names = {name for name, _, _ in CHECKS}
    assert APPLY.isdisjoint(NOT)
    assert names <= APPLY | set(NOT), "scikit-learn has new checks: apply them, or say why not"


@pytest.fixture
def frame(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Sixteen patients with two pictures each, whose clinical value tells the label."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(32):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (12, 12)).astype(np.uint8)).save(path)
        rows.append(
            {
                "image": str(path),
                "patient": f"p{i // 2}",
                "signal": 80.0 * ((i // 2) % 2) - 40 + rng.normal(),
            }
        )
    return pd.DataFrame(rows)


def labels(frame: pd.DataFrame) -> np.ndarray:
    return (np.arange(len(frame)) // 2) % 2


def classifier(**arguments) -> autoonco.AutoOncoClassifier:
    return autoonco.AutoOncoClassifier(
        families=["toy"],
        clinical=["signal"],
        time_limit=300,
        evaluation="none",
        settings=SETTINGS,
        **arguments,
    )


@pytest.mark.slow
@pytest.mark.alone
def test_cross_val_score_with_groups_takes_a_table(frame: pd.DataFrame) -> None:
    scores = cross_val_score(
        classifier(),
        frame,
        labels(frame),
        groups=frame["patient"],
        cv=StratifiedGroupKFold(2),
        scoring="accuracy",  # compares what is predicted with the numbers themselves
        error_score="raise",
    )
    assert scores.shape == (2,)
    assert scores.min() > 0.9


@pytest.mark.slow
@pytest.mark.alone
def test_cross_val_score_takes_a_dataset_apart(frame: pd.DataFrame) -> None:
    names = np.array(["no", "yes"])[labels(frame)]
    data = autoonco.Dataset.from_frame(frame, labelled=False, clinical="signal")
    scores = cross_val_score(
        classifier(),
        data,
        names,
        groups=data.groups,
        cv=StratifiedGroupKFold(2),
        scoring="roc_auc",
        error_score="raise",
    )
    assert scores.min() > 0.9


@pytest.mark.slow
@pytest.mark.alone
def test_a_fitted_classifier_answers_case_by_case_whatever_the_order(frame: pd.DataFrame) -> None:
    fitted = classifier().fit(frame, labels(frame))
    assert fitted.classes_.tolist() == [0, 1]
    assert not hasattr(fitted, "n_features_in_")
    assert fitted.score(frame, labels(frame)) > 0.9
    proba = fitted.predict_proba(frame)
    # the toy adds noise by row number, little beside these signals
    order = np.random.default_rng(0).permutation(len(frame))
    np.testing.assert_allclose(fitted.predict_proba(frame.iloc[order]), proba[order], atol=1e-3)
    np.testing.assert_allclose(fitted.predict_proba(frame.iloc[3:7]), proba[3:7], atol=1e-3)
    again = clone(fitted)
    with pytest.raises(NotFittedError):
        again.predict(frame)
    assert is_classifier(again)


def test_labels_that_do_not_fit_are_told(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="y has 31 labels, expected one for each of 32 cases"):
        classifier().fit(frame, labels(frame)[1:])
    with pytest.raises(DataError, match="y holds the class 1 alone"):
        classifier().fit(frame, np.ones(32))
    with pytest.raises(DataError, match="has no spacing"):
        classifier().fit(np.zeros((32, 4)), labels(frame))
