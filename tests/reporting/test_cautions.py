"""What makes figures doubtful: simple models beside the delivered one, test cases that are not clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from autoonco.evaluation.baselines import LESION_OUTLINE
from autoonco.reporting.cautions import warnings
from autoonco.reporting.read_run import read_run

BuildRun = Callable[..., Path]


def figures(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Return figures of models, each ten points about its AUC."""
    table = pd.DataFrame(rows, columns=["model", "subset", "auc"])
    return table.assign(auc_lower=table["auc"] - 0.1, auc_upper=table["auc"] + 0.1)


@pytest.mark.parametrize(
    ("auc", "said"),
    [
        (0.69, None),
        (0.71, "inside the interval of the delivered model"),
        (0.89, "inside the interval of the delivered model"),
        (0.91, "above the whole interval of the delivered model"),
    ],
)
def test_where_a_simple_model_stands_is_said(build_run: BuildRun, auc: float, said: str | None) -> None:
    data = read_run(build_run(n_trials=0, status="running"))
    found = warnings(data, figures(("ensemble", "test", 0.8), ("baseline: size", "test", auc)), "ensemble")
    own = [text for text in found if text.startswith("Baseline: size")]
    assert own == ([] if said is None else [f"Baseline: size reaches an AUC of {auc:.2f}, {said}."])


def test_simple_models_are_compared_on_the_clean_cases(build_run: BuildRun) -> None:
    data = read_run(build_run(n_trials=0, status="running"))
    table = figures(
        ("ensemble", "test", 0.9),
        ("ensemble", "test, clean", 0.7),
        ("baseline: size", "test", 0.6),
        ("baseline: size", "test, clean", 0.65),
        (LESION_OUTLINE, "test", 0.95),
        (LESION_OUTLINE, "test, clean", 0.5),
    )
    found = [text for text in warnings(data, table, "ensemble") if "AUC of" in text]
    inside = "inside the interval of the delivered model"
    assert found == [f"Baseline: size reaches an AUC of 0.65 on the clean cases, {inside}."]


def test_a_case_that_is_not_clean_counts_once_however_often_it_is_predicted(build_run: BuildRun) -> None:
    data = read_run(build_run(n_trials=2, evaluation="nested", n_folds=3, n_test=60))
    assert data.predictions is not None
    once = data.predictions
    again = pd.concat([once.assign(fold=once["fold"] + 3 * k) for k in range(3)], ignore_index=True)
    found = warnings(replace(data, predictions=again), pd.DataFrame(), None)
    assert [text.partition(" marked")[0] for text in found if "not clean" in text] == ["5 test cases"]
