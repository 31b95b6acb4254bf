"""Which model is better: pairs of models on the same test cases, with the compute that each of them had.

With one test set the test is of that set's cases (paired DeLong, by patient). With several outer folds it is the
corrected resampled t of the folds' differences, and nothing is pooled: see `autoonco.evaluation.tables`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from autoonco.evaluation.tables import figure_interval, figure_of, fold_ratio, probability_columns
from autoonco.evaluation.tasks import Task, get_task
from autoonco.metrics.comparison import MARGIN, Comparison, compare_auc, compare_folds, holm
from autoonco.metrics.mcnemar import mcnemar
from autoonco.metrics.scores import Labels, Probabilities

ALPHA = 0.05
CHANCE = 0.5
"""The AUC of a guess: of two classes, of the mean over several, and of grades."""
ENSEMBLE = "ensemble"
BEST_SINGLE = "best single family of each fold"
FAMILIES, GAIN = "families", "gain of the ensemble"
COLUMNS = (
    "first", "second", "kind", "difference", "lower", "upper", "p", "p_holm", "p_equivalent", "p_equivalent_holm",
    "margin", "verdict", "above_chance", "p_mcnemar", "first_seconds", "second_seconds", "n", "n_folds", "method",
)  # fmt: skip


class Kind(StrEnum):
    """What the figures allow to say of the first model against the second."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


def kind_of(difference: float, p: float, p_equivalent: float, *, above_chance: bool | None = True) -> Kind:
    """Return what a difference with its two p values shows; ``nan`` shows nothing.

    `above_chance` is whether the better one is shown to be better than a guess: where it isn't, a difference shows
    nothing. Both have to be shown at `ALPHA`, so neither test's error grows (an intersection-union test, Berger 1982,
    Technometrics 24:295), and the corrected resampled t, which calls one of two models that have learned *nothing*
    better too often (`benchmarks verdicts`), is held where it fails.

    Examples
    --------
    >>> str(kind_of(0.03, 0.01, 0.01)), str(kind_of(0.0, 0.8, 0.2)), str(kind_of(0.0, 0.8, 0.01))
    ('better', 'inconclusive', 'equivalent')
    """
    if p < ALPHA:
        if not above_chance:
            return Kind.INCONCLUSIVE
        return Kind.BETTER if difference > 0 else Kind.WORSE
    return Kind.EQUIVALENT if p_equivalent < ALPHA else Kind.INCONCLUSIVE


