"""Predicting patients: the answers of their cases become one, as patients were judged when the model was fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.bundle import Bundle
from autoonco.data.case import Case
from autoonco.evaluation.patients import merged
from autoonco.prediction import Answer, answers, decided_columns, odd_text

Told = tuple[Answer, tuple[str, ...] | None]
"""A case's answer and the parts in which it is odd."""
CASE, PATIENT = BY = "case", "patient"
"""What a row of a table of predictions may be of."""
_NEVER_SEVERAL = "No training patient had several cases: how well such a patient is told was never judged."


def patient_predictions(
    bundle: Bundle,
    cases: Sequence[Case],
    *,
    abstain: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    **how: Any,
) -> pd.DataFrame:
    """Return a row a patient, in the order in which they come; see `Predictor.predict_table`.

    Calibrated probabilities of a patient's cases become one as `Settings.patient_level` said at the fit; threshold and
    prediction sets are those that were learned on training patients. Cases without a patient are one each.

    Parameters
    ----------
    abstain
        Whether the prediction of an ambiguous patient is ``uncertain``.
    on_progress
        Called with (cases done, all cases).
    **how
        As for `prediction.answers`.
    """
    by_patient: dict[str, list[Told]] = {}
    done = 0
    for some in answers(bundle, cases, **how):
        odd = iter(bundle.odd_parts([one.case for one in some if one.error is None]))
        for one in some:
            told = one, None if one.error is not None else next(odd)
            by_patient.setdefault(one.case.patient or f"\n{one.case.row}", []).append(told)
        done += len(some)
        if on_progress is not None:
            on_progress(done, len(cases))
    names = [f"probability_{name}" for name in bundle.classes]
    rows = [_row(bundle, own, names, abstain=abstain) for own in by_patient.values()]
    columns = [
        "patient",
        "n_cases",
        "prediction",
        *names,
        "prediction_set",
        "uncertain",
        "out_of_distribution",
    ]
    return pd.DataFrame(rows, columns=[*columns, "status", "message"])


def _row(bundle: Bundle, own: Sequence[Told], names: Sequence[str], *, abstain: bool) -> dict[str, Any]:
    """Return what is told of one patient."""
    first = own[0][0].case
    good = [one for one, _ in own if one.error is None]
    proba: NDArray[Any] | None = None
    if good:
        stacked = np.array([one.proba for one in good], dtype=np.float64)
        proba = merged(stacked, np.zeros(len(good), dtype=np.int64), how=bundle.patient_level)[0]
    known = [parts for _, parts in own if parts is not None]
    odd = tuple(sorted({name for parts in known for name in parts})) if known else None
    model = bundle.for_patients(is_several=len(own) > 1)
    return {
        "patient": first.patient or first.case,
        "n_cases": len(own),
        **decided_columns(proba, model, abstain=abstain),
        **dict(zip(names, np.full(len(names), np.nan) if proba is None else proba, strict=True)),
        "out_of_distribution": "" if proba is None else odd_text(odd),
        **_status(own, good, is_judged=len(own) == 1 or bundle.knows_patients),
    }


def _status(own: Sequence[Told], good: Sequence[Answer], *, is_judged: bool) -> dict[str, str]:
    """Return ``status`` and ``message``: an error where no case is predicted, partial where not all are, or in part."""
    bad = [one for one, _ in own if one.error is not None]
    if not good:
        return {"status": "error", "message": bad[0].message}
    lost = f"{len(bad)} of {len(own)} cases could not be predicted and don't count. " if bad else ""
    is_partial = bool(bad) or any(one.status == "partial" for one in good)
    said = dict.fromkeys(one.message for one in [*bad, *good] if one.message)
    message = lost + " ".join(said) + ("" if is_judged else f" {_NEVER_SEVERAL}")
    return {"status": "partial" if is_partial else "ok", "message": message.strip()}
