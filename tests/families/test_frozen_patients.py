"""The head of a frozen network is told who its cases belong to, as every pipeline of a table is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.families.contract import Fidelity
from autoonco.families.pretrained2d import family
from autoonco.tabular import pipeline
from tests.families.test_pretrained2d import FROZEN, Y, cases, context  # noqa: F401 - a fixture


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["svm", "xgboost"])
def test_patients_reach_the_head(learner, cases, tmp_path, monkeypatch):  # noqa: F811
    """Four patients of three cases each: those that hold out patients, or stop early by them, must know."""
    seen = []
    real = pipeline.fit_pipeline

    def spy(head, X, y, *, groups=None, **rest):
        seen.append(groups)
        assert pipeline.takes_groups(head[-1])
        return real(head, X, y, groups=groups, **rest)

    monkeypatch.setattr(pipeline, "fit_pipeline", spy)
    shared = [replace(case, patient=f"p{row // 3}") for row, case in enumerate(cases)]
    head = {k: v for k, v in FROZEN.items() if k != "size" and not k.startswith("head:")}
    space = family.space(context(tmp_path).fingerprint)
    config = pipeline.complete(space, head | {"head:learner": learner}) | {"size": 64}
    family.fit(config, shared, Y, fidelity=Fidelity(folds=1), context=context(tmp_path))
    (groups,) = seen
    assert np.array_equal(groups, np.arange(12) // 3)
