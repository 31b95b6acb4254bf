"""What a run writes of its decisions and subgroups: whose threshold decides, and which cases count."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from autoonco.data.facts import CaseFacts
from autoonco.evaluation.decisions import Decided, Decisions
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tasks import TASKS
from autoonco.evaluation.told import DECISIONS_FILE, SUBGROUPS_FILE, tell_trust
from tests.evaluation.simulated import FINGERPRINT

ROWS = np.arange(60)


def scope(dataset, name, test, *, repeat=0, threshold=0.5):
    """A scope that learns from the other cases and decides by `threshold`."""
    test = np.asarray(test, dtype=np.int64)
    noise = np.random.default_rng(repeat).normal(size=len(test))
    p = 1 / (1 + np.exp(-(dataset.y[test] + noise)))
    judged = Judged(name="ensemble", kind="ensemble", proba=np.c_[1 - p, p])
    record = {"threshold": {"rule": "youden", "value": threshold}}
    decided = Decided(decisions=Decisions(threshold=threshold), record=record)
    split = OuterSplit(scope=name, train=np.setdiff1d(ROWS, test), test=test, repeat=repeat)
    return split, ScopeResult(judged=(judged,), delivered=(), fingerprint=FINGERPRINT, decided=decided)


@pytest.fixture
def tell(dataset, tmp_path, monkeypatch):
    """Return the files that the end of a run with the given scopes writes, by name."""
    monkeypatch.setattr("autoonco.evaluation.told.learn_trust", lambda *_, **__: None)
    monkeypatch.setattr("autoonco.evaluation.subgroups.RESAMPLES", 20)

    def told(*scopes, data=dataset):
        written = {}
        run = SimpleNamespace(path=tmp_path, write=written.__setitem__)
        splits, results = zip(*scopes, strict=True)
        facts = [CaseFacts(row=case.row) for case in data.cases]
        none, task = np.empty(0, dtype=np.int64), TASKS["classification"]
        notes = tell_trust(run, data, facts, data.groups, splits, results, none, None, task, limit_s=1.0)
        assert notes == []
        return written

    return told


def test_each_outer_fold_decides_by_its_own_threshold_be_there_one_or_many(dataset, tell):
    first = scope(dataset, "outer0", ROWS[:20], threshold=0.2)
    second = scope(dataset, "outer1", ROWS[20:40], threshold=0.4)
    final = scope(dataset, FINAL, [], threshold=0.9)
    for outer, own in (([first], [0.2]), ([first, second], [0.2, 0.4])):
        told = tell(*outer, final)[DECISIONS_FILE]["threshold"]
        assert told == {"rule": "youden", "value": 0.9, "of_folds": own}


@pytest.mark.parametrize("test", [ROWS[:20], []])
def test_a_final_search_judged_itself_or_not_at_all_has_the_delivered_threshold_alone(dataset, tell, test):
    told = tell(scope(dataset, FINAL, test, threshold=0.9))[DECISIONS_FILE]["threshold"]
    assert told == {"rule": "youden", "value": 0.9}


def test_subgroups_count_the_cases_of_every_ready_split_once(dataset, tell):
    sexed = replace(dataset, others={"sex": tuple(np.where(ROWS // 2 % 2, "f", "m").tolist())})
    apart = [scope(dataset, f"outer{k}", ROWS[30 * k : 30 * k + 30], repeat=k) for k in range(2)]
    again = scope(dataset, "outer2", ROWS[:30], repeat=2)
    final = scope(dataset, FINAL, [])
    found = tell(*apart, final, data=sexed)[SUBGROUPS_FILE]
    assert found.groupby("metric")["n"].sum().unique().tolist() == [60]
    twice = tell(*apart, again, final, data=sexed)[SUBGROUPS_FILE]
    pd.testing.assert_frame_equal(twice, found)  # as a case was first predicted
