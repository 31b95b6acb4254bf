"""Sound pipelines, small and linear, and what breaks each: a dozen and more ways in which published figures leak.

A `Leak` names the checks that have to catch it. What is broken is one line or two of its sound counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tests.leaks.harness import Array, Data, Fold, Pipeline, Rows, auc, grouped_folds


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A broken pipeline, its sound counterpart, and the checks that catch what is broken."""

    broken: Pipeline
    sound: Pipeline
    caught_by: set[str]


def linear(X: Array, y: Rows, tested: Array, *, penalty: float = 1.0) -> Array:
    """Return a probability of class 1 by least squares with a penalty on the weights, through a sigmoid.

    In closed form, for what takes a fit of scikit-learn a thousand times takes too long here.
    """
    mean = X.mean(axis=0)
    centred = X - mean
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(X.shape[1]), centred.T @ (2.0 * y - 1 - (2.0 * y - 1).mean())
    )
    return 1 / (1 + np.exp(-2 * ((tested - mean) @ weights + (2.0 * y - 1).mean())))


def nearest(X: Array, y: Rows, tested: Array) -> Array:
    """Return the label of the nearest training row: what remembers best, leaks most."""
    return y[cdist(tested, X).argmin(axis=1)].astype(float)


def loss_of(y: Rows, p: Array) -> float:
    """Return the log loss."""
    right = np.clip(np.where(y == 1, p, 1 - p), 1e-12, 1)
    return -float(np.log(right).mean())


def called(y: Rows, p: Array) -> float:
    """Return the balanced accuracy of what is above one half."""
    return float(np.mean([((p > 0.5) == label)[y == label].mean() for label in np.unique(y)]))


def leak(
    name: str,
    make: Callable[[bool], Callable[[Data, Rows, Rows], Array]],
    caught_by: set[str],
    **options: object,
) -> Leak:
    """Return a leak whose pipelines `make` makes: broken, given True, or sound."""
    pipelines = [Pipeline(name=name, predict=make(broken), **options) for broken in (True, False)]  # type: ignore[arg-type]
    return Leak(broken=pipelines[0], sound=pipelines[1], caught_by=caught_by)


# --- steps fitted before the split -------------------------------------------------------------------------------


def selection(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Take the five columns whose class means differ most: on all rows, or on training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = np.arange(len(data.y)) if broken else train
        X, y = data.X[seen], data.y[seen]
        gap = np.abs(X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)) / (X.std(axis=0) + 1e-9)
        best = np.argsort(-gap, kind="stable")[:5]
        return linear(data.X[train][:, best], data.y[train], data.X[test][:, best])

    return predict


