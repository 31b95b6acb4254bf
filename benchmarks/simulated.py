"""Simulated tasks whose truth is known, with learners quick enough for thousands of cross-validations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

N_FEATURES, SHIFT = 8, 1.3


def gaussian_cases(
    rng: np.random.Generator, n: int, *, shift: float = SHIFT, n_features: int = N_FEATURES
) -> tuple[Array, Labels]:
    """Return `n` cases of two classes, which differ by `shift` standard deviations along all features together."""
    y = (np.arange(n) < n // 2).astype(np.int64)
    x = rng.normal(size=(n, n_features)) + shift / np.sqrt(n_features) * y[:, None]
    return x, y


def linear_scores(x: Array, y: Labels, x_new: Array) -> Array:
    """Return the scores of new cases by Fisher's discriminant, with a little ridge."""
    means = [x[y == k].mean(axis=0) for k in (0, 1)]
    centred = x - np.where(y[:, None] == 1, means[1], means[0])
    covariance = centred.T @ centred / len(y) + 0.1 * np.eye(x.shape[1])
    return np.asarray(x_new @ np.linalg.solve(covariance, means[1] - means[0]))


def true_auc(x: Array, y: Labels, signal: float) -> float:
    """Return the AUC on all cases there could be of the discriminant trained on these.

    Features are independent with variance 1 and differ by ``signal / sqrt(n_features)`` each, so that a score w x is
    normal in both classes and AUC = Phi(signal sum(w) / sqrt(2 n_features) / |w|).
    """
    n_features = x.shape[1]
    w = linear_scores(x, y, np.eye(n_features))
    return float(ndtr(signal * w.sum() / np.sqrt(2 * n_features) / np.linalg.norm(w)))


def auc_of_pair(y: Labels, scores: Array) -> float:
    """Return the AUC of scores of two classes."""
    n = int(y.sum())
    above = float(rankdata(scores)[y == 1].sum()) - n * (n + 1) / 2
    return above / (n * (y.size - n))


def folds_of(
    rng: np.random.Generator, y: Labels, k: int, repeats: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield train and test rows of stratified folds, dealt anew for each repeat."""
    for _ in range(repeats):
        fold = np.empty(y.size, dtype=np.int64)
        for label in (0, 1):
            own = np.flatnonzero(y == label)
            fold[rng.permutation(own)] = np.arange(own.size) % k
        for number in range(k):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
