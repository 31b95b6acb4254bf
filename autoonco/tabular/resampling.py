"""A learner fitted on training cases of which some are left out, repeated or made up, so that classes balance."""

from __future__ import annotations

import logging
from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from autoonco.errors import UnknownNameError
from autoonco.tabular.boosting import stopping_parts
from autoonco.tabular.platt import PlattMachine

SAMPLERS = (
    "over", "under", "smote", "borderline_smote", "adasyn", "smote_enn", "smote_tomek", "near_miss", "cleaning",
)  # fmt: skip
FEWEST_LEFT = 2
"""Cases of a class below which a resampled table is given up for the table as it was."""
_log = logging.getLogger(__name__)


class ResampledLearner(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that sees a resampled table when it is fitted, and cases as they are at prediction.

    Where its learner stops early, the cases that say when to stop are set aside before resampling, by patient, and
    are never resampled: made-up neighbours of them would be on the other side. So are those whose scores fit the
    sigmoid of a support vector machine. Where a sampler can't work on the training cases (a class of one case, no
    neighbours of another class) the learner sees them as they are, and ``resampled_`` is False.

    Parameters
    ----------
    sampler
        One of `SAMPLERS`.
    learner
        The unfitted classifier.
    seed
        Seed of the sampler.
    """

    def __init__(self, sampler: str, learner: BaseEstimator, seed: int = 0) -> None:
        self.sampler = sampler
        self.learner = learner
        self.seed = seed

    def fit(self, X: NDArray[Any], y: NDArray[Any], *, groups: NDArray[Any] | None = None) -> Self:
        """Fit on `X` ``(n_cases, n_features)``.

        Parameters
        ----------
        groups
            Patient of each case ``(n_cases,)``; without, every case counts as a patient.

        Raises
        ------
        UnknownNameError
            If `sampler` is none of `SAMPLERS`.
        """
        X, y = validate_data(self, X, dtype=np.float64), np.asarray(y)
        learner = clone(self.learner)
        if getattr(learner, "stopping", None) == "early":
            learner.set_params(stopping="fixed", n_estimators=self._rounds(learner, X, y, groups))
        new_X, new_y, self.resampled_ = resample(self.sampler, X, y, seed=self.seed)
        if isinstance(learner, PlattMachine):
            self.learner_ = learner.fit(X, y, groups=groups, resampled=self._resampled)
        else:
            self.learner_ = learner.fit(new_X, new_y)
        self.classes_ = self.learner_.classes_
        return self

    def _resampled(self, X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return resample(self.sampler, X, y, seed=self.seed)[:2]

    def _rounds(
        self, learner: Any, X: NDArray[np.float64], y: NDArray[Any], groups: NDArray[Any] | None
    ) -> int:
        """Return the rounds that are best on patients set aside, when fitted on the others, resampled."""
        parts = stopping_parts(y, groups)
        if parts is None:
            return int(learner.n_estimators)
        rows, judges = parts
        new_X, new_y, _ = resample(self.sampler, X[rows], y[rows], seed=self.seed)
        both_X, both_y = np.vstack([new_X, X[judges]]), np.concatenate([new_y, y[judges]])
        order = np.arange(len(both_y))
        return int(learner.best_rounds(both_X, both_y, order[: len(new_y)], order[len(new_y) :]))

    def predict_proba(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `classes_`."""
        check_is_fitted(self)
        return np.asarray(self.learner_.predict_proba(X), dtype=np.float64)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each row ``(n_cases,)``."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def resample(
    sampler: str, X: NDArray[np.float64], y: NDArray[Any], *, seed: int
) -> tuple[NDArray[np.float64], NDArray[Any], bool]:
    """Return table and labels as `sampler` makes them, and whether it could: else they are as they were.

    Raises
    ------
    UnknownNameError
        If `sampler` is none of `SAMPLERS`.
    """
    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < FEWEST_LEFT:
        return X, y, False
    try:
        new_X, new_y = _build(sampler, fewest=int(counts.min()), seed=seed).fit_resample(X, y)
    except (ValueError, RuntimeError) as error:
        # imblearn says so where no neighbourhood allows a new case.
        _log.info("no resampling by %s: %s", sampler, error)
        return X, y, False
    left = [int((new_y == label).sum()) for label in classes]
    return (new_X, new_y, True) if min(left) >= FEWEST_LEFT else (X, y, False)


def _build(name: str, *, fewest: int, seed: int) -> Any:
    """Return imbalanced-learn's sampler; its neighbours are as many as the smallest class allows."""
    from imblearn import combine, over_sampling, under_sampling

    k = max(1, min(5, fewest - 1))
    smote = over_sampling.SMOTE(k_neighbors=k, random_state=seed)
    makers = {
        "over": lambda: over_sampling.RandomOverSampler(random_state=seed),
        "under": lambda: under_sampling.RandomUnderSampler(random_state=seed),
        "smote": lambda: smote,
        "borderline_smote": lambda: over_sampling.BorderlineSMOTE(k_neighbors=k, random_state=seed),
        "adasyn": lambda: over_sampling.ADASYN(n_neighbors=k, random_state=seed),
        "smote_enn": lambda: combine.SMOTEENN(smote=smote, random_state=seed),
        "smote_tomek": lambda: combine.SMOTETomek(smote=smote, random_state=seed),
        "near_miss": lambda: under_sampling.NearMiss(n_neighbors=min(3, fewest)),
        "cleaning": under_sampling.NeighbourhoodCleaningRule,
    }
    return makers[name]()


def takes_groups(learner: BaseEstimator) -> bool:
    """Tell whether a learner's fit takes the patients of its cases."""
    return "groups" in signature(learner.fit).parameters
