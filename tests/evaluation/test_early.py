"""Scopes of a run that is asked to end, in simulated seconds: what is still done, and what goes on another time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.errors import NothingToFitError
from autoonco.evaluation.early import best_elsewhere, told
from autoonco.evaluation.kept import kept_result
from autoonco.evaluation.request import settings_json
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.search.interrupt import watching
from autoonco.search.space import build_space
from autoonco.search.store import Store
from autoonco.search.trial import Ended, Origin, Status
from autoonco.settings import Settings
from tests.evaluation.simulated import Made, Pool, made_dataset, made_judge, simulate

FAMILIES = (Made("tables", fold_s=2.0, first_s=8.0), Made("small", fold_s=8.0, epochs=12))
OUTER = [
    OuterSplit(scope=f"outer{k}", train=np.flatnonzero(np.arange(134) % 3 != k), test=np.arange(k, 134, 3))
    for k in range(3)
]
FINAL_ONE = OuterSplit(scope=FINAL, train=np.arange(134), test=np.arange(0))
TESTED = OuterSplit(scope=FINAL, train=np.arange(100), test=np.arange(100, 134))
SETTINGS = Settings(
    portfolio="none", search="random", max_trials=6, seconds="measured", ensemble_rounds=5, shortcuts=False
)
LIMIT_S = 240.0


class Asking(Pool):
    """Asks the run to end when so many tasks have begun; `fails` says which tasks do."""

    def __init__(self, *given, asks_at=None, stop=None, fails=lambda _: False, **options):
        super().__init__(*given, **options)
        self.asks_at, self.stop, self.fails = asks_at, stop, fails

    def submit(self, task, *, timeout_s):
        super().submit(task, timeout_s=timeout_s)
        if len(self.begun) == self.asks_at:
            self.stop.ask()
            self.asked_s = self.time.now

    def poll(self):
        for ended in super().poll():
            task = next(task for task in self.begun if task.id == ended.task_id)
            failed = Ended(
                task_id=ended.task_id, status=Status.FAILED, seconds=ended.seconds, reason="a fault"
            )
            yield failed if self.fails(task) else ended


class Run:
    """A run that may be asked to end in each of its sessions."""

    def __init__(self, monkeypatch, folder, *, settings=SETTINGS, families=FAMILIES, n_workers=2):
        self.time, self.folder = simulate(monkeypatch, families), folder
        self.settings, self.families, self.n_workers = settings, families, n_workers

    def session(self, splits, *, asks_at=None, fails=lambda _: False, limit_s=LIMIT_S):
        families = {family.name: family for family in self.families}
        with watching(lambda _: None) as stop:
            self.pool = Asking(
                self.time,
                families,
                made_dataset().y,
                n_workers=self.n_workers,
                asks_at=asks_at,
                stop=stop,
                fails=fails,
            )
            if asks_at == 0:
                stop.ask()
            self.store = Store(self.folder)
            self.judge = made_judge(self.families, self.pool, self.store, self.settings, limit_s=limit_s)
            return [self.judge.run(split) for split in splits]

    def is_kept(self, scope):
        asked = {"limit_s": LIMIT_S, "settings": settings_json(self.settings)}
        return kept_result(self.folder, scope, asked=asked) is not None

    def phases(self):
        events = map(json.loads, (self.folder / "journal.jsonl").read_text().splitlines())
        return [event["name"] for event in events if event["event"] == "phase"]


@pytest.fixture
def run(monkeypatch, tmp_path):
    return Run(monkeypatch, tmp_path)


def names_of(result):
    return {item.name for item in result.judged if item.kind == "family"}


def searched(store, scope=FINAL):
    return [trial for trial in store.scope_trials(scope) if trial.origin is not Origin.FINALIST]


def test_a_search_that_is_asked_to_end_finishes_what_runs_and_delivers_it(run):
    (result,) = run.session([TESTED], asks_at=14)
    before, refits = run.pool.begun[:14], [task for task in run.pool.begun if task.save_to]
    begun_after = [task for task in run.pool.begun[14:] if not task.save_to]
    # folds of trials that were under way, and of no other one
    assert {(t.family, str(t.config)) for t in begun_after} <= {(t.family, str(t.config)) for t in before}
    assert len(begun_after) < 2 * SETTINGS.inner_folds
    assert names_of(result) == {trial.family for trial in run.store.trials if trial.status is Status.SUCCESS}
    assert len(result.delivered) >= 1
    assert refits
    assert not [trial for trial in run.store.trials if trial.origin is Origin.FINALIST]
    assert run.judge.cut_short == [FINAL]
    # as if the limit had been then: what follows takes its share of that, or the quickest of each family
    searched_s = run.store.trials[-1].elapsed_s
    quickest_s = sum(family.fold_s * 100 / 80 + family.first_s for family in FAMILIES)
    spent_s = run.time.now - run.pool.asked_s
    assert spent_s < searched_s * SETTINGS.final_share / (1 - SETTINGS.final_share) + 2 * quickest_s + 60


def test_what_was_asked_to_end_goes_on_another_time(run):
    run.session([TESTED], asks_at=14)
    n_before, folds = len(searched(run.store)), [p.name for p in sorted((run.folder / "trials").iterdir())]
    assert not run.is_kept(FINAL)
    assert run.phases() == []
    (result,) = run.session([TESTED])
    assert len(searched(run.store)) > n_before
    assert run.is_kept(FINAL)
    assert run.judge.cut_short == []
    assert run.phases() == ["scoring again", "refits"]
    assert names_of(result) == {family.name for family in FAMILIES}
    assert {p.name for p in (run.folder / "trials").iterdir()} > set(
        folds
    )  # nothing that was finished is lost


def test_asked_among_the_refits_ends_them_and_the_choice_stays(monkeypatch, tmp_path):
    whole = Run(monkeypatch, tmp_path / "whole", n_workers=1)
    (wanted,) = whole.session([TESTED])
    first_refit = next(i for i, task in enumerate(whole.pool.begun) if task.save_to)
    n_refits = len(whole.pool.begun) - first_refit
    assert n_refits > 1
    run = Run(monkeypatch, tmp_path / "asked", n_workers=1)
    (result,) = run.session([TESTED], asks_at=first_refit + 1)
    assert len(run.pool.begun) == first_refit + 1
    assert len(result.delivered) == 1
    assert any("were not refitted, for the run was stopped" in note for note in run.judge.notes)
    assert run.judge.cut_short == []  # its search was at its end
    assert run.phases() == ["scoring again", "refits"]
    (again,) = run.session([TESTED])
    assert len(run.pool.begun) == n_refits - 1
    assert [m["config"] for m in again.judged[0].members] == [m["config"] for m in wanted.judged[0].members]
    assert run.is_kept(FINAL)


def test_asked_while_finalists_are_scored_again_ends_that_and_it_goes_on(monkeypatch, tmp_path):
    whole = Run(monkeypatch, tmp_path / "whole", n_workers=1)
    whole.session([TESTED])
    rescored = [trial for trial in whole.store.trials if trial.origin is Origin.FINALIST]
    first = next(i for i, task in enumerate(whole.pool.begun) if task.fold.index >= SETTINGS.inner_folds)
    run = Run(monkeypatch, tmp_path / "asked", n_workers=1)
    (result,) = run.session([TESTED], asks_at=first + 1)
    assert len([trial for trial in run.store.trials if trial.origin is Origin.FINALIST]) == 1 < len(rescored)
    assert run.phases() == ["scoring again"]
    assert len(result.delivered) >= 1
    run.session([TESTED])
    assert run.phases() == ["scoring again", "refits"]
    assert len([trial for trial in run.store.trials if trial.origin is Origin.FINALIST]) > 1


@pytest.mark.parametrize("asks_at", [0, 1])
def test_a_model_comes_however_early_it_is_asked_for(run, asks_at):
    (result,) = run.session([TESTED], asks_at=asks_at)
    assert len(searched(run.store)) == 1
    assert len(result.delivered) == 1


def test_where_the_first_trial_fails_another_one_brings_the_model(run):
    (result,) = run.session([TESTED], asks_at=1, fails=lambda task: task.family == "tables")
    assert [trial.status for trial in searched(run.store)] == [Status.FAILED, Status.SUCCESS]
    assert names_of(result) == {"small"}


def test_outer_folds_that_had_not_begun_are_left_out_and_the_best_of_the_others_is_delivered(run):
    splits = [*OUTER, FINAL_ONE]
    run.session(splits[:1])
    n_first = len(run.pool.begun)
    run.session(splits, asks_at=0)
    assert n_first > 0
    kept, *none, final = run.session(splits, asks_at=0)
    assert names_of(kept)
    assert none == [None, None]
    (trial,) = searched(run.store)
    ended = [t for t in searched(run.store, "outer0") if t.budget >= 1 and t.status is Status.SUCCESS]
    best = min(ended, key=lambda t: (t.loss, t.seconds))
    assert (trial.family, trial.config) == (best.family, best.config)
    assert [member["config"] for member in final.judged[0].members] == [best.config]
    # and then the run goes on as if it had never been asked
    results = run.session(splits)
    assert all(result is not None for result in results)
    assert run.judge.cut_short == []
    assert len(searched(run.store)) > 1


def test_an_outer_fold_that_an_earlier_session_judged_in_less_time_still_judges(run):
    """Whoever wants more time and changes their mind does not lose what was judged."""
    splits = [OUTER[0], FINAL_ONE]
    earlier, _ = run.session(splits)
    again, _ = run.session(splits, asks_at=0, limit_s=2 * LIMIT_S)
    assert run.judge.cut_short == ["outer0", FINAL]
    assert [(m.name, m.proba.tolist()) for m in again.judged] == [
        (m.name, m.proba.tolist()) for m in earlier.judged
    ]
    assert all(task.save_to for task in run.pool.begun)  # nothing but refits of the final search
    assert run.is_kept("outer0")


def test_only_a_final_search_that_leaves_nobody_apart_begins_with_what_did_best_elsewhere(run):
    run.session(OUTER[:1])
    space = build_space([family.name for family in FAMILIES], run.judge.problem(FINAL_ONE).fingerprint)
    assert len(best_elsewhere(run.store, space, FINAL, SETTINGS)) == 1
    assert best_elsewhere(run.store, space, "outer1", SETTINGS) == []
    apart = SETTINGS.model_copy(update={"conformal_share": 0.2})
    assert best_elsewhere(run.store, space, FINAL, apart) == []


def test_an_outer_fold_under_way_judges_what_it_has_or_nothing(run, monkeypatch, tmp_path):
    first, second, *_ = run.session([*OUTER, FINAL_ONE], asks_at=14)
    assert names_of(first)
    assert second is None
    assert run.judge.cut_short == ["outer0", FINAL]
    assert not (run.folder / "scopes" / "outer0").exists()
    other = Run(monkeypatch, tmp_path / "other", n_workers=1)
    nothing, *_, final = other.session(
        [OUTER[0], FINAL_ONE], asks_at=1, fails=lambda task: len(task.fold.train) < 80 and not task.save_to
    )
    assert nothing is None
    assert len(final.delivered) == 1


def test_without_any_result_nothing_is_made_up(run):
    with pytest.raises(NothingToFitError, match="a fault"):
        run.session([TESTED], asks_at=3, fails=lambda _: True)


def test_what_is_told_counts_folds_and_trials(run):
    splits = [*OUTER, FINAL_ONE]
    results = run.session(splits, asks_at=14)
    ended = [split.scope for split, result in zip(splits, results, strict=True) if result is not None]
    sentence = told(splits, ended, run.judge.cut_short, run.store, after_s=93.2, limit_s=600.0)
    assert "93 s of 600 s" in sentence
    assert "1 of 3 outer folds judge its models, 1 of them after a search that was cut short." in sentence
    assert f"a search of {len(searched(run.store))} trial" in sentence
    assert "goes on" in sentence
    alone = told([TESTED], [FINAL], [], run.store, after_s=9.0, limit_s=10.0)
    assert "outer" not in alone
    assert "search of" not in alone


def test_a_scope_that_gives_nothing_leaves_no_states(monkeypatch, tmp_path):
    settings = SETTINGS.model_copy(update={"shortcuts": True, "max_trials": 2})
    run = Run(monkeypatch, tmp_path, settings=settings)
    with pytest.raises(NothingToFitError, match="could be refitted"):
        run.session([OUTER[0]], fails=lambda task: task.save_to is not None)
    assert any(task.save_to for task in run.pool.begun)
    assert not (tmp_path / "scopes" / "outer0").exists()
