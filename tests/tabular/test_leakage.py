"""Nothing of test rows or of labels that mean nothing reaches a prediction, whatever steps are switched on."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.tabular.pipeline import STEPS, build_pipeline, complete, fit_pipeline, needs_site, tabular_space
from autoonco.tabular.serialise import from_parts, to_parts

N_COLUMNS = 40
NAMES = [f"original_{('glcm', 'gldm', 'shape')[column % 3]}_{column}" for column in range(N_COLUMNS)]
SPACE = tabular_space(steps=tuple(STEPS))
CHOICES = [
    {name: value}
    for name in ("impute", "combat", "robustness", "groups", "scale", "selection", "sampler", "class_weight")
    for value in SPACE[name].choices
]
EVERYTHING = {
    "learner": "logistic_regression", "impute": "knn", "combat": "combat", "robustness": "icc",
    "groups": "chosen", "scale": "power", "correlation": 0.9, "sampler": "smote",
}  # fmt: skip


def table(n_patients: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two cases a patient, alike; four sites; gaps. Return table with sites, labels, patients, perturbed tables."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_patients), 2)
    X = rng.normal(size=(n_patients, N_COLUMNS))[groups] + 0.3 * rng.normal(size=(len(groups), N_COLUMNS))
    X[:, 1::4] += X[:, ::4]
    X[rng.random(X.shape) < 0.03] = np.nan
    perturbed = np.stack([X, X + rng.uniform(0, 1, N_COLUMNS) * rng.normal(size=X.shape)])
    y = (rng.permutation(n_patients) % 3 == 0).astype(int)[groups]
    return np.column_stack([X, groups % 4]), y, groups, perturbed


def fit(values: dict, X: np.ndarray, y: np.ndarray, groups: np.ndarray, perturbed: np.ndarray):
    config = complete(SPACE, values)
    used = X if needs_site(config) else X[:, :-1]
    pipeline = build_pipeline(config, n_features=N_COLUMNS, n_classes=2, n_train=len(y), seed=0, names=NAMES)
    return fit_pipeline(pipeline, used, y, groups=groups, perturbed=perturbed), used.shape[1]


@pytest.mark.parametrize(
    "values",
    [*CHOICES, EVERYTHING],
    ids=lambda values: "-".join(values.values())[:30] if len(values) == 1 else "everything",
)
def test_a_case_is_predicted_alike_whoever_is_tested_with_it_and_after_storing(values):
    X, y, groups, perturbed = table()
    fitted, width = fit(values, X[:90], y[:90], groups[:90], perturbed[:, :90])
    tested = X[90:, :width]
    found = fitted.predict_proba(tested)
    others = tested.copy()
    others[1:] = others[1:] * 50 + 3
    if width > N_COLUMNS:
        others[:, -1] = tested[:, -1]
    np.testing.assert_allclose(fitted.predict_proba(others)[0], found[0], atol=1e-9)
    np.testing.assert_array_equal(from_parts(to_parts(fitted)).predict_proba(tested), found)
