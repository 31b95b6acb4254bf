"""Figures of a run as DataFrames: how good each model is on the test cases, and what was tried.

With one test set every interval is of that set's cases. With several outer folds each figure is the mean
over the folds and its interval the corrected resampled t: resampling cases pooled across folds would treat
the predictions of different models, trained on overlapping cases, as one sample, and is not honest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from autoonco.errors import DataError
from autoonco.evaluation.tasks import CLASSIFICATION, ORDINAL
from autoonco.metrics.folds import resampled_t_interval, tell_no_variance
from autoonco.metrics.intervals import (
    FIGURES,
    RESAMPLES,
    STATISTIC_OF,
    Interval,
    auc_interval,
    bootstrap_intervals,
)
from autoonco.metrics.scores import METRICS, checked

TEST, CLEAN = "test", "test, clean"
MAJORITY = "baseline: majority class"
EXACT = "none: every case is told the same"
"""In place of a method: the figure of such a model is what it is whoever the cases are."""
_COLUMNS = ("fold", "row", "group", "truth", "is_clean", "model")
_OF_ONE_CLASS = {"accuracy", "log_loss", "brier", "mean_absolute_error", "ranked_probability"}
"""Figures that mean something where all cases are of one class."""
_OF_NO_SAMPLE = {
    "roc_auc", "ordinal_auc", "balanced_accuracy", "sensitivity", "specificity", "mcc", "quadratic_kappa",
}  # fmt: skip
"""Figures of one prediction for all that don't depend on how many cases of each class there are."""
FIGURES_OF: dict[str, tuple[str, ...]] = {
    CLASSIFICATION: tuple(name for name in METRICS if name != "f1_macro"),
    ORDINAL: (
        "ordinal_auc",
        "quadratic_kappa",
        "mean_absolute_error",
        "ranked_probability",
        "accuracy",
        "balanced_accuracy",
        "log_loss",
        "brier",
    ),
}
"""The figures of a table, by task; the first is the one that ranks."""


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
    metric: str | None = None,
    *,
    task: str = CLASSIFICATION,
    figures: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how good each model is on the test cases, and on the clean ones among them where some aren't.

    A case is called what it is most probable to be, whatever threshold the delivered model decides by; with two
    classes the positive one is the **last** of `classes`, and figures of more are macro one-against-rest. `metric`, the
    score that the search maximised, gets columns of its own where it isn't among these and a run folder can hold it (a
    function of the user's it can't).

    Parameters
    ----------
    figures
        Names in `FIGURES` of those that are wanted, beside the one that ranks; all of the task where None.
    resamples
        Of the patient bootstrap, which figures of a single test set other than the AUC have.

    Returns
    -------
    DataFrame
        ``model``, ``subset`` (``"test"``, or ``"test, clean"``), ``n`` (cases), ``n_patients``, ``n_folds``; then the
        figures, each with ``_lower`` and ``_upper`` (95 %), see `autoonco.metrics.scores.METRICS`: ``auc``,
        ``average_precision``, ``balanced_accuracy``, ``accuracy``, ``sensitivity``, ``specificity``, ``ppv``, ``npv``,
        ``f1``, ``mcc``; lower is better: ``log_loss``, ``brier``, ``ece`` (expected calibration error);
        ``calibration_slope`` (1 is right), ``calibration_intercept`` (0 is right); ``method`` of the AUC. Of
        grades: ``auc`` (ordinal), ``quadratic_kappa``, ``mean_absolute_error``, ``ranked_probability``, and what
        knows no order. A figure that is undefined (a subset of one class, the PPV of what is never called) is ``nan``;
        one that is in some folds is the mean of the others. Where the majority baseline's figure follows from one
        prediction for every case (an AUC and a balanced accuracy of one half), it is exact: both bounds are its value.

    Raises
    ------
    DataError
        If the predictions are not of these classes.
    """
    if len(found := probability_columns(predictions)) != len(classes):
        raise DataError(
            f"evaluation/predictions.csv holds {len(found)} probabilities a case, expected {len(classes)}, one a class "
            "of the run: it isn't this run's file."
        )
    ranking, *others = FIGURES_OF[task]
    names = [ranking, *(others if figures is None else figures)]
    names += [metric] if metric in FIGURES and metric not in names and figures is None else []
    how: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    rows = []
    for model in _in_order(predictions["model"]):
        own = predictions[predictions["model"] == model]
        for subset, cases in subsets_of(own).items():
            intervals = _intervals(names, cases, how)
            intervals |= _exact(intervals, cases) if model == MAJORITY else {}
            rows.append(_evaluation_row(model, subset, cases, intervals))
    return pd.DataFrame(rows)


def subsets_of(cases: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return one model's test cases, and the clean ones among them where some aren't, by the name of the subset."""
    clean = cases[cases["is_clean"] == 1]
    found = {TEST: cases} if len(clean) == len(cases) else {TEST: cases, CLEAN: clean}
    return {name: part for name, part in found.items() if len(part)}


_FINALIST = "finalist"


