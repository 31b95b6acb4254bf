"""What the probabilities are worth in use: decisions, calibration, prediction sets, subgroups, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.evaluation.predicted import once_each
from autoonco.evaluation.tables import probability_columns
from autoonco.evaluation.tasks import ORDINAL
from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.reporting import plots_clinical as plots
from autoonco.reporting.blocks import (
    Block,
    Cell,
    Picture,
    Section,
    Table,
    as_cell,
    bounds,
    number,
    p_value,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.decided import (
    chose_threshold,
    decision_texts,
    patient_blocks,
    sets_blocks,
    threshold_of,
)
from autoonco.reporting.families_section import curve_models
from autoonco.reporting.judged import cases_said
from autoonco.reporting.read_run import RunData

AUCS = ("auc", "roc_auc", "ordinal_auc")
"""What figures of subgroups call an AUC, by the task."""
_SHOWN = (*AUCS, "sensitivity", "specificity", "quadratic_kappa")


def clinical_section(data: RunData, delivered: str | None) -> Section:
    """Return the section; figures are of the test cases, each decided on by what was learned without it."""
    found = data.evidence
    paragraphs = decision_texts(found.decisions, data.task)
    blocks: list[Block] = []
    predictions = None if data.predictions is None else once_each(data.predictions)
    if predictions is None or data.predictions is None:
        paragraphs.append("No test case has been predicted, so nothing can be said of the model in use.")
    else:
        if len(predictions) < len(data.predictions):
            paragraphs.append(
                "Test cases were predicted several times, by models of different repeats or splits. In what counts "
                "cases below each counts once, as it was first predicted."
            )
        models = curve_order(data, delivered)
        # narrow pictures two by two, as they stand side by side
        blocks += [_confusion(data, predictions, models[0]), _calibration(data, predictions, models)]
        blocks += [_operating_table(data, predictions, models), _decision_curves(data, predictions, models)]
    blocks += [*patient_blocks(found.decisions), *sets_blocks(found.decisions, data.classes)]
    if found.subgroups is not None and len(found.subgroups):
        blocks += _subgroups(found.subgroups)
    if found.shortcuts is not None and len(found.shortcuts):
        blocks.append(_shortcuts(found.shortcuts))
    return Section(id="clinical", title="Clinical use", paragraphs=tuple(paragraphs), blocks=tuple(blocks))


def thresholds_of(decisions: Mapping[str, Any], cases: pd.DataFrame) -> float | NDArray[np.float64] | None:
    """Return the threshold that decides on `cases`; of outer folds one a case: the delivered one knows them."""
    told, value = decisions.get("threshold"), threshold_of(decisions)
    of_folds = told.get("of_folds") if isinstance(told, Mapping) else None
    folds = cases["fold"].to_numpy(int)
    if value is None or not of_folds or folds.max(initial=0) >= len(of_folds):
        return value
    of_cases: NDArray[np.float64] = np.array([0.5 if each is None else float(each) for each in of_folds])[
        folds
    ]
    return of_cases


def at_said(decisions: Mapping[str, Any], at: float | NDArray[np.float64] | None) -> str:
    """Return in words whose threshold `thresholds_of` gave."""
    of_folds = isinstance(at, np.ndarray) and chose_threshold(decisions)
    return "each outer fold's own threshold" if of_folds else "the delivered model's threshold"


def curve_order(data: RunData, delivered: str | None) -> list[str]:
    """Return the models that can be used, the delivered one first."""
    return sorted(curve_models(data), key=lambda name: name != delivered)


def _confusion(data: RunData, predictions: pd.DataFrame, model: str) -> Picture:
    own = predictions[predictions["model"] == model]
    at = thresholds_of(data.evidence.decisions, own)
    counts = plots.confusion_counts(own, len(data.classes), at, task=data.task)
    said = "; ".join(
        f"true {name}: "
        + ", ".join(f"{n} called {other}" for n, other in zip(row, data.classes, strict=True))
        for name, row in zip(data.classes, counts.tolist(), strict=True)
    )
    return picture(
        plots.confusion(counts, data.classes),
        name="confusion",
        heading=f"Confusion matrix of {title(model)} on the test cases",
        description=f"{said}.",
        caption=(
            f"Confusion matrix of {title(model)}{' at its threshold' if len(data.classes) == 2 else ''}, "
            f"{cases_said(own)}."
        ),
    )


def _operating_table(data: RunData, predictions: pd.DataFrame, models: Sequence[str]) -> Table:
    """Return what each model does at the decision, by class."""
    rows, whose = [], at_said(data.evidence.decisions, None)
    for model in models:
        own = predictions[predictions["model"] == model]
        # a threshold belongs to the delivered model's scale; the others call their most probable class
        at = None
        if model == models[0]:
            at = thresholds_of(data.evidence.decisions, own)
            whose = at_said(data.evidence.decisions, at)
        counts = plots.confusion_counts(own, len(data.classes), at, task=data.task)
        for k, name in enumerate(data.classes):
            right, true, called = counts[k, k], counts[k].sum(), counts[:, k].sum()
            rows.append(
                (title(model), name, *(_share(right, of) for of in (true, called)), int(true), int(called))
            )
    columns = ["Model", "Class", "Found (sensitivity)", "Right when called (PPV)", "True cases", "Called"]
    usual = "median grade" if data.task == ORDINAL else "most probable class"
    note = f"{title(models[0])} at {whose}, if there is one; else by the {usual}."
    return table("operating", "Decisions by class, on the test cases", columns, rows, note)


def _share(part: int, of: int) -> Cell:
    if of == 0:
        return Cell(text="–")
    return Cell(text=f"{100 * part / of:.0f} % ({part} of {of})", number=part / of)


def _calibration(data: RunData, predictions: pd.DataFrame, models: Sequence[str]) -> Picture:
    binary = len(data.classes) == 2
    what = f"class {data.classes[1]}" if binary else f"each class by {title(models[0])}"
    p = predictions[predictions["model"] == models[0]]
    mean = float(p[probability_columns(p)[-1]].mean())
    share = float((p["truth"] == len(data.classes) - 1).mean())
    return picture(
        plots.calibration(predictions, models, data.classes),
        name="calibration",
        heading="Calibration on the test cases",
        description=(
            f"Observed share against predicted probability of {what}. {title(models[0])} predicts "
            f"{data.classes[-1]} with a mean probability of {number(mean)}; its share is {number(share)}."
        ),
        caption=(
            f"Calibration, {cases_said(predictions)}: bins of as many cases each, bars are Wilson's 95 % intervals"
            f"{_too_narrow(p)}; on the diagonal a probability means what it says. Probability of {what}."
        ),
    )


def _too_narrow(cases: pd.DataFrame) -> str:
    """Return what has to be said of intervals that take each of one model's cases for a patient."""
    several = cases["group"].nunique() < len(cases)
    return " (too narrow, for patients have several cases)" if several else ""


