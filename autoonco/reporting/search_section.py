"""How the search went: the curve, the best trials, what failed and why, where the compute went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autoonco.evaluation.tables import leaderboard_table
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots
from autoonco.reporting.blocks import (
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

TOP = 20
MOST_REASONS = 30
_STATUSES = ("success", "failed", "timeout", "memory", "skipped")

Trials = Sequence[Mapping[str, Any]]


def search_section(data: RunData) -> Section:
    """Return the section on the final search; the outer folds' searches are only counted."""
    trials = [trial for trial in data.trials if trial["scope"] == "final"]
    outer = len(data.trials) - len(trials)
    paragraphs = (
        [f"The outer folds ran {count(outer, 'trial')} of their own, not shown here."] if outer else []
    )
    if not trials:
        paragraphs.append("No trial of the final search has finished yet.")
        return Section(id="search", title="Search", paragraphs=tuple(paragraphs))
    blocks: list[Table | Picture] = []
    if any(trial.get("score") is not None for trial in trials):
        blocks.append(_curve(trials, data.metric))
    blocks += [_leaderboard_block(trials, data.metric), _status_block(trials)]
    if any(trial["status"] != "success" for trial in trials):
        blocks.append(_failures_block(trials))
    blocks += _time_blocks(trials, data.models)
    return Section(id="search", title="Search", paragraphs=tuple(paragraphs), blocks=tuple(blocks))


def _curve(trials: Trials, metric: str) -> Picture:
    best: dict[str, float] = {}
    for trial in trials:
        if trial.get("score") is not None and trial["budget"] >= 1:
            family = trial["family"]
            best[family] = max(trial["score"], best.get(family, trial["score"]))
    said = "; ".join(f"{title(name)}: best {number(score)}" for name, score in sorted(best.items()))
    return picture(
        plots.search_curve(trials, metric),
        name="search",
        heading="Inner score of every trial against time",
        description=f"{count(len(trials), 'trial')}. {said or 'No trial at full budget yet'}.",
        caption=(
            "Inner score of every trial against time. Filled: full budget, which the lines follow. Hollow: part "
            "of the budget, scored after less training or on fewer folds. Inner scores choose, so they flatter."
        ),
    )


def _leaderboard_block(trials: Trials, metric: str) -> Table:
    board = leaderboard_table(trials)
    rows = [
        (
            int(row["rank"]),
            title(row["family"]),
            row["score"],
            Cell(text=f"{row['budget']:.2g}", number=row["budget"]),
            row["status"],
            Cell(text=duration(row["seconds"]), number=row["seconds"]),
            row["config"],
        )
        for _, row in board.head(TOP).iterrows()
    ]
    columns = ["Rank", "Family", f"Inner {get_metric(metric).title}", "Budget", "Status", "Time", "Config"]
    note = f"All {count(len(board), 'trial')} are in tables/leaderboard.csv." if len(board) > TOP else ""
    return table("leaderboard", f"Best {min(TOP, len(board))} trials", columns, rows, note)


def _status_block(trials: Trials) -> Table:
    tally = pd.crosstab([t["family"] for t in trials], [t["status"] for t in trials])
    order = [status for status in _STATUSES if status in tally]
    order += [str(status) for status in tally if status not in order]
    rows = [[title(str(name)), *map(int, row[order]), int(row.sum())] for name, row in tally.iterrows()]
    return table("statuses", "Trials by how they ended", ["Family", *order, "all"], rows)


def _failures_block(trials: Trials) -> Table:
    tally = Counter(
        (t["family"], t["status"], without_paths(str(t.get("reason") or "no reason recorded")))
        for t in trials
        if t["status"] != "success"
    )
    common = tally.most_common(MOST_REASONS)
    rows = [(title(family), status, n, reason) for (family, status, reason), n in common]
    note = f"The {MOST_REASONS} most frequent of {len(tally)} reasons." if len(tally) > MOST_REASONS else ""
    return table(
        "failures", "Why trials gave no result", ["Family", "Ended as", "Trials", "Reason"], rows, note
    )


def _time_blocks(trials: Trials, models: Trials) -> list[Table | Picture]:
    seconds = plots.seconds_per_family(trials, models)
    rows = [
        [Cell(text=title(str(name)))] + [Cell(text=duration(x), number=x) for x in (*row, row.sum())]
        for name, row in seconds.iterrows()
    ]
    chart = picture(
        plots.time_per_family(trials, models),
        name="time",
        heading="Where the compute went",
        description="Seconds by family. " + "; ".join(f"{row[0].text}: {row[-1].text}" for row in rows) + ".",
        caption="Where the compute went: trials with a result, trials without, refit of each family's best model.",
    )
    columns = ["Family", "Trials with a result", "Trials without", "Refit", "All"]
    return [chart, table("compute", "Compute by family", columns, rows)]
