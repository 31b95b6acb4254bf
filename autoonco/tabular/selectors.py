"""Selections that look at columns together: ReliefF, mRMR, Boruta, stability, elimination, significance."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import binom, mannwhitneyu
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import RFE, SelectorMixin, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from autoonco.errors import UnknownNameError

SIGNIFICANCES = ("anova", "mann_whitney")
MAX_RELIEF_CASES = 500
"""Cases whose neighbours ReliefF looks at; the paper's m, which need not be all of them."""
BORUTA_ROUNDS = 20
BORUTA_ALPHA = 0.05
STABILITY_ROUNDS = 30


class Supported(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """A selection that keeps of its fit only ``support_``, which columns stay; at least one does."""

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Learn which columns of `X` ``(n_cases, n_features)`` stay, by labels `y` ``(n_cases,)``."""
        X = validate_data(self, X, dtype=np.float64)
        self.support_ = self._choose(X, np.asarray(y))
        return self

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        raise NotImplementedError

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_


def best(scores: NDArray[np.float64], n: int) -> NDArray[np.bool_]:
    """Return which columns have the `n` highest scores, ties to the earlier one, undefined ones last.

    Examples
    --------
    >>> best(np.array([1.0, np.nan, 3.0, 3.0]), 2)
    array([False, False,  True,  True])
    """
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    return np.isin(np.arange(len(scores)), order[: max(1, n)])


class Significant(Supported):
    """Keep the columns whose p value is below a threshold, or else the one of the smallest.

    Parameters
    ----------
    score
        ``"anova"``, or ``"mann_whitney"`` (of several classes the smallest p of one against the others).
    p
        The threshold; it isn't corrected for the number of columns: it is a hyperparameter, not a finding.
    """

    def __init__(self, score: str = "anova", p: float = 0.05) -> None:
        self.score = score
        self.p = p

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        found = p_values(self.score, X, y)
        below = found < self.p
        return below if below.any() else best(-found, 1)


def p_values(score: str, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the p value of each column of `X` ``(n_cases, n_features)``, 1 where it is undefined.

    Raises
    ------
    UnknownNameError
        If `score` is none of `SIGNIFICANCES`.
    """
    with np.errstate(all="ignore"):
        if score == "anova":
            found = f_classif(X, y)[1]
        elif score == "mann_whitney":
            classes = np.unique(y)
            wanted = classes[1:] if len(classes) == 2 else classes
            found = np.min(
                [
                    mannwhitneyu(X[y == one], X[y != one], method="asymptotic", axis=0).pvalue
                    for one in wanted
                ],
                axis=0,
            )
        else:
            raise UnknownNameError("significance", score, SIGNIFICANCES)
    return np.nan_to_num(np.asarray(found, dtype=np.float64), nan=1.0)


class Relief(Supported):
    """ReliefF: columns that differ between a case's nearest neighbours of other classes, not of its own.

    Parameters
    ----------
    n_neighbors
        Neighbours of each class.
    n_features
        How many columns stay.
    seed
        Which cases are looked at where there are more than `MAX_RELIEF_CASES`.

    References
    ----------
    Robnik-Sikonja and Kononenko, Machine Learning 2003, figure 2 and equation 2.
    """

    def __init__(self, n_neighbors: int = 5, n_features: int = 30, seed: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.n_features = n_features
        self.seed = seed

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        return best(relief_weights(X, y, n_neighbors=self.n_neighbors, seed=self.seed), self.n_features)


def relief_weights(
    X: NDArray[np.float64], y: NDArray[Any], *, n_neighbors: int, seed: int = 0
) -> NDArray[np.float64]:
    """Return ReliefF's weight of each column ``(n_features,)``."""
    span = np.ptp(X, axis=0)
    unit = np.divide(X - X.min(axis=0), span, out=np.zeros_like(X), where=span > 0)
    looked = np.arange(len(X))
    if len(X) > MAX_RELIEF_CASES:
        looked = np.random.default_rng(seed).choice(len(X), MAX_RELIEF_CASES, replace=False)
    distances = cdist(unit[looked], unit, "cityblock")
    distances[np.arange(len(looked)), looked] = np.inf
    weights = np.zeros(X.shape[1])
    prior = {label: float(np.mean(y == label)) for label in np.unique(y)}
    for label, share in prior.items():
        members = np.flatnonzero(y == label)
        for row, case in enumerate(looked):
            mine = y[case] == label
            n = min(n_neighbors, len(members) - int(mine))
            if n == 0:
                continue
            near = members[np.argsort(distances[row, members], kind="stable")[:n]]
            sign = -1.0 if mine else share / (1 - prior[y[case]])
            weights += sign * np.abs(unit[near] - unit[case]).mean(axis=0)
    return weights / len(looked)


class Mrmr(Supported):
    """Minimum redundancy, maximum relevance: columns taken one by one.

    Each has the highest F statistic over its mean absolute correlation with those taken before.

    Parameters
    ----------
    n_features
        How many columns stay.

    References
    ----------
    Ding and Peng, J Bioinform Comput Biol 2005, table 2 (FCQ).
    """

    def __init__(self, n_features: int = 30) -> None:
        self.n_features = n_features

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        return np.isin(np.arange(X.shape[1]), mrmr_order(X, y, self.n_features))


def mrmr_order(X: NDArray[np.float64], y: NDArray[Any], n_features: int) -> list[int]:
    """Return the columns in the order in which mRMR takes them."""
    with np.errstate(all="ignore"):
        relevance = np.nan_to_num(f_classif(X, y)[0], nan=0.0, posinf=1e300)
    centred = X - X.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    taken = [int(np.argmax(relevance))]
    redundancy = np.zeros(X.shape[1])
    while len(taken) < min(n_features, X.shape[1]):
        redundancy += np.abs(unit.T @ unit[:, taken[-1]])
        # Without a floor a column that correlates with none would win whatever it is worth.
        score = relevance / np.maximum(redundancy / len(taken), 1e-3)
        score[taken] = -np.inf
        taken.append(int(np.argmax(score)))
    return taken


class Boruta(Supported):
    """Keep the columns that a forest finds more often better than the best of shuffled copies.

    Columns found worse leave on the way; those undecided at the end stay out, unless none was confirmed: then the
    one that was better most often stays.

    Parameters
    ----------
    n_trees
        Trees of each round's forest.
    seed
        Seed of forests and shuffles.

    References
    ----------
    Kursa and Rudnicki, Journal of Statistical Software 2010.
    """

    def __init__(self, n_trees: int = 50, seed: int = 0) -> None:
        self.n_trees = n_trees
        self.seed = seed

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        rng = np.random.default_rng(self.seed)
        hits = np.zeros(X.shape[1], dtype=np.int64)
        state = np.zeros(X.shape[1], dtype=np.int64)  # 1 confirmed, -1 rejected
        for done in range(1, BORUTA_ROUNDS + 1):
            left = np.flatnonzero(state >= 0)
            if not (state == 0).any():
                break
            shadows = rng.permuted(X[:, left], axis=0)
            forest = ExtraTreesClassifier(
                self.n_trees, max_depth=7, class_weight="balanced", random_state=self.seed + done
            )
            found = forest.fit(np.hstack([X[:, left], shadows]), y).feature_importances_
            hits[left] += found[: len(left)] > found[len(left) :].max()
            state = np.where(state == 0, decide(hits, done, X.shape[1]), state)
        return state == 1 if (state == 1).any() else best(hits.astype(np.float64), 1)


def decide(hits: NDArray[np.int64], n_rounds: int, n_columns: int) -> NDArray[np.int64]:
    """Return 1 for columns that hit too often for chance, -1 for too rarely, else 0; Bonferroni's correction."""
    limit = BORUTA_ALPHA / n_columns
    often = binom.sf(hits - 1, n_rounds, 0.5) < limit
    seldom = binom.cdf(hits, n_rounds, 0.5) < limit
    return np.asarray(often, dtype=np.int64) - np.asarray(seldom, dtype=np.int64)


class Stable(Supported):
    """Stability selection: columns that an L1 model takes on most random halves of the cases.

    Parameters
    ----------
    threshold
        Share of the halves in (0.5, 1); if no column reaches it, the most frequent stays.
    seed
        Seed of the halves, in which classes keep their share.

    References
    ----------
    Meinshausen and Buehlmann, Journal of the Royal Statistical Society B 2010.
    """

    def __init__(self, threshold: float = 0.75, seed: int = 0) -> None:
        self.threshold = threshold
        self.seed = seed

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        frequency = self._frequencies(StandardScaler().fit_transform(X), y)
        above = frequency >= self.threshold
        return above if above.any() else best(frequency, 1)

    def _frequencies(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.float64]:
        rng = np.random.default_rng(self.seed)
        taken = np.zeros(X.shape[1])
        for _ in range(STABILITY_ROUNDS):
            rows = np.concatenate(
                [
                    rng.choice(mine := np.flatnonzero(y == label), (len(mine) + 1) // 2, replace=False)
                    for label in np.unique(y)
                ]
            )
            # saga takes ten times as long for two classes, and is the only one for more.
            solver = "liblinear" if len(np.unique(y)) == 2 else "saga"
            model = LogisticRegression(
                C=0.5, l1_ratio=1.0, solver=solver, tol=1e-2, max_iter=200, random_state=self.seed
            )
            coefficients = model.fit(X[rows], y[rows]).coef_
            taken += (np.abs(coefficients) > 1e-6).any(axis=0)
        return taken / STABILITY_ROUNDS


class Elimination(Supported):
    """Recursive elimination: a ridge logistic regression loses a fifth of its columns until a share is left.

    Parameters
    ----------
    share
        Share of the columns that stay, in (0, 1].

    References
    ----------
    Guyon et al., Machine Learning 2002.
    """

    def __init__(self, share: float = 0.2) -> None:
        self.share = share

    def _choose(self, X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.bool_]:
        if X.shape[1] == 1:
            return np.ones(1, dtype=bool)
        # Coefficients are comparable on equal scales only.
        scaled = StandardScaler().fit_transform(X)
        kept = max(1, round(self.share * X.shape[1]))
        model = LogisticRegression(C=0.1, max_iter=300)
        found = RFE(model, n_features_to_select=kept, step=0.2).fit(scaled, y)
        return np.asarray(found.support_, dtype=bool)
