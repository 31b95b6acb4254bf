"""The pipeline of most published radiomics: one fixed extraction, LASSO, logistic regression. Nothing is searched."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LassoCV, LogisticRegression, MultiTaskLassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.fingerprint import Fingerprint
from autoonco.data.folds import stratified_group_folds
from autoonco.families.radiomics import family as radiomics
from autoonco.families.tables import spread
from autoonco.features.export import settings_of
from autoonco.features.spec import ExtractionSpec

_FOLDS = 5
_STRENGTHS = 50  # of the LASSO, from the one that keeps nothing on down
_ROUNDS = 5000

Rows = NDArray[np.int64]
Table = NDArray[np.float64]


def fixed_spec(fingerprint: Fingerprint) -> ExtractionSpec:
    """Return the extraction: shape, first order and textures of the original image, binned as its unit asks for."""
    return settings_of("original", fingerprint, default=radiomics.defaults(fingerprint)[0])


def lasso_proba(
    x: Table, y: Rows, groups: NDArray[Any], train: Rows, test: Rows, *, n_classes: int, seed: int
) -> NDArray[Any]:
    """Return probabilities ``(n_test, n_classes)`` of LASSO and logistic regression, all learned on `train`.

    Features are imputed by the median and standardised. The LASSO (of several classes, of all their indicators
    together) has the strength with the least squared error in cross-validation of whole patients; what it keeps goes
    into a logistic regression with scikit-learn's own settings. Where it keeps nothing the shares of the classes are
    predicted.

    Parameters
    ----------
    x
        Features of all cases ``(n_cases, n_features)``.
    groups
        Patients ``(n_cases,)``.

    Raises
    ------
    DataError
        If a class has a single patient in `train`.
    """
    steps = make_pipeline(SimpleImputer(strategy="median"), VarianceThreshold(), StandardScaler())
    x = np.where(np.isfinite(x), x, np.nan)
    if not _varies(x[train]):
        return shares(y, train, len(test), n_classes)
    inside, outside = steps.fit_transform(x[train]), steps.transform(x[test])
    kept = _kept(inside, y[train], groups[train], seed)
    if not kept.any():
        return shares(y, train, len(test), n_classes)
    model = LogisticRegression(max_iter=_ROUNDS).fit(inside[:, kept], y[train])
    return spread(model.predict_proba(outside[:, kept]), model.classes_, n_classes)


def shares(y: Rows, train: Rows, n_test: int, n_classes: int) -> NDArray[Any]:
    """Return the shares of the classes in `train`, for each of `n_test` cases ``(n_test, n_classes)``."""
    return np.tile(np.bincount(y[train], minlength=n_classes) / len(train), (n_test, 1))


def _kept(x: Table, y: Rows, groups: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    fewest = min(len(np.unique(groups[y == label])) for label in np.unique(y))
    folds = stratified_group_folds(y, groups, max(2, min(_FOLDS, fewest)), seed=seed)
    indicators = (y[:, None] == np.unique(y)).astype(float)
    two = indicators.shape[1] == 2
    lasso = (LassoCV if two else MultiTaskLassoCV)(cv=folds, alphas=_STRENGTHS, max_iter=_ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # of the weakest strengths, which are seldom the best
        lasso.fit(x, indicators[:, 1] if two else indicators)
    found: NDArray[np.bool_] = (np.abs(np.atleast_2d(lasso.coef_)) > 0).any(axis=0)
    return found


def _varies(x: Table) -> bool:
    return any(len(np.unique(column[~np.isnan(column)])) > 1 for column in x.T)