def comparison_table(
    predictions: pd.DataFrame,
    models: Sequence[Mapping[str, Any]],
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    seed: int = 0,
    task: str = "classification",
) -> pd.DataFrame:
    """Return the difference of every pair among the families and the ensemble, on the same test cases.

    `models` is the content of ``evaluation/models.json``; baselines are not compared. Only clean cases count:
    one that has a near-duplicate in training rewards the model that remembers best. The last row is the gain of the
    ensemble over the best single family, which is the one of the best inner score in each outer fold.

    Returns
    -------
    DataFrame
        ``first``, ``second``; ``kind`` (a pair of ``"families"``, or the ``"gain of the ensemble"``); ``difference``
        (AUC of the first minus that of the second; of grades the ordinal AUC), ``lower``, ``upper`` (95 %); ``p``,
        ``p_equivalent`` (TOST within ``margin``, see `autoonco.metrics.comparison`), and both adjusted for the number
        of pairs, ``p_holm`` and ``p_equivalent_holm``; ``verdict`` by the adjusted ones: better, worse, equivalent or
        inconclusive, of the first; ``above_chance``: whether the better of the two is shown to be better than a guess,
        without which neither is called better, None where neither a difference nor equivalence is shown (of this pair
        alone); ``p_mcnemar``, secondary: whether one is right more often, on cases of folds of a single class too;
        ``first_seconds``, ``second_seconds``: compute of search and refits, of all outer folds; ``n`` (cases) and
        ``n_folds`` that the difference is of, in which folds of a single class have no part; ``method``.
        The gain is one test of its own, so its p values are not adjusted.
    """
    present = set(predictions["model"])
    names = [str(m["name"]) for m in models if m.get("kind") in (ENSEMBLE, "family") and m["name"] in present]
    how: dict[str, Any] = {"margin": margin, "level": level, "seed": seed, "task": task}
    seconds = seconds_by_model(models)
    rows = []
    for first, second in combinations(names, 2):
        found = compare_models(predictions, first, second, **how)
        if found is not None:
            rows.append(_pair(first, second, FAMILIES, seconds) | found)
    for name in ("p", "p_equivalent"):
        adjusted = holm([row[name] for row in rows])
        for row, value in zip(rows, adjusted, strict=True):
            row[f"{name}_holm"] = value
    gain = _gain(predictions, models, names, how)
    rows += [] if gain is None else [_pair(ENSEMBLE, BEST_SINGLE, GAIN, seconds) | gain]
    for row in rows:
        shown = row["p_holm"], row["p_equivalent_holm"]
        row["verdict"] = str(kind_of(row["difference"], *shown, above_chance=row["above_chance"]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def compare_models(
    predictions: pd.DataFrame,
    first: str,
    second: str,
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    seed: int = 0,
    task: str = "classification",
) -> dict[str, Any] | None:
    """Return one pair's difference in AUC as a row of `comparison_table`, or None where it can't be had.

    Only clean cases that both models predicted count. None: there are none, or all are of one class.
    """
    kind, predictions = get_task(task), predictions[predictions["is_clean"] == 1]
    columns = probability_columns(predictions)
    keys = ["fold", "row", "group", "truth", *(["n_train"] if "n_train" in predictions else [])]
    one, two = (predictions.loc[predictions["model"] == name, [*keys, *columns]] for name in (first, second))
    both = one.merge(two, on=keys, suffixes=("", " of second"))
    others = [f"{name} of second" for name in columns]
    truth, p, q = both["truth"].to_numpy(), both[columns].to_numpy(), both[others].to_numpy()
    folds = [rows for rows in both.groupby("fold").indices.values() if len(np.unique(truth[rows])) > 1]
    if not folds:
        return None
    found: Comparison
    if len(folds) == 1:
        (rows,) = folds
        how: dict[str, Any] = {"margin": margin, "level": level, "seed": seed, "metric": kind.auc}
        found = compare_auc(truth[rows], p[rows], q[rows], both["group"].to_numpy()[rows], **how)
    else:
        differences = [
            figure_of(kind.auc, truth[rows], p[rows]) - figure_of(kind.auc, truth[rows], q[rows])
            for rows in folds
        ]
        ratio = fold_ratio([both.iloc[rows] for rows in folds])
        found = compare_folds(differences, ratio, margin=margin, level=level)
    compared = np.concatenate(folds)
    n = both["row"].iloc[compared].nunique()
    counts: dict[str, Any] = {"n": n, "n_folds": len(folds), "above_chance": None}
    if found.p < ALPHA or found.p_equivalent < ALPHA:
        better = both[keys].assign(**dict(zip(columns, (p if found.difference > 0 else q).T, strict=True)))
        # the one-sided bound at `ALPHA`
        least = figure_interval(kind.auc, better.iloc[compared], level=1 - 2 * ALPHA, seed=seed)
        counts["above_chance"] = least.lower > CHANCE
    return vars(found) | {"p_mcnemar": _p_mcnemar(truth, p, q, both["group"], kind)} | counts


def chosen_by_fold(
    predictions: pd.DataFrame, models: Sequence[Mapping[str, Any]], names: Sequence[str], called: str
) -> tuple[pd.DataFrame, set[str]]:
    """Return the predictions with those of a model `called` so beside them, and the names that it goes by.

    In each outer fold it is the one of `names` with the best inner score there: the test cases choose nothing.
    """
    by_name = {str(model["name"]): model for model in models}
    chosen = {
        fold: max(names, key=lambda name: _inner_score(by_name[name], int(fold)))
        for fold in sorted(predictions["fold"].unique())
    }
    rows = predictions[predictions["model"] == predictions["fold"].map(chosen)].assign(model=called)
    return pd.concat([predictions, rows], ignore_index=True), set(chosen.values())


def seconds_by_model(models: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the compute that each model of ``evaluation/models.json`` had, in all outer folds and the final search."""
    return {
        str(model["name"]): float(
            sum(model.get("fold_seconds") or ())
            or model.get("search_seconds", 0.0) + model.get("refit_seconds", 0.0)
        )
        for model in models
    }


def _pair(first: str, second: str, kind: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "kind": kind,
        "first_seconds": seconds.get(first, math.nan),
        "second_seconds": seconds.get(second, math.nan),
    }


def _gain(
    predictions: pd.DataFrame,
    models: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    how: Mapping[str, Any],
) -> dict[str, Any] | None:
    families = [name for name in names if name != ENSEMBLE]
    if ENSEMBLE not in names or not families:
        return None
    table, _ = chosen_by_fold(predictions, models, families, BEST_SINGLE)
    found = compare_models(table, ENSEMBLE, BEST_SINGLE, **how)
    if found is None:
        return None
    return found | {"p_holm": found["p"], "p_equivalent_holm": found["p_equivalent"]}


def _inner_score(model: Mapping[str, Any], fold: int) -> float:
    scores = model.get("fold_scores") or []
    score = scores[fold] if fold < len(scores) else model.get("inner_score")
    return -math.inf if score is None or math.isnan(score) else float(score)


def _p_mcnemar(truth: Labels, p: Probabilities, q: Probabilities, groups: pd.Series, task: Task) -> float:
    return mcnemar(task.told(p) == truth, task.told(q) == truth, groups)
