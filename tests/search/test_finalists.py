from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.evaluation import ensemble
from autoonco.search.clock import Clock
from autoonco.search.finalists import finalists, rescore
from autoonco.search.runner import Search
from autoonco.search.space import config_key
from autoonco.search.store import Store
from autoonco.search.trial import FoldTask, Origin, Status
from autoonco.search.workers import WorkerPool
from autoonco.settings import Settings


@pytest.fixture
def with_fresh(problem):
    rows = np.arange(60)
    fresh = tuple(
        FoldTask(
            index=3 + k, train=tuple(rows[rows % 3 != k].tolist()), test=tuple(rows[rows % 3 == k].tolist())
        )
        for k in range(3)
    )
    return replace(problem, fresh=fresh)


@pytest.fixture
def searched(toy, with_fresh, setup, tmp_path):
    store = Store(tmp_path)
    with WorkerPool(setup) as pool:
        Search(
            with_fresh,
            pool=pool,
            store=store,
            settings=Settings(max_trials=20, min_budget=1 / 3),
            seed=0,
            clock=Clock(60),
        ).run()
        yield with_fresh, store, pool


def test_finalists_are_the_best_and_the_default_each_once(searched):
    problem, store, _ = searched
    found = finalists(problem, store, n=3)
    full = [t for t in store.trials if t.status is Status.SUCCESS and t.fidelity.folds == 3]
    best = sorted(full, key=lambda t: t.loss)[:3]
    assert {c.config["strength"] for c in found} == {t.config["strength"] for t in best} | {0.3}
    assert len({c.key for c in found}) == len(found)
    assert finalists(problem, store, n=0) == []


def test_the_choice_is_made_by_the_fresh_folds_alone(searched):
    problem, store, pool = searched
    before = {c.trial.config["strength"]: c.score for c in ensemble.candidates(problem, store)}
    chosen = finalists(problem, store, n=3)
    rescore(problem, chosen, pool=pool, store=store, seed=0, clock=Clock(60), limit_s=60)
    again = [t for t in store.trials if t.origin is Origin.FINALIST]
    assert len(again) == len(chosen)
    found = {c.trial.config["strength"]: c for c in ensemble.candidates(problem, store)}
    for trial in again:
        candidate = found[trial.config["strength"]]
        fresh = [
            problem.metric(problem.y[list(f.test)], p)
            for f, p in zip(problem.fresh, candidate.probas[3:], strict=True)
        ]
        assert candidate.rescored
        assert candidate.score == trial.score == pytest.approx(np.mean(fresh))
    assert {s: c.score for s, c in found.items() if not c.rescored} == {
        s: score for s, score in before.items() if not found[s].rescored
    }
    best = ensemble.by_family(list(found.values()))["toy"][0]
    assert best.score == max(t.score for t in again)
    n_trials = len(store.trials)
    rescore(problem, chosen, pool=pool, store=store, seed=0, clock=Clock(60), limit_s=60)
    assert len(store.trials) == n_trials  # nothing is scored twice


def test_without_time_nobody_is_scored_again(searched):
    problem, store, pool = searched
    rescore(
        problem, finalists(problem, store, n=3), pool=pool, store=store, seed=0, clock=Clock(60), limit_s=0.0
    )
    assert not [t for t in store.trials if t.origin is Origin.FINALIST]


def test_a_finalist_whose_line_a_kill_cut_off_is_recorded_without_being_fitted_again(searched, tmp_path):
    problem, store, pool = searched
    chosen = finalists(problem, store, n=3)
    rescore(problem, chosen, pool=pool, store=store, seed=0, clock=Clock(60), limit_s=60)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_text("".join(lines[:-1]))
    again = Store(tmp_path)
    rescore(problem, chosen, pool=pool, store=again, seed=0, clock=Clock(60), limit_s=0.0)
    lost, found = store.trials[-1], again.trials[-1]
    assert (found.origin, found.config, found.score) == (lost.origin, lost.config, lost.score)
    assert len(again.trials) == len(store.trials)


def test_the_better_half_is_scored_again_on_another_pass(searched):
    problem, store, pool = searched
    rows = np.arange(60)
    more = tuple(
        FoldTask(
            index=6 + k,
            train=tuple(rows[rows // 4 % 3 != k].tolist()),
            test=tuple(rows[rows // 4 % 3 == k].tolist()),
        )
        for k in range(3)
    )
    problem = replace(problem, fresh=(*problem.fresh, *more))
    chosen = finalists(problem, store, n=4)
    rescore(problem, chosen, pool=pool, store=store, seed=0, clock=Clock(600), limit_s=600)
    first, second = (
        [t for t in store.trials if t.origin is Origin.FINALIST and t.fidelity.repeats == n] for n in (2, 3)
    )
    assert len(first) == len(chosen) >= 4
    best = sorted(first, key=lambda t: t.loss)[: (len(first) + 1) // 2]
    assert {t.config["strength"] for t in second} == {t.config["strength"] for t in best}
    found = {c.trial.config["strength"]: c for c in ensemble.candidates(problem, store)}
    for trial in second:
        item = found[trial.config["strength"]]
        fresh = [problem.fold_score(f, p) for f, p in zip(problem.fresh, item.probas[3:], strict=True)]
        assert item.score == item.passes[1] == trial.score == pytest.approx(np.mean(fresh))
        assert item.passes[0] == pytest.approx(np.mean(fresh[:3]))
    (family,) = ensemble.by_family(list(found.values())).values()
    assert {item.trial.config["strength"] for item in family} == {t.config["strength"] for t in second}
    n_trials = len(store.trials)
    rescore(problem, chosen, pool=pool, store=store, seed=0, clock=Clock(600), limit_s=600)
    assert len(store.trials) == n_trials


def test_a_reproducible_run_that_was_killed_scores_the_same_finalists_again(searched):
    """The families' guesses say how many fit: the toy's are 0.3 s each, and those that were done count."""
    problem, store, pool = searched
    chosen = finalists(problem, store, n=4)
    how = {"pool": pool, "store": store, "seed": 0, "clock": Clock(600), "reproducible": True}
    for _ in range(2):
        rescore(problem, chosen, limit_s=0.7, **how)
        again = [t for t in store.trials if t.origin is Origin.FINALIST]
        assert [config_key("toy", t.config) for t in again] == [item.key for item in chosen[:2]]
