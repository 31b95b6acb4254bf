"""The house's own pieces pass the checks that its broken likenesses don't: pipelines, folds, a whole search."""

from __future__ import annotations

import pytest

from tests.leaks.harness import CHECKS, Pipeline, failed
from tests.leaks.house import WHOLE, split_of, tabular
from tests.leaks.pipelines import remembering

LOGISTIC = {"learner": "logistic_regression", "logistic_regression:C": 1.0}
TABULAR = {
    "logistic": LOGISTIC,
    "everything": {
        **LOGISTIC, "impute": "knn", "combat": "combat", "scale": "power", "correlation": 0.9, "sampler": "smote",
        "selection": "anova",
    },
    "support vectors": {"learner": "svm", "svm:kernel": "linear", "class_weight": "balanced"},
    "nearest neighbours": {"learner": "knn"},
    "discriminant": {"learner": "lda", "selection": "mann_whitney"},
}  # fmt: skip
QUICK = [name for name in CHECKS if name not in ("permuted", "groups", "copies")]


@pytest.mark.parametrize("check", QUICK)
@pytest.mark.parametrize("name", TABULAR)
def test_a_learning_pipeline_looks_at_nothing_of_the_test(name, check):
    assert CHECKS[check](tabular(name, TABULAR[name]))


@pytest.mark.slow
def test_a_learning_pipeline_does_not_learn_labels_that_mean_nothing():
    assert failed(tabular("logistic", LOGISTIC)) == set()


@pytest.mark.parametrize("kind", ["nested", "holdout", "leave_one_site_out"])
def test_folds_keep_patients_and_equal_pictures_on_one_side(kind):
    """Half of the patients are the others under another name."""
    sound = Pipeline(name=kind, predict=remembering, split=split_of(kind), draws={"copied": True})
    assert CHECKS["groups"](sound)
    assert CHECKS["copies"](sound)


def test_folds_that_look_at_no_picture_would_be_caught():
    split = split_of("nested", linked=False)
    assert not CHECKS["copies"](Pipeline(name="", predict=remembering, split=split, draws={"copied": True}))


def test_a_learner_that_remembers_gains_nothing_from_copies():
    split = split_of("nested")
    assert CHECKS["permuted"](Pipeline(name="", predict=remembering, split=split, draws={"copied": True}))


@pytest.mark.parametrize("check", [*QUICK, "groups"])
def test_a_whole_search_looks_at_nothing_of_the_test(check):
    assert CHECKS[check](WHOLE)


@pytest.mark.slow
def test_a_whole_search_does_not_learn_labels_that_mean_nothing():
    """Thirty data sets, three outer folds each: trials, ensemble and calibration as in a run."""
    assert CHECKS["permuted"](WHOLE)
