"""Figures of what a model's probabilities are worth in use: decisions, calibration, sets, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from autoonco.evaluation.tables import probability_columns
from autoonco.evaluation.tasks import CLASSIFICATION, get_task
from autoonco.evaluation.verdict import title
from autoonco.metrics.calibration import reliability_curve
from autoonco.metrics.decisions import decision_curve
from autoonco.reporting.plots import LOOKS, STYLE, Look, clipped, look, new_axes

BINS = 10
_CLASS_LOOKS = tuple(LOOKS.values())


def class_look(k: int) -> Look:
    """Return how class `k` is drawn where classes are compared."""
    return _CLASS_LOOKS[(k + 1) % len(_CLASS_LOOKS)]


def confusion_counts(
    cases: pd.DataFrame,
    n_classes: int,
    threshold: float | NDArray[np.float64] | None,
    *,
    task: str = CLASSIFICATION,
) -> NDArray[np.int64]:
    """Return a model's confusion matrix ``(n_classes, n_classes)``, rows the truth, over all its folds.

    Of two classes the last is called at `threshold`, one for all or one a case, or above it; else the most probable
    class, of grades the median.
    """
    proba = cases[probability_columns(cases)].to_numpy(np.float64)
    if threshold is not None and n_classes == 2:
        called = (proba[:, 1] >= threshold).astype(int)
    else:
        called = get_task(task).told(proba)
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (cases["truth"].to_numpy(int), called), 1)
    return counts


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Return the matrix with its counts; the shade is the share of the true class."""
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        n = len(counts)
        figure, axes = new_axes(2.6 + 0.75 * n, 1.5 + 0.72 * n)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        names = [clipped(name, 14) for name in classes]
        axes.set_xticks(
            range(n), labels=names, rotation=0 if n < 3 else 35, ha="center" if n < 3 else "right"
        )
        axes.set_yticks(range(n), labels=names)
        axes.set(xlabel="Predicted", ylabel="True")
        axes.spines[:].set_visible(False)
    return figure


def calibration(predictions: pd.DataFrame, models: Sequence[str], classes: Sequence[str]) -> Figure:
    """Return reliability curves: of each model for the positive class, or of one model for each class."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.4, 4.3)
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
        for label, style, y, proba, target in _drawn(predictions, models, classes):
            curve = reliability_curve(y, proba, target=target, bins=min(BINS, max(2, len(y) // 12)))
            around = np.abs([curve.observed - curve.lower, curve.upper - curve.observed])
            axes.errorbar(
                curve.predicted,
                curve.observed,
                yerr=around,
                color=style.colour,
                linestyle=style.line,
                marker=style.marker,
                markersize=5,
                linewidth=1.4,
                elinewidth=0.8,
                label=label,
            )
        axes.set(
            xlabel="Predicted probability", ylabel="Observed share", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
        axes.set_aspect("equal")
        _legend(figure, axes)
    return figure


def decisions(predictions: pd.DataFrame, models: Sequence[str], classes: Sequence[str]) -> Figure:
    """Return decision curves: net benefit of acting on each model, on everybody and on nobody."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.9)
        top, drawn_all = 0.0, False
        for label, style, y, proba, target in _drawn(predictions, models, classes):
            p = proba[:, target]
            curve = decision_curve((y == target).astype(int), np.column_stack([1 - p, p]))
            top = max(top, float(curve.model.max()))
            if not drawn_all:
                axes.plot(curve.threshold, curve.treat_all, color="#999999", linewidth=1, label="everybody")
                drawn_all = len(classes) == 2  # of several classes each has its own
            axes.plot(
                curve.threshold,
                curve.model,
                color=style.colour,
                linestyle=style.line,
                linewidth=1.6,
                label=label,
            )
        axes.axhline(0, color="#333333", linewidth=1, label="nobody")
        axes.set(
            xlabel="Threshold probability",
            ylabel="Net benefit",
            xlim=(0, 1),
            ylim=(-0.06, max(0.1, 1.1 * top)),
        )
        _legend(figure, axes)
    return figure


def set_sizes(figures: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Return how many test cases have a prediction set of no, one, two, ... classes."""
    with mpl.rc_context(STYLE):
        sizes = {int(size): int(n) for size, n in figures["sizes"].items()}
        figure, axes = new_axes(4.2, 2.6)
        axes.bar(list(sizes), list(sizes.values()), color="#0072B2", width=0.6)
        for size, n in sizes.items():
            axes.text(size, n, str(n), ha="center", va="bottom")
        axes.set_xticks(list(sizes))
        axes.set(xlabel=f"Classes in the prediction set (of {len(classes)})", ylabel="Cases")
        axes.margins(y=0.15)
        axes.grid(visible=False, axis="x")
    return figure


def subgroups(table: pd.DataFrame) -> Figure:
    """Return the figure of each subgroup with its interval; `table` has one metric."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(5.6, 0.9 + 0.3 * max(1, len(table)))
        labels = []
        for height, row in enumerate(table.to_dict("records")):
            axes.plot([row["lower"], row["upper"]], [height] * 2, color="#0072B2", linewidth=1.6)
            axes.plot(row["value"], height, "s", color="#0072B2", markersize=6)
            labels.append(
                f"{clipped(str(row['attribute']), 18)}: {clipped(str(row['group']), 18)} (n = {row['n']})"
            )
        axes.set_yticks(range(len(labels)), labels=labels)
        axes.invert_yaxis()
        axes.set_xlabel("AUC, with 95 % interval")
        axes.grid(visible=False, axis="y")
    return figure


def _drawn(
    predictions: pd.DataFrame, models: Sequence[str], classes: Sequence[str]
) -> list[tuple[str, Look, NDArray[np.int64], NDArray[np.float64], int]]:
    """Return label, look, truth, probabilities and class of each curve, cases of all folds together."""
    columns = probability_columns(predictions)

    def arrays(model: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        own = predictions[predictions["model"] == model]
        return own["truth"].to_numpy(int), own[columns].to_numpy(np.float64)

    if len(classes) == 2:
        return [(title(model), look(model), *arrays(model), 1) for model in models]
    first = arrays(models[0])
    return [(clipped(name), class_look(k), *first, k) for k, name in enumerate(classes)]


def _legend(figure: Figure, axes: Any) -> None:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
