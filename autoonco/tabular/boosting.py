"""XGBoost that stops early on patients of its training cases, and LightGBM where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import StratifiedGroupKFold
from xgboost import XGBClassifier

from autoonco.tabular.weighted import case_weights

PATIENCE = 50
"""Rounds without a better score after which boosting stops."""
STOPPING_FOLDS = 5
"""A fifth of the patients says when to stop."""
FEWEST_STOPPING = 15
"""Patients of the smallest class below which a fifth of them, fewer than three, would decide by chance."""


class WeightedXGBClassifier(XGBClassifier):  # type: ignore[misc]
    """XGBoost that takes `class_weight` as scikit-learn's learners do, and finds its number of rounds.

    Parameters
    ----------
    class_weight
        None or ``"balanced"``.
    stopping
        ``"fixed"``: `n_estimators` rounds. ``"early"``: as many, at most, as were best on a fifth of the patients of
        the training cases when fitted on the others; then fitted on all. With fewer than `FEWEST_STOPPING` patients
        of a class as ``"fixed"``.
    **kwargs
        XGBoost's own.
    """

    def __init__(self, *, class_weight: str | None = None, stopping: str = "fixed", **kwargs: Any) -> None:
        self.class_weight = class_weight
        self.stopping = stopping
        super().__init__(**kwargs)

    def get_xgb_params(self) -> dict[str, Any]:
        """Return what the booster is told: not what this class adds."""
        params: dict[str, Any] = super().get_xgb_params()
        return {name: value for name, value in params.items() if name not in ("class_weight", "stopping")}

    def get_num_boosting_rounds(self) -> int:
        """Return the rounds of the next or last fit."""
        found: int | None = getattr(self, "n_rounds_", None)
        return int(super().get_num_boosting_rounds()) if found is None else found

    def fit(
        self, X: NDArray[Any], y: NDArray[Any], *, groups: NDArray[Any] | None = None, **kwargs: Any
    ) -> Self:
        """Fit on `X` ``(n_cases, n_features)``, cases weighted by `class_weight`.

        Parameters
        ----------
        groups
            Patient of each case ``(n_cases,)``; without, every case counts as a patient.
        """
        self.n_rounds_: int | None = None
        parts = stopping_parts(y, groups) if self.stopping == "early" else None
        if parts is not None:
            self.n_rounds_ = self.best_rounds(X, y, *parts)
        super().fit(X, y, sample_weight=case_weights(self.class_weight, y), **kwargs)
        return self

    def best_rounds(
        self, X: NDArray[Any], y: NDArray[Any], rows: NDArray[np.int64], judges: NDArray[np.int64]
    ) -> int:
        """Return how many rounds on `rows` are best on `judges`."""
        weights = case_weights(self.class_weight, y[judges])
        trial = clone(self).set_params(stopping="fixed", early_stopping_rounds=PATIENCE)
        trial.fit(
            X[rows],
            y[rows],
            eval_set=[(X[judges], y[judges])],
            sample_weight_eval_set=None if weights is None else [weights],
            verbose=False,
        )
        return int(trial.best_iteration) + 1


def stopping_parts(
    y: NDArray[Any], groups: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return (rows to fit on, rows that say when to stop), no patient in both, or None where cases are too few.

    Examples
    --------
    >>> rows, judges = stopping_parts(np.tile([0, 1], 20), np.repeat(np.arange(20), 2)) or ((), ())
    >>> len(rows), len(judges)
    (32, 8)
    """
    y = np.asarray(y)
    groups = np.arange(len(y)) if groups is None else np.asarray(groups)
    if min(len(np.unique(groups[y == label])) for label in np.unique(y)) < FEWEST_STOPPING:
        return None
    rows, judges = next(StratifiedGroupKFold(STOPPING_FOLDS).split(y, y, groups))
    # Patients of many cases can leave a class on one side only.
    if any(len(np.unique(y[part])) < len(np.unique(y)) for part in (rows, judges)):
        return None
    return rows, judges


def build_xgboost(
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


def has_lightgbm() -> bool:
    """Tell whether LightGBM is installed, without importing it."""
    return find_spec("lightgbm") is not None


def build_lightgbm(
    own: Mapping[str, Any], *, class_weight: str | None, seed: int, n_threads: int, **_: Any
) -> BaseEstimator:
    """Return LightGBM; `deterministic` and one layout of the table make equal seeds equal models."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        **own,
        class_weight=class_weight,
        subsample_freq=1,
        max_bin=63,
        random_state=seed,
        n_jobs=n_threads,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )
