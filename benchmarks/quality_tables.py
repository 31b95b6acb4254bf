"""What the rows of the quality benchmark say: figures with intervals, ranks, and curves over time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from autoonco.metrics.intervals import auc_interval, bootstrap_interval

ROPE = 0.01
"""Two AUCs that differ by less are as good as each other."""
REFERENCE = "autoonco"
BALANCED = "balanced_accuracy"


def judge(path: Path) -> dict[str, float]:
    """Return AUC (macro one against rest) and balanced accuracy of a cell's predictions, with 95 % intervals."""
    with np.load(path, allow_pickle=False) as kept:
        y, proba, groups = kept["y"], kept["proba"], kept["groups"]
    area = auc_interval(y, proba, groups)
    balanced = bootstrap_interval(BALANCED, y, proba, groups)
    return {
        "auc": area.value, "auc_lower": area.lower, "auc_upper": area.upper,
        BALANCED: balanced.value, f"{BALANCED}_lower": balanced.lower, f"{BALANCED}_upper": balanced.upper,
    }  # fmt: skip


def write_tables(rows: pd.DataFrame, out: Path) -> str:
    """Write ``results.md`` and plots into `out`; return the Markdown."""
    longest = rows[rows["time_limit_s"] == rows["time_limit_s"].max()]
    parts = [figures(longest), ranks(longest), signed_ranks(longest), reached(rows), absent(rows)]
    text = "\n\n".join(part for part in parts if part)
    (out / "results.md").write_text(text + "\n", encoding="utf-8")
    draw(rows, out)
    return text


