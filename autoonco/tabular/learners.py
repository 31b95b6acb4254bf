"""The learners of feature tables; each has its space in ``spaces/learner_<name>.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from autoonco.errors import UnknownNameError
from autoonco.tabular.additive import SplineColumns
from autoonco.tabular.boosting import build_lightgbm, build_xgboost, has_lightgbm
from autoonco.tabular.bounded import (
    CappedGaussianProcess,
    Neighbours,
    OrderedExtraTrees,
    OrderedForest,
)
from autoonco.tabular.gaussian import ShrunkGaussians
from autoonco.tabular.platt import PlattMachine
from autoonco.tabular.weighted import SmallNetwork, WeightedAdaBoost, WeightedNaiveBayes

TRUSTED_FOUR = ("logistic_regression", "svm", "random_forest", "xgboost")
"""The learners that win most often on radiomics: proposed four times as often as each of the others."""
NEED_SCALING = (
    "logistic_regression", "svm", "lda", "qda", "knn", "gaussian_process", "neural_network",
)  # fmt: skip
"""Learners that depend on the columns' scales; trees, naive Bayes and splines at quantiles don't."""
TAKES_NO_CLASS_WEIGHT = ("knn", "gaussian_process")
"""Learners to which ``class_weight`` means nothing."""
SECONDS_PER_FIT: Mapping[str, float] = {
    "logistic_regression": 0.1,
    "svm": 0.3,
    "random_forest": 3.0,
    "xgboost": 2.0,
    "extra_trees": 1.5,
    "lightgbm": 1.0,
    "hist_gradient_boosting": 1.0,
    "adaboost": 2.0,
    "lda": 0.1,
    "qda": 0.1,
    "naive_bayes": 0.02,
    "knn": 0.02,
    "gaussian_process": 0.2,
    "neural_network": 1.0,
    "additive": 0.7,
}
"""Fits of 500 cases by 1000 features on one core; the search corrects these by what it measures."""
SECONDS_PER_OTHER_FIT = 1.0
"""The same of a learner that isn't listed."""
MAX_SVM_STEPS = 200_000
"""A support vector machine with a large C on classes that overlap would otherwise not end."""


def seconds_to_fit(learner: str, n_cases: int) -> float:
    """Return a guess of the seconds that a pipeline with `learner` takes on `n_cases`, prediction included."""
    return SECONDS_PER_FIT.get(learner, SECONDS_PER_OTHER_FIT) * n_cases / 500 + 0.05


def learner_weights(learners: Sequence[str]) -> list[float]:
    """Return how often each learner is proposed at random, relative to the others."""
    return [4.0 if name in TRUSTED_FOUR else 1.0 for name in learners]


def build_learner(config: Mapping[str, Any], *, n_classes: int, seed: int, n_threads: int) -> BaseEstimator:
    """Return the unfitted learner of `config` with probabilities, seeded.

    Parameters
    ----------
    config
        ``learner``, optionally ``class_weight``, and the learner's own hyperparameters as ``<learner>:<name>``.
    n_classes
        Classes of the cases it will be fitted on.

    Raises
    ------
    UnknownNameError
        If the learner isn't known, or isn't installed.
    """
    name = config["learner"]
    if name not in LEARNERS:
        raise UnknownNameError("learner", name, LEARNERS)
    prefix = f"{name}:"
    own = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    weight = None if config.get("class_weight", "none") == "none" else config["class_weight"]
    return LEARNERS[name](own, class_weight=weight, n_classes=n_classes, seed=seed, n_threads=n_threads)


def _logistic_regression(
    own: Mapping[str, Any], *, class_weight: str | None, n_classes: int, seed: int, **_: Any
) -> BaseEstimator:
    """Return the model with the fast solver for its penalty: lbfgs, liblinear (L1 of 2 classes) or saga."""
    penalty = own["penalty"]
    if penalty == "l2":
        how: dict[str, Any] = {"solver": "lbfgs", "max_iter": 1000}
    elif penalty == "l1" and n_classes == 2:
        how = {"solver": "liblinear", "l1_ratio": 1.0, "max_iter": 500}
    else:
        ratio = 1.0 if penalty == "l1" else own["l1_ratio"]
        how = {"solver": "saga", "l1_ratio": ratio, "max_iter": 1000, "tol": 1e-3}
    return LogisticRegression(C=own["C"], class_weight=class_weight, random_state=seed, **how)


