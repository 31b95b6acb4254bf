"""Large figures for the top of the page: what is decided, what could be shown, the ensemble's gain, shortcuts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from autoonco.evaluation.baselines import RADIOMICS
from autoonco.evaluation.pairs import GAIN
from autoonco.evaluation.predicted import once_each
from autoonco.evaluation.probing import WITHOUT_LESION
from autoonco.evaluation.tables import CLEAN
from autoonco.evaluation.verdict import Verdict
from autoonco.reporting.blocks import bounds, number
from autoonco.reporting.board import honest_subset
from autoonco.reporting.clinical_section import at_said, thresholds_of
from autoonco.reporting.plots_clinical import confusion_counts
from autoonco.reporting.read_run import RunData

# A difference is found with 80 % power at the two-sided level of 5 % from 1.96 + 0.84 standard errors on.
_Z_SHOWN, _Z_FOUND = 1.96, 1.96 + 0.84


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One of the large figures at the top."""

    label: str
    value: str
    note: str = ""


def decisions_fact(data: RunData, delivered: str | None) -> Fact | None:
    """Return what the delivered model finds and leaves alone at its threshold, of two classes; on the clean cases."""
    predictions = data.predictions
    if predictions is None or len(data.classes) != 2:
        return None
    own = once_each(predictions[predictions["model"] == delivered])
    clean = own[own["is_clean"] == 1]
    own = own if clean.empty else clean
    at = thresholds_of(data.evidence.decisions, own)
    (right, false), (missed, found) = confusion_counts(own, 2, at, task=data.task).tolist()
    if not right + false or not missed + found:
        return None
    note = (
        f"{found} of {missed + found} {data.classes[1]} found, {right} of {right + false} {data.classes[0]} told as "
        f"such, at {at_said(data.evidence.decisions, at)}"
    )
    value = f"{100 * found / (missed + found):.0f} % and {100 * right / (right + false):.0f} %"
    return Fact(label="Sensitivity and specificity", value=value, note=note)


def smallest_difference(data: RunData, verdict: Verdict) -> Fact | None:
    """Return the smallest AUC difference that these data could show: as planned, else by the interval found."""
    label = "Smallest AUC difference these data can show"
    told = data.evidence.power
    if told:
        planned = planned_difference(told)
        shown = "none" if planned is None else number(planned)
        note = f"with {told.get('n_patients', 'these')} test patients, 80 % power, before the search"
        return Fact(label=label, value=shown, note=note)
    if verdict.figures is None:
        return None
    width = float(verdict.figures["upper"]) - float(verdict.figures["lower"])
    if not math.isfinite(width) or width <= 0:
        return None
    value = width / 2 / _Z_SHOWN * _Z_FOUND
    return Fact(
        label=label, value=number(value), note="80 % power, by the interval of deep networks minus radiomics"
    )


def planned_difference(power: Mapping[str, Any]) -> float | None:
    """Return what the run's power calculation says, None where there is none."""
    value = power.get("difference")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def ensemble_gain(comparison: pd.DataFrame) -> Fact | None:
    """Return what the ensemble gained over the single family that is best on inner folds."""
    rows = comparison[comparison["kind"] == GAIN] if "kind" in comparison else comparison
    if rows.empty:
        return None
    row = rows.iloc[0]
    value = bounds(*(float(row[name]) for name in ("difference", "lower", "upper"))).text
    note = "AUC of the ensemble minus that of the family that is best on inner folds"
    return Fact(label="Gain by the ensemble", value=value, note=note)


def strongest_without_lesion(data: RunData) -> Mapping[str, Any] | None:
    """Return the row of the shortcut checks on which the model does best with nothing of the lesion before it."""
    found = data.evidence.shortcuts
    blind = None if found is None else found[found["probe"].isin(WITHOUT_LESION) & found["value"].notna()]
    if blind is None or blind.empty:
        return None
    return {str(name): value for name, value in blind.sort_values("value", kind="stable").iloc[-1].items()}


def shortcut_fact(data: RunData, evaluation: pd.DataFrame) -> Fact | None:
    """Return the best AUC of what should not matter: of the model without a lesion, else of a blind baseline."""
    probe = strongest_without_lesion(data)
    if probe is not None:
        value = bounds(*(float(probe[name]) for name in ("value", "lower", "upper"))).text
        note = f"AUC of the delivered kind of model, {probe['probe']}"
        return Fact(label="Strongest shortcut", value=value, note=note)
    if evaluation.empty:
        return None
    subset = honest_subset(evaluation)
    own = evaluation[(evaluation["subset"] == subset) & evaluation["model"].str.startswith("baseline")]
    own = own[own["auc"].notna() & (own["model"] != RADIOMICS)]  # which looks at the picture
    if own.empty:
        return None
    row = own.sort_values("auc", kind="stable").iloc[-1]
    value = bounds(float(row["auc"]), float(row["auc_lower"]), float(row["auc_upper"])).text
    name = str(row["model"]).partition(": ")[2]
    note = f"AUC of {name} alone, without the picture{', on the clean cases' if subset == CLEAN else ''}"
    return Fact(label="Strongest shortcut", value=value, note=note)