def scaling(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Standardise by the mean and spread of all rows, or of training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = data.X if broken else data.X[train]
        mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-9
        X = (data.X - mean) / spread
        return linear(X[train], data.y[train], X[test], penalty=10)

    return predict


def class_mean_imputation(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Fill gaps by the mean of the row's own class, which a test row has to know; or by that of training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        X = data.X.copy()
        if not broken:
            X = np.where(np.isnan(X), np.nanmean(X[train], axis=0), X)
            return linear(X[train], data.y[train], X[test])
        for label in (0, 1):
            rows = data.y == label
            X[rows] = np.where(np.isnan(X[rows]), np.nanmean(X[rows], axis=0), X[rows])
        return linear(X[train], data.y[train], X[test])

    return predict


def harmonisation(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Take each site's mean and spread away (location, scale, as ComBat): estimated on all rows, or training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        X = data.X.copy()
        seen = np.arange(len(X)) if broken else train
        for site in np.unique(data.sites):
            own = data.X[seen][data.sites[seen] == site]
            if len(own) > 2:
                at_site = data.sites == site
                X[at_site] = (data.X[at_site] - own.mean(axis=0)) / (own.std(axis=0) + 1e-9)
        return linear(X[train], data.y[train], X[test])

    return predict


def harmonisation_by_class(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Keep the label as a covariate while sites are harmonised, as ComBat offers: a test row's label moves the row."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = np.arange(len(data.y)) if broken else train
        X = data.X.copy()
        for site in np.unique(data.sites):
            at_site = seen[data.sites[seen] == site]
            if len(at_site) > 2:
                X[data.sites == site] -= data.X[at_site].mean(axis=0)
        if broken:
            for label in (0, 1):
                X[data.y == label] += data.X[data.y == label].mean(axis=0)
        return linear(X[train], data.y[train], X[test])

    return predict


def probe_statistics(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Whiten embeddings by the principal components of all rows, or of training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = data.X if broken else data.X[train]
        mean = seen.mean(axis=0)
        _, length, axes = np.linalg.svd(seen - mean, full_matrices=False)
        X = (data.X - mean) @ axes[:8].T / length[:8] * np.sqrt(len(seen))
        return linear(X[train], data.y[train], X[test])

    return predict


def target_encoding(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Replace a column of many levels by the mean label of its level: over all rows, or over training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        level = np.floor(4 * data.X[:, 0]).astype(int)
        seen = np.arange(len(data.y)) if broken else train
        share = data.y[seen].mean()
        rates = {
            value: (data.y[seen][level[seen] == value].sum() + share) / ((level[seen] == value).sum() + 1)
            for value in np.unique(level[seen])
        }
        X = np.array([[rates.get(value, share)] for value in level])
        return linear(X[train], data.y[train], X[test], penalty=0.1)

    return predict


# --- made-up rows ------------------------------------------------------------------------------------------------


def _between(X: Array, y: Rows, rows: Rows, *, share: float, seed: int) -> tuple[Array, Rows]:
    """Return a made-up row for each of `rows`, on the way to its nearest other of the same class among them."""
    rng, made, labels = np.random.default_rng(seed), [], []
    for at in rows:
        others = rows[(y[rows] == y[at]) & (rows != at)]
        near = others[np.argmin(((X[others] - X[at]) ** 2).sum(axis=1))]
        made.append(X[at] + share * rng.random() * (X[near] - X[at]))
        labels.append(y[at])
    return np.array(made), np.array(labels)


def smote(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Make up neighbours of all rows before the split, or of training rows after it."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = np.arange(len(data.y)) if broken else train
        made, labels = _between(data.X, data.y, seen, share=0.5, seed=0)
        return nearest(np.vstack([data.X[train], made]), np.r_[data.y[train], labels], data.X[test])

    return predict


def augmentation(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Mix rows with others, more of which is kept and whose label: drawn from all rows, or from training rows."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        rng = np.random.default_rng(0)
        partners = rng.choice(np.arange(len(data.y)) if broken else train, size=len(train))
        mixed = 0.3 * data.X[train] + 0.7 * data.X[partners]
        return nearest(np.vstack([data.X[train], mixed]), data.y[np.r_[train, partners]], data.X[test])

    return predict


def rows_of_the_test(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Refit the final model on all rows, then report it on the test rows; or on training rows alone."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        seen = np.arange(len(data.y)) if broken else train
        return linear(data.X[seen], data.y[seen], data.X[test])

    return predict


# --- choices made on the test ------------------------------------------------------------------------------------


def _inner(data: Data, train: Rows) -> list[Fold]:
    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=0)
    folds = splitter.split(data.X[train], data.y[train], data.groups[train])
    return [(train[a], train[b]) for a, b in folds]


def early_stopping(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Stop training where the loss is least: on the fold that is scored, or on an inner one."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        fit, held = (train, test) if broken else _inner(data, train)[0]
        weights, best = np.zeros(data.X.shape[1]), (np.inf, np.full(len(test), 0.5))
        for _ in range(40):
            p = 1 / (1 + np.exp(-data.X @ weights))
            if (loss := loss_of(data.y[held], p[held])) < best[0]:
                best = loss, p[test]
            weights = weights + 0.02 * data.X[fit].T @ (data.y[fit] - p[fit])
        return best[1]

    return predict


def model_choice(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Report the best of fifteen models, each of two columns: best on the test rows, or on inner folds."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        rng = np.random.default_rng(0)
        pairs = [rng.choice(10, 2, replace=False) for _ in range(15)]

        folds = [(train, test)] if broken else _inner(data, train)

        def score(pair: Rows) -> float:
            return float(
                np.mean(
                    [
                        auc(data.y[b], linear(data.X[a][:, pair], data.y[a], data.X[b][:, pair]))
                        for a, b in folds
                    ]
                )
            )

        best = max(pairs, key=score)
        return linear(data.X[train][:, best], data.y[train], data.X[test][:, best])

    return predict


def tuning_on_the_outer_folds(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Choose one column by cross-validation over all rows and report it on those folds; or choose inside each."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        folds = grouped_folds(data, 0) if broken else _inner(data, train)

        def score(column: int) -> float:
            x = data.X[:, [column]]
            return float(np.mean([auc(data.y[b], linear(x[a], data.y[a], x[b])) for a, b in folds]))

        best = [max(range(8), key=score)]
        return linear(data.X[train][:, best], data.y[train], data.X[test][:, best])

    return predict


def ensemble_weights(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Weigh a model of each column by how well it does: on the test rows, or on inner folds."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        folds = [(train, test)] if broken else _inner(data, train)
        total = np.zeros(len(test))
        for column in range(6):
            x = data.X[:, [column]]
            scores = [auc(data.y[b], linear(x[a], data.y[a], x[b])) for a, b in folds]
            weight = max(0.0, float(np.mean(scores)) - 0.5) ** 2
            total += weight * linear(x[train], data.y[train], x[test])
        return total

    return predict


def calibration(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Fit the sigmoid of the scores on the test rows, which turns wrong ones around; or on inner folds."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        found = linear(data.X[train], data.y[train], data.X[test])
        if broken:
            return linear(found[:, None], data.y[test], found[:, None], penalty=0.01)
        folds = _inner(data, train)
        scores = np.concatenate([linear(data.X[a], data.y[a], data.X[b]) for a, b in folds])
        labels = np.concatenate([data.y[b] for _, b in folds])
        return linear(scores[:, None], labels, found[:, None], penalty=0.01)

    return predict


def threshold(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Move the threshold to where balanced accuracy is best: on the test rows, or on inner folds."""

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        found = linear(data.X[train], data.y[train], data.X[test])
        if broken:
            scores, labels = found, data.y[test]
        else:
            folds = _inner(data, train)
            scores = np.concatenate([linear(data.X[a], data.y[a], data.X[b]) for a, b in folds])
            labels = np.concatenate([data.y[b] for _, b in folds])
        cuts = np.unique(scores)
        best = max(cuts, key=lambda cut: called(labels, (scores >= cut).astype(float)))
        return (found >= best).astype(float)

    return predict


def temperature(broken: bool) -> Callable[[Data, Rows, Rows], Array]:
    """Scale the logits by the temperature of the least log loss: on the test rows, or on inner folds.

    Ranks stay as they are, so no AUC tells of it; the labels of the test rows do.
    """

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        def logits(a: Rows, b: Rows) -> Array:
            p = np.clip(linear(data.X[a], data.y[a], data.X[b]), 1e-9, 1 - 1e-9)
            return np.log(p / (1 - p))

        folds = [(train, test)] if broken else _inner(data, train)
        scores = np.concatenate([logits(a, b) for a, b in folds])
        labels = np.concatenate([data.y[b] for _, b in folds])
        scale = minimize_scalar(
            lambda t: loss_of(labels, 1 / (1 + np.exp(-t * scores))), bounds=(0.01, 5), method="bounded"
        ).x
        return 1 / (1 + np.exp(-scale * logits(train, test)))

    return predict


# --- folds -------------------------------------------------------------------------------------------------------


def remembering(data: Data, train: Rows, test: Rows) -> Array:
    """Predict by the nearest training row."""
    return nearest(data.X[train], data.y[train], data.X[test])


def ungrouped_folds(data: Data, seed: int) -> list[Fold]:
    """Return folds of rows, whoever they are of."""
    return list(StratifiedKFold(3, shuffle=True, random_state=seed).split(data.X, data.y))


def folds_of_pictures(data: Data, seed: int) -> list[Fold]:
    """Return folds that keep together patients of whom a row is the same."""
    _, picture = np.unique(data.X, axis=0, return_inverse=True)
    first = {p: data.groups[picture == p].min() for p in np.unique(picture)}
    together = replace(data, groups=np.array([first[p] for p in picture]))
    # a patient's two rows are other pictures: the least of both names the pair
    least = {g: together.groups[data.groups == g].min() for g in np.unique(data.groups)}
    return grouped_folds(replace(data, groups=np.array([least[g] for g in data.groups])), seed)


def _folds(name: str, broken: Callable, sound: Callable, caught_by: set[str], **options: object) -> Leak:
    made = [
        Pipeline(name=name, predict=remembering, split=split, **options)  # type: ignore[arg-type]
        for split in (broken, sound)
    ]
    return Leak(broken=made[0], sound=made[1], caught_by=caught_by)


WIDE = {"n_columns": 200}
LABELS = {"permuted", "test_labels"}
LEAKS = {
    found.broken.name: found
    for found in (
        leak("selection before the split", selection, LABELS, draws=WIDE),
        leak("scaling before the split", scaling, {"other_test_rows"}),
        leak("imputation by the row's class", class_mean_imputation, LABELS, draws={"gaps": 0.3}),
        leak("sites harmonised before the split", harmonisation, {"other_test_rows"}),
        leak("sites harmonised with the label", harmonisation_by_class, LABELS | {"other_test_rows"}),
        leak("whitening of embeddings before the split", probe_statistics, {"other_test_rows"}),
        leak("target encoding before the split", target_encoding, LABELS),
        leak("SMOTE before the split", smote, LABELS),
        leak("augmentation with test rows", augmentation, LABELS),
        leak("refit on all rows", rows_of_the_test, LABELS | {"other_test_rows", "planted_label"}),
        leak("early stopping on the scored fold", early_stopping, LABELS),
        leak("the best of many on the test", model_choice, LABELS),
        leak("tuning on the outer folds", tuning_on_the_outer_folds, LABELS),
        leak("ensemble weights on the test", ensemble_weights, LABELS),
        leak("calibration on the test", calibration, LABELS),
        leak("temperature on the test", temperature, {"test_labels"}),
        leak("threshold on the test", threshold, LABELS, score=called),
        _folds("patients on both sides", ungrouped_folds, grouped_folds, {"groups", "permuted"}),
        _folds(
            "copies on both sides",
            grouped_folds,
            folds_of_pictures,
            {"copies", "permuted"},
            draws={"copied": True},
        ),
    )
}
