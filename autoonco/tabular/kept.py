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
    kept = np.array(list(names), dtype=object)
    is_mixed = False
    for _, step in pipeline.steps[:-1]:
        if hasattr(step, "get_support"):
            support = np.asarray(step.get_support(), dtype=bool)
            kept = kept[support[: len(kept)]]
        elif hasattr(step, "n_components") or hasattr(step, "components_"):
            is_mixed = True
            break
    weights = None if is_mixed else _weights(pipeline)
    if weights is None or len(weights) != len(kept):
        return dict.fromkeys(kept.tolist())
    return dict(zip(kept.tolist(), (float(value) for value in weights), strict=True))


def _weights(pipeline: Pipeline) -> NDArray[np.float64] | None:
    learner = pipeline[-1]
    for name in ("coef_", "feature_importances_"):
        # scikit-learn's SVM raises AttributeError for a kernel that has no coefficients, so getattr is enough.
        found = getattr(learner, name, None)
        if found is not None:
            values = np.abs(np.asarray(found, dtype=np.float64))
            return values if values.ndim == 1 else np.asarray(values.mean(axis=0), dtype=np.float64)
    return None
