"""The predictions of test cases as a table: no identifier of a case or patient leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from autoonco.data.manifest import Dataset
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.splits import Groups, OuterSplit, is_unseen

COLUMNS = ("fold", "repeat", "n_train", "row", "group", "truth", "is_clean", "model")


def predictions_frame(
    dataset: Dataset, groups: Groups, tested: Sequence[tuple[OuterSplit, ScopeResult]]
) -> pd.DataFrame:
    """Return a row a test case and model, named by manifest row and a patient number.

    A case is clean unless the manifest says otherwise, or the training part holds a case of its patient or its picture
    (`groups`, see `splits.groups_of`): ready splits and external cases may be torn that way.

    Returns
    -------
    DataFrame
        ``fold``, ``repeat`` of the outer folds, ``n_train`` (cases that the search learned from), ``row``, ``group``,
        ``truth`` (position of the class), ``is_clean``, ``model``, and ``p_0`` ... the probability of each class.
    """
    assert dataset.y is not None
    patients = np.unique(dataset.groups, return_inverse=True)[1]
    clean = np.ones(len(dataset), dtype=bool) if dataset.is_clean is None else dataset.is_clean
    frames = []
    for fold, (split, result) in enumerate(tested):
        for judged in result.judged if len(split.test) else ():
            fixed: dict[str, Any] = {
                "fold": fold,
                "repeat": split.repeat,
                "n_train": len(split.train),
                "row": [dataset.cases[position].row for position in split.test],
                "group": patients[split.test],
                "truth": dataset.y[split.test],
                "is_clean": (clean[split.test] & is_unseen(split, groups)).astype(int),
                "model": judged.name,
            }
            frames.append(pd.DataFrame(fixed | _columns(judged)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def once_each(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with each test case once a model, as it was first predicted.

    What counts cases needs it: repeats of outer folds, and ready splits that overlap, predict a case again.
    """
    return predictions.sort_values("fold", kind="stable").drop_duplicates(["model", "row"])


def _columns(judged: Judged) -> dict[str, Any]:
    return {f"p_{k}": judged.proba[:, k] for k in range(judged.proba.shape[1])}
