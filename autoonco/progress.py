"""What a person at a terminal sees of a search: a live table, or a line now and then; and what is written of cases."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from autoonco.search.problem import BEFORE, Progress
from autoonco.search.trial import Status, Trial, best_trial
from autoonco.terminal import clock, is_live, print_line

if TYPE_CHECKING:
    import pandas as pd

_LINE_EVERY_S, _LINES = 15.0, 200
"""Seconds between two lines at least, and how many a search has at most."""

_FULL = 72
"""Characters from which on the table has place for all of its columns."""
_WIDE_ONLY = ("best, any budget", "time")


class ProgressTable:
    """An observer of searches that draws on `console`; use it as a context manager.

    Not with `notes`, what is known before the search is left to whoever says it otherwise.
    """

    def __init__(self, console: Console, *, notes: bool = True) -> None:
        self._console, self._notes = console, notes
        self._live: Live | None = None
        self._last_line = -_LINE_EVERY_S

    def __enter__(self) -> Self:
        if is_live(self._console):
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def reading(self, done: int, n_cases: int) -> None:
        """Show how many cases have been read for the data check, where a terminal can."""
        if self._live is not None:
            shown = Table.grid("", "", padding=(0, 1))
            bar = ProgressBar(total=n_cases, completed=done, width=40)
            shown.add_row("Reading the cases", bar, f"{done}/{n_cases}")
            self._live.update(shown)

    def __call__(self, progress: Progress) -> None:
        """Show `progress`."""
        for note in progress.notes if self._notes else ():
            print_line(self._console, note)
        if progress.scope == BEFORE:
            return
        if self._live is not None:
            self._live.update(progress_table(progress, width=self._console.width))
        elif time.monotonic() - self._last_line >= max(_LINE_EVERY_S, progress.limit_s / _LINES):
            self._last_line = time.monotonic()
            print_line(self._console, progress_line(progress))


def progress_table(progress: Progress, *, now: datetime | None = None, width: int = _FULL) -> Table:
    """Return the table of a search: a row a family, the budget left, and when it will end at the latest.

    `now` is the time of day, by default the clock's; `width` is that of the terminal, which may have no place for all.
    """
    left_s = max(0.0, progress.limit_s - progress.elapsed_s)
    ends = (now or datetime.now()) + timedelta(seconds=left_s)
    ok = sum(trial.status is Status.SUCCESS for trial in progress.trials)
    bad = sum(trial.has_failed for trial in progress.trials)
    table = Table(
        title=f"search '{progress.scope}': {clock(progress.elapsed_s)} spent, {clock(left_s)} left",
        caption=f"{ok} trials ok, {bad} failed; the search ends at {ends:%H:%M}, then the best are refitted",
    )
    rows = [_family_cells(progress, family) for family in progress.families]
    names = ["best, all folds", "best, any budget", "done", "failed", "time", "now"]
    shown = names if width >= _FULL else [name for name in names if name not in _WIDE_ONLY]
    table.add_column("family", no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right")
    for family, cells in zip(progress.families, rows, strict=True):
        table.add_row(family, *(cells[name] for name in shown))
    return table


def _family_cells(progress: Progress, family: str) -> dict[str, str]:
    """Return what is shown of a family, by column."""
    trials = [trial for trial in progress.trials if trial.family == family]
    whole = best_trial(map(vars, trials))
    return {
        "best, all folds": "-" if whole is None else f"{whole['score']:.3f}",
        "best, any budget": _best(trials),
        "done": str(sum(trial.status is Status.SUCCESS for trial in trials)),
        "failed": str(sum(trial.has_failed for trial in trials)),
        "time": clock(sum(trial.seconds for trial in trials)),
        "now": "running" if family in progress.running else "",
    }


def progress_line(progress: Progress) -> str:
    """Return the same in a line."""
    parts = []
    for family in progress.families:
        trials = [trial for trial in progress.trials if trial.family == family]
        parts.append(f"{family} {_best(trials)} ({len(trials)} trials)")
    bad = sum(trial.has_failed for trial in progress.trials)
    parts += [f"{bad} failed"] if bad else []
    spent = f"{clock(progress.elapsed_s)} of {clock(progress.limit_s)}"
    return f"[{progress.scope}] {spent}: {', '.join(parts)}"


def _best(trials: list[Trial]) -> str:
    scores = [trial.score for trial in trials if trial.score is not None]
    return f"{max(scores):.3f}" if scores else "-"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a table of predictions holds: how many cases, how many that failed, and what the first failure says."""

    n_cases: int = 0
    n_failed: int = 0
    first: str = ""


def write_predictions(tables: Iterable[pd.DataFrame], output: Path) -> Written:
    """Write tables of predictions to one CSV file as they come; what was written stays after a stop.

    A file of that name is left alone until the first table is there: a wrong option loses no earlier answer.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    found, waiting = Written(), iter(tables)
    first = next(waiting, None)
    with output.open("w", encoding="utf-8", newline="") as stream:
        for table in () if first is None else chain([first], waiting):
            table.to_csv(stream, index=False, header=found.n_cases == 0)
            stream.flush()
            bad = table.loc[table["status"] == "error", "message"]
            found = Written(
                n_cases=found.n_cases + len(table),
                n_failed=found.n_failed + len(bad),
                first=found.first or next(iter(bad), ""),
            )
    return found
