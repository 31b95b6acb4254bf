"""Commands that look at the folder of a run: its report, its models, how far it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from autoonco.data.plain import records
from autoonco.errors import AutoOncoError
from autoonco.options import Run, case_names, grouped
from autoonco.terminal import Showing, Talking, Terminal, clock, is_live, table_of

if TYPE_CHECKING:
    import pandas as pd

    from autoonco.evaluation.run_state import RunState

_LINE_EVERY_S, _TRIALS_SHOWN = 15.0, 10
_SHOWN = {
    "id": "id", "family": "family", "score": "score", "fresh_score": "fresh", "budget": "budget", "status": "status",
    "seconds": "seconds", "config": "config",
}  # fmt: skip
"""Columns of the leaderboard that people are shown, by the name they are shown under."""


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
    run: Run,
    terminal: Showing,
    trials: Annotated[bool, typer.Option("--trials", help="The trials of the search alone.")] = False,
    top: Annotated[int | None, typer.Option(help="Trials to show; 10, or all with --trials.")] = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="As CSV: the models, or with --trials the trials.")
    ] = False,
) -> None:
    """Show the models of a run with intervals, cost and seconds a case, and its best trials; also while it runs."""
    if csv and terminal.as_json:
        raise AutoOncoError("--csv and --json are two forms of one answer: give one of them.")
    from autoonco.reporting.result import Result

    result = Result(run)
    best = result.leaderboard()
    best = best.head((len(best) if trials else _TRIALS_SHOWN) if top is None else top)
    if csv:
        terminal.out.file.write((best if trials else result.models()).to_csv(index=False))
        return
    models, members = (None, None) if trials else (result.models(), result.members())
    if models is not None and members is not None:
        terminal.table(_models_shown(models), "Models on the test cases, with 95 % intervals")
        if len(members):
            names = {"inner_score": "inner", "predict_seconds": "s a case"}
            terminal.table(members.rename(columns=names), "Members of the ensemble that model.onco holds")
    terminal.table(best[list(_SHOWN)].rename(columns=_SHOWN), "Trials, by inner score")
    terminal.document(
        {"run": run, "trials": records(best)}
        | (
            {}
            if models is None or members is None
            else {"models": records(models), "members": records(members)}
        )
    )


def _models_shown(models: pd.DataFrame) -> pd.DataFrame:
    """Return the table as people read it."""
    import pandas as pd

    judged = models["auc"].notna()
    intervals = [
        f"{row.auc:.3f} [{row.auc_lower:.3f}, {row.auc_upper:.3f}]" if is_judged else "not judged"
        for row, is_judged in zip(models.itertuples(), judged, strict=True)
    ]
    return pd.DataFrame(
        {
            "model": models["model"],
            "test AUC": intervals,
            "n": models["n"],
            "inner": models["inner_score"],
            "search": models["search_seconds"].map(_time),
            "refit": models["refit_seconds"].map(_time),
            "s a case": models["predict_seconds"],
        }
    )


def _time(seconds: float) -> str | None:
    return clock(seconds) if seconds == seconds else None  # NaN alone is unlike itself


@grouped
def status(
    run: Run,
    terminal: Showing,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it ends.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks, with --watch.")] = 2.0,
) -> None:
    """Show how far a run is: running, finished, stopped, crashed or killed; its time, trials and files."""
    if watch and terminal.as_json:
        raise AutoOncoError("--watch draws for people, and --json is one document: give one of them.")
    from autoonco.evaluation.run_state import run_state

    if watch:
        _watch(run, terminal, every_s=every)
        return
    state = run_state(run)
    for line in _lines(state):
        terminal.say(line)
    terminal.table(_families(state), "Trials by family, of all searches together")
    terminal.document(state.to_json())


def _watch(run: Path, terminal: Terminal, *, every_s: float) -> None:
    """Follow a run until no process is at work in it: a picture that is drawn anew, or a line now and then."""
    from autoonco.evaluation.run_state import State, run_state

    state = run_state(run)
    if not is_live(terminal.out):
        terminal.say(state.sentence())
        while state.state is State.RUNNING:
            time.sleep(max(every_s, _LINE_EVERY_S))
            state = run_state(run)
            terminal.say(state.sentence())
        return
    with Live(_picture(state, terminal), console=terminal.out, auto_refresh=False) as live:
        while state.state is State.RUNNING:
            time.sleep(every_s)
            state = run_state(run)
            live.update(_picture(state, terminal), refresh=True)


def _picture(state: RunState, terminal: Terminal) -> Group:
    table = table_of(_families(state), "Trials by family, of all searches together", width=terminal.out.width)
    return Group(*map(Text, _lines(state)), table)


def _lines(state: RunState) -> list[str]:
    """Return what is told of a run, a line a fact."""
    which = f", search {state.search} of {state.n_searches}" if state.n_searches > 1 else ""
    found = [("state", f"{state.state}: {state.phase}{which}"), ("time", _spent(state))]
    if state.message:
        found.append(("", state.message))
    found.append(("evaluation", f"{state.evaluation}; the search maximises {state.metric}"))
    found.append(("trials", _ends(state)))
    if state.best is not None:
        best = state.best
        found.append(
            ("best", f"{best['score']:.3f} on inner folds, by {best['family']} (trial {best['trial']})")
        )
    found += [("failed", f"{one['family']}, trial {one['id']}: {one['reason']}") for one in state.failures]
    found += [("left out", f"{one.family}: {one.why_not}") for one in state.families if one.why_not]
    found += [(what, str(path)) for what, path in state.files.items()]
    return [f"{name:13}{text}" for name, text in found]


def _spent(state: RunState) -> str:
    limit = "" if state.limit_s is None else f" of {clock(state.limit_s)}"
    if state.left_s is None:
        return f"{clock(state.elapsed_s)}{limit}"
    ends = datetime.now() + timedelta(seconds=state.left_s)
    return (
        f"{clock(state.elapsed_s)}{limit}, {clock(state.left_s)} left; it ends at {ends:%H:%M} at the latest"
    )


def _ends(state: RunState) -> str:
    words: Sequence[tuple[str, str]] = (
        ("ok", "ok"),
        ("failed", "failed"),
        ("stopped", "stopped early"),
        ("skipped", "not started"),
    )
    return ", ".join(
        f"{state.total(what)} {said}" for what, said in words if what == "ok" or state.total(what)
    )


def _families(state: RunState) -> pd.DataFrame:
    import pandas as pd

    rows: list[dict[str, Any]] = [
        {
            "family": one.family,
            "ok": one.ok,
            "failed": one.failed,
            "stopped": one.stopped,
            "best": one.best_score,
            "time": clock(one.seconds),
        }
        for one in state.families
        if one.why_not is None
    ]
    return pd.DataFrame(rows, columns=["family", "ok", "failed", "stopped", "best", "time"])
