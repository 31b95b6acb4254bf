"""Figures of the radiomics model's Shapley values: a summary, a case taken apart, and groups of features."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from autoonco.features.nomenclature import describe
from autoonco.reporting.plots import STYLE, new_axes

TOP = 15
_MOST_POINTS = 120
_UP, _DOWN = "#D55E00", "#0072B2"
_ROW = 0.31

Floats = NDArray[np.floating]


def feature_label(column: str) -> str:
    """Return a feature's name in the literature with its filter, short enough for an axis.

    Examples
    --------
    >>> feature_label("log-sigma-1-0-mm-3D_glcm_Contrast")
    'Contrast (GLCM, log-sigma-1-0-mm-3D)'
    """
    found = describe(column)
    class_key = column.rpartition(":")[2].rsplit("_", 2)[-2] if column.count("_") else ""
    short = {"firstorder": "intensity", "shape": "shape", "shape2D": "shape"}.get(class_key, class_key)
    short = short.upper() if short.startswith("gl") or short == "ngtdm" else short
    parts = [part for part in (short, "" if found.filter == "none" else found.filter, found.channel) if part]
    name = found.name if found.feature_class else column
    return f"{name} ({', '.join(parts)})" if found.feature_class else name


def importance_order(values: Floats) -> NDArray[np.int64]:
    """Return columns by falling mean absolute Shapley value, over cases and outputs ``(n_columns,)``."""
    return np.argsort(-np.abs(values).mean(axis=(0, 2)), kind="stable")


def summary(values: Floats, data: Floats, names: Sequence[str], unit: str, output: int = 0) -> Figure:
    """Return a point a case and feature: what the feature added, coloured by how large it was."""
    order = importance_order(values)[:TOP]
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.2, 1.1 + _ROW * max(2, len(order)))
        axes.axvline(0, color="#777777", linewidth=0.8)
        for height, column in enumerate(order):
            x, shade = values[:_MOST_POINTS, column, output], _ranks(data[:_MOST_POINTS, column])
            points = axes.scatter(
                x, height + _spread(x), c=shade, cmap="cividis", vmin=0, vmax=1, s=11, linewidths=0
            )
        axes.set_yticks(range(len(order)), labels=[feature_label(names[column]) for column in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlabel(f"Shapley value, {unit}")
        axes.grid(visible=False, axis="y")
        if len(order):
            bar = figure.colorbar(points, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 1])
            bar.set_ticklabels(["low", "high"])
            bar.set_label("Value of the feature", labelpad=-14)
            bar.outline.set_visible(False)
    return figure


def waterfall(values: Floats, base: float, names: Sequence[str], unit: str) -> Figure:
    """Return how a case's prediction comes about ``(n_columns,)``, from the base up, largest parts first."""
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[: TOP - 3], order[TOP - 3 :]
    parts = [(feature_label(names[column]), float(values[column])) for column in shown]
    if len(rest):
        parts.append((f"{len(rest)} other features", float(values[rest].sum())))
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.2, 1.1 + _ROW * max(2, len(parts)))
        ends = base + np.cumsum([value for _, value in parts])
        starts = np.concatenate([[base], ends[:-1]])
        reach = max(1e-9, float(np.ptp(np.concatenate([starts, ends]))))
        for height, ((_, value), start) in enumerate(zip(parts, starts, strict=True)):
            colour, hatch = (_UP, "") if value > 0 else (_DOWN, "///")
            axes.barh(height, value, left=start, color=colour, hatch=hatch, edgecolor="white", height=0.68)
            right = max(start, start + value) + 0.01 * reach
            axes.text(right, height, f"{value:+.2g}".replace("-", "−"), va="center", fontsize=8.5)
        axes.axvline(base, color="#777777", linewidth=0.9, linestyle=":")
        axes.axvline(ends[-1] if len(ends) else base, color="#222222", linewidth=1.1)
        axes.set_yticks(range(len(parts)), labels=[name for name, _ in parts])
        axes.set_ylim(len(parts) - 0.4, -0.6)
        places = np.concatenate([starts, ends]) if len(ends) else np.array([base])
        axes.set_xlim(places.min() - 0.06 * reach, places.max() + 0.16 * reach)
        axes.set_xlabel(f"{unit[:1].upper()}{unit[1:]}; dotted: average, solid: this case", loc="right")
        axes.grid(visible=False, axis="y")
    return figure


def groups(shares: Sequence[tuple[str, float]]) -> Figure:
    """Return the share of all Shapley values by group of features."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 0.9 + _ROW * max(1, len(shares)))
        values = [100 * share for _, share in shares]
        axes.barh(range(len(shares)), values, color="#0072B2", height=0.66)
        for height, value in enumerate(values):
            axes.text(value, height, f" {value:.0f} %", va="center", fontsize=9)
        axes.set_yticks(range(len(shares)), labels=[name for name, _ in shares])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("Share of the mean absolute Shapley values, %")
        axes.grid(visible=False, axis="y")
    return figure


def _ranks(values: Floats) -> Floats:
    """Return values as ranks in 0..1: a few large ones would else leave the others one colour."""
    order = np.argsort(
        np.argsort(np.nan_to_num(values, nan=float(np.nanmedian(values)) if len(values) else 0.0))
    )
    return order / max(1, len(values) - 1)


def _spread(x: Floats) -> Floats:
    """Return a small vertical offset for each point, larger where many lie side by side."""
    if len(x) < 2 or not np.ptp(x) > 0:
        return np.linspace(-0.25, 0.25, len(x)) if len(x) > 1 else np.zeros(len(x))
    bins = np.minimum(((x - x.min()) / np.ptp(x) * 60).astype(int), 59)
    offset = np.zeros(len(x))
    for one in np.unique(bins):
        own = np.flatnonzero(bins == one)
        steps = (np.arange(len(own)) + 1) // 2 * np.where(np.arange(len(own)) % 2, 1, -1)
        offset[own] = np.clip(steps * 0.07, -0.38, 0.38)
    return offset
