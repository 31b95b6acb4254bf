"""What a search learned: trials over time, budgets, hyperparameters that mattered, networks that were left out."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots_search as plots
from autoonco.reporting.blocks import (
    Block,
    Cell,
    Picture,
    Table,
    count,
    listing,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.importance import FEWEST, Trials, best_trials, scored
from autoonco.reporting.read_run import RunData

MOST_ROWS, MOST_PANELS = 8, 3


def detail_blocks(data: RunData, trials: Trials, found: pd.DataFrame) -> list[Block]:
    """Return what mattered in `trials`, those of the final search without its finalists, by the importances `found`."""
    if found.empty:
        return []
    return [_importance(found), _importance_table(found), _parallel(data, trials, found)]


def left_out_blocks(data: RunData) -> list[Block]:
    """Return which pretrained networks took no part, and why, like reasons together."""
    reasons = data.run.get("networks_left_out")
    if not isinstance(reasons, dict) or not reasons:
        return []
    groups: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):
        said = without_paths(str(reason)).replace(f" {name} ", " NAME ")
        groups.setdefault(said, []).append(str(name))
    rows = [(why, len(names), listing(names)) for why, names in groups.items()]
    caption = f"{count(len(reasons), 'pretrained network')} left out"
    return [table("left-out", caption, ["Why", "Number", "Networks"], rows)]


def searched_families(trials: Trials) -> list[str]:
    """Return the families with enough scored trials to learn from, the most tried first."""
    tally = Counter(t["family"] for t in trials)
    return [
        name
        for name, _ in sorted(tally.items(), key=lambda item: (-item[1], item[0]))
        if len(scored(trials, name)) >= FEWEST
    ]


def parallel_families(found: pd.DataFrame) -> list[str]:
    """Return the families whose configs are drawn side by side."""
    return list(dict.fromkeys(found["family"]))[:MOST_PANELS]


def over_time(trials: Trials) -> Picture:
    """Return how many trials of each family had ended by a time."""
    tally = Counter(t["family"] for t in trials if t["status"] != "skipped")
    return picture(
        plots.trials_over_time(trials),
        name="trials-over-time",
        heading="Trials of each family over time",
        description="; ".join(f"{title(name)}: {count(n, 'trial')}" for name, n in sorted(tally.items()))
        + ".",
        caption="Trials of each family that had ended by a time, however they ended.",
    )


def rungs_picture(data: RunData, trials: Trials) -> list[Picture]:
    """Return the scores at each budget, nothing where there is but one."""
    done = [t for t in trials if t.get("score") is not None and t["status"] == "success"]
    if len({round(t["budget"], 4) for t in done}) < 2:
        return []
    tally = Counter(round(t["budget"], 2) for t in done)
    said = "; ".join(f"budget {budget:g}: {count(n, 'trial')}" for budget, n in sorted(tally.items()))
    score = get_metric(data.metric).title
    shown = picture(
        plots.rungs(done, data.metric),
        name="budget-rungs",
        heading="Scores by budget",
        description=f"{said}.",
        caption=f"Inner {score} by budget; lines join the trials of one config that was promoted.",
    )
    return [shown]


def _importance(found: pd.DataFrame) -> Picture:
    said = []
    for family, own in found.groupby("family", sort=False):
        first = own.head(3)
        said.append(
            f"{title(str(family))}: "
            + ", ".join(
                f"{name} {100 * share:.0f} %"
                for name, share in zip(first["hyperparameter"], first["importance"], strict=True)
            )
        )
    return picture(
        plots.importance(found),
        name="importance",
        heading="Hyperparameters by importance",
        description="; ".join(said) + ".",
        caption=(
            "How much of the variance of the inner score each hyperparameter explains by itself at full budget, by a "
            "forest fitted to the trials (as functional ANOVA). What the bars leave to 1 is of interactions and chance."
        ),
    )


def _importance_table(found: pd.DataFrame) -> Table:
    rows = [
        (
            title(str(row["family"])),
            str(row["hyperparameter"]),
            Cell(text=f"{100 * row['importance']:.1f} %", number=row["importance"]),
            int(row["n"]),
            str(row["tried"]),
            str(row["best"]),
        )
        for _, own in found.groupby("family", sort=False)
        for row in own.head(MOST_ROWS).to_dict("records")
    ]
    note = "The best: a tenth of the full trainings, five at least. All are in tables/hyperparameter_importance.csv."
    columns = ["Family", "Hyperparameter", "Importance", "Trials", "Tried", "In the best"]
    return table("hyperparameters", "What mattered, and where the best configs lie", columns, rows, note)


def _parallel(data: RunData, trials: Trials, found: pd.DataFrame) -> Picture:
    families = parallel_families(found)
    said = []
    for family in families:
        best = best_trials(scored(trials, family))
        name = found.loc[found["family"] == family, "hyperparameter"].iloc[0]
        said.append(f"{title(family)}: {count(len(best), 'best config')}, led by {name}")
    return picture(
        plots.parallel(
            [t for name in families for t in scored(trials, name)], found, data.space, data.metric, families
        ),
        name="parallel",
        heading="The best configs side by side",
        description="; ".join(said) + ".",
        caption=(
            "Full trainings across their most important hyperparameters, at most 60 a family; the brighter the better, "
            "the score is the last axis. A line is broken where a hyperparameter is not used."
        ),
    )
