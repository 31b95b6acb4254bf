"""Maps keep to their time, whatever one of them takes, and end early where the run is asked to."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.evaluation.explained import FILE, Explaining
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.run_folder import RunFolder
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.families.contract import Explanation, Runtime
from autoonco.search.interrupt import watching

MAP_S = 10.0


@pytest.fixture
def clock(monkeypatch):
    """Return a clock, in seconds, that stands still until it is told to go on."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def explaining(tmp_path, monkeypatch, clock):
    """Return what explains a run of two networks, each map of which takes ten seconds, in so many seconds."""
    dataset = Dataset.from_csv(make_phantoms(tmp_path / "data", n=12, ndim=2, seed=0))
    rows, truth = [case.row for case in dataset.cases], dataset.y
    p = np.linspace(0.05, 0.95, 12)
    own = {"fold": 0, "row": rows, "truth": truth, "p_0": 1 - p, "p_1": p}
    judged = tuple(
        Judged(name=name, kind="family", proba=np.empty((0, 2)), members=[{"config": {}}])
        for name in ("first", "second")
    )
    predictions = pd.concat([pd.DataFrame(own | {"model": each.name}) for each in judged])

    class Network:
        n_maps = 0

        def explain(self, cases, target):
            clock[0] += MAP_S
            Network.n_maps += 1
            self.after()
            size = inspect(dataset.subset([0]))[0].channels["image"].shape
            return [Explanation(map=np.ones(size[::-1]), target=target, method="all of it") for _ in cases]

        def after(self):
            pass

    monkeypatch.setattr(Explaining, "_restored", lambda *_: Network())

    def explain(limit_s):
        folder = RunFolder(tmp_path / "run", identity={})
        Explaining(
            dataset=dataset,
            facts=inspect(dataset),
            split=OuterSplit(scope=FINAL, train=np.arange(6), test=np.arange(6, 12)),
            result=ScopeResult(judged=judged, delivered=(), fingerprint=None),
            predictions=predictions,
            folder=folder,
            runtime=Runtime(artefacts=ArtefactCache(tmp_path / "cache"), n_threads=1),
            limit_s=limit_s,
            seed=0,
        ).run()
        folder.close()
        found = json.loads((tmp_path / "run" / FILE).read_text())
        n = [sum(each["family"] == one.name for each in found["networks"]) for one in judged]
        return n, found["notes"]

    explain.network = Network
    return explain


@pytest.mark.parametrize(
    ("limit_s", "n_maps"),
    [(120.0, [6, 6]), (40.0, [2, 2]), (25.0, [1, 1]), (5.0, [1, 0]), (-1.0, [0, 0])],
)
def test_maps_overstep_their_time_by_one_at_most_over_all_networks(explaining, clock, limit_s, n_maps):
    begun = clock[0]
    found, notes = explaining(limit_s)
    assert found == n_maps
    assert clock[0] - begun <= max(0.0, limit_s) + (MAP_S / 2 if limit_s == 5.0 else 0.0)
    told = [note for note in notes if note.startswith("Maps of")]
    assert len(told) == sum(n < 6 for n in n_maps)
    assert not any("could not be made" in note for note in notes), notes


def test_maps_end_where_the_run_is_asked_to_end(explaining, monkeypatch):
    with watching() as stop:
        monkeypatch.setattr(explaining.network, "after", lambda _: stop.ask())
        found, notes = explaining(1000.0)
    assert found == [1, 0]
    assert any("stopped" in note for note in notes)
