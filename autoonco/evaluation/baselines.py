"""What every model has to beat: lesion size alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.facts import CaseFacts

LESION_SIZE = "baseline: lesion size"


def lesion_size_proba(
    facts: Sequence[CaseFacts], y: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[Any] | None:
    """Return probabilities ``(n_test, n_classes)`` from the logarithm of the lesion's size alone.

    The size is the mask's area or volume in the first channel, `facts` are of all cases in order. None where a
    lesion's size is unknown.
    """
    sizes = np.array([_lesion_size(case) for case in facts])
    if not (sizes[train] > 0).all() or not (sizes[test] > 0).all():
        return None
    x = np.log(sizes)[:, None]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[train], y[train])
    return np.asarray(model.predict_proba(x[test]))


def _lesion_size(case: CaseFacts) -> float:
    """Return the area in mm² or the volume in mm³, nan without a mask."""
    first = next(iter(case.channels.values()))
    return math.nan if first.lesion is None else first.lesion.voxels * math.prod(first.spacing_mm)
