"""Seconds a case: of what was fitted, within the time there is."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.data.cache import ArtefactCache
from autoonco.evaluation.outcome import Judged
from autoonco.evaluation.speed import speeds
from autoonco.families.contract import ModelState, Runtime
from autoonco.families.state import write_state
from autoonco.search.space import config_key


def judged(name: str, *strengths: float) -> Judged:
    members = [{"family": "toy", "config": {"act": "work", "strength": each}} for each in strengths]
    return Judged(name=name, kind="ensemble", proba=np.empty((0, 2)), members=members)


def test_a_model_takes_what_its_members_take_and_what_is_not_there_takes_nothing(toy, dataset, tmp_path):
    for strength in (0.1, 0.2):
        key = config_key("toy", {"act": "work", "strength": strength})
        write_state(tmp_path / key, ModelState(meta={"strength": strength, "prior": "work"}))
    models = [judged("both", 0.1, 0.2), judged("one", 0.1), judged("gone", 0.1, 0.3), judged("baseline")]
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"), n_threads=1)
    found = speeds(models, tmp_path, dataset.cases, runtime, limit_s=60)
    assert len(found["configs"]) == 2
    assert set(found["models"]) == {"both", "one"}
    assert found["models"]["both"] == pytest.approx(sum(found["configs"].values()))
    assert all(each > 0 for each in found["configs"].values())
    assert speeds(models, tmp_path, dataset.cases, runtime, limit_s=-1) == {"configs": {}, "models": {}}
