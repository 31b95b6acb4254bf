"""What a run folder tells of a run: whether it is at work, how far it is, what became of it."""

from __future__ import annotations

import json
import os
import time

import pytest

from autoonco.errors import AutoOncoError
from autoonco.evaluation.kept import scope_path
from autoonco.evaluation.run_folder import RunFolder, session_began
from autoonco.evaluation.run_state import State, run_state

OUTER = [{"scope": "outer0"}, {"scope": "final"}]


def trial(number, *, scope="outer0", family="radiomics", status="success", score=0.8, budget=1.0, **more):
    return {
        "event": "trial", "scope": scope, "id": number, "family": family, "config": {"C": 1.0}, "budget": budget,
        "status": status, "score": score if status in ("success", "stopped") else None, "seconds": 10.0,
        "elapsed_s": 10.0 * (number + 1), "origin": "search", "reason": None if status == "success" else "why",
    } | more  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder(tmp_path / "run", identity={"families": ["radiomics", "toy"], "metric": "roc_auc"})
    yield opened
    opened.close()


def begin(folder, *events, **fields):
    begun = {
        "time_limit_s": 600.0,
        "metric": "roc_auc",
        "evaluation": "nested",
        "searches": {"n": 2, "outer": OUTER},
        "families": {"radiomics": None, "toy": "it is a toy"},
    }
    folder.update(session_s=7.0, **{"status": "running"} | begun | fields)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder.path / "journal.jsonl").write_text(lines, encoding="utf-8")


def test_before_the_search_little_is_known_and_that_is_told(folder):
    state = run_state(folder.path)
    assert (state.state, state.phase, state.limit_s, state.left_s) == (
        State.RUNNING,
        "reading the data",
        None,
        None,
    )
    assert [family.family for family in state.families] == ["radiomics", "toy"]
    assert state.best is None
    assert state.sentence().startswith("running, reading the data: 0 of 0 trials succeeded")
    begin(folder)
    assert run_state(folder.path).phase == "beginning the search"


def test_a_running_run_is_known_by_its_process_and_a_killed_one_by_its_lack(folder):
    begin(folder, trial(0))
    assert run_state(folder.path).state is State.RUNNING
    folder.close()  # as the end of its process does
    assert session_began(folder.path) is None
    state = run_state(folder.path)
    assert (state.state, state.left_s) == (State.KILLED, None)
    assert "goes on from there" in state.message


@pytest.mark.parametrize(
    ("fields", "state", "said"),
    [
        ({"status": "finished"}, State.FINISHED, None),
        (
            {"status": "stopped", "stopped": "Stopped after two folds."},
            State.STOPPED,
            "Stopped after two folds.",
        ),
        ({"status": "failed", "failure": "The disk is full."}, State.FAILED, "The disk is full."),
        ({"status": "failed"}, State.FAILED, "This run ended by an error."),
    ],
)
def test_what_a_run_said_of_its_end_is_told(folder, fields, state, said):
    begin(folder, trial(0), **fields)
    folder.close()
    found = run_state(folder.path)
    assert (found.state, found.message) == (state, said)


def test_an_error_is_recorded_without_names(folder):
    begin(folder)
    folder.end_badly(
        ValueError("c7 in /scans/Jane.png"), lambda text: text.replace("c7", "row 7"), session_s=9.0
    )
    folder.close()
    assert run_state(folder.path).message == "ValueError: row 7 in [path]"


def test_time_goes_on_with_the_process_and_adds_up_over_sessions(folder):
    begin(folder, trial(0))
    now = time.time()
    os.utime(folder.path / "run.json", (now - 30, now - 30))
    os.utime(folder.path / ".lock", (now - 40, now - 40))
    state = run_state(folder.path, now=now)
    assert state.elapsed_s == pytest.approx(37.0)
    assert state.left_s == pytest.approx(600 - 37)
    os.utime(folder.path / ".lock", (now - 5, now - 5))  # a later session: the days between were not spent
    assert run_state(folder.path, now=now).elapsed_s == pytest.approx(12.0)
    folder.close()
    assert run_state(folder.path, now=now + 999).elapsed_s == pytest.approx(
        10.0
    )  # the journal knows of three more
    assert run_state(folder.path, now=now).to_json(now=now)["ends_at_the_latest"] is None


def test_the_phase_follows_the_journal(folder):
    def phase(*events):
        begin(folder, *events)
        state = run_state(folder.path)
        return state.search, state.phase

    again = {"event": "phase", "scope": "outer0", "name": "scoring again", "asked": "x", "elapsed_s": 50.0}
    assert phase(trial(0)) == (1, "search")
    assert phase(trial(0), again) == (1, "scoring again")
    assert phase(trial(0), again, trial(1, origin="finalist")) == (1, "scoring again")
    assert phase(trial(0), again, again | {"name": "refits"}) == (1, "refits")
    assert phase(trial(0), again, trial(1)) == (1, "search")  # more time was given
    assert phase(trial(0), again, trial(1, scope="final")) == (2, "search")
    kept = scope_path(folder.path, "final")
    kept.parent.mkdir()
    kept.write_text("{}")
    os.utime(kept, (time.time() + 5, time.time() + 5))
    assert run_state(folder.path).phase == "figures and explanations"


def test_trials_are_counted_by_family_and_the_best_is_of_the_present_search(folder):
    begin(
        folder,
        trial(0, score=0.99),
        trial(1, scope="final", score=0.7),
        trial(2, scope="final", score=0.9, budget=0.3),
        trial(3, scope="final", score=0.95, origin="finalist"),
        *(
            trial(n, scope="final", status=end)
            for n, end in enumerate(["failed", "timeout", "memory", "stopped", "skipped"], 4)
        ),
    )
    state = run_state(folder.path)
    (radiomics, toy) = state.families
    assert (radiomics.ok, radiomics.failed, radiomics.stopped, radiomics.skipped) == (4, 3, 1, 1)
    assert (toy.why_not, toy.ok) == ("it is a toy", 0)
    assert (state.best["trial"], state.best["score"], radiomics.best_score) == (1, 0.7, 0.7)
    assert [failure["id"] for failure in state.failures] == [4, 5, 6]
    assert json.loads(json.dumps(state.to_json()))["trials"] == {
        "ok": 4,
        "failed": 3,
        "stopped": 1,
        "skipped": 1,
    }


def test_a_journal_that_is_being_written_and_a_folder_of_no_run(folder, tmp_path):
    begin(folder, trial(0))
    with (folder.path / "journal.jsonl").open("a") as stream:
        stream.write('{"event": "tri')
    assert run_state(folder.path).total("ok") == 1
    with pytest.raises(AutoOncoError, match="holds no run"):
        run_state(tmp_path)


def test_a_run_that_ends_while_somebody_looks_is_not_taken_for_a_killed_one(folder, monkeypatch):
    begin(folder, trial(0))

    def ending(path):
        if not folder._lock.closed:
            folder.update(session_s=9.0, status="finished")
            folder.close()
        return session_began(path)

    monkeypatch.setattr("autoonco.evaluation.run_state.session_began", ending)
    assert run_state(folder.path).state is State.FINISHED


def test_whoever_looks_stands_in_nobody_s_way(folder):
    folder.close()
    began = session_began(folder.path)
    again = RunFolder(folder.path, identity={"families": ["radiomics", "toy"], "metric": "roc_auc"})
    assert began is None
    assert session_began(folder.path) == pytest.approx(time.time(), abs=60)
    again.close()
