"""Which columns of its table a fitted pipeline still looks at, and how much its learner makes of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline


def kept_columns(pipeline: Pipeline, names: Sequence[str]) -> dict[str, float | None]:
    """Return the columns that reach the learner of a fitted `pipeline`, each with its weight.

    A weight is the mean over classes of the absolute coefficient, or the importance that trees give; None where the
    learner has neither, or where a projection (PCA) mixes the columns, which then all count as kept.

    Parameters
    ----------
    names
        Names of the table's columns, without that of the site which ComBat takes.
    """
    kept, n_steps = columns_at(pipeline, names)
    is_mixed = n_steps < len(pipeline.steps) - 1
    weights = None if is_mixed else _weights(pipeline)
    if weights is None or len(weights) != len(kept):
        return dict.fromkeys(kept)
    return dict(zip(kept, (float(value) for value in weights), strict=True))


def columns_at(pipeline: Pipeline, names: Sequence[str]) -> tuple[list[str], int]:
    """Return the columns that are left, each still by itself, and after how many steps of a fitted `pipeline`.

    After all but the learner, unless a projection (PCA) mixes the columns: then before that.

    Parameters
    ----------
    names
        As of `kept_columns`.
    """
    kept = np.array(list(names), dtype=object)
    for number, (_, step) in enumerate(pipeline.steps[:-1]):
        if hasattr(step, "get_support"):
            support = np.asarray(step.get_support(), dtype=bool)
            kept = kept[support[: len(kept)]]
        elif hasattr(step, "n_components") or hasattr(step, "components_"):
            return kept.tolist(), number
    return kept.tolist(), len(pipeline.steps) - 1


def _weights(pipeline: Pipeline) -> NDArray[np.float64] | None:
    learner = pipeline[-1]
    for name in ("coef_", "feature_importances_"):
        # scikit-learn's SVM raises AttributeError for a kernel that has no coefficients, so getattr is enough.
        found = getattr(learner, name, None)
        if found is not None:
            values = np.abs(np.asarray(found, dtype=np.float64))
            return values if values.ndim == 1 else np.asarray(values.mean(axis=0), dtype=np.float64)
    return None
