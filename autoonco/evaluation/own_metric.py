"""A user's own score on the test cases: figured during the run, for a run folder can't hold a function."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autoonco.errors import AutoOncoError
from autoonco.evaluation.tables import fold_ratio, probability_columns, subsets_of
from autoonco.metrics.folds import resampled_t_interval
from autoonco.metrics.intervals import RESAMPLES, Interval, resampled_interval
from autoonco.metrics.scores import Metric, Values

OWN_FILE = "evaluation/own_metric.csv"
_FEWEST = 500  # resamples below which no interval is told
_LIMIT_S = 20.0


def own_figures(predictions: pd.DataFrame, metric: Metric, *, limit_s: float = _LIMIT_S) -> pd.DataFrame:
    """Return the figure of a user's `metric` for each model.

    Of one test set the interval is the BCa bootstrap of patients, of outer folds the corrected resampled t, as for
    other figures; equal folds have no bounds. A function so slow that 500 resamples of every model take more than
    `limit_s` seconds has no bounds on one test set; resamples in which it fails (a class is missing) are left out.

    Returns
    -------
    DataFrame
        ``model``, ``subset``, ``value``, ``lower``, ``upper``, ``method``; ``value`` is ``nan`` where it fails.
    """
    parts = [
        (model, subset, cases)
        for model in predictions["model"].unique()
        for subset, cases in subsets_of(predictions[predictions["model"] == model]).items()
    ]
    rows = []
    for model, subset, cases in parts:
        found = _interval(metric, cases, limit_s / max(1, len(parts)))
        rows.append({"model": model, "subset": subset} | vars(found))
    return pd.DataFrame(rows, columns=["model", "subset", "value", "lower", "upper", "method"])


def with_own_figures(evaluation: pd.DataFrame, run: Path, metric: str) -> pd.DataFrame:
    """Return the table of figures with the columns of the user's metric that the run wrote, if there is one."""
    path = run / OWN_FILE
    if not path.is_file() or "." not in metric:
        return evaluation
    name = metric.rpartition(".")[2]
    while name in evaluation:  # a function called auc stands beside that figure, not in its place
        name = f"own_{name}"
    own = pd.read_csv(path).rename(
        columns={"value": name, "lower": f"{name}_lower", "upper": f"{name}_upper"}
    )
    table = evaluation.merge(own.drop(columns="method"), on=["model", "subset"], how="left")
    last = table.pop("method")
    return table.assign(method=last)


def _interval(metric: Metric, cases: pd.DataFrame, limit_s: float) -> Interval:
    folds = [fold for _, fold in cases.groupby("fold")]
    began = time.monotonic()
    scores = [_score(metric, _arrays(fold), np.ones(len(fold))) for fold in folds]
    spent_s = (time.monotonic() - began) / len(folds)
    if not np.isfinite(scores).all():
        return Interval(value=np.nan, lower=np.nan, upper=np.nan, method="undefined")
    if len(folds) > 1:
        limits = {"worst": metric.limits[0], "best": metric.limits[1]}
        return resampled_t_interval(scores, fold_ratio(folds), **limits)
    resamples = min(RESAMPLES, int(limit_s / max(spent_s, 1e-9)))
    if resamples < _FEWEST:
        return Interval(value=scores[0], lower=np.nan, upper=np.nan, method="too slow for a bootstrap")
    arrays = _arrays(folds[0])

    def statistic(weights: Values) -> Values:
        return np.array([_score(metric, arrays, row) for row in weights])

    return resampled_interval(
        statistic, arrays["y"], folds[0]["group"], metric.limits, resamples=resamples, seed=0, level=0.95
    )


def _arrays(cases: pd.DataFrame) -> Mapping[str, Any]:
    return {"y": cases["truth"].to_numpy(), "proba": cases[probability_columns(cases)].to_numpy()}


def _score(metric: Metric, arrays: Mapping[str, Any], weights: Values) -> float:
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    try:
        return metric(arrays["y"][rows], arrays["proba"][rows])
    except AutoOncoError:
        return float("nan")
