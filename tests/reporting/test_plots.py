from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from autoonco.evaluation.tables import evaluation_table
from autoonco.reporting import plots
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.svg import to_svg

BuildRun = Callable[..., Path]


def tables(data: RunData) -> tuple[pd.DataFrame, pd.DataFrame]:
    assert data.predictions is not None
    return data.predictions, evaluation_table(data.predictions, data.classes)


@pytest.mark.parametrize("choices", [{}, {"classes": ("a", "b", "c")}, {"n_folds": 3}])
def test_the_area_under_a_drawn_curve_is_the_auc_of_the_table(
    build_run: BuildRun, choices: dict[str, Any]
) -> None:
    predictions, evaluation = tables(read_run(build_run(n_trials=3, **choices)))
    axes = plots.roc(predictions, evaluation, ["ensemble", "radiomics"]).axes[0]
    curves = {str(line.get_label()): line for line in axes.lines[1:]}
    for name, title in (("ensemble", "Ensemble"), ("radiomics", "Radiomics")):
        auc = evaluation.set_index(["model", "subset"]).loc[(name, "test"), "auc"]
        line = curves[f"{title}, AUC {auc:.2f}"]
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        assert np.trapezoid(y, x) == pytest.approx(auc, abs=0.004)
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_one_curve_is_exact(build_run: BuildRun) -> None:
    predictions, evaluation = tables(read_run(build_run(n_trials=3)))
    line = plots.roc(predictions, evaluation, ["radiomics"]).axes[0].lines[1]
    own = predictions[predictions["model"] == "radiomics"]
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(own["truth"], own["p_1"]), abs=1e-12)


def test_looks_differ_in_colour_and_without_colour() -> None:
    looks = [plots.look(name) for name in [*plots.LOOKS, "baseline: lesion size"]]
    for what in (
        [look.colour for look in looks],
        [str(look.line) for look in looks],
        [look.marker for look in looks],
    ):
        assert len(set(what)) == len(looks)


def test_the_search_curve_rises_and_follows_full_budget_only(build_run: BuildRun) -> None:
    trials = read_run(build_run(n_trials=80)).trials
    axes = plots.search_curve(trials).axes[0]
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    best = {
        family: max(t["score"] for t in trials if t["family"] == family and t["budget"] >= 1 and t["score"])
        for family in ("pretrained2d", "radiomics")
    }
    assert sorted(line.get_ydata()[-1] for line in steps) == pytest.approx(sorted(best.values()))
    assert all((np.diff(np.asarray(line.get_ydata(), dtype=float)) >= 0).all() for line in steps)
    n_points = sum(len(line.get_xdata()) for line in axes.lines if line not in steps)
    assert n_points == sum(trial["score"] is not None for trial in trials)


def test_seconds_add_up(build_run: BuildRun) -> None:
    data = read_run(build_run(n_trials=40))
    found = plots.seconds_per_family(data.trials, data.models)
    assert found[["succeeded", "without result"]].to_numpy().sum() == pytest.approx(
        sum(trial["seconds"] for trial in data.trials)
    )
    assert (found["refit"] == 21.5).all()


def test_undefined_figures_are_drawn_as_nothing(build_run: BuildRun) -> None:
    predictions, evaluation = tables(read_run(build_run(n_trials=3)))
    broken = evaluation.assign(auc=np.nan, auc_lower=np.nan, auc_upper=np.nan)
    assert to_svg(plots.forest(broken), name="f", heading="h", description="d")
    one_class = predictions[predictions["truth"] == 0]
    assert to_svg(plots.roc(one_class, broken, ["ensemble"]), name="r", heading="h", description="d")


def test_no_trial_and_no_score(build_run: BuildRun) -> None:
    skipped = [t for t in read_run(build_run(n_trials=40)).trials if t["score"] is None]
    for trials in ([], skipped):
        assert isinstance(plots.search_curve(trials), Figure)
    assert isinstance(plots.time_per_family([], []), Figure)


def test_svg_is_reproducible_described_and_refers_to_nothing_outside(build_run: BuildRun) -> None:
    trials = read_run(build_run(n_trials=20)).trials
    one, two = (
        to_svg(plots.search_curve(trials), name="s", heading="A <b> & c", description="d") for _ in range(2)
    )
    assert one == two
    assert one.startswith("<svg ")
    assert 'role="img"' in one
    assert '<title id="s-title">A &lt;b&gt; &amp; c</title>' in one
    for word in ("<!--", "<!DOCTYPE", "metadata", "<image", "<script", "@import"):
        assert word not in one
    outside = one.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert "http" not in outside
