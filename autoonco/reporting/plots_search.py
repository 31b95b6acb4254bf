"""Figures of a search: trials over time, budget rungs, what mattered, and the best configs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting.importance import Trials, encode, is_log
from autoonco.reporting.plots import STYLE, clipped, look, new_axes

TOP_PARAMETERS, TOP_AXES, MOST_LINES = 12, 6, 60


def trials_over_time(trials: Trials) -> Figure:
    """Return how many trials of each family had ended by a time."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.4)
        ended = [t for t in trials if t["status"] != "skipped"]
        last = max((t["elapsed_s"] for t in ended), default=1.0)
        unit, name = (60, "minutes") if last > 180 else (1, "seconds")
        for family in sorted({t["family"] for t in ended}):
            style, times = look(family), sorted(t["elapsed_s"] for t in ended if t["family"] == family)
            x = np.r_[0, times, last] / unit
            y = np.r_[0, np.arange(1, len(times) + 1), len(times)]
            axes.step(
                x,
                y,
                where="post",
                color=style.colour,
                linestyle=style.line,
                linewidth=1.8,
                label=title(family),
            )
        axes.set(xlabel=f"Time since the search began, {name}", ylabel="Trials ended", ylim=(0, None))
        axes.yaxis.get_major_locator().set_params(integer=True)
        if ended:
            figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
    return figure


def rungs(trials: Trials, metric: str) -> Figure:
    """Return the scores of each family's trials at each budget; a config's trials are joined."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.7)
        done = [t for t in trials if t.get("score") is not None and t["status"] == "success"]
        budgets = sorted({round(t["budget"], 4) for t in done})
        families = sorted({t["family"] for t in done})
        for number, family in enumerate(families):
            style, shift = look(family), 0.16 * (number - (len(families) - 1) / 2)
            lines: dict[str, list[tuple[float, float]]] = {}
            for t in done:
                if t["family"] == family:
                    place = budgets.index(round(t["budget"], 4)) + shift
                    lines.setdefault(str(sorted(t["config"].items())), []).append((place, t["score"]))
            for line in lines.values():
                x, y = np.array(sorted(line)).T
                axes.plot(x, y, color=style.colour, linewidth=0.6, alpha=0.5)
            x, y = np.array([point for line in lines.values() for point in line]).T
            axes.plot(
                x,
                y,
                style.marker,
                color=style.colour,
                markersize=4,
                alpha=0.65,
                linestyle="",
                label=title(family),
            )
        axes.set_xticks(range(len(budgets)), labels=[f"{budget:.2g}" for budget in budgets])
        axes.set(xlabel="Budget, as a share of the full training", ylabel=f"Inner {get_metric(metric).title}")
        if done:
            figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
    return figure


def importance(table: pd.DataFrame) -> Figure:
    """Return the most important hyperparameters of each family, a panel a family."""
    with mpl.rc_context(STYLE):
        families = list(dict.fromkeys(table["family"]))
        sizes = [min(TOP_PARAMETERS, int((table["family"] == family).sum())) for family in families]
        figure = Figure(figsize=(6.4, 0.9 + sum(0.55 + 0.25 * n for n in sizes)), layout="constrained")
        panels = figure.subplots(
            max(1, len(families)), 1, squeeze=False, sharex=True, height_ratios=[n + 1 for n in sizes] or None
        )[:, 0]
        for family, n, axes in zip(families, sizes, panels, strict=False):
            own = table[table["family"] == family].head(n)
            axes.barh(range(n), own["importance"], color=look(family).colour, height=0.66)
            axes.set_yticks(range(n), labels=[clipped(name, 34) for name in own["hyperparameter"]])
            axes.invert_yaxis()
            axes.set_title(title(family), loc="left", fontsize=10)
            axes.grid(visible=False, axis="y")
        if len(panels):
            panels[-1].set_xlabel("Share of the variance of the score")
    return figure


def parallel(
    trials: Trials, table: pd.DataFrame, space: Mapping[str, Any] | None, metric: str, families: Sequence[str]
) -> Figure:
    """Return the best full trainings across their most important hyperparameters, a panel a family.

    The last axis is the inner score, and so is the colour; a line ends where a hyperparameter isn't used.
    """
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(8.4, 0.3 + 2.7 * max(1, len(families))), layout="constrained")
        panels = figure.subplots(max(1, len(families)), 1, squeeze=False)[:, 0]
        for family, axes in zip(families, panels, strict=False):
            own = table[table["family"] == family]
            best = [
                t for t in trials if t["family"] == family and t["budget"] >= 1 and t["status"] == "success"
            ]
            best = sorted(best, key=lambda t: -t["score"])[:MOST_LINES]
            _coordinates(axes, best, family, list(own["hyperparameter"])[:TOP_AXES], space, metric)
            axes.set_title(title(family), loc="left", fontsize=10)
    return figure


def _coordinates(
    axes: Any, best: Trials, family: str, names: Sequence[str], space: Mapping[str, Any] | None, metric: str
) -> None:
    scores = np.array([t["score"] for t in best], dtype=np.float64)
    columns, ticks = [], []
    for name in names:
        codes, choices = encode(best, family, name, space)
        low, high = (np.nanmin(codes), np.nanmax(codes)) if np.isfinite(codes).any() else (0.0, 1.0)
        span = high - low if high > low else 1.0
        columns.append((codes - low) / span)
        if choices:
            ticks.append([((k - low) / span, clipped(choice, 14)) for k, choice in enumerate(choices)])
        else:
            is_power = is_log(space, family, name)
            ends = [(0.0, low), (1.0, high)] if high > low else [(0.0, low)]
            ticks.append([(place, f"{10**v if is_power else v:.3g}") for place, v in ends])
    span = float(np.ptp(scores)) if len(scores) else 0.0
    columns.append((scores - scores.min()) / span if span > 0 else np.full(len(scores), 0.5))
    if len(scores):
        ticks.append(
            [(0.0, f"{scores.min():.3f}"), (1.0, f"{scores.max():.3f}")]
            if span > 0
            else [(0.5, f"{scores[0]:.3f}")]
        )
    colours = mpl.colormaps["cividis"](0.05 + 0.85 * columns[-1])
    for k in np.argsort(scores):
        axes.plot(
            range(len(columns)),
            [column[k] for column in columns],
            color=colours[k],
            linewidth=1.1,
            alpha=0.75,
        )
    for place, told in enumerate(ticks):
        axes.axvline(place, color="#555555", linewidth=0.8)
        for height, text in told:
            axes.text(
                place + 0.03,
                height,
                text,
                fontsize=7.5,
                va="center",
                bbox={"fc": "white", "ec": "none", "pad": 0.4, "alpha": 0.75},
            )
    heads = [clipped(name.replace(":", ":\n"), 26) for name in names] + [get_metric(metric).title]
    axes.set_xticks(range(len(heads)), labels=heads, fontsize=8)
    axes.set(yticks=[], xlim=(-0.15, len(heads) - 0.4), ylim=(-0.08, 1.08))
    axes.spines[:].set_visible(False)
