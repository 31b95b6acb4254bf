"""How a run decides, in words and tables: calibration, thresholds and prediction sets, of cases and of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoonco.evaluation.patients import MAX
from autoonco.evaluation.tasks import ORDINAL
from autoonco.reporting import plots_clinical as plots
from autoonco.reporting.blocks import Block, Cell, listing, number, picture, table, without_paths

_RULES = {
    "most_probable": "the most probable class",
    "youden": "the largest sensitivity + specificity on inner folds (Youden)",
    "sensitivity": "a sensitivity asked for, on inner folds",
}
_PATIENTS = "patients"
_SHARES = ("sensitivity", "specificity")

Decisions = Mapping[str, Any]


def threshold_of(decisions: Decisions) -> float | None:
    """Return the threshold that decides, None for the most probable class."""
    told = decisions.get("threshold")
    value = told.get("value") if isinstance(told, Mapping) else told
    return float(value) if isinstance(value, int | float) else None


def chose_threshold(decisions: Decisions) -> bool:
    """Return whether another class than the most probable one may be called."""
    return _part(decisions, "threshold").get("rule") not in (None, "most_probable")


def decision_texts(decisions: Decisions, task: str) -> list[str]:
    """Return sentences on calibration and threshold, on patients with several cases, and on cases that are unlike."""
    told: list[str] = []
    calibration, threshold = _part(decisions, "calibration"), _part(decisions, "threshold")
    if calibration.get("method"):
        losses = calibration.get("inner_log_loss") or {}
        listed = listing([f"{name} {number(float(value))}" for name, value in losses.items()])
        reason = f" {without_paths(str(calibration['reason']))}" if calibration.get("reason") else ""
        told.append(
            f"Calibration: {calibration['method']}, chosen by the inner log loss"
            f"{f' ({listed})' if losses else ''}.{reason}"
        )
    if threshold.get("rule"):
        # of a test of the delivered model's own there are figures
        clean = (
            " No test case took part in that choice." if _part(_part(decisions, "conformal"), "test") else ""
        )
        if chose_threshold(decisions) and threshold.get("of_folds"):
            clean = (
                " It was learned on all training cases, those that judge in outer folds too: these are called by the "
                "threshold of their own fold's search, in whose choice none of its test cases took part."
            )
        told.append(f"A case is called by {_rule(decisions, task)}.{_at(decisions)}{clean}")
    patients = _part(decisions, _PATIENTS)
    if patients:
        how = "those of the worst of them" if patients.get("how") == MAX else "their mean"
        clean = "; no test patient took part in it" if _part(_part(patients, "conformal"), "test") else ""
        told.append(
            "Patients with several cases are decided on as well: the probabilities of their cases become one, "
            f"{how}, and the patient is called by {_rule(patients, task)}.{_at(patients)} That was learned on "
            f"{patients.get('n')} patients of the inner folds{clean}."
        )
    return [*told, *_odd_texts(_part(decisions, "out_of_distribution"))]


def patient_blocks(decisions: Decisions) -> list[Block]:
    """Return what the decision on patients found among those that it was learned on, and among test patients."""
    patients = _part(decisions, _PATIENTS)
    told = _part(patients, "threshold")
    tested = _part(_part(patients, "conformal"), "test")
    rows = [
        (name, n, *(_percent(told.get(f"{prefix}_{share}")) for share in _SHARES))
        for name, n, prefix in (
            ("test patients", tested.get("n"), "test"),
            ("patients of the inner folds, who chose it", patients.get("n"), "inner"),
        )
        if any(told.get(f"{prefix}_{share}") is not None for share in _SHARES)
    ]
    if not rows:
        return []
    note = "Patients whose cases became one, at the threshold of patients."
    if len(rows) > 1 or not tested:
        note += " Those of the inner folds chose it: theirs are too good."
    if not tested:
        note += (
            " Test patients of outer folds were not decided on by it: how well they are told, by the most probable "
            "class, stands under Families."
        )
    columns = ["Patients", "n", *(share.capitalize() for share in _SHARES)]
    return [table("patient-decisions", "Decisions on patients", columns, rows, note)]


def sets_blocks(decisions: Decisions, classes: Sequence[str]) -> list[Block]:
    """Return how often prediction sets held the class, of cases and of patients, and how large those of cases are."""
    told, of_patients = _part(decisions, "conformal"), _part(_part(decisions, _PATIENTS), "conformal")
    cases = _figures_of(told, "cases")
    if not cases:
        return []
    rows = [
        (
            name,
            int(figures["n"]),
            float(figures["coverage"]),
            *((figures.get("coverage_by_class") or {}).get(c) for c in classes),
            float(figures["mean_size"]),
            _percent(figures.get("single")),
            _percent(figures.get("empty")),
        )
        for name, figures in (cases | _figures_of(of_patients, "patients")).items()
    ]
    level = float(told.get("level", float("nan")))
    note = (
        f"Sets that hold the true class in {100 * level:.0f} % of the cases of each class, asked for: "
        f"{without_paths(str(told.get('method', '')))}. Calibrated on "
        f"{without_paths(str(told.get('calibrated_on', '')))}."
    )
    if of_patients:
        note += " Patients, whose cases became one, have sets of their own, calibrated on patients."
    columns = ["Of", "n", "Coverage", *(f"of {c}" for c in classes), "Mean size", "One class", "Empty"]
    where, shown = next(iter(cases.items()))
    sizes = ", ".join(f"{size} classes: {n} cases" for size, n in (shown.get("sizes") or {}).items())
    chart = picture(
        plots.set_sizes(shown, classes),
        name="set-sizes",
        heading="Sizes of the prediction sets",
        description=f"{sizes}.",
        caption=f"Sizes of the prediction sets on {where}: one class is an answer, more are a doubt.",
    )
    return [chart, table("prediction-sets", "Prediction sets (conformal)", columns, rows, note)]


def _part(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a part of a record, empty where there is none."""
    found = told.get(key)
    return found if isinstance(found, Mapping) else {}


def _odd_texts(record: Mapping[str, Any]) -> list[str]:
    """Return how cases unlike the training cases are told, and how many test cases were."""
    if record.get("reason"):
        return [f"Cases unlike the training cases can't be told: {without_paths(str(record['reason']))}."]
    if not record.get("parts"):
        return []
    tested, allowed = _part(record, "test"), float(record.get("allowed_false_alarms", float("nan")))
    found = "" if tested.get("odd") is None else f" {_said(tested['odd'])} of {tested['n']} test cases are."
    parts, wrongly = listing([str(part) for part in record["parts"]]), _said(allowed)
    return [
        f"Cases unlike the training cases are told by {parts}, so that about {wrongly} of cases like these are told "
        f"wrongly.{found}"
    ]


def _figures_of(conformal: Mapping[str, Any], who: str) -> dict[str, Mapping[str, Any]]:
    parts = {f"test {who}": _part(conformal, "test"), f"calibrating {who}": _part(conformal, "cross_fitted")}
    return {name: figures for name, figures in parts.items() if figures}


def _rule(decisions: Decisions, task: str) -> str:
    rule = str(_part(decisions, "threshold").get("rule"))
    if task == ORDINAL and rule == "most_probable":
        return "the median grade"
    return _RULES.get(rule, without_paths(rule))


def _at(decisions: Decisions) -> str:
    value = threshold_of(decisions)
    return "" if value is None else f" The threshold is {number(value)}."


def _percent(share: Any) -> Cell:
    return Cell(text="–") if share is None else Cell(text=_said(share), number=float(share))


def _said(share: Any) -> str:
    return f"{100 * float(share):.0f} %"
