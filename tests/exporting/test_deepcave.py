"""An exported search holds every trial of the journal, as SMAC's own reader and, where installed, DeepCAVE find it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ConfigSpace import ConfigurationSpace
from smac.runhistory import RunHistory, StatusType

from autoonco.errors import DataError
from autoonco.exporting.deepcave import write_deepcave
from autoonco.families.contract import Fidelity
from autoonco.search.problem import Problem
from autoonco.search.space import build_space, space_json, split
from autoonco.search.store import Store
from autoonco.search.trial import Origin, Status, Trial

ENDS = (
    Status.SUCCESS,
    Status.FAILED,
    Status.TIMEOUT,
    Status.MEMORY,
    Status.STOPPED,
    Status.SKIPPED,
    Status.SUCCESS,
)


def trial(number: int, status: Status, *, scope: str = "final", **changes: Any) -> Trial:
    loss = 0.5 - 0.01 * number if status in (Status.SUCCESS, Status.STOPPED) else None
    fields: dict[str, Any] = {
        "id": number,
        "scope": scope,
        "family": "toy",
        "config": {"act": "work", "strength": round(0.1 * number, 1)},
        "budget": 1 / 9 if number % 2 else 1.0,
        "fidelity": Fidelity(folds=3),
        "status": status,
        "seconds": 2.5,
        "elapsed_s": 10.0 * (number + 1),
        "origin": Origin.SEARCH,
        "seed": number,
        "loss": loss,
        "score": None if loss is None else 1 - loss,
        "reason": "it broke" if status is Status.FAILED else None,
    }
    return Trial(**fields | changes)


@pytest.fixture
def run(toy: Any, problem: Problem, tmp_path: Path) -> Path:
    """A run folder: each kind of end, one config scored again, one of another space, and an outer search."""
    folder = tmp_path / "run"
    store = Store(folder)
    for number, status in enumerate(ENDS):
        store.add_trial(trial(number, status))
    again = {
        "loss": 0.25,
        "elapsed_s": 90.0,
        "origin": Origin.FINALIST,
        "config": trial(0, Status.SUCCESS).config,
    }
    store.add_trial(trial(20, Status.SUCCESS, **again))
    store.add_trial(trial(21, Status.SUCCESS, config={"act": "gone", "strength": 0.2}))
    store.add_trial(trial(22, Status.SUCCESS, scope="outer-0", config={"act": "work", "strength": 0.7}))
    space = build_space(["toy"], problem.fingerprint)
    (folder / "space.json").write_text(space_json(space))
    (folder / "run.json").write_text(json.dumps({"format": 1, "metric": "roc_auc", "seed": 5}))
    return folder


def read(folder: Path) -> RunHistory:
    history = RunHistory()
    history.load(folder / "runhistory.json", ConfigurationSpace.from_json(folder / "configspace.json"))
    return history


def test_every_trial_is_read_back_by_smac(run: Path, tmp_path: Path) -> None:
    final, outer = write_deepcave(run, tmp_path / "out")
    assert (final.name, outer.name) == ("final", "outer-0")
    assert len(read(outer)) == 1
    history = read(final)
    found = {}
    for key, value in history.items():
        family, config = split(history.get_config(key.config_id))
        assert (family, key.seed, key.instance) == ("toy", 5, None)
        found[round(config["strength"], 6), round(key.budget, 6)] = value
    low = round(1 / 9, 6)
    kinds = {key: value.status for key, value in found.items()}
    assert kinds == {
        (0.0, 1.0): StatusType.SUCCESS,
        (0.1, low): StatusType.CRASHED,
        (0.2, 1.0): StatusType.TIMEOUT,
        (0.3, low): StatusType.MEMORYOUT,
        (0.4, 1.0): StatusType.TIMEOUT,  # stopped by racing
        (0.6, 1.0): StatusType.SUCCESS,
    }
    assert found[0.0, 1.0].cost == 0.25  # the finalist's score, not its first
    assert found[0.6, 1.0].cost == pytest.approx(0.44)
    assert (found[0.6, 1.0].starttime, found[0.6, 1.0].endtime, found[0.6, 1.0].time) == (67.5, 70.0, 2.5)
    assert found[0.1, low].additional_info["traceback"] == "it broke"
    scenario = json.loads((final / "scenario.json").read_text())
    assert scenario["objectives"] == "loss of roc_auc"
    assert scenario["left_out"] == 1
    assert str(tmp_path) not in "".join(path.read_text() for path in final.iterdir())


def test_deepcave_opens_it(run: Path, tmp_path: Path) -> None:
    converters = pytest.importorskip(
        "deepcave.runs.converters.smac3v2", reason="DeepCAVE wants Python < 3.11"
    )
    final, _ = write_deepcave(run, tmp_path / "out")
    found = converters.SMAC3v2Run.from_path(final)
    assert len(found.history) == 6
    assert [objective.name for objective in found.get_objectives()] == ["loss of roc_auc", "Time"]
    best = min(one.costs[0] for one in found.history if one.costs[0] is not None)
    assert best == 0.25


def test_a_folder_without_a_search_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run folder.*run\.json"):
        write_deepcave(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"no run folder.*run\.json"):
        write_deepcave(run / "run.json", tmp_path / "out")  # or a model file
    outside = trial(23, Status.SUCCESS, scope="../../elsewhere")
    Store(run).add_trial(outside)
    with pytest.raises(DataError, match="damaged"):
        write_deepcave(run, tmp_path / "out")
    (run / "journal.jsonl").write_text("")
    with pytest.raises(DataError, match="No trial"):
        write_deepcave(run, tmp_path / "out")
    (run / "space.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        write_deepcave(run, tmp_path / "out")
    assert np.all([not path.exists() for path in (tmp_path / "out",)])
