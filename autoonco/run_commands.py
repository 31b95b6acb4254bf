"""Commands that look at the folder of a run: its report, its models, how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoonco.options import Run, case_names, grouped
from autoonco.terminal import Showing, Talking


@grouped
def report(
    run: Run,
    terminal: Talking,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; RUN/report by default.")
    ] = None,
    include_ids: Annotated[
        Path | None, typer.Option(help="The run's manifest: cases are then called by their names too.")
    ] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no pixels of cases.")] = False,
) -> None:
    """Write the report of a finished, running or crashed run."""
    from autoonco.reporting.page import write_report

    ids = None if include_ids is None else case_names(include_ids)
    page = write_report(run, output, ids=ids, pictures=not no_pictures)
    terminal.say(f"report: {page}")


@grouped
def leaderboard(
    run: Run, terminal: Showing, top: Annotated[int, typer.Option(help="Rows to show.")] = 20
) -> None:
    """Show the best trials of a run, also while it runs."""
    from autoonco.reporting.result import Result

    table = Result(run).leaderboard().head(top)
    columns = ["rank", "family", "score", "budget", "status", "seconds", "config"]
    terminal.table(table[columns], "Leaderboard")


@grouped
def status(run: Run, terminal: Showing) -> None:
    """Show how far a run is, also while it runs."""
    from autoonco.reporting.result import Result

    terminal.say(Result(run).status())
