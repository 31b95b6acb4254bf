"""What happens to a feature table before the learner: imputation, scaling, filters, selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import SelectorMixin, VarianceThreshold, f_classif, mutual_info_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from autoonco.errors import UnknownNameError

MAX_CORRELATION_COLUMNS = 5000
"""Above, the correlation filter is left out: its matrix of all pairs would take more than 200 MB."""
SCORES = ("anova", "mutual_info", "l1", "forest")


class CorrelationFilter(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Of two columns whose absolute Pearson correlation is above `threshold`, drop the later one.

    Columns are looked at from left to right and compared with those kept so far. A column without variance
    correlates with none. At least one column stays.

    Parameters
    ----------
    threshold
        In [0, 1]; 1 keeps everything.

    Examples
    --------
    >>> X = np.array([[1.0, 2.0, 5.0], [2.0, 4.0, 1.0], [3.0, 6.0, 4.0]])
    >>> CorrelationFilter(threshold=0.9).fit(X).get_support()
    array([ True, False,  True])
    """

    def __init__(self, threshold: float = 0.95) -> None:
        self.threshold = threshold

    def fit(self, X: NDArray[Any], y: NDArray[Any] | None = None) -> Self:  # noqa: ARG002 - scikit-learn's form
        """Learn which columns of `X` ``(n_cases, n_features)`` stay."""
        X = validate_data(self, X, dtype=np.float64)
        above = np.abs(_correlations(X)) > self.threshold
        keep = np.ones(X.shape[1], dtype=bool)
        for column in range(X.shape[1]):
            if keep[column]:
                keep[column + 1 :] &= ~above[column, column + 1 :]
        self.support_ = keep
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_


class TopShare(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the share of columns with the best scores, at least one; ties go to the earlier column.

    scikit-learn's own selectors can end with no column at all (an L1 model on few cases, equal mutual
    informations), which would end the trial; this one can't, and needs no fitted inner model when stored.

    Parameters
    ----------
    score
        ``"anova"``: F statistic; ``"mutual_info"``: Kraskov's estimate; ``"l1"``: largest coefficient of an
        L1 logistic regression on z-scored columns; ``"forest"``: impurity importance of 100 extra trees.
    share
        Share of the columns to keep, in (0, 1].
    seed
        Seed of mutual information, L1 and forest.
    """

    def __init__(self, score: str = "anova", share: float = 0.2, seed: int = 0) -> None:
        self.score = score
        self.share = share
        self.seed = seed

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Learn which columns of `X` ``(n_cases, n_features)`` stay, by labels `y` ``(n_cases,)``."""
        X = validate_data(self, X, dtype=np.float64)
        scores = np.nan_to_num(column_scores(self.score, X, y, seed=self.seed), nan=-np.inf)
        n_kept = max(1, round(self.share * X.shape[1]))
        best = np.argsort(-scores, kind="stable")[:n_kept]
        self.support_ = np.isin(np.arange(X.shape[1]), best)
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_


def column_scores(score: str, X: NDArray[Any], y: NDArray[Any], *, seed: int) -> NDArray[np.float64]:
    """Return a score for each column of `X` ``(n_cases, n_features)``, the higher the more it tells of `y`.

    Raises
    ------
    UnknownNameError
        If `score` is none of `SCORES`.
    """
    if score == "anova":
        with np.errstate(
            all="ignore"
        ):  # a column constant within each class divides by 0: infinite, the best
            return np.asarray(f_classif(X, y)[0], dtype=np.float64)
    if score == "mutual_info":
        return np.asarray(mutual_info_classif(X, y, random_state=seed), dtype=np.float64)
    if score == "l1":
        model = LogisticRegression(C=0.5, l1_ratio=1.0, solver="saga", tol=1e-2, random_state=seed)
        coefficients = model.fit(StandardScaler().fit_transform(X), y).coef_
        return np.asarray(np.abs(coefficients).max(axis=0), dtype=np.float64)
    if score == "forest":
        forest = ExtraTreesClassifier(100, max_features="sqrt", random_state=seed)
        return np.asarray(forest.fit(X, y).feature_importances_, dtype=np.float64)
    raise UnknownNameError("selection score", score, SCORES)


def _correlations(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return Pearson correlations between all columns, 0 where one has no variance."""
    centred = X - X.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    unit: NDArray[np.float64] = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    return np.asarray(np.clip(unit.T @ unit, -1.0, 1.0), dtype=np.float64)


def build_steps(
    config: Mapping[str, Any], *, n_features: int, n_train: int, seed: int
) -> list[tuple[str, BaseEstimator]]:
    """Return the named steps of `config`, unfitted, in order; a step whose hyperparameter is absent is left out.

    Columns without variance always go.
    """
    steps: list[tuple[str, BaseEstimator]] = []
    if "impute" in config:
        # An entirely undefined column becomes 0 and then falls to the variance filter.
        steps.append(("impute", SimpleImputer(strategy=config["impute"], keep_empty_features=True)))
    steps.append(("variance", VarianceThreshold()))
    if "scale" in config:
        steps.append(("scale", _scaler(config["scale"], n_train=n_train)))
    if "correlation" in config and n_features <= MAX_CORRELATION_COLUMNS:
        steps.append(("correlation", CorrelationFilter(threshold=config["correlation"])))
    return steps + _selection(config, seed=seed)


def _scaler(name: str, *, n_train: int) -> BaseEstimator:
    if name == "zscore":
        return StandardScaler()
    if name == "robust":
        return RobustScaler()
    if name == "power":
        return PowerTransformer()
    if name == "quantile":
        return QuantileTransformer(
            n_quantiles=min(100, n_train), output_distribution="normal", subsample=None
        )
    raise UnknownNameError("scale", name, ("zscore", "robust", "power", "quantile"))


def _selection(config: Mapping[str, Any], *, seed: int) -> list[tuple[str, BaseEstimator]]:
    name = config.get("selection", "none")
    if name == "none":
        return []
    if name == "pca":
        pca = PCA(n_components=config["pca_variance"], svd_solver="full")
        # Components of unscaled columns would be the columns of the largest numbers.
        before = [] if "scale" in config else [("standardise", StandardScaler())]
        return [*before, ("select", pca)]
    return [("select", TopShare(score=name, share=config["selection_share"], seed=seed))]
