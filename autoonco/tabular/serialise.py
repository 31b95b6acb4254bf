"""Fitted pipelines as bytes without pickle: skops with a fixed list of the types that may be inside."""

from __future__ import annotations

import zipfile

import skops.io
from sklearn.pipeline import Pipeline

from autoonco.errors import MissingDependencyError, UnsafeBundleError

TRUSTED = (
    "autoonco.tabular.additive.SplineColumns",
    "autoonco.tabular.boosting.WeightedXGBClassifier",
    "autoonco.tabular.bounded.CappedGaussianProcess",
    "autoonco.tabular.bounded.Neighbours",
    "autoonco.tabular.bounded.OrderedExtraTrees",
    "autoonco.tabular.bounded.OrderedForest",
    "autoonco.tabular.components.Components",
    "autoonco.tabular.gaussian.ShrunkGaussians",
    "autoonco.tabular.groups.LeaveOut",
    "autoonco.tabular.harmonise.ComBat",
    "autoonco.tabular.platt.PlattMachine",
    "autoonco.tabular.resampling.ResampledLearner",
    "autoonco.tabular.robustness.RobustnessFilter",
    "autoonco.tabular.selectors.Boruta",
    "autoonco.tabular.selectors.Elimination",
    "autoonco.tabular.selectors.Mrmr",
    "autoonco.tabular.selectors.Relief",
    "autoonco.tabular.selectors.Significant",
    "autoonco.tabular.selectors.Stable",
    "autoonco.tabular.steps.CorrelationFilter",
    "autoonco.tabular.steps.TopShare",
    "autoonco.tabular.weighted.SmallNetwork",
    "autoonco.tabular.weighted.WeightedAdaBoost",
    "autoonco.tabular.weighted.WeightedNaiveBayes",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
)
"""Beyond what skops trusts by itself. Nothing in a file adds to it."""
OPTIONAL = ("lightgbm",)
"""Packages of learners that an extra of the same name brings."""


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
    MissingDependencyError
        If the pipeline ends in a learner whose package isn't installed.
    """
    try:
        unknown = [name for name in skops.io.get_untrusted_types(data=content) if name not in TRUSTED]
        if unknown:
            raise UnsafeBundleError(
                f"The model file holds the type {unknown[0]}, which no model needs: don't trust this file."
            )
        pipeline = skops.io.loads(content, trusted=list(TRUSTED))
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        wanted = f"'autoonco[{package}]'" if package in OPTIONAL else package
        raise MissingDependencyError(
            f"The model needs the package {package}, which isn't installed: `pip install {wanted}`."
        ) from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise UnsafeBundleError("The pipeline in the model file is damaged: get the file again.") from error
    if not isinstance(pipeline, Pipeline):
        raise UnsafeBundleError(
            f"Expected a fitted pipeline, got a {type(pipeline).__name__}: get the file again."
        )
    return pipeline
