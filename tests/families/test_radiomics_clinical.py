"""A whole run of radiomics beside clinical columns, on made lesions: search, refit, model file, prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autoonco.classifier import AutoOncoClassifier, load
from autoonco.data.phantoms import make_phantoms
from autoonco.families.clinical import BOTH
from autoonco.search.store import read_trials
from autoonco.search.trial import Status
from autoonco.settings import Settings

pytestmark = pytest.mark.alone

N = 36


@pytest.mark.slow
def test_a_run_fits_both_and_predicts_new_cases(tmp_path):
    """The age tells a little, the lesion a lot; the run tries the plain regression and then both together."""
    manifest = make_phantoms(tmp_path, n=N, ndim=2)
    table = pd.read_csv(manifest)
    classes = sorted(table["label"].unique())
    noise = np.random.default_rng(0).normal(0, 12, N)
    table["age"] = 50 + 8 * (table["label"] == classes[1]) + noise
    table.to_csv(manifest, index=False)
    model = AutoOncoClassifier(
        time_limit=300,
        families=["clinical"],
        clinical=["age"],
        run_dir=tmp_path / "run",
        settings=Settings(max_trials=3, seconds="prior", finalists=0),
    ).fit(manifest)
    tried = [trial for trial in read_trials(tmp_path / "run") if trial.config.get("features") == BOTH]
    assert tried
    assert all(trial.status is Status.SUCCESS for trial in tried)
    again = load(tmp_path / "run" / "model.onco")
    fresh = table.drop(columns="label").iloc[:5]
    fresh.to_csv(tmp_path / "new.csv", index=False)
    found = again.predict_proba(tmp_path / "new.csv")
    assert found.shape == (5, len(classes))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, model.predict_proba(tmp_path / "new.csv"), atol=1e-12)
