"""The live table of a search, and what stands in its place where there is no terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime

import pytest
from rich.console import Console

from autoonco.families.contract import Fidelity
from autoonco.progress import ProgressTable, progress_table
from autoonco.search.problem import BEFORE, Progress
from autoonco.search.trial import Origin, Status, Trial


def trial(number: int, family: str, status: Status, score: float | None, budget: float = 1.0) -> Trial:
    return Trial(
        id=number, scope="final", family=family, config={}, budget=budget, fidelity=Fidelity(folds=1), status=status,
        seconds=40.0, elapsed_s=40.0, origin=Origin.SEARCH, seed=0, score=score,
    )  # fmt: skip


PROGRESS = Progress(
    scope="final",
    families=["pretrained2d", "radiomics"],
    elapsed_s=90.0,
    limit_s=3690.0,
    trials=[
        trial(0, "radiomics", Status.SUCCESS, 0.81),
        trial(1, "radiomics", Status.SUCCESS, 0.92, budget=0.3),
        trial(2, "pretrained2d", Status.MEMORY, None),
        trial(3, "radiomics", Status.STOPPED, 0.5),
    ],
    running=["pretrained2d"],
    notes=["A note [with brackets]."],
)


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(progress_table(PROGRESS, now=datetime(2026, 1, 1, 12, 0), width=width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [52, 72, 100])
def test_the_table_fits_and_keeps_the_names_of_families(width):
    text = drawn(width)
    assert max(map(len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if "radiomics" in line)
    assert "0.810" in row
    assert ("0.920" in row) == (width >= 72)
    assert "pretrained2d" in text
    assert "running" in text
    assert "1:30 spent, 1:00:00 left" in text
    assert "13:00" in text


def test_a_finalist_on_its_fresh_folds_is_not_the_best() -> None:
    again = replace(trial(4, "radiomics", Status.SUCCESS, 0.99), origin=Origin.FINALIST)
    console = Console(file=io.StringIO(), width=100)
    console.print(progress_table(replace(PROGRESS, trials=[*PROGRESS.trials, again]), width=100))
    assert "0.810" in console.file.getvalue()


def watched(**how: bool) -> str:
    console = Console(file=io.StringIO(), width=80, **how)
    with ProgressTable(console) as table:
        table(
            Progress(
                scope=BEFORE, families=(), elapsed_s=0, limit_s=1, trials=(), running=(), notes=("Before.",)
            )
        )
        table(PROGRESS)
        table(PROGRESS)
    return console.file.getvalue()


def test_without_a_terminal_there_is_a_line_now_and_then_and_no_escape_code():
    lines = watched(force_terminal=False).splitlines()
    assert lines[0] == "Before."
    assert lines[1] == "A note [with brackets]."
    assert lines[2].startswith(
        "[final] 1:30 of 1:01:30: pretrained2d - (1 trials), radiomics 0.920 (3 trials)"
    )
    assert sum(line.startswith("[final]") for line in lines) == 1
    assert "\x1b" not in "".join(lines)


def test_a_terminal_has_the_table_and_a_quiet_one_nothing():
    assert "\x1b" in watched(force_terminal=True)
    assert "best, all" in watched(force_terminal=True)
    assert watched(force_terminal=True, quiet=True) == watched(force_terminal=False, quiet=True) == ""


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    text = watched(force_terminal=True)
    assert "[final] 1:30" in text
    assert "best, all" not in text