def _decision_curves(data: RunData, predictions: pd.DataFrame, models: Sequence[str]) -> Picture:
    binary = len(data.classes) == 2
    what = data.classes[1] if binary else f"each class against the rest, by {title(models[0])}"
    return picture(
        plots.decisions(predictions, models, data.classes),
        name="decision-curves",
        heading="Decision curves on the test cases",
        description=f"Net benefit against threshold probability for acting on {what}.",
        caption=(
            f"Decision curves, {cases_said(predictions)}: the net benefit of acting on {what} where the probability is "
            "above a threshold. A model is of use where its curve is above those of acting on everybody and on nobody."
        ),
    )


def _subgroups(found: pd.DataFrame) -> list[Block]:
    rows = [
        (
            str(row["attribute"]),
            as_cell(str(row["group"])),
            _metric_title(str(row["metric"])),
            int(row["n"]),
            bounds(float(row["value"]), float(row["lower"]), float(row["upper"])),
            *_difference(row),
        )
        for row in found[found["metric"].isin(_SHOWN)].to_dict("records")
    ]
    has = _has_difference(found)
    columns = [
        "Attribute",
        "Group",
        "Figure",
        "n",
        "Value",
        *(["Against the others", "p (Holm)"] if has else []),
    ]
    note = (
        "Few cases make wide intervals: a gap that is not significant is not shown to be absent. All figures are in "
        "tables/subgroups.csv."
    )
    blocks: list[Block] = [
        table("subgroups", "Figures by subgroup, with 95 % intervals", columns, rows, note)
    ]
    aucs = found[found["metric"].isin(AUCS) & found["value"].notna()]
    if len(aucs):
        said = "; ".join(
            f"{r['attribute']} {r['group']}: {bounds(r['value'], r['lower'], r['upper']).text}"
            for r in aucs.to_dict("records")
        )
        chart = picture(
            plots.subgroups(aucs),
            name="subgroup-auc",
            heading="AUC by subgroup",
            description=f"{without_paths(said)}.",
            caption="AUC of the delivered model by subgroup, with 95 % intervals.",
        )
        blocks.append(chart)
    return blocks


def _metric_title(name: str) -> str:
    if name in ("auc", "roc_auc"):
        return "ROC AUC"
    try:
        return get_metric(name).heading
    except ValueError:
        return name.replace("_", " ")


def _has_difference(found: pd.DataFrame) -> bool:
    return {"difference", "difference_lower", "difference_upper"} <= set(found)


def _difference(row: Mapping[Any, Any]) -> list[Cell]:
    if "difference" not in row:
        return []
    p = row.get("p_holm", row.get("p", float("nan")))
    return [
        bounds(*(float(row[name]) for name in ("difference", "difference_lower", "difference_upper"))),
        p_value(float(p)),
    ]


def _shortcuts(found: pd.DataFrame) -> Table:
    has = _has_difference(found)
    rows = [
        (
            str(row["probe"]),
            int(row["n"]),
            bounds(float(row["value"]), float(row["lower"]), float(row["upper"])),
            *(
                [
                    bounds(
                        *(float(row[name]) for name in ("difference", "difference_lower", "difference_upper"))
                    )
                ]
                if has
                else []
            ),
            "" if pd.isna(row.get("note")) else without_paths(str(row["note"])),
        )
        for row in found.to_dict("records")
    ]
    columns = [
        "What was changed",
        "n",
        "AUC",
        *(["Against the same cases unchanged"] if has else []),
        "Remark",
    ]
    note = (
        "The model on test cases that were changed, and on cases whose lesions are of matched size. Without the lesion "
        "it should fall to 0.5: what is left is a shortcut. With another mask, or among lesions of one size, it should "
        "hardly fall: what is lost was learned from how masks were drawn, or from size."
    )
    return table("shortcuts", "Shortcut checks", columns, rows, note)
