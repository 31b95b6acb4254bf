from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.families.contract import Fidelity
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Origin, Status, Trial

KEY = FoldKey(scope="final", config_key="abc", fold_key="full", fold="0")


def trial(number: int) -> Trial:
    return Trial(
        id=number,
        scope="final",
        family="toy",
        config={"C": 0.1, "kind": "rbf", "n": 3, "on": True},
        budget=1 / 3,
        fidelity=Fidelity(folds=2, epochs=4),
        status=Status.SUCCESS,
        seconds=1.5,
        elapsed_s=10.0 * number,
        origin=Origin.SEARCH,
        seed=7,
        loss=0.25,
        score=0.75,
    )


def test_everything_is_there_again(tmp_path):
    store, proba = Store(tmp_path), np.random.default_rng(0).random((5, 3))
    store.add_trial(trial(1))
    store.add_fold(KEY, proba, seconds=2.5, elapsed_s=3.0)
    again = Store(tmp_path)
    assert again.trials == [trial(1)]
    np.testing.assert_array_equal(again.fold_proba(KEY), proba)
    assert (again.fold_seconds(KEY), again.elapsed_s("final"), again.next_id()) == (2.5, 10.0, 2)
    assert not again.has_fold(FoldKey(scope="outer0", config_key="abc", fold_key="full", fold="0"))


@pytest.mark.parametrize("torn", [1, 40, -2, -1])
def test_a_line_that_a_kill_cut_off_is_forgotten_and_overwritten(tmp_path, torn):
    store = Store(tmp_path)
    store.add_trial(trial(0))
    whole = (tmp_path / "journal.jsonl").read_bytes()
    store.add_trial(trial(1))
    last = (tmp_path / "journal.jsonl").read_bytes()[len(whole) :]
    (tmp_path / "journal.jsonl").write_bytes(whole + last[:torn])
    again = Store(tmp_path)
    assert again.trials == [trial(0)]
    again.add_trial(trial(2))
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [0, 2]


def test_a_fold_without_its_array_has_to_be_fitted_again(tmp_path):
    store = Store(tmp_path)
    store.add_fold(KEY, np.ones((2, 2)), seconds=1.0, elapsed_s=1.0)
    for path in (tmp_path / "trials").iterdir():
        path.unlink()
    assert not Store(tmp_path).has_fold(KEY)
