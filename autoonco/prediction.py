"""Predicting many cases: in batches, in the order given, each with its own status.

Memory is that of one batch, however many cases there are, and a bad case costs its batch a second reading and no
other case its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.errors import AutoOncoError, DataError, UnknownNameError

BATCH = 32
UNCERTAIN = "uncertain"
"""What is told in place of a class where the model abstains."""
SEPARATOR = "|"
"""What stands between the classes of a prediction set."""
MISSING_MASK = ("raise", "partial")
_UNKNOWN_SITE = (
    "Its site had no training cases, or too few: its features were not harmonised with the others'."
)
_TWIN = "another row has the same case identifier: tell them apart by their order."


class Model(Protocol):
    """What predicts: the ensemble of a model file."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    @property
    def families(self) -> tuple[str, ...]:
        """Family of each member."""
        ...

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``."""
        ...

    def told(self, proba: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class that is told of each case, as a position in `classes`."""
        ...

    def prediction_sets(self, proba: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which classes a case may be of ``(n_cases, n_classes)``, or None where that isn't known."""
        ...

    def odd_parts(self, cases: Sequence[Case]) -> Sequence[tuple[str, ...] | None]:
        """Return in which parts each case is unlike the training cases; None where that isn't known."""
        ...

    def unharmonised(self, case: Case) -> bool:
        """Return whether a part of the model harmonises sites and doesn't know that of `case`."""
        ...

    def able(self, case: Case) -> Self | None:
        """Return the part of the model that can predict `case`, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one case: `proba` ``(n_classes,)``, NaN where there is an `error`; `note` where it is partial.

    `hint` is what to know of one that is well.
    """

    case: Case
    proba: NDArray[Any]
    note: str = ""
    hint: str = ""
    error: Exception | None = None

    @property
    def status(self) -> str:
        """``ok``, ``partial`` or ``error``."""
        return "error" if self.error is not None else "partial" if self.note else "ok"

    @property
    def message(self) -> str:
        """Why it is not ok, or what to know of it; mostly empty."""
        if self.error is None:
            return self.note or self.hint
        return (
            str(self.error) if isinstance(self.error, AutoOncoError) else _unforeseen(self.error, self.case)
        )


def answers(
    model: Model, cases: Sequence[Case], *, missing_mask: str = "raise", batch: int = BATCH
) -> Iterator[list[Answer]]:
    """Yield the answers of one batch of cases after another, in the order given.

    Parameters
    ----------
    model
        The ensemble.
    cases
        The cases; read batch by batch.
    missing_mask
        ``"partial"`` lets the members that can do without predict a case whose mask is missing; ``"raise"`` makes that
        an error which says so.
    batch
        Cases at a time.

    Raises
    ------
    UnknownNameError
        If `missing_mask` is neither.
    """
    if missing_mask not in MISSING_MASK:
        raise UnknownNameError("way with a missing mask", missing_mask, MISSING_MASK)
    count = Counter(case.case for case in cases)
    for start in range(0, len(cases), batch):
        some = cases[start : start + batch]
        try:
            found = _predicted(model, some)
        except Exception:  # whatever one case brings about, the others have their answer
            made = [_answer(model, case, missing_mask) for case in some]
        else:
            made = [
                Answer(case=case, proba=row, hint=_hint(model, case))
                for case, row in zip(some, found, strict=True)
            ]
        yield [one if count[one.case.case] == 1 else _told_of_twin(one) for one in made]


def _told_of_twin(one: Answer) -> Answer:
    """Return an answer that says that another row names its case alike: a table matched by it would mix them up."""
    return replace(one, hint=" ".join(filter(None, (one.hint, f"row {one.case.row}: {_TWIN}"))))


def _predicted(model: Model, cases: Sequence[Case]) -> NDArray[Any]:
    """Return probabilities ``(n_cases, n_classes)``; `DataError` where a row could not be understood."""
    for case in cases:
        if case.problem is not None:
            raise DataError(case.problem)
    return model.predict_proba(cases)


def _unforeseen(error: Exception, case: Case) -> str:
    """Return the words for an error that no reader and no model foresaw."""
    return f"row {case.row}: it can't be predicted ({type(error).__name__}: {error}). Look at its scan, or report this."


def _hint(model: Model, case: Case) -> str:
    """Return what to know of a case that is predicted; mostly empty."""
    site = _UNKNOWN_SITE if model.unharmonised(case) else ""
    return " ".join(filter(None, (_placed(case), site)))


def _answer(model: Model, case: Case, missing_mask: str) -> Answer:
    """Return the answer of a case that is predicted alone."""
    nothing = np.full(len(model.classes), np.nan)
    try:
        return Answer(case=case, proba=_predicted(model, [case])[0], hint=_hint(model, case))
    except Exception as error:  # becomes the case's answer, and is raised where there is no table
        found = error
    may_do_without = isinstance(found, DataError) and case.problem is None and _lacks_mask(case)
    part = model.able(case) if may_do_without else None
    if part is None:
        return Answer(case=case, proba=nothing, error=found)
    names = ", ".join(dict.fromkeys(part.families)) or "some members"
    if placed := _placed(case):
        note = f"{placed} That is enough for {names} alone: not predicted by the model that was judged."
        return Answer(case=case, proba=part.predict_proba([case])[0], note=note)
    if missing_mask == "partial":
        note = (
            f"row {case.row}: predicted without a mask, by {names} alone, not by the model that was judged."
        )
        return Answer(case=case, proba=part.predict_proba([case])[0], note=note)
    hint = (
        f"Without a mask {names} could predict it: ask for that with missing_mask='partial' (--missing-mask)."
    )
    return Answer(case=case, proba=nothing, error=DataError(f"{found} {hint}"))


def _placed(case: Case) -> str:
    """Return what is known of a lesion that was pointed at or boxed in; empty of others."""
    if case.mark is None or not _lacks_mask(case):
        return ""
    if case.mark.is_point:
        return f"row {case.row}: the lesion was pointed at, not drawn, and is taken to be of the usual size."
    return f"row {case.row}: the lesion was boxed in, not drawn."


def _lacks_mask(case: Case) -> bool:
    return any(case.mask_of(channel) is None for channel in case.images)


def probabilities(
    model: Model, cases: Sequence[Case], *, missing_mask: str = "raise", batch: int = BATCH
) -> NDArray[Any]:
    """Return probabilities ``(n_cases, n_classes)``, columns in the order of the classes.

    Raises
    ------
    AutoOncoError
        If a case can't be predicted: the first one's reason.
    """
    rows = []
    for some in answers(model, cases, missing_mask=missing_mask, batch=batch):
        for one in some:
            if one.error is not None:
                raise one.error
            rows.append(one.proba)
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(model.classes))


