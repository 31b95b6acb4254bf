"""How far a run is, read from its folder alone: of a running run, a finished one, or one that was killed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from autoonco.evaluation.kept import scope_path
from autoonco.evaluation.run_folder import LOG_FILE, read_json, session_began
from autoonco.evaluation.tables import config_line
from autoonco.search.store import JOURNAL, read_events
from autoonco.search.trial import FAILURES, Origin, Status, best_trial

FILES = {
    "report": "report/index.html",
    "model": "model.onco",
    "predictions": "evaluation/predictions.csv",
    "log": LOG_FILE,
}
"""What a user looks for in a run folder, by what it is."""
_LAST_FAILURES = 3


class State(StrEnum):
    """What has become of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # by its user: what was found until then was judged, and there is a model
    FAILED = "failed"  # ended by an error
    KILLED = "killed"  # no process is at work, and none had said that it ended


@dataclass(frozen=True, kw_only=True)
class FamilyState:
    """What a run has of a family: how its trials ended, their seconds, its best inner score where one had all folds.

    `why_not` is the reason why it takes no part, None where it does.
    """

    family: str
    ok: int = 0
    failed: int = 0
    stopped: int = 0
    skipped: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    why_not: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run is.

    `phase` says what is done now, or was last; `search` of `n_searches` is the one that is under way. `elapsed_s`
    counts all sessions, `limit_s` is what they may take together. `best` is that search's best trial with all folds,
    `failures` are the last trials that failed.
    """

    folder: Path
    state: State
    phase: str
    search: int
    n_searches: int
    elapsed_s: float
    limit_s: float | None
    metric: str
    evaluation: str
    families: tuple[FamilyState, ...]
    best: Mapping[str, Any] | None
    failures: tuple[Mapping[str, Any], ...]
    files: Mapping[str, Path]
    message: str | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds that a running run may take yet, None of another or where no limit is known."""
        if self.state is not State.RUNNING or self.limit_s is None:
            return None
        return max(0.0, self.limit_s - self.elapsed_s)

    def total(self, what: str) -> int:
        """Return how many trials of all families were ``"ok"``, ``"failed"``, ``"stopped"`` or ``"skipped"``."""
        return sum(int(getattr(family, what)) for family in self.families)

    def sentence(self) -> str:
        """Return it in one sentence."""
        limit = "" if self.limit_s is None else f" of {self.limit_s:.0f}"
        where = f", {self.phase}" if self.state in (State.RUNNING, State.KILLED) else ""
        n = sum(self.total(what) for what in ("ok", "failed", "stopped"))
        return f"{self.state}{where}: {self.total('ok')} of {n} trials succeeded, {self.elapsed_s:.0f}{limit} s spent."

    def to_json(self, *, now: float | None = None) -> dict[str, Any]:
        """Return plain JSON; `now` is in seconds of the epoch, by default the clock's."""
        ends = None if self.left_s is None else (time.time() if now is None else now) + self.left_s
        return {
            "run": str(self.folder),
            "state": str(self.state),
            "phase": self.phase,
            "search": self.search,
            "searches": self.n_searches,
            "elapsed_s": round(self.elapsed_s, 1),
            "limit_s": self.limit_s,
            "left_s": None if self.left_s is None else round(self.left_s, 1),
            "ends_at_the_latest": None
            if ends is None
            else datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds"),
            "metric": self.metric,
            "evaluation": self.evaluation,
            "trials": {what: self.total(what) for what in ("ok", "failed", "stopped", "skipped")},
            "families": [vars(family) for family in self.families],
            "best": self.best,
            "failures": [dict(failure) for failure in self.failures],
            "files": {what: str(path) for what, path in self.files.items()},
            "message": self.message,
        }


def run_state(folder: Path, *, now: float | None = None) -> RunState:
    """Return how far the run in `folder` is; `now` is in seconds of the epoch, by default the clock's.

    Raises
    ------
    AutoOncoError
        If there is no run in it.
    """
    began = session_began(folder)
    run = read_json(folder / "run.json")  # after that: of a run that has just ended it tells how
    state = _state(run, is_at_work=began is not None)
    events = [] if not (folder / JOURNAL).is_file() else list(read_events(folder))
    trials = [event for event in events if event["event"] == "trial"]
    scopes = [str(each["scope"]) for each in (run.get("searches") or {}).get("outer", ())]
    scope, phase = _phase(folder, events, scopes, state)
    return RunState(
        folder=folder,
        state=state,
        phase=phase,
        search=scopes.index(scope) + 1 if scope in scopes else 0,
        n_searches=len(scopes),
        elapsed_s=_elapsed_s(folder, run, events, began, time.time() if now is None else now),
        limit_s=run.get("time_limit_s"),
        metric=str(run.get("metric") or run.get("identity", {}).get("metric", "")),
        evaluation=str(run.get("evaluation") or run.get("identity", {}).get("evaluation", "")),
        families=_families(run, trials, scope),
        best=_told(best_trial(trial for trial in trials if trial["scope"] == scope)),
        failures=tuple(map(_failure, [t for t in trials if t["status"] in FAILURES][-_LAST_FAILURES:])),
        files={what: folder / name for what, name in FILES.items() if (folder / name).is_file()},
        message=_message(run, state),
    )