def leaderboard_table(trials: Iterable[Mapping[str, Any]], *, scope: str = "final") -> pd.DataFrame:
    """Return the trials of a search, best first.

    Trials at a larger budget stand above those at a smaller one, whose scores come from less training or
    fewer folds and don't compare; among the full ones those that were too dear for all folds, for these were
    chosen from with them; trials without a score come last.

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
    rows, full = [], []
    for trial in chosen:
        full.append(1.0 if trial.get("dear") else trial["budget"])
        line = config_line(trial.get("config") or {})
        again = fresh.get((trial["family"], line)) if trial["budget"] >= 1 else None
        rows.append({name: trial.get(name) for name in plain} | {"config": line, "fresh_score": again})
    table = pd.DataFrame(rows, columns=columns)
    for name in ("score", "fresh_score"):
        table[name] = pd.to_numeric(table[name])
    # what was stopped early has a score of its first folds only
    place = table["score"].isna() * 2 + (table["status"] == "stopped")
    table = table.assign(_no_score=place, _full=full).sort_values(
        ["_no_score", "_full", "score", "id"], ascending=[True, False, False, True], kind="stable"
    )
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.drop(columns=["_no_score", "_full"]).reset_index(drop=True)


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


def fold_ratio(folds: Sequence[pd.DataFrame]) -> float:
    """Return the mean of n_test / n_train of outer folds, each the predictions of one model.

    Where the number of training cases was not noted, what isn't in a fold is what its models were trained on.
    """
    if all("n_train" in fold for fold in folds):
        return float(np.mean([len(fold) / max(1, int(fold["n_train"].iloc[0])) for fold in folds]))
    rows = set().union(*(fold["row"] for fold in folds))
    return float(np.mean([len(fold) / max(1, len(rows) - len(fold)) for fold in folds]))


def figure_of(name: str, y: ArrayLike, proba: ArrayLike) -> float:
    """Return one figure of one test set, as `FIGURES` has it."""
    labels, values = checked(y, proba)
    return float(STATISTIC_OF[name](labels, values, np.ones((1, len(labels))))[0])


def figure_interval(name: str, cases: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> Interval:
    """Return one figure of one model's rows of predictions as a table has it: of one test set, or over folds."""
    return _intervals([name], cases, {"level": level, "resamples": RESAMPLES, "seed": seed})[name]


def _exact(found: Mapping[str, Interval], cases: pd.DataFrame) -> dict[str, Interval]:
    """Return those of the figures of a model that tells every case the same which no other cases could change."""
    columns = probability_columns(cases)
    folds = [fold for _, fold in cases.groupby("fold") if fold["truth"].nunique() > 1]
    if any(np.ptp(fold[columns].to_numpy(), axis=0).max() > 0 for fold in folds):
        return {}
    values = {
        name: [figure_of(name, fold["truth"], fold[columns]) for fold in folds]
        for name in _OF_NO_SAMPLE.intersection(found)
    }
    return {
        name: Interval(value=of_folds[0], lower=of_folds[0], upper=of_folds[0], method=EXACT)
        for name, of_folds in values.items()
        if of_folds and np.ptp(of_folds) == 0  # the class that is called may change from fold to fold
    }


def _intervals(names: Sequence[str], cases: pd.DataFrame, how: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the figures of one model: of its one test set, or over its folds."""
    every = [fold for _, fold in cases.groupby("fold")]
    telling = [fold for fold in every if fold["truth"].nunique() > 1]
    if len(every) == len(telling) == 1:  # resamples are drawn once for all figures
        of_all = _of_one_set(names, every[0], how)
        return {name: of_all[name] for name in names}
    found: dict[str, Interval] = {}
    for folds, wanted in (
        (every, [name for name in names if name in _OF_ONE_CLASS]),
        (telling, [name for name in names if name not in _OF_ONE_CLASS]),
    ):
        if len(folds) == 1:
            found |= _of_one_set(wanted, folds[0], how)
        else:
            found |= {name: _over_folds(name, folds, how) for name in wanted}
    return {name: found[name] for name in names}


def _of_one_set(names: Sequence[str], cases: pd.DataFrame, how: Mapping[str, Any]) -> dict[str, Interval]:
    arrays = (cases["truth"], cases[probability_columns(cases)], cases["group"])
    others = [name for name in names if name != "roc_auc"]
    found = bootstrap_intervals(others, *arrays, **how) if others else {}
    if "roc_auc" in names:
        found["roc_auc"] = auc_interval(*arrays, level=how["level"], seed=how["seed"])
    return found


def _over_folds(name: str, folds: Sequence[pd.DataFrame], how: Mapping[str, Any]) -> Interval:
    columns = probability_columns(folds[0]) if folds else []
    scores = [figure_of(name, fold["truth"], fold[columns]) for fold in folds]
    defined = [(score, fold) for score, fold in zip(scores, folds, strict=True) if np.isfinite(score)]
    if not defined:
        return Interval(value=np.nan, lower=np.nan, upper=np.nan, method="undefined")
    scores = [score for score, _ in defined]
    if tell_no_variance(scores):
        # Equal folds have no variance to estimate, so the widest of the folds' own intervals stands for all.
        own = [_of_one_set([name], fold, how)[name] for _, fold in defined]
        lower, upper = min(each.lower for each in own), max(each.upper for each in own)
        return Interval(value=scores[0], lower=lower, upper=upper, method=f"widest fold, {own[0].method}")
    worst, best = FIGURES[name].limits
    ratio = fold_ratio([fold for _, fold in defined])
    return resampled_t_interval(scores, ratio, level=how["level"], best=best, worst=worst)


def _evaluation_row(
    model: str, subset: str, cases: pd.DataFrame, found: Mapping[str, Interval]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": model,
        "subset": subset,
        "n": cases["row"].nunique(),
        "n_patients": cases["group"].nunique(),
        "n_folds": cases["fold"].nunique(),
    }
    ranking = next(iter(found))
    for name, interval in found.items():
        column, bounds = name, (interval.value, interval.lower, interval.upper)
        if name == ranking:
            column = "auc"
        elif FIGURES[name].negated:  # printed as users know them: positive, lower is better
            bounds = (-interval.value, -interval.upper, -interval.lower)
        row |= dict(zip((column, f"{column}_lower", f"{column}_upper"), bounds, strict=True))
    return row | {"method": found[ranking].method}
