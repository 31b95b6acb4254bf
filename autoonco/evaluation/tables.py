"""Figures of a run as DataFrames: how good each model is on the test cases, who differs, and what was tried.

With one test set every interval is of that set's cases. With several outer folds each figure is the mean
over the folds and its interval the corrected resampled t: resampling cases pooled across folds would treat
the predictions of different models, trained on overlapping cases, as one sample, and is not honest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autoonco.errors import DataError
from autoonco.metrics.comparison import MARGIN, Comparison, compare_auc, compare_folds, holm
from autoonco.metrics.intervals import Interval, auc_interval, bootstrap_interval, resampled_t_interval
from autoonco.metrics.scores import METRICS, get_metric
from autoonco.metrics.weighted import STATISTICS

TEST, CLEAN = "test", "test, clean"
_COLUMNS = ("fold", "row", "group", "truth", "is_clean", "model")
_BINARY = ("sensitivity", "specificity")


def read_predictions(run: Path) -> pd.DataFrame | None:
    """Return ``evaluation/predictions.csv`` of a run folder, or None where no test case was predicted.

    Raises
    ------
    DataError
        If the file lacks a column or holds something else than numbers where numbers belong.
    """
    path = run / "evaluation" / "predictions.csv"
    if not path.is_file() or path.stat().st_size == 0:
        return None
    table = pd.read_csv(path)
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise DataError(f"evaluation/predictions.csv lacks the column {missing[0]!r}: it isn't a run's file.")
    if table.empty:
        return None
    numbers = [name for name in table if name != "model"]
    if not all(pd.api.types.is_numeric_dtype(table[name]) for name in numbers) or table.isna().any(axis=None):
        raise DataError("evaluation/predictions.csv is damaged: a value is missing or not a number.")
    return table.astype({"model": str})


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """Return the names of the probability columns, in the order of the classes."""
    found = [str(name) for name in predictions if str(name).startswith("p_")]
    return sorted(found, key=lambda name: int(name[2:]))


def evaluation_table(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    metric: str = "roc_auc",
    *,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how good each model is on the test cases, and on the clean ones among them where some aren't.

    Sensitivity, specificity and balanced accuracy are those of the most probable class; with two classes
    the positive one is the **last** of `classes`. The AUC of more classes is macro one-against-rest.
    `metric`, the score that the search maximised, gets columns of its own where it isn't among these.

    Returns
    -------
    DataFrame
        ``model``, ``subset``, ``n`` (cases), ``n_patients``, ``n_folds``; then for ``auc``,
        ``balanced_accuracy``, ``sensitivity``, ``specificity`` (two classes) and ``log_loss`` the figure
        with ``_lower`` and ``_upper``; ``method`` of the AUC's interval. A figure that is undefined (a
        subset of one class) is ``nan``.
    """
    names = ["roc_auc", "balanced_accuracy", *(_BINARY if len(classes) == 2 else ()), "log_loss"]
    names += [get_metric(metric).name] if metric not in names else []
    rows = []
    for model in _in_order(predictions["model"]):
        own = predictions[predictions["model"] == model]
        subsets = {TEST: own} if own["is_clean"].all() else {TEST: own, CLEAN: own[own["is_clean"] == 1]}
        for subset, cases in subsets.items():
            if len(cases):
                found = {name: _interval(name, cases, level=level, seed=seed) for name in names}
                rows.append(_evaluation_row(model, subset, cases, found))
    return pd.DataFrame(rows)