def _svm(own: Mapping[str, Any], *, class_weight: str | None, seed: int, **_: Any) -> BaseEstimator:
    """Return a support vector machine whose scores become probabilities on held-out patients."""
    machine = SVC(
        kernel=own["kernel"],
        C=own["C"],
        gamma=own.get("gamma", "scale"),
        degree=own.get("degree", 3),
        coef0=1.0 if own["kernel"] == "poly" else 0.0,
        class_weight=class_weight,
        max_iter=MAX_SVM_STEPS,
        random_state=seed,
    )
    return PlattMachine(machine)


def _forest(kind: type[BaseEstimator]) -> Callable[..., BaseEstimator]:
    def build(
        own: Mapping[str, Any], *, class_weight: str | None, seed: int, n_threads: int, **_: Any
    ) -> BaseEstimator:
        return kind(**own, class_weight=class_weight, random_state=seed, n_jobs=n_threads)

    return build


def _hist_gradient_boosting(
    own: Mapping[str, Any], *, class_weight: str | None, seed: int, **_: Any
) -> BaseEstimator:
    """Return the model with fixed rounds: its own early stopping knows no patients."""
    return HistGradientBoostingClassifier(
        **own, class_weight=class_weight, max_bins=63, early_stopping=False, random_state=seed
    )


def _gaussians(*, pooled: bool) -> Callable[..., BaseEstimator]:
    def build(own: Mapping[str, Any], *, class_weight: str | None, **_: Any) -> BaseEstimator:
        return ShrunkGaussians(pooled=pooled, class_weight=class_weight, **own)

    return build


def _seeded(kind: type[BaseEstimator]) -> Callable[..., BaseEstimator]:
    def build(own: Mapping[str, Any], *, class_weight: str | None, seed: int, **_: Any) -> BaseEstimator:
        return kind(**own, class_weight=class_weight, random_state=seed)

    return build


def _naive_bayes(own: Mapping[str, Any], *, class_weight: str | None, **_: Any) -> BaseEstimator:
    return WeightedNaiveBayes(**own, class_weight=class_weight)


def _knn(own: Mapping[str, Any], **_: Any) -> BaseEstimator:
    return Neighbours(**own)


def _gaussian_process(own: Mapping[str, Any], *, seed: int, **_: Any) -> BaseEstimator:
    return CappedGaussianProcess(**own, seed=seed)


def _additive(own: Mapping[str, Any], *, class_weight: str | None, seed: int, **_: Any) -> BaseEstimator:
    """Return a generalised additive model: a smooth curve a column, held back by a ridge penalty."""
    logistic = LogisticRegression(C=own["C"], class_weight=class_weight, max_iter=1000, random_state=seed)
    return Pipeline([("splines", SplineColumns(n_knots=own["n_knots"])), ("logistic", logistic)])


LEARNERS: dict[str, Callable[..., BaseEstimator]] = {
    "logistic_regression": _logistic_regression,
    "svm": _svm,
    "random_forest": _forest(OrderedForest),
    "xgboost": build_xgboost,
    "extra_trees": _forest(OrderedExtraTrees),
    **({"lightgbm": build_lightgbm} if has_lightgbm() else {}),
    "hist_gradient_boosting": _hist_gradient_boosting,
    "adaboost": _seeded(WeightedAdaBoost),
    "lda": _gaussians(pooled=True),
    "qda": _gaussians(pooled=False),
    "naive_bayes": _naive_bayes,
    "knn": _knn,
    "gaussian_process": _gaussian_process,
    "neural_network": _seeded(SmallNetwork),
    "additive": _additive,
}
