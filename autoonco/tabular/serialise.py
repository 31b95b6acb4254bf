"""Fitted pipelines as bytes without pickle: skops with a fixed list of the types that may be inside."""

from __future__ import annotations

import zipfile

import skops.io
from sklearn.pipeline import Pipeline

from autoonco.errors import UnsafeBundleError

TRUSTED = (
    "autoonco.tabular.learners.OrderedForest",
    "autoonco.tabular.learners.SigmoidFolds",
    "autoonco.tabular.learners.WeightedXGBClassifier",
    "autoonco.tabular.steps.CorrelationFilter",
    "autoonco.tabular.steps.TopShare",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
)
"""Beyond what skops trusts by itself. Nothing in a file adds to it."""


def to_parts(pipeline: Pipeline) -> bytes:
    """Return a fitted pipeline as a skops archive."""
    content: bytes = skops.io.dumps(pipeline)
    return content


def from_parts(content: bytes) -> Pipeline:
    """Return the pipeline that `to_parts` stored.

    Raises
    ------
    UnsafeBundleError
        If the archive holds a type outside `TRUSTED`, isn't a skops archive, or holds no pipeline.
    """
    try:
        unknown = [name for name in skops.io.get_untrusted_types(data=content) if name not in TRUSTED]
        if unknown:
            raise UnsafeBundleError(
                f"The model file holds the type {unknown[0]}, which no model needs: don't trust this file."
            )
        pipeline = skops.io.loads(content, trusted=list(TRUSTED))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise UnsafeBundleError("The pipeline in the model file is damaged: get the file again.") from error
    if not isinstance(pipeline, Pipeline):
        raise UnsafeBundleError(
            f"Expected a fitted pipeline, got a {type(pipeline).__name__}: get the file again."
        )
    return pipeline
