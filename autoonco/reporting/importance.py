"""Which hyperparameters mattered in a search, and where its best configs lie: learned from its trials alone.

Importance is functional ANOVA's idea (Hutter, Hoos and Leyton-Brown, ICML 2014) on a forest fitted to the trials:
the variance of the score's mean over all else as one hyperparameter moves, as a share of the variance of the
forest's predictions. What shares leave to 1 is of interactions, and of chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEWEST = 20
"""Scored trials of a family below which a forest of them says nothing."""
BEST_SHARE, FEWEST_BEST = 0.1, 5
_BUDGET = "budget"
_TREES, _LEAF, _STEPS, _ROWS = 100, 2, 8, 200
_ABSENT = -1e3  # below every value on the scale of the search

Trials = Sequence[Mapping[str, Any]]
Floats = NDArray[np.float64]


def scored(trials: Trials, family: str) -> list[Mapping[str, Any]]:
    """Return a family's trials of the final search that have a score."""
    return [
        t
        for t in trials
        if t["family"] == family
        and t["scope"] == "final"
        and t.get("origin") != "finalist"
        and t.get("score") is not None
    ]


def best_trials(trials: Trials) -> list[Mapping[str, Any]]:
    """Return the best tenth of full-budget trials, five at least, best first."""
    full = [t for t in trials if t["budget"] >= 1 and t["status"] == "success"]
    full.sort(key=lambda t: (-t["score"], t["id"]))
    return full[: max(FEWEST_BEST, round(BEST_SHARE * len(full)))]


def importances(
    trials: Trials, families: Sequence[str], space: Mapping[str, Any] | None, *, seed: int = 0
) -> pd.DataFrame:
    """Return how much each hyperparameter mattered, a family after the other, the most important first.

    Parameters
    ----------
    space
        Hyperparameters by name, as ``space.json`` has them: for logarithmic scales.

    Returns
    -------
    DataFrame
        ``family``, ``hyperparameter``, ``importance`` (share of variance, 0..1), ``n`` (trials in which it was
        active), ``tried`` and ``best`` (values, in words), the latter of the best tenth of full trainings.
    """
    columns = ["family", "hyperparameter", "importance", "n", "tried", "best"]
    rows: list[tuple[Any, ...]] = []
    for family in families:
        own = scored(trials, family)
        if len(own) >= FEWEST:
            best = best_trials(own)
            for name, share, n in _shares(own, family, space or {}, seed=seed):
                rows.append((family, name, share, n, in_words(own, name), in_words(best, name)))
    return pd.DataFrame(rows, columns=columns)


def in_words(trials: Trials, name: str) -> str:
    """Return the values of a hyperparameter in `trials`: the range of numbers, choices by how often.

    Examples
    --------
    >>> in_words([{"config": {"C": 0.5}}, {"config": {"C": 12}}], "C")
    '0.5 to 12'
    >>> in_words([{"config": {"x": "a"}}, {"config": {"x": "b"}}, {"config": {"x": "a"}}, {"config": {}}], "x")
    'a (2), b (1); unused (1)'
    """
    values = [t["config"][name] for t in trials if name in t["config"]]
    unused = f"; unused ({len(trials) - len(values)})" if len(values) < len(trials) else ""
    if not values:
        return "unused"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = f"{min(values):.3g}", f"{max(values):.3g}"
        return (low if low == high else f"{low} to {high}") + unused
    counts = pd.Series([str(value) for value in values]).value_counts()
    told = [f"{value} ({n})" for value, n in list(counts.items())[:4]]
    return ", ".join([*told, *(["…"] if len(counts) > 4 else [])]) + unused


def is_log(space: Mapping[str, Any] | None, family: str, name: str) -> bool:
    """Return whether a hyperparameter of a family is searched on a logarithmic scale."""
    return bool(((space or {}).get(f"{family}:{name}") or {}).get("log"))


def encode(
    trials: Trials, family: str, name: str, space: Mapping[str, Any] | None
) -> tuple[Floats, list[str]]:
    """Return a hyperparameter's values as numbers ``(n_trials,)``, nan where inactive, and the names of choices.

    Numbers are on the scale of the search; choices are counted from 0 in alphabetical order.
    """
    values = [t["config"].get(name) for t in trials]
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        if is_log(space, family, name) and np.nanmin(numbers, initial=np.inf) > 0:
            numbers = np.log10(numbers)
        return numbers, []
    names = sorted({str(value) for value in present})
    codes = [np.nan if value is None else float(names.index(str(value))) for value in values]
    return np.array(codes), names


def _shares(
    trials: Trials, family: str, space: Mapping[str, Any], *, seed: int
) -> list[tuple[str, float, int]]:
    from sklearn.ensemble import ExtraTreesRegressor

    names, columns, is_choice = [], [], []
    for name in sorted({name for t in trials for name in t["config"]}):
        codes, choices = encode(trials, family, name, space)
        if len(np.unique(codes)) > 1:  # nan counts as one value: a condition that mostly holds still varies
            names.append(name)
            columns.append(codes)
            is_choice.append(bool(choices))
    if not names:
        return []
    X = np.nan_to_num(np.column_stack([*columns, [t["budget"] for t in trials]]), nan=_ABSENT)
    y = np.array([t["score"] for t in trials], dtype=np.float64)
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, max_features=0.5, random_state=seed).fit(
        X, y
    )
    rows = np.random.default_rng(seed).permutation(len(X))[:_ROWS]
    base = X[rows]
    base[:, -1] = 1.0  # at full budget, where configs are compared
    total = float(np.var(forest.predict(base)))
    knowns = [column[np.isfinite(column)] for column in columns]
    grids = [
        np.unique(known if choice else np.quantile(known, np.linspace(0.02, 0.98, _STEPS)))
        for known, choice in zip(knowns, is_choice, strict=True)
    ]
    actives = [np.isfinite(column[rows]) for column in columns]
    moved = [_moved(base[active], k, grids[k]) for k, active in enumerate(actives)]
    every = np.concatenate(moved)
    # in one go, for a call costs as much as thousands of rows
    told = forest.predict(every) if len(every) else np.empty(0)
    parts = np.split(told, np.cumsum([len(part) for part in moved])[:-1])
    found = []
    for name, known, grid, active, part in zip(names, knowns, grids, actives, parts, strict=True):
        share = active.mean() * _marginal(part, grid, known) / total if total > 0 else 0.0
        found.append((name, min(1.0, float(share)), len(known)))
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _moved(base: Floats, column: int, grid: Floats) -> Floats:
    """Return `base` once for each value of `grid`, with that value in a column ``(n_values * n_rows, n_columns)``."""
    moved = np.repeat(base[None], len(grid), axis=0)
    moved[:, :, column] = grid[:, None]
    return moved.reshape(-1, base.shape[1])


def _marginal(predicted: Floats, grid: Floats, known: Floats) -> float:
    """Return the variance of the mean prediction as one column moves over `grid`, weighed by how often it is there."""
    if not len(predicted) or len(grid) < 2:
        return 0.0
    means = predicted.reshape(len(grid), -1).mean(axis=1)
    nearest = np.abs(known[:, None] - grid[None]).argmin(axis=1)
    weights = np.bincount(nearest, minlength=len(grid)) / len(known)
    return float((weights * (means - (weights * means).sum()) ** 2).sum())
