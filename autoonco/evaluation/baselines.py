"""What every model has to beat: the lesion's size alone, and its drawn outline alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts
from autoonco.features.blocks import extract_outlines

LESION_SIZE = "baseline: lesion size"
LESION_OUTLINE = "baseline: lesion outline"

Rows = NDArray[np.int64]


def lesion_sizes(facts: Sequence[CaseFacts]) -> NDArray[np.float64] | None:
    """Return the logarithm of each lesion's area or volume ``(n_cases, 1)``, or None where one has none."""
    sizes = np.array([_lesion_size(case) for case in facts])
    return np.log(sizes)[:, None] if (sizes > 0).all() else None


def lesion_outlines(
    cases: Sequence[Case], *, artefacts: ArtefactCache, n_threads: int
) -> NDArray[np.float64] | None:
    """Return what each lesion's outline tells without a single grey value ``(n_cases, n_features)``.

    Outlines are drawn by people who often knew the diagnosis; where they alone tell the classes apart, a model
    that sees the mask may have learned the drawing. None where a case has no mask.
    """
    channel = next(iter(cases[0].images), None)
    if channel is None or any(case.mask_of(channel) is None for case in cases):
        return None
    return extract_outlines(cases, channel, artefacts=artefacts, n_threads=n_threads)


def baseline_proba(x: NDArray[np.float64], y: Rows, train: Rows, test: Rows) -> NDArray[Any]:
    """Return probabilities ``(n_test, n_classes)`` of a logistic regression on columns `x`, fitted on `train`."""
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))
    return np.asarray(model.fit(x[train], y[train]).predict_proba(x[test]))


def _lesion_size(case: CaseFacts) -> float:
    """Return the area in mm² or the volume in mm³ in the first channel, nan without a mask."""
    first = next(iter(case.channels.values()), None)
    lesion = None if first is None else first.lesion
    return math.nan if first is None or lesion is None else lesion.voxels * math.prod(first.spacing_mm)
