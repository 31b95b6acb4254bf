"""What kills did to a run, counted from its journal, its log of fits and an undisturbed run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Counts:
    """What the kills did."""

    runs: int = 0
    run_kills: int = 0
    worker_kills: int = 0
    lost_fits: int = 0
    over_allowance: int = 0
    vanished: int = 0
    counted_twice: int = 0
    other_incumbents: int = 0
    other_trials: int = 0
    other_predictions: int = 0
    other_failures: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def kill(self, where: str, *, of_worker: bool = False) -> None:
        """Count a kill that came during `where`, and say so."""
        self.phases[where] += 1
        self.run_kills += not of_worker
        self.worker_kills += of_worker
        print(f"kill {self.kills:3d} in run {self.runs}, during {where}", flush=True)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {"phases": dict(self.phases)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Counts:
        """Read what `to_json` wrote."""
        return cls(**plain | {"phases": Counter(plain["phases"])})

    @property
    def kills(self) -> int:
        """All kills."""
        return self.run_kills + self.worker_kills

    @property
    def is_good(self) -> bool:
        """Whether nothing happened that may not happen."""
        return not (
            self.over_allowance
            + self.vanished
            + self.counted_twice
            + self.other_incumbents
            + self.other_trials
            + self.other_predictions
            + self.other_failures
        )


def journal(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's journal."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def phase(run: Path) -> str:
    """Return how far a run has come."""
    if (run / "model.onco").exists():
        return "save"
    events = journal(run)
    begun = [event["name"] for event in events if event["event"] == "phase"]
    return begun[-1] if begun else ("search" if events else "start")


def trials_of(run: Path) -> list[tuple[Any, ...]]:
    """Return what the trials of a run were and found, without times."""
    return [
        (event["origin"], json.dumps(event["config"], sort_keys=True), event["budget"], event["loss"])
        for event in journal(run)
        if event["event"] == "trial"
    ]


def incumbent(run: Path) -> tuple[Any, ...]:
    """Return the best fully trained trial of a run."""
    full = [trial for trial in trials_of(run) if trial[2] == 1.0 and trial[3] is not None]
    return min(full, key=lambda trial: trial[3])


def judge(run: Path, counts: Counts, *, n_kills: int, n_jobs: int, hit_worker: bool) -> None:
    """Count what went wrong in an ended run."""
    events = journal(run)
    names = [event["name"] for event in events if event["event"] == "fold"]
    trials = [event for event in events if event["event"] == "trial"]
    ids = [trial["id"] for trial in trials]
    log = run.with_suffix(".log")
    lost = len(log.read_text().splitlines()) - len(set(names))
    counts.lost_fits += lost
    counts.over_allowance += max(0, lost - n_kills * n_jobs)
    counts.counted_twice += len(names) - len(set(names)) + len(ids) - len(set(ids))
    n_failed = sum(trial["status"] == "failed" for trial in trials)
    counts.other_failures += max(0, n_failed - (n_kills if hit_worker else 0))


def compare(run: Path, reference: Path, counts: Counts) -> None:
    """Count how an ended run differs from the undisturbed one."""
    counts.other_incumbents += incumbent(run) != incumbent(reference)
    got, wanted = trials_of(run), trials_of(reference)
    counts.other_trials += got != wanted
    for place, pair in enumerate(zip_longest(got, wanted)):
        if pair[0] != pair[1]:
            print(f"{run.name}: trial {place} is {pair[0]}, undisturbed it is {pair[1]}", flush=True)
            break
    table = "evaluation/predictions.csv"
    counts.other_predictions += (run / table).read_bytes() != (reference / table).read_bytes()


def report(counts: Counts, seconds: float) -> None:
    """Print the counts."""
    rows = {
        "runs ended": counts.runs,
        "kills of the run / of a worker": f"{counts.run_kills} / {counts.worker_kills}",
        "killed during": ", ".join(f"{name} {n}" for name, n in counts.phases.most_common()),
        "completed fits lost (done again)": counts.lost_fits,
        "  more than one a worker and kill": counts.over_allowance,
        "recorded lines that vanished": counts.vanished,
        "folds or trials counted twice": counts.counted_twice,
        "runs with another incumbent": counts.other_incumbents,
        "runs with other trials or losses": counts.other_trials,
        "runs with other predictions": counts.other_predictions,
        "failed trials beyond worker kills": counts.other_failures,
        "seconds": round(seconds),
        "verdict": "good" if counts.is_good else "NOT GOOD",
    }
    for name, value in rows.items():
        print(f"{name:36s}{value}", flush=True)
