"""The models of a run side by side: how good each is, what it took to find, how long it takes to predict a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from autoonco.evaluation.tables import CLEAN, TEST, config_line
from autoonco.reporting.judged import evaluation_of
from autoonco.reporting.read_run import RunData
from autoonco.search.space import config_key
from autoonco.search.trial import best_trial

COLUMNS = (
    "model", "kind", "auc", "auc_lower", "auc_upper", "n", "inner_score", "search_seconds", "refit_seconds",
    "predict_seconds",
)  # fmt: skip
MEMBER_COLUMNS = ("family", "weight", "inner_score", "predict_seconds", "config")


def models_table(data: RunData) -> pd.DataFrame:
    """Return a row a model: ensemble, families by their test AUC, then baselines.

    Of a run that has judged none yet, a row a family with its best trial of the search that is under way.

    Returns
    -------
    DataFrame
        ``model``, ``kind`` (ensemble, family, baseline); ``auc`` on the ``n`` test cases (the clean ones where some
        aren't) with ``auc_lower`` and ``auc_upper`` (95 %); ``inner_score``, optimistic, for it chose;
        ``search_seconds`` and ``refit_seconds``, summed over processes; ``predict_seconds`` for a case that was never
        seen, see `evaluation.speed`. What isn't known is ``nan``.
    """
    if not data.models:
        return _searched(data)
    evaluation = evaluation_of(data, figures=())
    figures = evaluation[evaluation["subset"] == honest_subset(evaluation)].set_index("model")
    rows = []
    for model in data.models:
        name, is_fitted = str(model["name"]), model["kind"] != "baseline"
        judged: Any = figures.loc[name] if name in figures.index else {}
        row = {column: judged.get(column, np.nan) for column in ("auc", "auc_lower", "auc_upper", "n")}
        for column in ("inner_score", "search_seconds", "refit_seconds"):
            row[column] = _number(model.get(column)) if is_fitted else np.nan
        row["predict_seconds"] = _number((data.speed.get("models") or {}).get(name))
        rows.append({"model": name, "kind": model["kind"], **row})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = table["kind"].map({"ensemble": 0, "family": 1}).fillna(2)
    ranked = table.assign(_kind=order).sort_values(
        ["_kind", "auc", "inner_score"], ascending=[True, False, False], kind="stable", ignore_index=True
    )
    return ranked.drop(columns="_kind").astype({"n": "Int64"})


def honest_subset(evaluation: pd.DataFrame) -> str:
    """Return which rows of figures are the honest ones: those of the clean test cases, where some aren't."""
    return CLEAN if (evaluation["subset"] == CLEAN).any() else TEST


def members_table(data: RunData) -> pd.DataFrame:
    """Return a row a member of the delivered ensemble, the heaviest first; empty while there is none.

    Returns
    -------
    DataFrame
        ``family``, ``weight`` (they sum to 1), ``inner_score``, ``predict_seconds`` a case, ``config`` (one line).
    """
    ensemble: Mapping[str, Any] = next((m for m in data.models if m["kind"] == "ensemble"), {})
    speeds = data.speed.get("configs") or {}
    rows = [
        {
            "family": member["family"],
            "weight": float(member["weight"]),
            "inner_score": _number(member.get("inner_score")),
            "predict_seconds": _number(speeds.get(config_key(member["family"], member["config"]))),
            "config": config_line(member["config"]),
        }
        for member in ensemble.get("members") or ()
    ]
    table = pd.DataFrame(rows, columns=list(MEMBER_COLUMNS))
    return table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)


def _searched(data: RunData) -> pd.DataFrame:
    rows = []
    scope = data.trials[-1]["scope"] if data.trials else ""  # scores of other searches are of other cases
    for family in dict.fromkeys(str(trial["family"]) for trial in data.trials):
        own = [trial for trial in data.trials if trial["family"] == family]
        best = best_trial(trial for trial in own if trial["scope"] == scope)
        row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {"model": family, "kind": "family"}
        row["inner_score"] = np.nan if best is None else float(best["score"])
        row["search_seconds"] = sum(float(trial["seconds"]) for trial in own)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": "Int64"})
    return table.sort_values("inner_score", ascending=False, kind="stable", ignore_index=True)


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
