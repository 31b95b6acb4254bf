"""Fitted pipelines survive as bytes, and nothing else gets in."""

from __future__ import annotations

import io
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import skops.io
from sklearn.datasets import make_classification
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from autoonco.errors import UnsafeBundleError
from autoonco.tabular.learners import LEARNERS
from autoonco.tabular.pipeline import build_pipeline, complete, tabular_space
from autoonco.tabular.serialise import from_parts, to_parts

SELECTIONS = (
    "none",
    "pca",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("anova", "l1", "forest")),
)
"""Those after which learners differ; test_leakage.py stores every other step."""
SCALES = tabular_space()["scale"].choices


def fitted(values: dict, n_classes: int = 2) -> tuple[Pipeline, np.ndarray]:
    X, y = make_classification(60, 15, n_informative=5, n_classes=n_classes, random_state=0)
    config = complete(tabular_space(), values)
    sizes = {"n_estimators": 10, "max_iter": 10}
    config |= {name: sizes[end] for name in config if (end := name.rpartition(":")[2]) in sizes}
    build = build_pipeline(config, n_features=15, n_classes=n_classes, n_train=60, seed=0)
    return build.fit(X, y), X


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_round_trip_of_every_learner_and_selection(learner, selection):
    n_classes = 3 if selection in ("pca", "anova") else 2
    pipeline, X = fitted({"learner": learner, "selection": selection, "class_weight": "balanced"}, n_classes)
    again = from_parts(to_parts(pipeline))
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("impute", ["mean", "median"])
def test_round_trip_of_every_scale(scale, impute):
    pipeline, X = fitted({"learner": "logistic_regression", "scale": scale, "impute": impute})
    X[3, 4] = np.nan
    np.testing.assert_array_equal(from_parts(to_parts(pipeline)).predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("penalty", ["l1", "elasticnet"])
def test_round_trip_of_sparse_models(penalty):
    values = {"learner": "logistic_regression", "logistic_regression:penalty": penalty}
    pipeline, X = fitted(values)
    np.testing.assert_array_equal(from_parts(to_parts(pipeline)).predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("kernel", ["linear", "poly"])
def test_round_trip_of_kernels(kernel):
    pipeline, X = fitted({"learner": "svm", "svm:kernel": kernel})
    np.testing.assert_array_equal(from_parts(to_parts(pipeline)).predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize(
    "foreign",
    [FunctionTransformer(np.save), Fraction(1, 2), FunctionTransformer(print)],
    ids=["a function", "a type", "a builtin"],
)
def test_a_foreign_type_is_refused(foreign):
    content = skops.io.dumps(Pipeline([("scale", StandardScaler()), ("odd", foreign)]))
    with pytest.raises(UnsafeBundleError, match="holds the type"):
        from_parts(content)


def test_only_pipelines_come_back():
    with pytest.raises(UnsafeBundleError, match="KNeighborsClassifier"):
        from_parts(skops.io.dumps(KNeighborsClassifier()))


@pytest.mark.parametrize("fault", ["not a zip", "cut", "no schema"])
def test_damage_is_told(fault):
    content = to_parts(fitted({"learner": "logistic_regression"})[0])
    if fault == "not a zip":
        content = b"something else"
    elif fault == "cut":
        content = content[: len(content) // 2]
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("other.json", "{}")
        content = buffer.getvalue()
    with pytest.raises(UnsafeBundleError, match="damaged"):
        from_parts(content)


def test_no_pickle_inside():
    for learner in LEARNERS:
        with zipfile.ZipFile(io.BytesIO(to_parts(fitted({"learner": learner})[0]))) as archive:
            endings = {name.rpartition(".")[2] for name in archive.namelist()}
            assert endings <= {"json", "npy", "npz", "bin"}
            for name in archive.namelist():
                if name.endswith(".npy"):
                    np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
