"""Which cases are worth looking at: the most right, most wrong and most uncertain; the typical and the atypical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from autoonco.evaluation.tables import probability_columns


class Why(StrEnum):
    """Why a case was chosen."""

    RIGHT = "most right"
    WRONG = "most wrong"
    UNCERTAIN = "most uncertain"
    TYPICAL = "typical"
    ATYPICAL = "atypical"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A case by its row, why it was chosen, and what a model that never saw it in fitting said of it."""

    row: int
    why: Why
    truth: int
    proba: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(np.argmax(self.proba))


def choose_cases(predictions: pd.DataFrame, model: str, *, n_each: int = 2) -> list[Chosen]:
    """Return the cases of which `model` is most surely right, most surely wrong, and least sure.

    None is chosen twice; the most wrong are among those it got wrong, so there may be fewer.

    Parameters
    ----------
    predictions
        As `read_predictions` returns them.
    """
    own = predictions[predictions["model"] == model].drop_duplicates("row")
    columns = probability_columns(own)
    if own.empty or not columns:
        return []
    proba = own[columns].to_numpy(np.float64)
    truth, rows = own["truth"].to_numpy(int), own["row"].to_numpy(int)
    of_truth = proba[np.arange(len(own)), truth]
    ordered = np.sort(proba, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    is_right = proba.argmax(axis=1) == truth
    orders = {
        Why.WRONG: [i for i in np.lexsort((rows, of_truth)) if not is_right[i]],
        Why.UNCERTAIN: list(np.lexsort((rows, margin))),
        Why.RIGHT: [i for i in np.lexsort((rows, -of_truth)) if is_right[i]],
    }
    taken: set[int] = set()
    found: list[Chosen] = []
    for why, order in orders.items():
        for i in [i for i in order if i not in taken][:n_each]:
            taken.add(i)
            found.append(
                Chosen(row=int(rows[i]), why=why, truth=int(truth[i]), proba=tuple(proba[i].tolist()))
            )
    return sorted(found, key=lambda one: list(Why).index(one.why))


def typicality(predictions: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return how typical each case is of its class: the probability of its true class, mean over `models`.

    WORC ranks patients alike (Starmans et al., arXiv:2108.08618). A case at the end of the list is one that every
    model takes for something else: a rare presentation, or a wrong label.

    Returns
    -------
    DataFrame
        ``row``, ``truth``, ``probability`` (mean), ``lowest`` and ``highest`` over models, ``n_wrong`` (models that
        are wrong), ``n_models``, ``rank`` (1 is the most typical of its class).
    """
    names = ["row", "truth", "probability", "lowest", "highest", "n_wrong", "n_models", "rank"]
    own = predictions[predictions["model"].isin(list(models))]
    columns = probability_columns(own)
    if own.empty or not columns:
        return pd.DataFrame(columns=names)
    proba, truth = own[columns].to_numpy(np.float64), own["truth"].to_numpy(int)
    told = own[["row", "truth"]].assign(
        p=proba[np.arange(len(own)), truth], wrong=proba.argmax(axis=1) != truth
    )
    groups = told.groupby(["row", "truth"])
    table = groups.agg(
        probability=("p", "mean"),
        lowest=("p", "min"),
        highest=("p", "max"),
        n_wrong=("wrong", "sum"),
        n_models=("p", "size"),
    ).reset_index()
    table = table.sort_values(["truth", "probability", "row"], ascending=[True, False, True], kind="stable")
    table["rank"] = table.groupby("truth").cumcount() + 1
    return table[names].reset_index(drop=True)
