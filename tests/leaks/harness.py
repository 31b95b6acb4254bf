"""Checks that a pipeline learns nothing from the cases it is judged on. They know nothing of autoonco.

A pipeline makes folds and, given *all* data and one fold, says the probability of class 1 of the fold's test rows. That
it is handed everything is the point: a sound one looks at test rows only to predict each by itself. A check answers
with True where the pipeline passes. `CHECKS` names them; `failed` runs them all.

- `permuted`: with labels drawn at random, the score of test rows over many data sets is that of chance.
- `test_labels`: other labels of the test rows change no prediction.
- `other_test_rows`: a row is predicted alike whoever is tested with it.
- `planted_label`, `planted_index`: a column that holds the label, or the row's number, in test rows and nothing in
  training rows changes nothing.
- `groups`: no patient is on both sides. `copies`: no row is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.model_selection import StratifiedGroupKFold

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]

N_PERMUTATIONS = 30
ALPHA = 0.001
"""Two-sided, for each pipeline: a suite of fifty then cries wolf once in twenty seeds, and seeds are fixed."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A table ``(n_rows, n_columns)`` with labels 0 and 1, patients and sites, each ``(n_rows,)``."""

    X: Array
    y: Rows
    groups: Rows
    sites: Rows


def drawn(
    seed: int,
    *,
    n_patients: int = 40,
    n_columns: int = 20,
    signal: float = 0.0,
    copied: bool = False,
    gaps: float = 0.0,
) -> Data:
    """Return two rows a patient, alike; labels by patient at random, on which `signal` columns of five depend.

    With `copied`, the second half of the patients are the first half again under other names, labels included; `gaps`
    is the share of missing cells.
    """
    rng = np.random.default_rng([seed, n_patients])
    n = n_patients // 2 if copied else n_patients
    labels = rng.permutation(np.arange(n) % 2)
    centre = rng.normal(size=(n, n_columns))
    centre[:, :5] += signal * labels[:, None]
    X = np.repeat(centre, 2, axis=0) + 0.3 * rng.normal(size=(2 * n, n_columns))
    y, groups = np.repeat(labels, 2), np.repeat(np.arange(n), 2)
    if copied:
        X, y, groups = np.vstack([X, X]), np.tile(y, 2), np.r_[groups, groups + n]
    sites = groups % n % 3
    X = X + 0.5 * sites[:, None]
    X[rng.random(X.shape) < gaps] = np.nan
    order = rng.permutation(len(y))
    return Data(X=X[order], y=y[order], groups=groups[order], sites=sites[order])


