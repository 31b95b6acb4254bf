"""Figures of the models against one another: precision and recall, differences, and what each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from autoonco.evaluation.tables import CLEAN, TEST
from autoonco.evaluation.verdict import title
from autoonco.reporting.curves import average_precision, band, mean_curve, precision_of, prevalence
from autoonco.reporting.plots import STYLE, clipped, log_axis, look, new_axes, shade, switch_id


def precision_recall(predictions: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Return precision-recall curves on the test cases, one a model, its average precision in the legend."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.3, 4.1)
        for model in models:
            own = predictions[predictions["model"] == model]
            curve, style = mean_curve(own, precision_of), look(model)
            if curve is None:
                continue
            shade(axes, band(own, precision_of), style, model)
            label = f"{title(model)}, AP {average_precision(own):.2f}"
            axes.plot(
                *curve,
                color=style.colour,
                linestyle=style.line,
                linewidth=style.width,
                label=label,
                gid=switch_id(model),
            )
        if axes.lines:
            base = prevalence(predictions[predictions["model"] == models[0]])
            axes.axhline(base, color="#888888", linewidth=0.8, zorder=0)
            axes.legend(loc="lower left")
        axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
        axes.set_aspect("equal")
    return figure


def differences(comparison: pd.DataFrame) -> Figure:
    """Return the AUC difference of each pair of models with its interval, and the margin of equivalence."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 0.9 + 0.34 * max(1, len(comparison)))
        if len(comparison):
            margin = float(comparison["margin"].iloc[0])
            axes.axvspan(-margin, margin, color="#0072B2", alpha=0.1, linewidth=0)
        axes.axvline(0, color="#555555", linewidth=1)
        for height, row in enumerate(comparison.to_dict("records")):
            shows = np.isfinite(row["p_holm"]) and row["p_holm"] < 0.05
            axes.plot([row["lower"], row["upper"]], [height] * 2, color="#222222", linewidth=1.8)
            face = "#222222" if shows else "white"
            axes.plot(row["difference"], height, "o", color="#222222", markerfacecolor=face, markersize=7)
        names = [
            f"{clipped(title(r['first']), 26)} − {clipped(title(r['second']).partition(' (')[0], 26)}"
            for r in comparison.to_dict("records")
        ]
        axes.set_yticks(range(len(names)), labels=names)
        axes.invert_yaxis()
        axes.set_xlabel("Difference in AUC, with 95 % interval")
        axes.grid(visible=False, axis="y")
    return figure


def cost_table(models: Sequence[Mapping[str, Any]], evaluation: pd.DataFrame) -> pd.DataFrame:
    """Return what each model cost and how good it is; on the front: none is as good for less.

    Returns
    -------
    DataFrame
        ``model``, ``search_seconds`` and ``refit_seconds``, summed over processes, ``seconds``, ``auc`` with
        ``auc_lower`` and ``auc_upper`` on the test cases (the clean ones where some aren't), ``on_front``.
    """
    names = [
        "model",
        "search_seconds",
        "refit_seconds",
        "seconds",
        "auc",
        "auc_lower",
        "auc_upper",
        "on_front",
    ]
    if evaluation.empty:
        return pd.DataFrame(columns=names)
    subset = CLEAN if (evaluation["subset"] == CLEAN).any() else TEST
    scores = evaluation[evaluation["subset"] == subset].set_index("model")
    rows = []
    for model in models:
        if model["name"] in scores.index and model["kind"] != "baseline":
            spent = [float(model.get(f"{part}_seconds") or 0.0) for part in ("search", "refit")]
            figures = [float(scores.loc[model["name"], name]) for name in ("auc", "auc_lower", "auc_upper")]
            rows.append((model["name"], *spent, sum(spent), *figures, False))
    table = pd.DataFrame(rows, columns=names).sort_values(
        ["seconds", "auc"], ascending=[True, False], kind="stable", ignore_index=True
    )
    best = table["auc"].cummax().shift(fill_value=-np.inf)
    return table.assign(on_front=table["auc"] > best)


def cost(table: pd.DataFrame) -> Figure:
    """Return each model's test AUC against the compute it took, and the Pareto front."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.9, 3.7)
        front = table[table["on_front"]]
        if len(front):
            axes.step(front["seconds"], front["auc"], where="post", color="#999999", linewidth=1.2, zorder=1)
        for row in table.to_dict("records"):
            style = look(row["model"])
            around = [[row["auc"] - row["auc_lower"]], [row["auc_upper"] - row["auc"]]]
            axes.errorbar(
                [max(row["seconds"], 0.1)],
                [row["auc"]],
                yerr=np.nan_to_num(np.maximum(around, 0)),
                fmt=style.marker,
                color=style.colour,
                markersize=8,
                elinewidth=1,
                label=title(row["model"]),
            )
        axes.set(xscale="log", xlabel="Seconds of search and refit, summed over processes", ylabel="Test AUC")
        axes.margins(x=0.15)
        log_axis(axes.xaxis)
        if len(table):
            figure.legend(loc="outside upper left", ncols=2)
    return figure
