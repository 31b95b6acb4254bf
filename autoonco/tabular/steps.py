"""What happens to a feature table before the learner: imputation, scaling, filters, selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import SelectorMixin, VarianceThreshold, f_classif, mutual_info_classif
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from autoonco.errors import UnknownNameError
from autoonco.tabular.components import Components
from autoonco.tabular.groups import LeaveOut, columns_left_out
from autoonco.tabular.harmonise import ComBat
from autoonco.tabular.robustness import RobustnessFilter
from autoonco.tabular.selectors import Boruta, Elimination, Mrmr, Relief, Significant, Stable, p_values

MAX_CORRELATION_COLUMNS = 5000
"""Above, the correlation filter is left out: its matrix of all pairs would take more than 200 MB."""
SCORES = ("anova", "mutual_info", "l1", "forest", "mann_whitney", "elastic_net")
_L1_RATIO = {"l1": 1.0, "elastic_net": 0.2}


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
        L1 logistic regression on z-scored columns, ``"elastic_net"``: of one whose penalty is a fifth L1; ``"forest"``:
        impurity importance of 100 extra trees; ``"mann_whitney"``: the smallest p value.
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
    if score == "mann_whitney":
        return -p_values(score, X, y)
    if score in _L1_RATIO:
        model = LogisticRegression(
            C=0.5, l1_ratio=_L1_RATIO[score], solver="saga", tol=1e-2, random_state=seed
        )
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
    config: Mapping[str, Any], *, n_features: int, n_train: int, seed: int, names: Sequence[str] | None = None
) -> list[tuple[str, BaseEstimator]]:
    """Return the named steps of `config`, unfitted, in order; a step whose hyperparameter is absent is left out.

    Columns without variance always go. With ComBat the table's last column is the site's code, which `n_features`
    doesn't count and this step takes away. Groups of features are known by `names`; without, none is left out.
    """
    steps = _steps_of_columns(config, names=names)
    if "impute" in config:
        steps += _imputation(config["impute"])
    steps.append(("variance", VarianceThreshold()))
    if "scale" in config:
        steps.append(("scale", _scaler(config["scale"], n_train=n_train)))
    if "correlation" in config and n_features <= MAX_CORRELATION_COLUMNS:
        steps.append(("correlation", CorrelationFilter(threshold=config["correlation"])))
    steps += _selection(config, seed=seed)
    if _needs_distances(config) and "standardise" not in dict(steps):
        # Neighbours of unscaled columns would be those of the columns of the largest numbers.
        steps.append(("standardise", StandardScaler()))
    return steps


def _steps_of_columns(
    config: Mapping[str, Any], *, names: Sequence[str] | None
) -> list[tuple[str, BaseEstimator]]:
    """Return what needs to know each column as it was extracted: sites, masks and groups."""
    steps: list[tuple[str, BaseEstimator]] = []
    if config.get("combat", "none") != "none":
        steps.append(("combat", ComBat()))
    if names is not None and config.get("groups", "all") == "chosen":
        steps.append(("groups", LeaveOut(columns=columns_left_out(config, names))))
    if config.get("robustness", "none") != "none":
        robust = RobustnessFilter(threshold=config["icc_threshold"], form=config["icc_form"])
        steps.append(("robustness", robust))
    return steps


def _needs_distances(config: Mapping[str, Any]) -> bool:
    return config.get("sampler", "none") not in ("none", "over", "under") and "scale" not in config


def _imputation(name: str) -> list[tuple[str, BaseEstimator]]:
    """Return the imputation; an entirely undefined column becomes 0 and then falls to the variance filter."""
    if name == "knn":
        return [("standardise_gaps", StandardScaler()), ("impute", KNNImputer(keep_empty_features=True))]
    return [("impute", SimpleImputer(strategy=name, keep_empty_features=True))]


def _scaler(name: str, *, n_train: int) -> BaseEstimator:
    quantiles = min(100, n_train)
    makers = {
        "zscore": StandardScaler,
        "robust": RobustScaler,
        # New cases may lie outside the range of the training cases: held to it, they can't run away.
        "minmax": lambda: MinMaxScaler(clip=True),
        "power": PowerTransformer,
        "quantile": lambda: QuantileTransformer(
            n_quantiles=quantiles, output_distribution="normal", subsample=None
        ),
    }
    if name not in makers:
        raise UnknownNameError("scale", name, makers)
    return makers[name]()


def _selection(config: Mapping[str, Any], *, seed: int) -> list[tuple[str, BaseEstimator]]:
    name = config.get("selection", "none")
    if name == "none":
        return []
    selector = _selector(name, config, seed=seed)
    if name in ("pca", "pca_count", "kernel_pca") and "scale" not in config:
        # Components of unscaled columns would be the columns of the largest numbers.
        return [("standardise", StandardScaler()), ("select", selector)]
    return [("select", selector)]


def _selector(name: str, config: Mapping[str, Any], *, seed: int) -> BaseEstimator:
    match name:
        case "pca":
            return PCA(n_components=config["pca_variance"], svd_solver="full")
        case "pca_count":
            return Components(n_components=config["pca_components"])
        case "kernel_pca":
            return Components(n_components=config["pca_components"], kernel="rbf")
        case "anova_p" | "mann_whitney_p":
            return Significant(score=name.removesuffix("_p"), p=config["p_threshold"])
        case "mrmr":
            return Mrmr(n_features=config["n_selected"])
        case "relief":
            neighbours, n = config["relief_neighbours"], config["n_selected"]
            return Relief(n_neighbors=neighbours, n_features=n, seed=seed)
        case "stability":
            return Stable(threshold=config["stability_threshold"], seed=seed)
        case "rfe":
            return Elimination(share=config["selection_share"])
        case "boruta":
            return Boruta(seed=seed)
    return TopShare(score=name, share=config["selection_share"], seed=seed)
