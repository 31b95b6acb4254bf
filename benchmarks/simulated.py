"""Simulated tasks whose truth is known, with learners quick enough for thousands of cross-validations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

N_FEATURES, SHIFT = 8, 1.3
_RIDGE = 0.1


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
    covariance = centred.T @ centred / len(y) + _RIDGE * np.eye(x.shape[1])
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


def repeated_aucs(
    rng: np.random.Generator, n: int, *, signal: float, k: int, repeats: int, studies: int
) -> Array:
    """Return the AUC of every outer fold ``(studies, repeats, k)`` of the discriminant, each study's cases drawn anew.

    The same as `gaussian_cases`, `folds_of`, `linear_scores` and `auc_of_pair` one by one, many times as fast; the
    classes are of equal size and `k` divides it.
    """
    half = n // 2
    classes = [
        rng.normal(size=(studies, half, N_FEATURES)) + signal / np.sqrt(N_FEATURES) * y for y in (0, 1)
    ]
    orders = [np.argsort(rng.random((studies, repeats, half)), axis=2) for _ in classes]
    return fold_aucs(classes, orders, k)


def fold_aucs(classes: Sequence[Array], orders: Sequence[Labels], k: int) -> Array:
    """Return the AUC of every fold ``(studies, repeats, k)``.

    Parameters
    ----------
    classes
        Features of the cases of both classes, each ``(studies, n_cases, n_features)``.
    orders
        How the cases of a class are dealt in each repeat, each ``(studies, repeats, n_cases)``: a k-th part of them in
        turn is a fold's test cases.
    """
    tests, means, scatters = [], [], []
    for x, order in zip(classes, orders, strict=True):
        studies, repeats, size = order.shape
        dealt = x[np.arange(studies)[:, None, None], order].reshape(studies, repeats, k, size // k, -1)
        n_train = size - size // k
        totals, products = dealt.sum(axis=3), np.swapaxes(dealt, 3, 4) @ dealt
        mean = (totals.sum(axis=2, keepdims=True) - totals) / n_train
        product = products.sum(axis=2, keepdims=True) - products
        tests.append(dealt)
        means.append(mean)
        scatters.append(product - n_train * mean[..., :, None] * mean[..., None, :])
    pooled = (scatters[0] + scatters[1]) / (2 * n_train) + _RIDGE * np.eye(dealt.shape[-1])
    w = np.linalg.solve(pooled, (means[1] - means[0])[..., None])
    low, high = ((test @ w)[..., 0] for test in tests)
    return np.asarray((high[..., :, None] > low[..., None, :]).mean(axis=(3, 4)))
