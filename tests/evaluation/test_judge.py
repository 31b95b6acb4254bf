"""Scopes in simulated seconds: what is judged at the end, and what a kill changes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.errors import AutoOncoError
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Origin, Status
from autoonco.settings import Settings
from tests.evaluation.simulated import Made, Pool, Stopped, made_dataset, made_judge, simulate

# As on some nodules in 3D: one fold of the largest network is a sixth of the whole time on a machine half as fast.
FAMILIES = (
    Made("tables", fold_s=2.0, first_s=8.0),
    Made("frozen", fold_s=3.0, first_s=12.0),
    Made("small", fold_s=8.0, epochs=12),
    Made("large", fold_s=20.0, epochs=20, varied=False),
)
SPLIT = OuterSplit(scope=FINAL, train=np.arange(100), test=np.arange(100, 134))


def tried_of(store):
    return {trial.family for trial in store.trials if trial.status is Status.SUCCESS}


SETTINGS = Settings(portfolio="none", max_trials=20, seconds="measured", ensemble_rounds=5)


@pytest.mark.parametrize(("slow", "n_workers"), [(1.0, 1), (1.0, 2), (2.0, 2), (2.5, 2)])
def test_every_family_tried_is_judged_in_time_however_slow_the_machine(
    monkeypatch, tmp_path, slow, n_workers
):
    time, store = simulate(monkeypatch, FAMILIES), Store(tmp_path)
    pool = Pool(time, {f.name: f for f in FAMILIES}, made_dataset().y, n_workers=n_workers, slow=slow)
    begun = time.now
    settings = SETTINGS.model_copy(update={"max_trials": None})
    result = made_judge(FAMILIES, pool, store, settings, limit_s=240).run(SPLIT)
    judged = {item.name for item in result.judged if item.kind == "family"}
    assert tried_of(store) == judged
    assert judged == {f.name for f in FAMILIES}
    assert time.now - begun <= 1.05 * 240
    assert result.judged[0].name == "ensemble"


def test_a_model_is_delivered_late_rather_than_not_at_all(monkeypatch, tmp_path):
    """Refits take more than four times what the folds let expect."""
    only = (Made("tables", fold_s=4.0, first_s=8.0, varied=False),)
    settings = SETTINGS.model_copy(update={"max_trials": None, "final_share": 0.1})
    how = {"settings": settings, "limit_s": 100.0, "refits_slow": 4.5}
    run = Sessions(monkeypatch, tmp_path, families=only, **how)
    (result,) = run.session([SPLIT])
    assert [item.name for item in result.judged][:2] == ["ensemble", "tables"]
    assert any("overstepped" in note for note in run.notes)
    assert run.time.now - run.begun_s <= 1.05 * 100 + 25


class Sessions:
    """A run over some scopes that is killed when so many tasks of a session have begun, and begun again."""

    def __init__(
        self, monkeypatch, folder, *, settings=SETTINGS, limit_s=240.0, families=FAMILIES, refits_slow=1.0
    ):
        self.refits_slow = refits_slow
        self.time, self.folder, self.families = simulate(monkeypatch, families), folder, families
        self.settings, self.limit_s = settings, limit_s
        self.begun_s = self.time.now

    def session(self, splits, *, dies_at=None):
        """Return the scopes' results, None where the session was killed."""
        pool = Pool(self.time, {f.name: f for f in self.families}, made_dataset().y, dies_at=dies_at)
        pool.refits_slow = self.refits_slow
        self.pool, self.store = pool, Store(self.folder)
        judge = made_judge(self.families, pool, self.store, self.settings, limit_s=self.limit_s)
        try:
            results = [judge.run(split) for split in splits]
        except Stopped:
            return None
        self.notes = judge.notes
        return results

    def events(self):
        return [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]


def assert_same(one, two):
    assert [item.to_json() for item in one.judged] == [item.to_json() for item in two.judged]
    for a, b in zip(one.judged, two.judged, strict=True):
        np.testing.assert_array_equal(a.proba, b.proba)
        assert a.proba.dtype == b.proba.dtype
    assert (one.delivered, one.fingerprint) == (two.delivered, two.fingerprint)


OUTER = OuterSplit(scope="outer0", train=np.arange(34, 134), test=np.arange(34))


