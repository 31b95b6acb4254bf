"""The figures of a run. Each family has one colour, line style and marker, so that grey prints stay readable.

Colours are Okabe and Ito's (2008), which people of any colour vision tell apart. Names of the user's are clipped,
and drawn as shapes, not as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autoonco.evaluation.tables import TEST
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting.curves import band, mean_curve

STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",  # travels with matplotlib: the same figure on every machine
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "autoonco",
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a model is drawn."""

    colour: str
    line: Any = "-"
    marker: str = "o"
    width: float = 1.8


LOOKS = {
    "ensemble": Look(colour="#000000", marker="D", width=2.4),
    "radiomics": Look(colour="#0072B2", line="--", marker="o"),
    "pretrained2d": Look(colour="#D55E00", line="-.", marker="s"),
    "volumetric3d": Look(colour="#009E73", line=(0, (1, 1)), marker="^"),
    "scratch2d": Look(colour="#56B4E9", line=(0, (6, 2, 1, 2)), marker="p"),
    "clinical": Look(colour="#CC79A7", line=(0, (5, 1, 1, 1, 1, 1)), marker="v"),
    "fusion": Look(colour="#E69F00", line=(0, (8, 3)), marker="P"),
}
_SPARE = Look(colour="#666666", line=(0, (3, 2)), marker="X")


def look(model: str) -> Look:
    """Return how `model` is drawn; baselines are grey."""
    return LOOKS.get(model, _SPARE)


def roc(
    predictions: pd.DataFrame, evaluation: pd.DataFrame, models: Sequence[str], *, auc: str = "AUC"
) -> Figure:
    """Return ROC curves on the test cases, one a model of `models`, its AUC in the legend, with their bands.

    A curve is the mean over classes (one against rest, where there are more than two) and over outer folds of
    the true positive rate at each false positive rate, so that its area is the AUC that the table gives: not of grades,
    whose AUC is another one. `auc` is what that is called.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.3, 4.1)
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
        aucs = evaluation[evaluation["subset"] == TEST].set_index("model")["auc"]
        for model in models:
            own = predictions[predictions["model"] == model]
            curve, style = mean_curve(own), look(model)
            if curve is not None:
                shade(axes, band(own), style, model)
                label = f"{title(model)}, {auc} {aucs[model]:.2f}"
                axes.plot(
                    *curve,
                    color=style.colour,
                    linestyle=style.line,
                    linewidth=style.width,
                    label=label,
                    gid=switch_id(model),
                )
        axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_aspect("equal")
        if len(axes.lines) > 1:
            axes.legend(loc="lower right")
    return figure


def forest(evaluation: pd.DataFrame) -> Figure:
    """Return each model's test AUC with its interval; filled on all test cases, hollow on the clean ones."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.7, 0.85 + 0.33 * len(evaluation))
        ticks, low = [], 1.0
        for height, row in enumerate(evaluation.to_dict("records")):
            style, whole = look(row["model"]), row["subset"] == TEST
            bounds = [row["auc_lower"], row["auc_upper"]]
            axes.plot(bounds, [height] * 2, color=style.colour, linewidth=style.width)
            face = style.colour if whole else "white"
            axes.plot(
                row["auc"],
                height,
                style.marker,
                color=style.colour,
                markerfacecolor=face,
                markersize=7,
                clip_on=False,  # an AUC of 1 is drawn whole
            )
            low = np.nanmin([low, row["auc"], bounds[0]])
            ticks.append(title(row["model"]) if whole else "clean cases")
            beside = axes.get_yaxis_transform()
            axes.text(1.05, height, _bounds(row), transform=beside, va="center", fontsize=9)
        axes.set_yticks(range(len(ticks)), labels=ticks)
        axes.invert_yaxis()
        left = max(0.0, np.floor(20 * low - 0.5) / 20)
        if left < 0.5:
            axes.axvline(0.5, color="#888888", linewidth=0.8)
        axes.set(xlabel="AUC on test cases, with 95 % interval", xlim=(left, 1.01))
        axes.grid(visible=False, axis="y")
    return figure


