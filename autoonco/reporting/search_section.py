"""How the search went: the curve, the best trials, what failed and why, where the compute went."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autoonco.evaluation.tables import config_line, leaderboard_table
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots
from autoonco.reporting.blocks import (
    Block,
    Cell,
    Picture,
    Section,
    Table,
    count,
    duration,
    number,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.read_run import RunData
from autoonco.reporting.search_details import detail_blocks, left_out_blocks, over_time, rungs_picture
from autoonco.search.trial import best_trial

TOP = 20
MOST_REASONS = 30
_MOST_PARTS = 5
_TELLING = (
    "mode",
    "network",
    "pretrained",
    "learner",
    "head:learner",
    "size",
    "view",
    "selection",
    "epochs",
    "crop",
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_STATUSES = ("success", "stopped", "failed", "timeout", "memory", "skipped")

Trials = Sequence[Mapping[str, Any]]


def search_section(data: RunData, importance: pd.DataFrame) -> Section:
    """Return the section on the final search; the outer folds' searches are only counted.

    `importance` is the table of `autoonco.reporting.importance`, maybe empty.
    """
    final = [trial for trial in data.trials if trial["scope"] == "final"]
    trials = [trial for trial in final if trial.get("origin") != "finalist"]
    outer = len(data.trials) - len(final)
    paragraphs = (
        [f"The outer folds ran {count(outer, 'trial')} of their own, not shown here."] if outer else []
    )
    if not trials:
        paragraphs.append("No trial of the final search has finished yet.")
        blocks = tuple(left_out_blocks(data))
        return Section(id="search", title="Search", paragraphs=tuple(paragraphs), blocks=blocks)
    shown: list[Block] = []
    scored = [trial for trial in trials if trial.get("score") is not None]
    if scored:
        board = leaderboard_table(final)
        shown.append(_curve(scored, data.metric))
    shown.append(over_time(trials))
    if scored:
        shown.append(_leaderboard_block(board, trials, data.metric))
    shown.append(_status_block(trials))
    if any(trial["status"] != "success" for trial in trials):
        shown.append(_failures_block(trials))
    # narrow pictures two by two, as they stand side by side
    shown += [
        _time_picture(final, data.models),
        *rungs_picture(data, trials),
        _time_table(final, data.models),
    ]
    if data.rungs is not None and len(data.rungs):
        shown.append(_rungs_block(data.rungs))
    shown += [*detail_blocks(data, trials, importance), *left_out_blocks(data)]
    return Section(id="search", title="Search", paragraphs=tuple(paragraphs), blocks=tuple(shown))


def _curve(trials: Trials, metric: str) -> Picture:
    families = sorted({str(trial["family"]) for trial in trials})
    best = [best_trial(trial for trial in trials if trial["family"] == family) for family in families]
    said = "; ".join(f"{title(one['family'])}: best {number(one['score'])}" for one in best if one)
    return picture(
        plots.search_curve(trials, metric),
        name="search",
        heading="Inner score of every trial against time",
        description=f"{count(len(trials), 'trial')} with a score. {said or 'No trial at full budget yet'}.",
        caption=(
            "Inner score of every trial against time. Filled: full budget, which the lines follow. Hollow: part "
            "of the budget, scored after less training or on fewer folds. Inner scores choose, so they flatter."
        ),
    )


def _leaderboard_block(board: pd.DataFrame, trials: Trials, metric: str) -> Table:
    board = board[board["score"].notna()]
    configs = {trial["id"]: trial["config"] for trial in trials}
    rows: list[tuple[Any, ...]] = [
        (
            int(row["rank"]),
            title(row["family"]),
            row["score"],
            Cell(text="" if pd.isna(row["fresh_score"]) else number(row["fresh_score"])),
            Cell(text=f"{row['budget']:.2g}", number=row["budget"]),
            Cell(text=duration(row["seconds"]), number=row["seconds"]),
            short_config(configs[row["id"]]),
        )
        for _, row in board.head(TOP).iterrows()
    ]
    columns = [
        "Rank",
        "Family",
        f"Inner {get_metric(metric).title}",
        "On fresh folds",
        "Budget",
        "Time",
        "Config, in short",
    ]
    best = min(TOP, len(board))
    note = "All trials with their whole configs are in tables/leaderboard.csv."
    if board["fresh_score"].notna().any():
        chose = "that score chose among them"
        if any(trial.get("dear") for trial in trials):
            chose += (
                ", unless what was too dear for all folds led: then all were compared on the folds it had"
            )
        note = f"The finalists were scored again on folds that the search never saw; {chose}. {note}"
    else:
        fresh = columns.index("On fresh folds")
        del columns[fresh]
        rows = [row[:fresh] + row[fresh + 1 :] for row in rows]
    return table("leaderboard", f"Best {count(best, 'trial')}", columns, rows, note)


def short_config(config: Mapping[str, Any]) -> str:
    """Return the few parts of a config that tell most: what is off is left out, named choices come first.

    Examples
    --------
    >>> short_config({"C": 0.5, "learner": "svm", "selection": "none", "mixup": False, "svm:gamma": 0.01})
    'learner=svm, C=0.5, svm:gamma=0.01'
    """
    on = {name: value for name, value in config.items() if value is not False and value != "none"}
    first = [name for name in _TELLING if name in on]
    names = [*first, *sorted(set(on) - set(first), key=lambda name: (":" in name, name))]
    more = ", …" if len(names) > _MOST_PARTS else ""
    return config_line({name: on[name] for name in names[:_MOST_PARTS]}) + more


def _status_block(trials: Trials) -> Table:
    tally = pd.crosstab([t["family"] for t in trials], [t["status"] for t in trials])
    order = [status for status in _STATUSES if status in tally]
    order += [str(status) for status in tally if status not in order]
    rows = [[title(str(name)), *map(int, row[order]), int(row.sum())] for name, row in tally.iterrows()]
    return table("statuses", "Trials by how they ended", ["Family", *order, "all"], rows)


def _failures_block(trials: Trials) -> Table:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for trial in trials:
        if trial["status"] != "success":
            reason = without_paths(str(trial.get("reason") or "no reason recorded"))
            key = (trial["family"], trial["status"], _NUMBER.sub("0", reason))
            groups.setdefault(key, []).append(reason)
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))
    rows = [
        (title(family), status, len(said), said[0] if len(set(said)) == 1 else f"{said[0]} (numbers vary)")
        for (family, status, _), said in largest[:MOST_REASONS]
    ]
    note = f"The {MOST_REASONS} most frequent of {len(groups)} reasons." if len(groups) > MOST_REASONS else ""
    return table(
        "failures",
        "Trials that did not come to their end, and why",
        ["Family", "Ended as", "Trials", "Reason"],
        rows,
        note,
    )


def _rungs_block(rungs: pd.DataFrame) -> Table:
    rows = [
        (
            title(row["family"]),
            Cell(text=f"{row['budget']:.2g}", number=row["budget"]),
            int(row["n"]),
            row["spearman"],
        )
        for _, row in rungs.iterrows()
    ]
    note = (
        "Spearman's correlation over the configs that were tried at both budgets. Only what looked good was promoted, "
        "so the figures are lower than over all configs."
    )
    columns = ["Family", "Budget", "Configs", "Rank correlation with the full training"]
    return table("rungs", "What partial trainings foretell", columns, rows, note)


def _time_picture(trials: Trials, models: Trials) -> Picture:
    seconds = plots.seconds_per_family(trials, models).sum(axis=1)
    said = "; ".join(f"{title(str(name))}: {duration(float(all_))}" for name, all_ in seconds.items())
    return picture(
        plots.time_per_family(trials, models),
        name="time",
        heading="Where the compute went",
        description=f"Seconds by family. {said}.",
        caption="Where the compute went: trials with a result, trials without, refit of each family's best model.",
    )


def _time_table(trials: Trials, models: Trials) -> Table:
    rows = [
        [Cell(text=title(str(name)))] + [Cell(text=duration(x), number=x) for x in (*row, row.sum())]
        for name, row in plots.seconds_per_family(trials, models).iterrows()
    ]
    columns = ["Family", "Trials with a result", "Trials without", "Refit", "All"]
    return table("compute", "Compute by family", columns, rows)