def comparison_table(
    predictions: pd.DataFrame,
    models: Sequence[Mapping[str, Any]],
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the AUC difference of every pair among the families and the ensemble, on the same test cases.

    `models` is the content of ``evaluation/models.json``; baselines are not compared. Only clean cases count:
    one that has a near-duplicate in training rewards the model that remembers best.

    Returns
    -------
    DataFrame
        ``first``, ``second``, ``difference`` (AUC of the first minus that of the second), ``lower``,
        ``upper``, ``p``, ``p_holm`` (adjusted for the number of pairs), ``p_equivalent`` (TOST, see
        `autoonco.metrics.comparison`), ``margin``, ``n``, ``n_folds``, ``method``.
    """
    present = set(predictions["model"])
    names = [
        str(m["name"]) for m in models if m.get("kind") in ("ensemble", "family") and m["name"] in present
    ]
    rows = []
    for first, second in combinations(names, 2):
        found = compare_models(predictions, first, second, margin=margin, level=level, seed=seed)
        if found is not None:
            rows.append({"first": first, "second": second} | found)
    columns = [
        "first",
        "second",
        "difference",
        "lower",
        "upper",
        "p",
        "p_holm",
        "p_equivalent",
        "margin",
        "n",
    ]
    table = pd.DataFrame(rows, columns=[*columns, "n_folds", "method"])
    table["p_holm"] = holm(table["p"].tolist())
    return table


def compare_models(
    predictions: pd.DataFrame,
    first: str,
    second: str,
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Return one pair's difference in AUC as a row of `comparison_table`, or None where it can't be had.

    Only clean cases that both models predicted count. None: there are none, or all are of one class.
    """
    predictions = predictions[predictions["is_clean"] == 1]
    columns = probability_columns(predictions)
    keys = ["fold", "row", "group", "truth"]
    one, two = (predictions.loc[predictions["model"] == name, [*keys, *columns]] for name in (first, second))
    both = one.merge(two, on=keys, suffixes=("", " of second"))
    folds = [cases for _, cases in both.groupby("fold") if cases["truth"].nunique() > 1]
    if not folds:
        return None
    others = [f"{name} of second" for name in columns]
    found: Comparison
    if len(folds) == 1:
        only = folds[0]
        arrays = (only["truth"], only[columns], only[others], only["group"])
        found = compare_auc(*arrays, margin=margin, level=level, seed=seed)
    else:
        auc = METRICS["roc_auc"]
        differences = [auc(f["truth"], f[columns]) - auc(f["truth"], f[others]) for f in folds]
        found = compare_folds(differences, _test_to_train(folds), margin=margin, level=level)
    return vars(found) | {"n": sum(len(fold) for fold in folds), "n_folds": len(folds)}


_FINALIST = "finalist"


def leaderboard_table(trials: Iterable[Mapping[str, Any]], *, scope: str = "final") -> pd.DataFrame:
    """Return the trials of a search, best first.

    Trials at a larger budget stand above those at a smaller one, whose scores come from less training or
    fewer folds and don't compare; trials without a score come last.

    Returns
    -------
    DataFrame
        ``rank``, ``family``, ``config`` (one line), ``score`` (inner out-of-fold), ``fresh_score`` (of finalists: on
        folds that the search never saw), ``budget``, ``status``, ``seconds``, ``origin``, ``id``, ``reason``.
    """
    plain = ["family", "config", "score", "budget", "status", "seconds", "origin", "id", "reason"]
    columns = [*plain[:3], "fresh_score", *plain[3:]]
    own = [trial for trial in trials if trial.get("scope") == scope]
    chosen = [trial for trial in own if trial.get("origin") != _FINALIST]
    fresh = {
        (trial["family"], config_line(trial["config"])): trial.get("score")
        for trial in own
        if trial.get("origin") == _FINALIST and trial.get("score") is not None
    }
    rows = []
    for trial in chosen:
        line = config_line(trial.get("config") or {})
        again = fresh.get((trial["family"], line)) if trial["budget"] >= 1 else None
        rows.append({name: trial.get(name) for name in plain} | {"config": line, "fresh_score": again})
    table = pd.DataFrame(rows, columns=columns)
    for name in ("score", "fresh_score"):
        table[name] = pd.to_numeric(table[name])
    # what was stopped early has a score of its first folds only
    place = table["score"].isna() * 2 + (table["status"] == "stopped")
    table = table.assign(_no_score=place).sort_values(
        ["_no_score", "budget", "score", "id"], ascending=[True, False, False, True], kind="stable"
    )
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.drop(columns="_no_score").reset_index(drop=True)


def config_line(config: Mapping[str, Any]) -> str:
    """Return a config on one line.

    Examples
    --------
    >>> config_line({"learner": "svm", "C": 0.123456, "family": "radiomics"})
    'learner=svm, C=0.123'
    """
    values = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in config.items()}
    return ", ".join(f"{name}={value}" for name, value in values.items() if name != "family")


def _in_order(names: pd.Series) -> list[str]:
    """Return distinct model names as they first appear, baselines last."""
    distinct = [str(name) for name in names.unique()]
    return sorted(distinct, key=lambda name: name.startswith("baseline"))


def _test_to_train(folds: Sequence[pd.DataFrame]) -> float:
    """Return the mean of n_test/n_train: what isn't in a fold is what its models were trained on."""
    rows = set().union(*(fold["row"] for fold in folds))
    return float(np.mean([len(fold) / max(1, len(rows) - len(fold)) for fold in folds]))


def _interval(name: str, cases: pd.DataFrame, *, level: float, seed: int) -> Interval:
    """Return one figure of one model: of its one test set, or over its folds."""
    columns = probability_columns(cases)
    folds = [fold for _, fold in cases.groupby("fold") if name == "log_loss" or fold["truth"].nunique() > 1]
    if not folds:
        return Interval(value=np.nan, lower=np.nan, upper=np.nan, method="undefined: one class")
    if cases["fold"].nunique() == 1:
        arrays = (cases["truth"], cases[columns], cases["group"])
        if name == "roc_auc":
            return auc_interval(*arrays, level=level, seed=seed)
        return bootstrap_interval(name, *arrays, level=level, seed=seed)
    scores = [_score(name, fold["truth"].to_numpy(), fold[columns].to_numpy()) for fold in folds]
    if np.ptp(scores) == 0:
        # Equal folds have no variance to estimate, so the widest of the folds' own intervals stands for all.
        own = [_interval(name, fold, level=level, seed=seed) for fold in folds]
        lower, upper = min(each.lower for each in own), max(each.upper for each in own)
        return Interval(value=scores[0], lower=lower, upper=upper, method=f"widest fold, {own[0].method}")
    known = METRICS.get(name, METRICS["accuracy"])
    return resampled_t_interval(
        scores, _test_to_train(folds), level=level, best=known.best, worst=known.worst
    )


def _score(name: str, y: Any, proba: Any) -> float:
    if name in METRICS:
        return METRICS[name](y, proba)
    return float(STATISTICS[name](y, proba, np.ones((1, len(y))))[0])


def _evaluation_row(
    model: str, subset: str, cases: pd.DataFrame, found: Mapping[str, Interval]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": model,
        "subset": subset,
        "n": len(cases),
        "n_patients": cases["group"].nunique(),
        "n_folds": cases["fold"].nunique(),
    }
    for name, interval in found.items():
        column, bounds = name, (interval.value, interval.lower, interval.upper)
        if name == "roc_auc":
            column = "auc"
        elif name in ("log_loss", "brier"):  # printed as users know them: positive, lower is better
            bounds = (-interval.value, -interval.upper, -interval.lower)
        row |= dict(zip((column, f"{column}_lower", f"{column}_upper"), bounds, strict=True))
    return row | {"method": found["roc_auc"].method}
