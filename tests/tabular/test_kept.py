"""Which columns a pipeline looks at: changing another one changes no prediction."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.tabular.kept import kept_columns
from autoonco.tabular.pipeline import build_pipeline, complete, fit_pipeline, tabular_space

N = 12


@pytest.mark.parametrize(
    "values",
    [
        {"learner": "logistic_regression", "selection": "anova", "correlation": 0.8},
        {"learner": "random_forest", "selection": "l1"},
        {"learner": "svm", "selection": "none"},
        {"learner": "xgboost", "selection": "pca"},
    ],
    ids=lambda values: values["learner"],
)
def test_only_kept_columns_matter(values):
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 40)
    x = rng.normal(size=(80, N))
    x[:, :3] += y[:, None]
    x[:, 3] = x[:, 0] + 1e-3 * x[:, 4]
    x[:, 5] = 1.0
    names = [f"f{k}" for k in range(N)]
    config = complete(tabular_space(), values)
    pipeline = build_pipeline(config, n_features=N, n_classes=2, n_train=80, seed=0)
    fit_pipeline(pipeline, x, y, groups=np.arange(80))
    kept = kept_columns(pipeline, names)
    assert set(kept) <= set(names)
    assert "f5" not in kept  # never varies
    before = pipeline.predict_proba(x)
    for column, name in enumerate(names):
        other = x.copy()
        other[:, column] = rng.normal(size=80)
        if name not in kept:
            assert np.array_equal(pipeline.predict_proba(other), before)
    if values["selection"] == "anova":
        assert len(kept) < N - 1
        assert all(weight is not None for weight in kept.values())
    if values["selection"] == "pca":
        assert set(kept.values()) == {None}