def test_a_scope_that_had_ended_before_a_kill_is_not_searched_or_chosen_anew(monkeypatch, tmp_path):
    run = Sessions(monkeypatch, tmp_path)
    (outer,), notes = run.session([OUTER]), run.notes
    n_trials = len(run.store.scope_trials("outer0"))
    assert (
        run.session([OUTER, SPLIT], dies_at=5) is None
    )  # in the second scope, for the first one begins nothing
    assert {task.fold.train[0] for task in run.pool.begun} < set(range(34))
    again, final = run.session([OUTER, SPLIT])
    assert_same(again, outer)
    assert run.notes[: len(notes)] == notes
    assert len(run.store.scope_trials("outer0")) == n_trials
    assert not [
        event for event in run.events() if event["event"] == "trial" and event["scope"] == "elsewhere"
    ]
    # the model that is delivered is read back only as long as its parts are there
    assert final.delivered
    n_events = len(run.events())
    assert_same(run.session([OUTER, SPLIT])[1], final)
    assert len(run.events()) == n_events
    (final.delivered[0].folder / "meta.json").unlink()
    run.session([OUTER, SPLIT])
    assert [task.save_to for task in run.pool.begun] == [str(final.delivered[0].folder)]


def test_what_is_kept_of_a_scope_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    settings = SETTINGS.model_copy(update={"weights_dir": "/nowhere/me/weights"})
    Sessions(monkeypatch, tmp_path, settings=settings).session([OUTER])
    assert "/nowhere/me" not in (tmp_path / "scopes" / "outer0.json").read_text(encoding="utf-8")


def test_a_scope_given_more_time_or_trials_goes_on(monkeypatch, tmp_path):
    run = Sessions(monkeypatch, tmp_path)
    run.session([OUTER])
    n_trials = len(run.store.scope_trials("outer0"))
    run.settings, run.limit_s = SETTINGS.model_copy(update={"max_trials": 30}), 480.0
    run.session([OUTER])
    searched = [trial for trial in run.store.scope_trials("outer0") if trial.origin is not Origin.FINALIST]
    assert len(searched) > SETTINGS.max_trials
    assert len(run.store.scope_trials("outer0")) > n_trials


def test_a_damaged_result_of_a_scope_is_told(monkeypatch, tmp_path):
    run = Sessions(monkeypatch, tmp_path)
    run.session([OUTER])
    (tmp_path / "scopes" / "outer0.json").write_text("{")
    with pytest.raises(AutoOncoError, match="damaged"):
        run.session([OUTER])


def model_of(result):
    members = result.judged[0].members
    return [(m["family"], m["config"], m["weight"]) for m in members], {item.name for item in result.judged}


@pytest.fixture
def undisturbed(monkeypatch, tmp_path):
    """A whole run, its result, and how many tasks had begun when each part after the search began."""
    run = Sessions(monkeypatch, tmp_path / "undisturbed")
    (result,) = run.session([SPLIT])
    events = run.events()
    places = {event["name"]: i for i, event in enumerate(events) if event["event"] == "phase"}
    assert list(places) == ["scoring again", "refits"]
    # each fold after the search is a task that ended well
    n_after = {name: sum(e["event"] == "fold" for e in events[place:]) for name, place in places.items()}
    return run, result, {name: len(run.pool.begun) - n for name, n in n_after.items()}


def test_kills_among_the_refits_change_no_choice(monkeypatch, tmp_path, undisturbed):
    _, wanted, n_before = undisturbed
    run = Sessions(monkeypatch, tmp_path / "killed")
    assert run.session([SPLIT], dies_at=n_before["refits"] + 2) is None
    n_trials, n_kills, found = len(run.store.trials), 1, None
    while found is None:
        assert n_kills < 20
        found = run.session([SPLIT], dies_at=2)  # two at a time, and what had not ended is lost
        n_kills += found is None
    assert n_kills > 1
    assert model_of(found[0]) == model_of(wanted)
    assert len(run.store.trials) == n_trials
    names = [event["name"] for event in run.events() if event["event"] == "fold"]
    assert len(names) == len(set(names))


def test_kills_while_finalists_are_scored_again_add_no_time_to_it(monkeypatch, tmp_path, undisturbed):
    """A session that goes on has what is left of the time, not all of it anew."""
    _, _, n_before = undisturbed
    run = Sessions(monkeypatch, tmp_path / "killed")
    assert run.session([SPLIT], dies_at=n_before["scoring again"] + 2) is None
    assert [event["name"] for event in run.events() if event["event"] == "phase"] == ["scoring again"]
    # before the kill another fold had ended, which took the rest of the finalists' time
    begun_s = run.store.elapsed_s(SPLIT.scope)
    run.store.add_fold(
        FoldKey(scope=SPLIT.scope, config_key="other", fold_key="full", fold="9"),
        np.ones((1, 3)),
        seconds=1.0,
        elapsed_s=begun_s + 0.41 * (240 - begun_s),
    )
    n_trials = len(run.store.trials)
    (found,) = run.session([SPLIT])
    assert len(run.store.trials) == n_trials  # two fifths of what is left after the search are theirs
    assert {item.name for item in found.judged if item.kind == "family"} == {f.name for f in FAMILIES}
