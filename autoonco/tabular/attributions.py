"""What each column of a table adds to a prediction: Shapley values of a fitted pipeline's learner.

Exact where the learner allows it: of a linear one ``coefficient * (value - mean)``, of trees by TreeSHAP
(Lundberg et al., Nat Mach Intell 2020;2:56). Any other by antithetic permutations of the columns against
background cases (Strumbelj and Kononenko, Knowl Inf Syst 2014;41:647), which still add up to the prediction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from autoonco.tabular.kept import columns_at

LOG_ODDS, PROBABILITY = "log odds", "probability"
_CELLS = 8_000_000
"""Size of the tables that the permutations of one case may make, before background is left out."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Attributions:
    """Shapley values of cases, as many as the time allowed, in the order given.

    Parameters
    ----------
    names
        Columns that reach the learner.
    values
        ``(n_cases, n_columns, n_outputs)``; with two classes the one output is the second class.
    base
        What is predicted of nobody in particular ``(n_outputs,)``: base + sum over columns is the prediction.
    data
        The columns as they were measured ``(n_cases, n_columns)``.
    unit
        ``"log odds"`` or ``"probability"``: what the values add up to.
    method
        How they were made, in words.
    """

    names: tuple[str, ...]
    values: Floats
    base: Floats
    data: Floats
    unit: str
    method: str


def attributions(
    pipeline: Pipeline,
    names: Sequence[str],
    background: Floats,
    table: Floats,
    *,
    limit_s: float = np.inf,
    seed: int = 0,
) -> Attributions:
    """Return what each column adds to the predictions of a fitted pipeline.

    Parameters
    ----------
    pipeline
        As `build_pipeline` makes it.
    names
        Names of the table's columns; a last column of site codes has none.
    background, table
        Cases that stand for everybody, and those to explain ``(n, n_columns)``.
    limit_s
        Seconds; at least one case is explained.
    """
    kept, n_steps = columns_at(pipeline, names)
    head, tail = pipeline[:n_steps], pipeline[n_steps:]
    given, everybody = (head.transform(part) if n_steps else part for part in (table, background))
    given, everybody = np.asarray(given, np.float64), np.asarray(everybody, np.float64)
    columns = [list(names).index(name) for name in kept]
    found = _exact(tail[-1], everybody, given) if len(tail) == 1 else None
    values, base, unit, method = found or _permuted(tail, everybody, given, limit_s=limit_s, seed=seed)
    return Attributions(
        names=tuple(kept),
        values=values,
        base=base,
        data=np.asarray(table, np.float64)[: len(values), columns],
        unit=unit,
        method=method,
    )


def _exact(learner: Any, everybody: Floats, given: Floats) -> tuple[Floats, Floats, str, str] | None:
    """Return values, base, unit and method of a linear learner or of trees; None of any other."""
    if isinstance(learner, LogisticRegression):
        coefficients = np.asarray(learner.coef_, np.float64)
        mean = everybody.mean(axis=0)
        values = (given - mean)[:, :, None] * coefficients.T[None]
        return values, coefficients @ mean + learner.intercept_, LOG_ODDS, "exact for a linear model"
    module = type(learner).__module__.split(".")[0], *(base.__module__ for base in type(learner).__mro__)
    if any(name.startswith("xgboost") for name in module):
        import xgboost

        told = learner.get_booster().predict(xgboost.DMatrix(given), pred_contribs=True)
        return _boosted(np.asarray(told, np.float64), "TreeSHAP")
    if any(name.startswith("lightgbm") for name in module):
        told = np.asarray(learner.booster_.predict(given, pred_contrib=True), np.float64)
        n_outputs = told.shape[1] // (given.shape[1] + 1)
        return _boosted(told.reshape(len(given), n_outputs, -1) if n_outputs > 1 else told, "TreeSHAP")
    return _of_forest(learner, given)


def _of_forest(learner: Any, given: Floats) -> tuple[Floats, Floats, str, str] | None:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    if not isinstance(learner, RandomForestClassifier | ExtraTreesClassifier):
        return None
    import shap

    explainer = shap.TreeExplainer(learner)
    values = np.asarray(explainer.shap_values(given, check_additivity=False), np.float64)
    base = np.atleast_1d(np.asarray(explainer.expected_value, np.float64))
    if values.shape[-1] == 2:
        values, base = values[..., 1:], base[1:]
    return values, base, PROBABILITY, "TreeSHAP"


def _boosted(told: Floats, method: str) -> tuple[Floats, Floats, str, str]:
    """Return the parts of a booster's contributions ``(n_cases, [n_outputs,] n_columns + 1)``, the base last."""
    told = told[:, None] if told.ndim == 2 else told
    return told[..., :-1].transpose(0, 2, 1), told[0, :, -1], LOG_ODDS, method


def _permuted(
    tail: Pipeline, everybody: Floats, given: Floats, *, limit_s: float, seed: int
) -> tuple[Floats, Floats, str, str]:
    """Return Shapley values of the probabilities, case by case until the time is over."""
    n_columns = given.shape[1]
    n_background = int(np.clip(_CELLS // (2 * (n_columns + 1) * n_columns), 5, len(everybody)))
    rng = np.random.default_rng(seed)
    chosen = everybody[rng.permutation(len(everybody))[:n_background]]
    end, values = time.monotonic() + limit_s, []
    for row in given:
        values.append(_in_two_orders(tail, chosen, row, rng.permutation(n_columns)))
        if time.monotonic() > end:
            break
    stacked, base = np.stack(values), np.asarray(tail.predict_proba(chosen), np.float64).mean(axis=0)
    if stacked.shape[-1] == 2:
        stacked, base = stacked[..., 1:], base[1:]
    return stacked, base, PROBABILITY, f"permutations against {len(chosen)} training cases"


def _in_two_orders(tail: Pipeline, chosen: Floats, row: Floats, order: NDArray[np.int64]) -> Floats:
    """Return what each column of `row` changes ``(n_columns, n_classes)`` as they enter in an order and its reverse."""
    changes = np.zeros((len(row), len(tail.classes_)))
    for way in (order, order[::-1]):
        stages = np.repeat(chosen[None], len(row) + 1, axis=0)
        for number, column in enumerate(way, start=1):
            stages[number:, :, column] = row[column]
        proba = np.asarray(tail.predict_proba(stages.reshape(-1, len(row))), np.float64)
        means = proba.reshape(len(row) + 1, len(chosen), -1).mean(axis=1)
        changes[way] += np.diff(means, axis=0) / 2
    return changes