def search_curve(trials: Iterable[Mapping[str, Any]], metric: str = "roc_auc") -> Figure:
    """Return every trial's inner score against time, and each family's best so far at full budget."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.9)
        scored = [t for t in trials if t.get("score") is not None]
        unit, name = (
            (60, "minutes") if max((t["elapsed_s"] for t in scored), default=0) > 180 else (1, "seconds")
        )
        handles = []
        for family in sorted({t["family"] for t in scored}):
            style = look(family)
            own = sorted((t for t in scored if t["family"] == family), key=lambda t: t["elapsed_s"])
            full = [t["budget"] >= 1 and t.get("status") != "stopped" for t in own]
            x, y = (np.array([t[key] for t in own], dtype=float) for key in ("elapsed_s", "score"))
            _points(axes, x / unit, y, np.array(full), style)
            if any(full):
                line = [x[full] / unit, np.maximum.accumulate(y[full])]
                line = [
                    np.append(line[0], max(t["elapsed_s"] for t in scored) / unit),
                    np.append(line[1], line[1][-1]),
                ]
                axes.step(
                    *line, where="post", color=style.colour, linestyle=style.line, linewidth=style.width
                )
            handles.append(
                Line2D(
                    [], [], color=style.colour, linestyle=style.line, marker=style.marker, label=title(family)
                )
            )
        handles.append(
            Line2D(
                [],
                [],
                color="#444444",
                linestyle="",
                marker="o",
                markerfacecolor="none",
                alpha=0.6,
                label="part of the budget",
            )
        )
        axes.set(xlabel=f"Time since the search began, {name}", ylabel=f"Inner {get_metric(metric).title}")
        figure.legend(handles=handles, loc="outside upper left", ncols=2, columnspacing=1)
    return figure


def time_per_family(trials: Iterable[Mapping[str, Any]], models: Iterable[Mapping[str, Any]]) -> Figure:
    """Return where the compute went: seconds of trials that succeeded, that didn't, and of refitting."""
    with mpl.rc_context(STYLE):
        table = seconds_per_family(trials, models)
        figure, axes = new_axes(4.7, 1.2 + 0.42 * len(table))
        left = np.zeros(len(table))
        looks = {
            "succeeded": ("#0072B2", ""),
            "without result": ("#E69F00", "///"),
            "refit": ("#56B4E9", "..."),
        }
        for part, (colour, hatch) in looks.items():
            values = table[part].to_numpy(dtype=float)
            axes.barh(
                range(len(table)),
                values,
                left=left,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=part,
                height=0.62,
            )
            left += values
        axes.set_yticks(range(len(table)), labels=[title(name) for name in table.index])
        axes.invert_yaxis()
        axes.set_xlabel("Seconds, summed over processes")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def seconds_per_family(
    trials: Iterable[Mapping[str, Any]], models: Iterable[Mapping[str, Any]]
) -> pd.DataFrame:
    """Return seconds by family: of trials that succeeded and that did not, and of its best model's refit."""
    out: dict[str, dict[str, float]] = {}
    empty = {"succeeded": 0.0, "without result": 0.0, "refit": 0.0}
    for trial in trials:
        row = out.setdefault(trial["family"], dict(empty))
        ended = "succeeded" if trial["status"] in ("success", "stopped") else "without result"
        row[ended] += trial["seconds"] or 0.0
    for model in models:
        if model["kind"] == "family":
            out.setdefault(model["name"], dict(empty))["refit"] += model.get("refit_seconds") or 0.0
    return pd.DataFrame.from_dict(out, orient="index", columns=list(empty)).sort_index()


def new_axes(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure of this size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def log_axis(axis: Any) -> None:
    """Label a logarithmic axis by plain numbers: figures here know no mathematical text."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def shade(axes: Any, edges: tuple[Any, Any, Any] | None, style: Look, model: str) -> None:
    """Draw a model's band, if there is one."""
    if edges is not None:
        drawn = axes.fill_between(*edges, color=style.colour, alpha=0.1, linewidth=0)
        drawn.set_gid(f"{switch_id(model)}-band")


def switch_id(model: str) -> str:
    """Return what a part of a figure is called that belongs to a model: the page's script switches such parts.

    Examples
    --------
    >>> switch_id("baseline: lesion size")
    'model-Baseline_lesion_size'
    """
    return f"model-{re.sub('[^A-Za-z0-9]+', '_', title(model))}"


@cache
def _known_characters() -> frozenset[int]:
    return frozenset(get_font(findfont(STYLE["font.family"])).get_charmap())


def clipped(text: str, length: int = 22) -> str:
    """Return a name of the user's as a figure may show it: short, in characters that the font has.

    Examples
    --------
    >>> clipped("a name that goes on for ever and ever"), clipped("良性")
    ('a name that goes on f…', '??')
    """
    drawable = "".join(c if ord(c) in _known_characters() and c.isprintable() else "?" for c in text)
    return drawable if len(drawable) <= length else drawable[: length - 1] + "…"


def _points(axes: Any, x: Any, y: Any, full: Any, style: Look) -> None:
    axes.plot(
        x[~full], y[~full], style.marker, color=style.colour, markerfacecolor="none", markersize=4, alpha=0.45
    )
    axes.plot(x[full], y[full], style.marker, color=style.colour, markersize=5)


def _bounds(row: Mapping[Any, Any]) -> str:
    if not np.isfinite(row["auc"]):
        return "undefined"
    if row["auc_lower"] == row["auc"] == row["auc_upper"]:
        return f"{row['auc']:.2f} (exact)"
    return f"{row['auc']:.2f} [{row['auc_lower']:.2f}, {row['auc_upper']:.2f}]"