def _state(run: Mapping[str, Any], *, is_at_work: bool) -> State:
    if is_at_work:
        return State.RUNNING
    said = str(run.get("status", "running"))
    return State(said) if said in (State.FINISHED, State.STOPPED, State.FAILED) else State.KILLED


def _message(run: Mapping[str, Any], state: State) -> str | None:
    """Return what has to be said of a run that came to no good end."""
    if state is State.STOPPED:
        return str(run.get("stopped") or "This run was stopped by its user.")
    if state is State.FAILED:
        return str(run.get("failure") or "This run ended by an error.")
    if state is State.KILLED:
        return "No process is at work here, and none has said how it ended: the same `fit` command goes on from there."
    return None


def _phase(
    folder: Path, events: Sequence[Mapping[str, Any]], scopes: Sequence[str], state: State
) -> tuple[str, str]:
    """Return the search that was under way last, and what was done in it."""
    if not events:
        return "", "reading the data" if not scopes else "beginning the search"
    scope = str(events[-1]["scope"])
    if state is State.FINISHED:
        return scope, "all done"
    own = [event for event in events if event["scope"] == scope]
    phase = "search"
    for event in own:
        if event["event"] == "phase":
            phase = str(event["name"])
        elif event["event"] == "trial" and event.get("origin") != Origin.FINALIST:
            phase = "search"
    kept, last = scope_path(folder, scope), (folder / JOURNAL).stat().st_mtime
    if kept.is_file() and kept.stat().st_mtime >= last:
        is_last = not scopes or scope == scopes[-1]
        phase = "figures and explanations" if is_last else "search judged, the next one begins"
    return scope, phase


def searched_s(events: Iterable[Mapping[str, Any]]) -> float:
    """Return the seconds of all searches together, by the events of a journal: each search has a clock of its own."""
    clocks: dict[str, float] = {}
    for event in events:
        clocks[event["scope"]] = max(clocks.get(event["scope"], 0.0), float(event.get("elapsed_s", 0.0)))
    return sum(clocks.values())


def _elapsed_s(
    folder: Path, run: Mapping[str, Any], events: Sequence[Mapping[str, Any]], began: float | None, now: float
) -> float:
    """Return the seconds of all sessions: run.json knows them as of its writing, the journal those of its searches."""
    known_s, written = float(run.get("elapsed_s", 0.0)), (folder / "run.json").stat().st_mtime
    if began is not None:
        known_s += max(0.0, now - max(written, began))
    return max(known_s, searched_s(events))


def _families(
    run: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], scope: str
) -> tuple[FamilyState, ...]:
    reasons = dict(run.get("families") or {})
    names = [*reasons, *(str(trial["family"]) for trial in trials)] or list(
        run.get("identity", {}).get("families", ())
    )
    found = []
    for name in dict.fromkeys(names):
        own = [trial for trial in trials if trial["family"] == name]
        ends = [trial["status"] for trial in own]
        best = best_trial(trial for trial in own if trial["scope"] == scope)
        found.append(
            FamilyState(
                family=name,
                ok=ends.count(Status.SUCCESS),
                failed=sum(end in FAILURES for end in ends),
                stopped=ends.count(Status.STOPPED),
                skipped=ends.count(Status.SKIPPED),
                seconds=sum(float(trial["seconds"]) for trial in own),
                best_score=None if best is None else best["score"],
                why_not=reasons.get(name),
            )
        )
    return tuple(sorted(found, key=lambda family: family.why_not is not None))


def _told(best: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what is told of the best trial."""
    if best is None:
        return None
    return {
        "family": best["family"],
        "trial": best["id"],
        "score": best["score"],
        "config": config_line(best["config"]),
    }


def _failure(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: trial.get(name) for name in ("family", "id", "status", "reason")}
