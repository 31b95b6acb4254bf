"""Figures of the data themselves: how large lesions are, and how grey their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from autoonco.reporting.plots import STYLE, clipped, log_axis, new_axes
from autoonco.reporting.plots_clinical import class_look

_BINS = 24
_BOX = {"boxstyle": "round,pad=0.5", "facecolor": "#f4f6f8", "edgecolor": "#444444"}


def sizes(cases: pd.DataFrame, classes: Sequence[str], ndim: int) -> Figure:
    """Return histograms of the lesions' areas or volumes by class, on a logarithmic scale."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.4)
        known = cases[cases["size"] > 0]
        if len(known):
            low, high = np.log10(known["size"].min()), np.log10(known["size"].max())
            edges = np.logspace(low, high if high > low else low + 0.1, _BINS + 1)
            for k, name in enumerate(classes):
                own = known.loc[known["class"] == k, "size"]
                _outline(axes, edges, np.histogram(own, edges)[0] / max(1, len(own)), k, name)
        unit = "mm²" if ndim == 2 else "mm³"
        axes.set(
            xscale="log", xlabel=f"Size of the lesion, {unit}", ylabel="Share of the class", ylim=(0, None)
        )
        log_axis(axes.xaxis)
        _legend(figure, axes)
    return figure


def grey_values(histograms: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Figure:
    """Return histograms of grey values by class, a panel a channel."""
    with mpl.rc_context(STYLE):
        n = max(1, len(histograms))
        figure = Figure(figsize=(4.9, 0.7 + 2.5 * n), layout="constrained")
        panels = figure.subplots(n, 1, squeeze=False)[:, 0]
        for axes, found in zip(panels, histograms, strict=False):
            for k, (name, counts) in enumerate(zip(classes, found["counts"], strict=False)):
                total = max(1, sum(counts))
                _outline(axes, np.asarray(found["edges"]), np.asarray(counts) / total, k, name)
            where = "in the lesion" if found["where"] == "lesion" else "in the image"
            axes.set(
                xlabel=f"Grey value {where}: {clipped(str(found['channel']))}", ylabel="Share", ylim=(0, None)
            )
        _legend(figure, panels[0])
    return figure


def flow(n: Mapping[str, int]) -> Figure:
    """Return the flow of cases as boxes: given, left out, usable, those that taught and those that judged."""
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = new_axes(6.4, 2.9)
        used, excluded = int(n.get("cases", 0)), int(n.get("excluded", 0))
        boxes = {
            "read": (0.3, 2.0, f"Cases given\n{used + excluded}"),
            "out": (0.82, 2.0, f"Left out\n{excluded}"),
            "used": (0.3, 1.0, f"Usable: {used} cases\nof {n.get('patients', used)} patients"),
            "train": (0.14, 0.0, f"Training\n{n.get('train', 0)}"),
            "test": (0.62, 0.0, f"Test\n{n.get('test', 0)}"),
        }
        for x, y, text in boxes.values():
            axes.text(x, y, text, ha="center", va="center", bbox=_BOX)
        for first, second in (("read", "out"), ("read", "used"), ("used", "train"), ("used", "test")):
            (x1, y1, _), (x2, y2, _) = boxes[first], boxes[second]
            ends = ((x1 + 0.14, y1), (x2 - 0.11, y2)) if y1 == y2 else ((x1, y1 - 0.27), (x2, y2 + 0.27))
            axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops={"arrowstyle": "->", "color": "#444444"})
        axes.set(xlim=(0, 1), ylim=(-0.4, 2.4))
        axes.axis("off")
    return figure


def _outline(axes: Any, edges: Any, shares: Any, k: int, name: str) -> None:
    style = class_look(k)
    axes.stairs(shares, edges, color=style.colour, linestyle=style.line, linewidth=1.7, label=clipped(name))


def _legend(figure: Figure, axes: Any) -> None:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, columnspacing=1)