def table_of(some: Sequence[Answer], model: Model, *, abstain: bool = False) -> pd.DataFrame:
    """Return a row a case, see `AutoOncoClassifier.predict_table`."""
    classes = model.classes
    odd = iter(model.odd_parts([one.case for one in some if one.error is None]))
    rows = [
        {
            "case": one.case.case,
            **decided_columns(None if one.error is not None else one.proba, model, abstain=abstain),
            **{f"probability_{name}": value for name, value in zip(classes, one.proba, strict=True)},
            "out_of_distribution": "" if one.error is not None else odd_text(next(odd)),
            "status": one.status,
            "message": one.message,
        }
        for one in some
    ]
    probabilities_of = [f"probability_{name}" for name in classes]
    columns = ["case", "prediction", *probabilities_of, "prediction_set", "uncertain", "out_of_distribution"]
    return pd.DataFrame(rows, columns=[*columns, "status", "message"])


def uncertain(model: Model, proba: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which cases ``(n_cases,)`` are ambiguous: their prediction set is not the class told of them alone.

    Raises
    ------
    AutoOncoError
        If the model has no prediction sets.
    """
    sets = model.prediction_sets(proba)
    if sets is None:
        raise AutoOncoError(
            "This model has no prediction sets, so it can't tell which cases are ambiguous: fit it again with this "
            "version of autoonco."
        )
    told = model.told(proba)
    return np.asarray((sets.sum(axis=1) != 1) | ~sets[np.arange(len(told)), told])


def decided_columns(found: NDArray[Any] | None, model: Model, *, abstain: bool) -> dict[str, Any]:
    """Return what is told of probabilities ``(n_classes,)``: a class, which others it may be, if it is ambiguous."""
    if found is None:
        return {"prediction": None, "prediction_set": "", "uncertain": ""}
    proba = found[None]
    name = model.classes[int(model.told(proba)[0])]
    sets = model.prediction_sets(proba)
    if sets is None:
        return {"prediction": name, "prediction_set": "", "uncertain": ""}
    within = [each for each, is_in in zip(model.classes, sets[0], strict=True) if is_in]
    is_uncertain = bool(uncertain(model, proba)[0])
    return {
        "prediction": UNCERTAIN if abstain and is_uncertain else name,
        "prediction_set": SEPARATOR.join(within),
        "uncertain": "yes" if is_uncertain else "no",
    }


def odd_text(parts: tuple[str, ...] | None) -> str:
    """Return the parts in which a case is unlike the training cases as a table has them; empty where not known."""
    return "" if parts is None else ", ".join(parts) or "no"


def tables(
    model: Model,
    cases: Sequence[Case],
    *,
    missing_mask: str = "raise",
    batch: int = BATCH,
    abstain: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield `table_of` for one batch after another; `on_progress` is called with (cases done, all cases)."""
    done = 0
    for some in answers(model, cases, missing_mask=missing_mask, batch=batch):
        yield table_of(some, model, abstain=abstain)
        done += len(some)
        if on_progress is not None:
            on_progress(done, len(cases))