def figures(rows: pd.DataFrame) -> str:
    """Return a table a task: what each method reached, with the interval of its median repeat."""
    lines: list[str] = []
    for task, own in rows.groupby("task", sort=False):
        good = own[own["status"] == "ok"]
        if good.empty:
            continue
        sizes = f"{int(good['n_train'].max())} to learn from, {int(good['n_test'].max())} to judge"
        lines += [
            "", f"**{task}** ({sizes}, {good['repeat'].nunique()} repeats, {good['time_limit_s'].max():.0f} s)", "",
            "| method | AUC | 95 % interval of the median repeat | balanced accuracy | wall s | CPU s | peak MB "
            "| trials a minute | overhead |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        order = good.groupby("method")["auc"].mean().sort_values(ascending=False).index
        lines += [_figure_line(name, good[good["method"] == name]) for name in order]
    return "\n".join(lines).strip()


def _figure_line(name: str, own: pd.DataFrame) -> str:
    middle = own.sort_values("auc").iloc[(len(own) - 1) // 2]
    each = (
        f" ({', '.join(f'{value:.3f}' for value in own.sort_values('repeat')['auc'])})"
        if len(own) > 1
        else ""
    )
    trials = _mean(60 * own["trials"] / own["fit_s"], "{:.1f}") if {"trials", "fit_s"} <= set(own) else ""
    overhead = _mean(100 * own["overhead_share"], "{:.0f} %") if "overhead_share" in own else ""
    return (
        f"| {name} | {own['auc'].mean():.3f}{each} | [{middle['auc_lower']:.3f}, {middle['auc_upper']:.3f}] "
        f"| {own[BALANCED].mean():.3f} | {own['wall_s'].mean():.0f} | {own['cpu_s'].mean():.0f} "
        f"| {own['peak_mb'].max():.0f} | {trials} | {overhead} |"
    )


def _mean(values: pd.Series, form: str) -> str:
    found = values.dropna()
    return form.format(found.mean()) if len(found) else ""


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs by (task, repeat) and method, of the methods that have all of them."""
    good = rows[rows["status"] == "ok"]
    return good.pivot_table(index=["task", "repeat"], columns="method", values="auc").dropna(axis=1)


def ranks(rows: pd.DataFrame) -> str:
    """Return each method's mean rank over tasks and repeats (1 is best), of methods that ran everywhere."""
    wide = _wide(rows)
    if wide.shape[1] < 2:
        return ""
    mean = wide.rank(axis=1, ascending=False).mean().sort_values()
    lines = [
        f"Mean rank over {len(wide)} splits, of methods that ran on all:",
        "",
        "| method | mean rank |",
        "| --- | --- |",
    ]
    return "\n".join([*lines, *(f"| {name} | {value:.2f} |" for name, value in mean.items())])


def signed_ranks(rows: pd.DataFrame) -> str:
    """Return for each method the probability that autoonco is better, as good within `ROPE`, or worse.

    The Bayesian signed-rank test (Benavoli et al., JMLR 2017;18(77):1-36) on the AUCs of splits that both have.
    """
    import baycomp

    good = rows[rows["status"] == "ok"]
    wide = good.pivot_table(index=["task", "repeat"], columns="method", values="auc")
    if REFERENCE not in wide:
        return ""
    lines = [
        f"{REFERENCE} against each, Bayesian signed-rank with a region of practical equivalence of {ROPE} AUC; with "
        "few splits the prior speaks too:",
        "", "| against | splits | better | as good | worse |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name in wide.columns.drop(REFERENCE):
        both = wide[[REFERENCE, name]].dropna()
        if len(both) < 2:
            continue
        worse, same, better = baycomp.SignedRankTest.probs(
            both[name].to_numpy(), both[REFERENCE].to_numpy(), rope=ROPE, nsamples=50_000, random_state=0
        )
        lines.append(f"| {name} | {len(both)} | {better:.2f} | {same:.2f} | {worse:.2f} |")
    return "\n".join(lines) if len(lines) > 4 else ""


def reached(rows: pd.DataFrame) -> str:
    """Return how many seconds autoonco needs to reach the final AUC of each method, where several limits were run."""
    good = rows[rows["status"] == "ok"]
    curve = good[good["method"] == REFERENCE].groupby(["task", "time_limit_s"])[["auc", "wall_s"]].mean()
    if curve.empty or good["time_limit_s"].nunique() < 2:
        return ""
    lines = [
        f"Seconds of the shortest run of {REFERENCE} whose mean AUC reaches that of each method's longest:",
        "", "| task | method | its AUC | seconds |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    last = good[good["time_limit_s"] == good["time_limit_s"].max()]
    for (task, method), own in last.groupby(["task", "method"], sort=False):
        if method == REFERENCE or task not in curve.index.get_level_values(0):
            continue
        enough = curve.loc[task][curve.loc[task]["auc"] >= own["auc"].mean()]
        seconds = f"{enough['wall_s'].min():.0f}" if len(enough) else "not reached"
        lines.append(f"| {task} | {method} | {own['auc'].mean():.3f} | {seconds} |")
    return "\n".join(lines)


def absent(rows: pd.DataFrame) -> str:
    """Return what has no figure, and why."""
    bad = rows[rows["status"] != "ok"].drop_duplicates(["task", "method", "message"])
    lines = [f"- {row.method} on {row.task}: {row.status}. {row.message}" for row in bad.itertuples()]
    return "\n".join(["Without a figure:", "", *lines]) if lines else ""


def draw(rows: pd.DataFrame, out: Path) -> None:
    """Draw AUC by method, and over time where several limits were run; a figure a task."""
    from matplotlib.figure import Figure

    for task, own in rows[rows["status"] == "ok"].groupby("task"):
        figure = Figure(figsize=(8, 0.5 + 0.4 * own["method"].nunique()), layout="constrained")
        axes = figure.subplots()
        mean = (
            own[own["time_limit_s"] == own["time_limit_s"].max()]
            .groupby("method")["auc"]
            .mean()
            .sort_values()
        )
        for place, name in enumerate(mean.index):
            values = own[(own["method"] == name) & (own["time_limit_s"] == own["time_limit_s"].max())]["auc"]
            axes.plot(values, [place] * len(values), "o", color="0.5", fillstyle="none")
            axes.plot(mean[name], place, "D", color="#0072B2")
        axes.set_yticks(range(len(mean)), mean.index)
        axes.set_xlabel("test AUC: each repeat, and their mean")
        axes.set_title(str(task))
        figure.savefig(out / f"{task}.svg")
        if own["time_limit_s"].nunique() > 1:
            _draw_curves(own, out / f"{task}-time.svg")


def _draw_curves(own: pd.DataFrame, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = itertools.cycle(itertools.product(("-", "--", ":"), ("o", "s", "^", "D", "v")))
    for (name, curve), (line, marker) in zip(own.groupby("method"), styles, strict=False):
        mean = curve.groupby("time_limit_s")[["wall_s", "auc"]].mean()
        axes.plot(mean["wall_s"], mean["auc"], line, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("mean test AUC")
    axes.legend(fontsize="small")
    figure.savefig(path)
