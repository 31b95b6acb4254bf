"""The sections of the page below the summary, each a few tables and pictures made from a run's data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autoonco.evaluation.tables import CLEAN, TEST, leaderboard_table
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots
from autoonco.reporting.blocks import (
    Cell,
    Picture,
    Table,
    bounds,
    count,
    duration,
    listing,
    number,
    p_value,
    picture,
    scrubbed,
    table,
    without_paths,
)
from autoonco.reporting.read_run import RunData

TOP = 20
MOST_ROWS = 50
_TITLES = {
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "log_loss": "Log loss",
    "brier": "Brier score",
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: paragraphs first, then tables and pictures in order, then foldable JSON."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    blocks: tuple[Table | Picture, ...] = ()
    folded: Mapping[str, str] | None = None


def families_section(data: RunData, evaluation: pd.DataFrame, comparison: pd.DataFrame) -> Section:
    """Return the figures of each family on the test cases, and who differs from whom."""
    if data.predictions is None:
        text = "No test case has been predicted, so there is nothing to compare."
        return Section(id="families", title="Families", paragraphs=(text,))
    blocks: list[Table | Picture] = [_evaluation_block(data, evaluation), _forest(evaluation)]
    blocks.append(_roc(data, evaluation))
    if not comparison.empty:
        blocks.append(_comparison_block(comparison))
    return Section(id="families", title="Families", blocks=tuple(blocks))


def _evaluation_block(data: RunData, evaluation: pd.DataFrame) -> Table:
    fixed = {"model", "subset", "n", "n_patients", "n_folds", "method"}
    names = [c for c in evaluation if c not in fixed and not str(c).endswith(("_lower", "_upper"))]
    heads = ["AUC" if n == "auc" else _TITLES.get(n) or get_metric(n).title for n in names]
    has_clean = (evaluation["subset"] == CLEAN).any()
    rows = [
        (
            title(row["model"]),
            *([row["subset"].replace("test, ", "").replace(TEST, "all")] if has_clean else []),
            int(row["n"]),
            *(bounds(row[n], row[f"{n}_lower"], row[f"{n}_upper"]) for n in names),
        )
        for _, row in evaluation.iterrows()
    ] columns = ["Model", *(["Cases"] if has_clean else []), "n", *heads] return table("evaluation",
    "Figures on the test cases, with 95 % intervals", columns, rows, _note(data, evaluation))


def _note(data: RunData, evaluation: pd.DataFrame) -> str:
    if len(data.classes) == 2:
        text = (
            f"Positive class: {data.classes[1]}. Sensitivity, specificity and balanced accuracy are those of the "
            "most probable class. "
        )
    else:
        text = "The AUC is the mean over classes of one against the rest. "
    text += f"Interval of the AUC: {listing(sorted(set(evaluation['method'])))}. "
    if (evaluation["n_folds"] > 1).any():
        return text + (
            "Figures are means over the outer folds, intervals the corrected resampled t over folds; cases "
            "pooled across folds may not be resampled, for they were predicted by different models."
        )
    return text + "Other intervals: BCa bootstrap of patients."


def _forest(evaluation: pd.DataFrame) -> Picture:
    lines = [
        f"{title(row.model)}, {row.subset}: {bounds(row.auc, row.auc_lower, row.auc_upper).text}"
        for row in evaluation.itertuples()
    ]
    return picture(
        plots.forest(evaluation),
        name="forest",
        heading="AUC of each model on the test cases",
        description="; ".join(lines) + ".",
        caption="Filled: all test cases. Hollow: clean cases alone. Vertical line at 0.5: chance.",
    )


def _roc(data: RunData, evaluation: pd.DataFrame) -> Picture:
    assert data.predictions is not None
    present = set(data.predictions["model"])
    models = [m["name"] for m in data.models if m["kind"] != "baseline" and m["name"] in present]
    models = models or sorted(present)
    aucs = evaluation[evaluation["subset"] == TEST].set_index("model")["auc"]
    said = "; ".join(f"{title(name)}: AUC {number(aucs[name])}" for name in models)
    averaged = len(data.classes) > 2 or data.predictions["fold"].nunique() > 1
    positive = f" Positive class: {data.classes[1]}." if len(data.classes) == 2 else ""
    return picture(
        plots.roc(data.predictions, evaluation, models), name="roc", heading="ROC curves on the test cases",
        description=f"Sensitivity against false positive rate. {said}.", caption="Curves are means over
        classes and outer folds." if averaged else f"All test cases.{positive}",
    )


def _comparison_block(comparison: pd.DataFrame) -> Table:
    rows = [
        (
            f"{title(row.first)} − {title(row.second)}",
            bounds(row.difference, row.lower, row.upper),
            p_value(row.p),
            p_value(row.p_holm),
            p_value(row.p_equivalent),
        )
        for row in comparison.itertuples()
    ]
    margin = f"{comparison['margin'].iloc[0]:g}"
    note = (
        f"Method: {listing(sorted(set(comparison['method'])))}. p (Holm): adjusted for {count(len(rows), 'pair')}. "
        f"p of equivalence: two one-sided tests at a margin of {margin} AUC; small means shown to be equivalent."
    )
    columns = ["Pair", "AUC difference", "p", "p (Holm)", f"p of equivalence within {margin}"]
    return table("comparison", "Differences in AUC, with 95 % intervals", columns, rows, note)


def search_section(data: RunData) -> Section:
    """Return how the final search went: the curve, the best trials, what failed and where time was spent."""
    trials = [trial for trial in data.trials if trial["scope"] == "final"]
    outer = len(data.trials) - len(trials)
    paragraphs = [f"Outer folds ran {count(outer, 'trial')} of their own, not shown."] if outer else []
    if not trials:
        text = "No trial of the final search has finished yet."
        return Section(id="search", title="Search", paragraphs=(*paragraphs, text))
    blocks: list[Table | Picture] = []
    if any(trial.get("score") is not None for trial in trials):
        blocks.append(_curve(trials, data.metric))
    blocks += [_leaderboard_block(trials, data.metric), _status_block(trials)]
    failures = _failures_block(trials)
    blocks += [failures] if failures.rows else []
    blocks += _time_blocks(trials, data.models)
    return Section(id="search", title="Search", paragraphs=tuple(paragraphs), blocks=tuple(blocks))


def _curve(trials: list[Any], metric: str) -> Picture:
    best = {}
    for trial in trials:
        if trial.get("score") is not None and trial["budget"] >= 1:
            best[trial["family"]] = max(trial["score"], best.get(trial["family"], -np.inf))
    said = "; ".join(f"{title(name)}: best {number(score)}" for name, score in sorted(best.items()))
    return picture(
        plots.search_curve(trials, metric), name="search", heading="Inner score of every trial against
        time", description=f"{count(len(trials), 'trial')}. {said or 'No trial at full budget yet'}.",
        caption="Filled: trials at full budget, which the lines follow. Hollow: trials at part of the
        budget, " "whose scores come from less training or fewer folds. Inner scores chose the models: they
        are optimistic.",
    )


def _leaderboard_block(trials: list[Any], metric: str) -> Table:
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
    note = f"All {count(len(board), 'trial')}: tables/leaderboard.csv." if len(board) > TOP else ""
    return table("leaderboard", f"The best {min(TOP, len(board))} trials", columns, rows, note)


def _status_block(trials: list[Any]) -> Table:
    tally = pd.crosstab([t["family"] for t in trials], [t["status"] for t in trials]) order = [s for s in
    ("success", "failed", "timeout", "memory", "skipped") if s in tally] order += [status for status in
    tally if status not in order] rows = [(title(str(name)), *(int(n) for n in row[order]), int(row.sum()))
    for name, row in tally.iterrows()]
    return table("statuses", "Trials by how they ended", ["Family", *map(str, order), "All"], rows)


def _failures_block(trials: list[Any]) -> Table:
    tally = Counter(
        (t["family"], t["status"], without_paths(str(t.get("reason") or "no reason recorded")))
        for t in trials
        if t["status"] != "success"
    ) rows = [(title(family), status, n, reason) for (family, status, reason), n in
    tally.most_common(MOST_ROWS)]
    return table("failures", "Why trials gave no result", ["Family", "Ended as", "Trials", "Reason"], rows)


def _time_blocks(trials: list[Any], models: Any) -> list[Table | Picture]:
    seconds = plots.seconds_per_family(trials, models)
    rows = [
        (title(str(name)), *(Cell(text=duration(part), number=part) for part in (*row, row.sum())))
        for name, row in seconds.iterrows()
    ]
    said = "; ".join(f"{row[0]}: {row[-1].text}" for row in rows)
    chart = picture(
        plots.time_per_family(trials, models),
        name="time",
        heading="Where the compute went",
        description=f"Seconds by family. {said}.",
        caption="Trials that gave a score, trials that did not, and the refit of the family's best model.",
    )
    columns = ["Family", "Trials with a result", "Trials without", "Refit", "All"]
    return [chart, table("compute", "Compute by family", columns, rows)]


def data_section(data: RunData) -> Section:
    """Return what is known of the data: counts, geometry, findings of the checks, families left out."""
    blocks: list[Table | Picture] = []
    print_ = data.fingerprint
    if print_ is not None:
        shares = zip(print_.classes, print_.class_counts, strict=True) total = max(1,
        sum(print_.class_counts)) counts = [(name, n, Cell(text=f"{100 * n / total:.0f} %", number=n /
        total)) for name, n in shares] blocks.append(table("classes", "Training cases by class", ["Class",
        "Cases", "Share"], counts)) blocks.append(table("fingerprint", "Fingerprint of the training cases",
        ["Fact", "Value"], _print_rows(print_)))
    n = data.run.get("n") or {}
    if n:
        words = {"cases": "usable cases", "train": "training cases", "test": "test cases", "excluded": "left
        out"} flow = [(words.get(str(name), str(name)).capitalize(), value) for name, value in n.items()]
        blocks.append(table("flow", "Flow of cases", ["What", "Number"], flow))
    blocks += [_checks_block(data.checks)] if len(data.checks) else []
    if data.families:
        rows = [(title(name), "no" if why else "yes", why or "") for name, why in data.families.items()]
        blocks.append(table("applicability", "Which families took part", ["Family", "Took part", "Why not"],
        rows))
    paragraphs = () if len(data.checks) else ("The checks of the data found nothing to report.",)
    return Section(id="data", title="Data", paragraphs=paragraphs, blocks=tuple(blocks))


def _print_rows(print_: Any) -> list[tuple[str, str]]:
    def axes(values: Any) -> str:
        return "unknown" if values is None else " × ".join(f"{value:.3g}" for value in values)

    channels = [f"{name} ({print_.intensity.get(name, 'unknown')})" for name in print_.channels]
    return [
        ("Cases, patients", f"{print_.n_cases}, {print_.n_patients}"),
        ("Dimensions", f"{print_.ndim}D, {'colour' if print_.is_colour else 'grey'}"),
        ("Channels (unit of intensity)", listing(channels)),
        ("Median size, voxels", axes(print_.shape)),
        ("Median spacing, mm", axes(print_.spacing_mm)),
        ("Masks", "every case" if print_.has_mask else "not for every case"),
        ("Median lesion, mm", axes(print_.lesion_mm)),
        ("Clinical columns", listing(print_.clinical)),
        ("Sites named", "yes" if print_.has_site else "no"),
    ]


def _checks_block(checks: pd.DataFrame) -> Table:
    order = checks["severity"].map({"error": 0, "warning": 1, "note": 2}).fillna(3)
    shown = checks.assign(_order=order).sort_values("_order", kind="stable").head(MOST_ROWS)
    rows = [
        (row.code, row.severity, _row_cell(row.row), row.message, row.remedy) for row in
        shown.itertuples(index=False)
    ] note = f"The first {MOST_ROWS} of {len(checks)}; all: tables/checks.csv." if len(checks) > MOST_ROWS
    else "" return table("checks", "Findings of the checks", ["Code", "Severity", "Row", "Finding",
    "Remedy"], rows, note)


def _row_cell(row: str) -> Cell:
    try:
        return Cell(text=f"{float(row):.0f}", number=float(row))
    except ValueError:
        return Cell(text=row or "–")


def reproducibility_section(data: RunData) -> Section:
    """Return what a rerun needs: command, seed, versions, settings, winning configs."""
    run = data.run
    facts = [
        ("Started", run.get("started")),
        ("Command", " ".join(map(str, run["command"])) if run.get("command") else "called from Python"),
        ("Seed", str(run.get("seed", "unknown"))),
        ("Score maximised", get_metric(data.metric).title),
        ("Evaluation", data.evaluation),
        ("Time limit", duration(run.get("time_limit_s"))),
        ("Processes", str(run.get("n_jobs", "unknown"))),
        ("Device", run.get("device")),
        *((f"Hardware: {name}", str(value)) for name, value in (run.get("hardware") or {}).items()),
    ] versions = sorted((run.get("versions") or {}).items()) blocks = [table("rerun", "What a rerun needs",
    ["What", "Value"], facts)] blocks += [table("versions", "Versions", ["Package", "Version"], versions)]
    if versions else [] folded = {"Settings": run.get("settings") or {}} folded |= {f"Config:
    {title(m['name'])}": list(m.get("members") or ()) for m in data.models if m.get("members")} texts =
    {name: json.dumps(scrubbed(value), indent=2, ensure_ascii=False) for name, value in folded.items()}
    return Section(id="reproducibility", title="Reproducibility", blocks=tuple(blocks), folded=texts)
