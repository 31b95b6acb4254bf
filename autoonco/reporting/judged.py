"""How the models of a run were judged: its figures, its pairs, its verdict, as the run's own settings ask for them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from autoonco.evaluation.pairs import comparison_table
from autoonco.evaluation.patients import patient_table
from autoonco.evaluation.tables import evaluation_table
from autoonco.evaluation.verdict import Verdict, verdict
from autoonco.reporting.blocks import count
from autoonco.reporting.read_run import RunData


def evaluation_of(data: RunData, figures: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the figures of each model on the test cases, see `evaluation_table`; empty where none was predicted.

    `figures` names those that are wanted beside the one that ranks; all where None.
    """
    if data.predictions is None:
        return pd.DataFrame(columns=["model", "subset", "n", "auc", "auc_lower", "auc_upper"])
    return evaluation_table(data.predictions, data.classes, data.metric, task=data.task, figures=figures)


def cases_said(predictions: pd.DataFrame) -> str:
    """Return how many test cases a figure is of, in words."""
    n = count(int(predictions["row"].nunique()), "test case")
    return f"all {n}" if predictions["fold"].nunique() == 1 else f"the {n} of all outer folds together"


def patients_of(data: RunData) -> pd.DataFrame:
    """Return the figures of patients, whose cases count as one; empty where none has several, see `patient_table`."""
    if data.predictions is None:
        return pd.DataFrame()
    return patient_table(data.predictions, data.classes, how=data.patient_level, task=data.task)


def comparison_of(data: RunData) -> pd.DataFrame:
    """Return the difference of every pair of families and the ensemble, see `comparison_table`."""
    empty = pd.DataFrame(columns=["fold", "row", "group", "truth", "is_clean", "model"])
    predictions = empty if data.predictions is None else data.predictions
    return comparison_table(predictions, data.models, margin=data.margin, task=data.task)


def verdict_of(data: RunData) -> Verdict:
    """Return whether deep learning beats radiomics here, and how sure that is."""
    return verdict(
        data.predictions,
        data.models,
        data.families,
        margin=data.margin,
        allocation=data.allocation,
        task=data.task,
    )
