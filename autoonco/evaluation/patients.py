"""Figures of patients where some have several cases: their lesions' probabilities become one prediction each.

Cases are predicted and judged one by one as well, with intervals that keep a patient's cases together; this is the
other question, whether a *patient* is told right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from autoonco.errors import AutoOncoError
from autoonco.evaluation.calibration import OutOfFold
from autoonco.evaluation.tables import evaluation_table, probability_columns
from autoonco.evaluation.tasks import CLASSIFICATION, ORDINAL
from autoonco.metrics.ordinal import expected_grade
from autoonco.metrics.scores import Labels, Values

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


def merged(proba: Values, codes: Labels, *, how: str = MEAN) -> Values:
    """Return the probabilities of patients ``(n_patients, n_classes)`` from those of their cases.

    Parameters
    ----------
    proba
        Of the cases ``(n_cases, n_classes)``.
    codes
        Patient of each case ``(n_cases,)``, from 0 on without a gap.
    how
        As for `by_patient`.

    Examples
    --------
    >>> proba, codes = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 0, 1])
    >>> merged(proba, codes).round(2).tolist(), merged(proba, codes, how="max").tolist()
    ([[0.55, 0.45], [0.7, 0.3]], [[0.2, 0.8], [0.7, 0.3]])
    """
    if how == MAX:
        last = np.lexsort(
            (-np.arange(len(codes)), expected_grade(proba), codes)
        )  # of equal ones the first case
        ends = np.append(np.flatnonzero(np.diff(codes[last])), len(codes) - 1)
        return np.asarray(proba[last[ends]])
    sums = np.stack([np.bincount(codes, weights=column) for column in proba.T], axis=1)
    return np.asarray(sums / np.bincount(codes)[:, None])


def patients_of(cases: OutOfFold, *, how: str, task: str) -> OutOfFold | None:
    """Return out-of-fold cases as patients, see `by_patient`; None where none has several, or none has a label.

    A patient whose cases are in several folds, as a table of splits may have it, is one in each.
    """
    if cases.patient is None:
        return None
    keys = np.stack([cases.fold, np.unique(cases.patient, return_inverse=True)[1]])
    found, codes = np.unique(keys, axis=1, return_inverse=True)
    codes = codes.ravel()
    if found.shape[1] == len(cases.y):
        return None
    highest, lowest = np.full(found.shape[1], -1), np.full(found.shape[1], cases.proba.shape[1])
    np.maximum.at(highest, codes, cases.y)
    np.minimum.at(lowest, codes, cases.y)
    has_order = cases.proba.shape[1] == 2 or task == ORDINAL
    kept = np.full(len(highest), True) if has_order else highest == lowest
    if not kept.any():
        return None
    proba = merged(cases.proba, codes, how=how)
    return OutOfFold(y=highest[kept], proba=proba[kept], fold=found[0][kept])


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
        where every case is. ``n_train`` stands for patients too: as many as make the test part as small a share of
        the training part as that of the cases is, for whose the latter are isn't known.
    """
    columns = probability_columns(predictions)
    grouped = predictions.groupby(_KEYS, sort=False)
    codes = np.asarray(grouped.ngroup(), dtype=np.int64)
    kept = {name: "first" for name in ("repeat", "n_train") if name in predictions}
    found = grouped.agg({**kept, "truth": "max", "is_clean": "min"})
    found["n_cases"] = grouped.size()
    if "n_train" in found:  # of cases: folds of few patients would count as smaller than they are
        of_fold = found.groupby(["fold", "model"])["n_cases"]
        patients = found["n_train"] * of_fold.transform("size") / of_fold.transform("sum")
        found["n_train"] = patients.round().clip(lower=1).astype(np.int64)
    together = merged(predictions[columns].to_numpy(dtype=np.float64), codes, how=how)
    found = found.assign(**dict(zip(columns, together.T, strict=True)))
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
