"""The learners of feature tables; each has its space in ``spaces/learner_<name>.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from autoonco.errors import UnknownNameError

NEED_SCALING = ("logistic_regression", "svm")
"""Learners that depend on the columns' scales; trees don't."""
MAX_SVM_STEPS = 200_000
"""A support vector machine with a large C on classes that overlap would otherwise not end."""


class OrderedForest(RandomForestClassifier):  # type: ignore[misc]
    """A random forest that sums its trees in order: scikit-learn's sums differ by which thread is done first."""

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, equal to the last bit on every call."""
        with parallel_config(backend="sequential"):
            return np.asarray(super().predict_proba(X))


class WeightedXGBClassifier(XGBClassifier):  # type: ignore[misc]
    """XGBoost that takes `class_weight` as scikit-learn's learners do: None or ``"balanced"``."""

    def __init__(self, *, class_weight: str | None = None, **kwargs: Any) -> None:
        self.class_weight = class_weight
        super().__init__(**kwargs)

    def fit(self, X: NDArray[Any], y: NDArray[Any], **kwargs: Any) -> Self:
        """Fit on `X` ``(n_cases, n_features)``, cases weighted by `class_weight`."""
        weights = None if self.class_weight is None else compute_sample_weight(self.class_weight, y)
        super().fit(X, y, sample_weight=weights, **kwargs)
        return self


class SigmoidFolds:
    """Folds that fit Platt's sigmoid: three, or two where the smallest class has two cases.

    A class of one case can't be on both sides. There the sigmoid is fitted on the scores of the machine's own
    training cases: probabilities come out too sure of themselves, but in the right order.
    """

    def split(
        self, X: NDArray[Any], y: NDArray[Any], groups: None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (rows that fit the machine, rows that it scores)."""
        n_folds = self.get_n_splits(X, y, groups)
        if n_folds > 1:
            yield from StratifiedKFold(n_folds).split(X, y)
        else:
            rows = np.arange(len(y))
            yield rows, rows

    def get_n_splits(self, X: object, y: NDArray[Any], groups: None = None) -> int:  # noqa: ARG002 - scikit-learn's
        """Return the number of cases of the smallest class, three at most."""
        return min(3, int(np.unique(y, return_counts=True)[1].min()))


def build_learner(config: Mapping[str, Any], *, n_classes: int, seed: int, n_threads: int) -> BaseEstimator:
    """Return the unfitted learner of `config` with probabilities, seeded.

    Parameters
    ----------
    config
        ``learner``, optionally ``class_weight``, and the learner's own hyperparameters as ``<learner>:<name>``.
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
    """Return a support vector machine whose scores become probabilities by Platt's sigmoid.

    `SigmoidFolds` fit the sigmoid; the order of the cases doesn't depend on them.
    """
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
    return CalibratedClassifierCV(machine, method="sigmoid", ensemble=False, cv=SigmoidFolds())


def _random_forest(
    own: Mapping[str, Any], *, class_weight: str | None, seed: int, n_threads: int, **_: Any
) -> BaseEstimator:
    return OrderedForest(**own, class_weight=class_weight, random_state=seed, n_jobs=n_threads)


def _xgboost(
    own: Mapping[str, Any], *, class_weight: str | None, seed: int, n_threads: int, **_: Any
) -> BaseEstimator:
    """Return XGBoost on the CPU; 64 bins a column cost a third of the default 256 and lose nothing here."""
    return WeightedXGBClassifier(
        **own,
        class_weight=class_weight,
        tree_method="hist",
        max_bin=64,
        device="cpu",
        random_state=seed,
        n_jobs=n_threads,
        verbosity=0,
    )


LEARNERS: dict[str, Callable[..., BaseEstimator]] = {
    "logistic_regression": _logistic_regression,
    "svm": _svm,
    "random_forest": _random_forest,
    "xgboost": _xgboost,
}
