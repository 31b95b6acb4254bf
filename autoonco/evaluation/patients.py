"""Figures of patients where some have several cases: their lesions' probabilities become one prediction each.

Cases are predicted and judged one by one as well, with intervals that keep a patient's cases together; this is the
other question, whether a *patient* is told right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from autoonco.errors import AutoOncoError
from autoonco.evaluation.tables import evaluation_table, probability_columns
from autoonco.evaluation.tasks import CLASSIFICATION, ORDINAL
from autoonco.metrics.ordinal import expected_grade

MEAN, MAX = "mean", "max"
_KEYS = ["fold", "group", "model"]


def has_several(predictions: pd.DataFrame) -> bool:
    """Return whether some patient has several test cases in one fold."""
    return bool(predictions.duplicated(_KEYS).any())


def check_level(how: str, *, n_classes: int, task: str) -> None:
    """Raise `AutoOncoError` where several cases can't become one as asked: of unordered classes none is the worst."""
    if how == MAX and n_classes > 2 and task != ORDINAL:
        raise AutoOncoError(
            f"patient_level 'max' wants two classes or grades, got {n_classes} classes without an order: no case of a "
            "patient is the worst; choose 'mean'."
        )


def by_patient(predictions: pd.DataFrame, *, how: str = MEAN, task: str = CLASSIFICATION) -> pd.DataFrame:
    """Return predictions with a row a patient and model in place of a row a case and model.

    A patient is of the highest class of the own cases: positive where one lesion is, of the highest grade. Of more
    classes without an order, patients whose cases are of several classes have no label and are left out.

    Parameters
    ----------
    predictions
        As `read_predictions` returns them.
    how
        ``"mean"`` of the cases' probabilities, or ``"max"``: those of the case that is worst, which has most of the
        last of two classes or the highest expected grade.

    Returns
    -------
    DataFrame
        The same columns; ``row`` is the patient's number, ``n_cases`` how many cases there are. A patient is clean
        where every case is.
    """
    columns = probability_columns(predictions)
    grouped = predictions.groupby(_KEYS, sort=False)
    kept = {name: "first" for name in ("repeat", "n_train") if name in predictions}
    found = grouped.agg({**kept, "truth": "max", "is_clean": "min"})
    found["n_cases"] = grouped.size()
    if how == MAX:
        severity = pd.Series(expected_grade(predictions[columns]), index=predictions.index)
        worst = severity.groupby([predictions[name] for name in _KEYS], sort=False).idxmax()
        found[columns] = predictions.loc[worst, columns].to_numpy()
    else:
        found[columns] = grouped[columns].mean()
    if len(columns) > 2 and task != ORDINAL:
        found = found[grouped["truth"].nunique() == 1]
    found = found.reset_index()
    return found.assign(row=found["group"])


def patient_table(
    predictions: pd.DataFrame, classes: Sequence[str], *, how: str = MEAN, task: str = CLASSIFICATION
) -> pd.DataFrame:
    """Return `evaluation_table` of patients, empty where no patient has several cases.

    ``subset`` says so, and how cases became one: ``"patients, mean"``, and ``"patients, mean, clean"`` of those whose
    cases are all clean, where not all are.
    """
    if not has_several(predictions):
        return pd.DataFrame()
    table = evaluation_table(by_patient(predictions, how=how, task=task), classes, task=task)
    clean = table["subset"].str.endswith("clean")
    return table.assign(subset=np.where(clean, f"patients, {how}, clean", f"patients, {how}"))
