"""The families on the test cases: figures, curves, and who differs from whom."""

from __future__ import annotations

import pandas as pd

from autoonco.evaluation.pairs import ALPHA, FAMILIES, Kind
from autoonco.evaluation.tables import CLEAN, EXACT, TEST
from autoonco.evaluation.tasks import ORDINAL
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots
from autoonco.reporting.blocks import (
    Cell,
    Picture,
    Section,
    Table,
    bounds,
    count,
    duration,
    listing,
    number,
    p_value,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.curves import average_precision
from autoonco.reporting.decided import chose_threshold
from autoonco.reporting.judged import cases_said
from autoonco.reporting.plots_families import cost, cost_table, differences, precision_recall
from autoonco.reporting.read_run import RunData

_FIXED = {"model", "subset", "n", "n_patients", "n_folds", "method"}
_FIRST = (
    "auc",
    "average_precision",
    "quadratic_kappa",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
)
_BEATS = {True: "yes", False: "no"}
_HEADS = {
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "log_loss": "Log loss",
    "brier": "Brier score",
}


def families_section(
    data: RunData, evaluation: pd.DataFrame, comparison: pd.DataFrame, patients: pd.DataFrame
) -> Section:
    """Return the section; `evaluation`, `comparison` and `patients` are the tables of those names, maybe empty."""
    if evaluation.empty:
        text = "No test case has been predicted, so there is nothing to compare."
        return Section(id="families", title="Families", paragraphs=(text,))
    blocks = _evaluation_blocks(data, evaluation)
    if data.own_figures is not None and len(data.own_figures):
        blocks.append(_own_block(data.own_figures, get_metric(data.metric).title))
    if not patients.empty:
        blocks.append(_patients_block(data, patients))
    blocks += [_forest(evaluation), _roc(data, evaluation), _precision_recall(data)]
    if not comparison.empty:
        blocks += [_differences(comparison), _comparison_block(comparison)]
    blocks += _cost_blocks(data, evaluation)
    return Section(id="families", title="Families", blocks=tuple(blocks))


def _evaluation_blocks(data: RunData, evaluation: pd.DataFrame) -> list[Table | Picture]:
    caption = "Figures on the test cases, with 95 % intervals"
    blocks = [_figures_table("evaluation", caption, evaluation, _note(data, evaluation), of="Cases")]
    if _names(evaluation, first=False):
        more = (
            "Errors, and what probabilities are worth: log loss, Brier score and ECE are the better the lower. The ECE "
            "of few cases is above that of many, and that of outer folds is of as many cases as a fold has."
        )
        caption = "More figures on the test cases, with 95 % intervals"
        blocks.append(_figures_table("more-figures", caption, evaluation, more, of="Cases", first=False))
    return blocks


def _own_block(own: pd.DataFrame, name: str) -> Table | Picture:
    """Return the figures of the user's own score, as the run measured them: it alone had the function."""
    rows = [
        (
            title(row["model"]),
            "clean" if row["subset"] == CLEAN else "all",
            bounds(row["value"], row["lower"], row["upper"]),
            row["method"],
        )
        for row in own.to_dict("records")
    ]
    caption = f"The score that the search maximised, {name}, with 95 % intervals"
    return table("own-metric", caption, ["Model", "Cases", without_paths(name), "Interval"], rows)


def _patients_block(data: RunData, patients: pd.DataFrame) -> Table | Picture:
    how = "the mean of their cases" if data.patient_level == "mean" else "those of their worst case"
    label = "they are of the highest class among their cases"
    if len(data.classes) > 2 and data.task != ORDINAL:
        label = "those whose cases are of several classes are left out"
    note = f"Patients with several test cases count once: their probabilities are {how}, and {label}."
    if chose_threshold(data.evidence.decisions):
        note += (
            " They too are called the most probable class here; how patients are decided on, by a threshold of their "
            "own, is under Clinical use."
        )
    return _figures_table("patients", "The same figures, of patients", patients, note, of="Patients")


def _names(figures: pd.DataFrame, *, first: bool) -> list[str]:
    """Return the figures that are read first, those that there are, or all others."""
    every = [str(c) for c in figures if c not in _FIXED and not str(c).endswith(("_lower", "_upper"))]
    chosen = [name for name in every if name in _FIRST] or every[:7]
    return chosen if first else [name for name in every if name not in chosen]


def _figures_table(
    id_: str, caption: str, figures: pd.DataFrame, note: str, *, of: str, first: bool = True
) -> Table | Picture:
    """Return figures of each model; `of` heads the column that says which cases, where not all are clean."""
    names = _names(figures, first=first)
    is_clean = figures["subset"].str.endswith("clean")
    rows = []
    for clean, row in zip(is_clean, figures.to_dict("records"), strict=True):
        subset = ["clean" if clean else "all"] if is_clean.any() else []
        cells = [bounds(row[name], row[f"{name}_lower"], row[f"{name}_upper"]) for name in names]
        rows.append([title(row["model"]), *subset, int(row["n"]), *cells])
    heads = [_HEADS.get(name) or get_metric(name).heading for name in names]
    return table(id_, caption, ["Model", *([of] if is_clean.any() else []), "n", *heads], rows, note)


def _note(data: RunData, evaluation: pd.DataFrame) -> str:
    if data.task == ORDINAL:
        text = (
            "The AUC is the ordinal one: the share of pairs of cases of unlike grades that the model puts in order. "
            "Kappa and the absolute error are of the median grade, which is told, accuracies of the most probable one. "
        )
    else:
        text = _called(data)
    methods = sorted(set(evaluation["method"]) - {EXACT})
    text += f"Interval of the AUC: {'; '.join(methods)}. " if methods else ""
    if (evaluation["method"] == EXACT).any():
        text += "Exact is what follows from telling every case the same, whoever the cases are. "
    if (evaluation["n_folds"] > 1).any():
        return text + (
            "Figures are means over the outer folds (that define them: where no case is called so there is no PPV), "
            "intervals the corrected resampled t over folds: cases pooled across folds were predicted by different "
            "models and may not be resampled as one sample."
        )
    return text + "Other intervals: bootstrap of patients (BCa)."


def _called(data: RunData) -> str:
    """Return which class the figures call, whatever the delivered model decides by."""
    if len(data.classes) != 2:
        return "The AUC is the mean over classes of one against the rest. A case is called the most probable class. "
    text = (
        f"Positive class: {data.classes[1]}. All figures that call a class (sensitivity, specificity, accuracies, PPV, "
        "NPV, F1, MCC) call the most probable class"
    )
    if chose_threshold(data.evidence.decisions):
        text += (
            ". The delivered model decides otherwise, by a threshold that was chosen for it: what it finds at that "
            "stands under Clinical use"
        )
    return f"{text}. "


def _forest(evaluation: pd.DataFrame) -> Table | Picture:
    lines = [
        f"{title(row['model'])}, {row['subset']}: "
        f"{bounds(row['auc'], row['auc_lower'], row['auc_upper']).text}"
        for row in evaluation.to_dict("records")
    ]
    n = {str(name): int(own["n"].max()) for name, own in evaluation.groupby("subset")}
    clean = f" Hollow: the {n[CLEAN]} clean cases alone." if CLEAN in n else ""
    return picture(
        plots.forest(evaluation),
        name="forest",
        heading="AUC of each model on the test cases",
        description="; ".join(lines) + ".",
        caption=f"AUC of each model on {count(n[TEST], 'test case')}, with 95 % intervals.{clean}",
    )


def curve_models(data: RunData) -> list[str]:
    """Return the models whose curves are drawn: all that were judged, baselines apart.

    A run that goes on has predictions of its first folds, and no list of models yet: the ensemble is first there too.
    """
    assert data.predictions is not None  # else there were no table of figures
    present = {str(name) for name in data.predictions["model"].unique()}
    models = [str(m["name"]) for m in data.models if m["kind"] != "baseline" and m["name"] in present]
    fitted = [name for name in present if not name.startswith("baseline")]
    return models or sorted(fitted or present, key=lambda name: (name != "ensemble", name))


def _band(data: RunData) -> str:
    assert data.predictions is not None
    if data.predictions["fold"].nunique() > 1:
        return " Bands: one standard deviation over the outer folds."
    return " Bands: pointwise 95 % intervals, patients resampled."


def _precision_recall(data: RunData) -> Picture:
    assert data.predictions is not None
    models = curve_models(data)
    said = "; ".join(
        f"{title(name)}: average precision "
        f"{number(average_precision(data.predictions[data.predictions['model'] == name]))}"
        for name in models
    )
    return picture(
        precision_recall(data.predictions, models),
        name="precision-recall",
        heading="Precision-recall curves on the test cases",
        description=f"Precision against recall. {said}.",
        caption=(
            f"Precision and recall on {cases_said(data.predictions)}. Grey: a model that knows nothing, whose "
            f"precision is the share of the class.{_band(data)}"
        ),
    )


def _differences(comparison: pd.DataFrame) -> Picture:
    lines = [
        f"{title(row['first'])} minus {title(row['second'])}: "
        f"{bounds(row['difference'], row['lower'], row['upper']).text}"
        for row in comparison.to_dict("records")
    ]
    margin = f"{comparison['margin'].iloc[0]:g}"
    return picture(
        differences(comparison),
        name="differences",
        heading="Differences in AUC between the models",
        description="; ".join(lines) + ".",
        caption=(
            f"Differences in AUC with 95 % intervals. Filled: p (Holm) below 0.05. Shaded: within {margin} of each "
            "other, where models count as equivalent by two one-sided tests."
        ),
    )


def _cost_blocks(data: RunData, evaluation: pd.DataFrame) -> list[Table | Picture]:
    found = cost_table(data.models, evaluation)
    if found.empty:
        return []
    rows = [
        (
            title(row["model"]),
            *(
                Cell(text=duration(row[name]), number=row[name])
                for name in ("search_seconds", "refit_seconds", "seconds")
            ),
            bounds(row["auc"], row["auc_lower"], row["auc_upper"]),
            "yes" if row["on_front"] else "no",
        )
        for row in found.to_dict("records")
    ]
    front = listing([title(row["model"]) for row in found.to_dict("records") if row["on_front"]])
    chart = picture(
        cost(found),
        name="cost",
        heading="Compute against test AUC",
        description="; ".join(
            f"{title(row['model'])}: {duration(row['seconds'])}, AUC {number(row['auc'])}"
            for row in found.to_dict("records")
        )
        + ".",
        caption=f"Compute against test AUC. Grey steps: the Pareto front ({front}), where nothing is as good for less.",
    )
    note = (
        "Time is summed over processes. The ensemble counts the search of every family: it chose among them."
    )
    columns = ["Model", "Search", "Refit", "Together", "Test AUC", "On the Pareto front"]
    return [chart, table("cost", "What each model cost", columns, rows, note)]


def _roc(data: RunData, evaluation: pd.DataFrame) -> Table | Picture:
    assert data.predictions is not None
    models = curve_models(data)
    aucs = evaluation[evaluation["subset"] == TEST].set_index("model")["auc"]
    said = "; ".join(f"{title(name)}: {data.auc_name} {number(aucs[name])}" for name in models)
    averaged = "" if len(data.classes) == 2 else ", mean over classes of one against the rest"
    averaged += ", mean over outer folds" if data.predictions["fold"].nunique() > 1 else ""
    positive = f" Positive class: {data.classes[1]}." if len(data.classes) == 2 else ""
    return picture(
        plots.roc(data.predictions, evaluation, models, auc=data.auc_name),
        name="roc",
        heading="ROC curves on the test cases",
        description=f"Sensitivity against false positive rate. {said}.",
        caption=f"ROC curves on {cases_said(data.predictions)}{averaged}.{positive}{_band(data)}",
    )


def _comparison_block(comparison: pd.DataFrame) -> Table | Picture:
    rows = [
        (
            f"{title(row['first'])} − {title(row['second'])}",
            bounds(row["difference"], row["lower"], row["upper"]),
            *(p_value(row[name]) for name in ("p", "p_holm", "p_equivalent", "p_mcnemar")),
            _BEATS.get(row["above_chance"], "–"),
            str(row["verdict"]),
        )
        for row in comparison.to_dict("records")
    ]
    margin = f"{comparison['margin'].iloc[0]:g}"
    note = (
        f"On {count(int(comparison['n'].max()), 'clean test case')}; "
        f"{'; '.join(sorted(set(comparison['method'])))}. p (Holm) is adjusted for "
        f"{count(int((comparison['kind'] == FAMILIES).sum()), 'pair')}, and so is the p of equivalence by which the "
        "verdict is given; the gain of the ensemble over the best single family is one test of its own. McNemar's p is "
        "secondary: whether one is right more often. A small p of equivalence (two one-sided tests) shows that the "
        f"AUCs lie within {margin} of each other; a large p of difference alone shows nothing. Beats a guess: whether "
        "the better of the two is shown to have an AUC above 0.5 (its one-sided 95 % bound), asked where p of "
        f"difference or of equivalence is below {ALPHA:g}."
    )
    if (comparison["n_folds"] == 1).all():
        note += (
            " These fitted models are compared: how others would vary with their training cases is not in it."
        )
    if ((comparison["p_holm"] < ALPHA) & (comparison["verdict"] == Kind.INCONCLUSIVE)).any():
        note += " A difference is inconclusive where the better of the two is not shown to be better than a guess."
    columns = [
        "Pair",
        "AUC difference",
        "p",
        "p (Holm)",
        f"p of equivalence ± {margin}",
        "p (McNemar)",
        "Beats a guess",
        "Verdict",
    ]
    return table("comparison", "Differences in AUC, with 95 % intervals", columns, rows, note)