def auc(y: Rows, p: Array) -> float:
    """Return the area under the ROC curve, by midranks; one half where there is one class."""
    n = int(y.sum())
    if n in (0, len(y)):
        return 0.5
    return float((rankdata(p)[y == 1].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


def grouped_folds(data: Data, seed: int, *, k: int = 3) -> list[Fold]:
    """Return folds that keep patients whole and classes in proportion."""
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    return list(splitter.split(data.X, data.y, data.groups))


Predict = Callable[[Data, Rows, Rows], Array]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What is judged: `predict` of (data, training rows, test rows), and how its folds are made and scored.

    `draws` are options of `drawn` for the data it is tried on.
    """

    name: str
    predict: Predict
    split: Callable[[Data, int], list[Fold]] = grouped_folds
    score: Callable[[Rows, Array], float] = auc
    draws: dict[str, object] | None = None

    def data(self, seed: int, **options: object) -> Data:
        """Return data of the kind that it is tried on."""
        return drawn(seed, **{**(self.draws or {}), **options})  # type: ignore[arg-type]


def fold_scores(pipeline: Pipeline, seed: int) -> list[float]:
    """Return the score of each outer fold on data without any signal."""
    data = pipeline.data(seed)
    return [
        pipeline.score(data.y[test], pipeline.predict(data, train, test))
        for train, test in pipeline.split(data, seed)
    ]


def z_of(scores: Sequence[Sequence[float]], chance: float = 0.5) -> float:
    """Return z of the mean score against chance; one row a permutation, one entry a fold.

    The folds of a permutation are averaged first, for they share its cases; permutations are independent.
    """
    means = np.array([np.mean(own) for own in scores])
    spread = means.std(ddof=1) / np.sqrt(len(means))
    return float((means.mean() - chance) / max(spread, 1e-12))


def permuted(pipeline: Pipeline) -> bool:
    """Labels that mean nothing are not learned: over `N_PERMUTATIONS` data sets the z-test does not reject chance."""
    z = z_of([fold_scores(pipeline, seed) for seed in range(N_PERMUTATIONS)])
    return abs(z) < norm.ppf(1 - ALPHA / 2)


def _first_fold(pipeline: Pipeline, seed: int = 0) -> tuple[Data, Rows, Rows]:
    data = pipeline.data(seed, signal=0.7)
    train, test = pipeline.split(data, seed)[0]
    return data, np.asarray(train), np.asarray(test)


def _same(one: Array, two: Array) -> bool:
    return bool(np.allclose(one, two, rtol=0, atol=1e-7))


def test_labels(pipeline: Pipeline) -> bool:
    """Other labels of the test rows, these turned around and half of them turned, change no prediction."""
    data, train, test = _first_fold(pipeline)
    found = pipeline.predict(data, train, test)
    turned, half = data.y.copy(), data.y.copy()
    turned[test] = 1 - turned[test]
    half[test[::2]] = 1 - half[test[::2]]
    return all(_same(found, pipeline.predict(replace(data, y=y), train, test)) for y in (turned, half))


def other_test_rows(pipeline: Pipeline) -> bool:
    """The first test row is predicted alike when all others are far away, or are not tested at all."""
    data, train, test = _first_fold(pipeline)
    found = pipeline.predict(data, train, test)
    X = data.X.copy()
    X[test[1:]] = 20 * X[test[1:]] + 3
    far = pipeline.predict(replace(data, X=X), train, test)
    alone = np.r_[train, test[:1]]
    kept = Data(X=data.X[alone], y=data.y[alone], groups=data.groups[alone], sites=data.sites[alone])
    single = pipeline.predict(kept, np.arange(len(train)), np.array([len(train)]))
    return _same(found[:1], far[:1]) and _same(found[:1], single)


def _planted(pipeline: Pipeline, values: Callable[[Data], Array]) -> bool:
    data, train, test = _first_fold(pipeline)
    nothing = np.zeros(len(data.y))
    planted = nothing.copy()
    planted[test] = values(data)[test]
    before, after = (
        pipeline.predict(replace(data, X=np.column_stack([data.X, column])), train, test)
        for column in (nothing, planted)
    )
    return _same(before, after)


def planted_label(pipeline: Pipeline) -> bool:
    """A column that holds the label in test rows only changes nothing."""
    return _planted(pipeline, lambda data: data.y.astype(float))


def planted_index(pipeline: Pipeline) -> bool:
    """A column that holds the row's number in test rows only changes nothing."""
    return _planted(pipeline, lambda data: np.arange(1.0, len(data.y) + 1))


def groups(pipeline: Pipeline) -> bool:
    """No patient is in the training and in the test part of a fold."""
    data = pipeline.data(0)
    return not any(
        set(data.groups[train]) & set(data.groups[test]) for train, test in pipeline.split(data, 0)
    )


def copies(pipeline: Pipeline) -> bool:
    """No test row is, number by number, a training row."""
    data = pipeline.data(0)
    rows = [row.tobytes() for row in data.X]
    return not any(
        {rows[at] for at in train} & {rows[at] for at in test} for train, test in pipeline.split(data, 0)
    )


CHECKS: dict[str, Callable[[Pipeline], bool]] = {
    check.__name__: check
    for check in (permuted, test_labels, other_test_rows, planted_label, planted_index, groups, copies)
}


def failed(pipeline: Pipeline) -> set[str]:
    """Return the names of the checks that a pipeline does not pass."""
    return {name for name, check in CHECKS.items() if not check(pipeline)}
