"""Predicting many cases: in batches, in the order given, each with its own status.

Memory is that of one batch, however many cases there are, and a bad case costs its batch a second reading and no
other case its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.errors import AutoOncoError, DataError, UnknownNameError

BATCH = 32
MISSING_MASK = ("raise", "partial")


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

    def able(self, case: Case) -> Self | None:
        """Return the part of the model that can predict `case`, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one case: `proba` ``(n_classes,)``, NaN where there is an `error`; `note` where it is partial."""

    case: Case
    proba: NDArray[Any]
    note: str = ""
    error: Exception | None = None

    @property
    def status(self) -> str:
        """``ok``, ``partial`` or ``error``."""
        return "error" if self.error is not None else "partial" if self.note else "ok"

    @property
    def message(self) -> str:
        """Why it is not ok; empty where it is."""
        return self.note if self.error is None else str(self.error) or type(self.error).__name__


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
    for start in range(0, len(cases), batch):
        some = cases[start : start + batch]
        try:
            found = model.predict_proba(some)
        except (AutoOncoError, MemoryError, OSError):
            yield [_answer(model, case, missing_mask) for case in some]
        else:
            yield [Answer(case=case, proba=row) for case, row in zip(some, found, strict=True)]


def _answer(model: Model, case: Case, missing_mask: str) -> Answer:
    """Return the answer of a case that is predicted alone."""
    nothing = np.full(len(model.classes), np.nan)
    try:
        return Answer(case=case, proba=model.predict_proba([case])[0])
    except (AutoOncoError, MemoryError, OSError) as error:
        found = error
    part = model.able(case) if isinstance(found, DataError) and _lacks_mask(case) else None
    if part is None:
        return Answer(case=case, proba=nothing, error=found)
    names = ", ".join(dict.fromkeys(part.families)) or "some members"
    if missing_mask == "partial":
        note = (
            f"row {case.row}: predicted without a mask, by {names} alone, not by the model that was judged."
        )
        return Answer(case=case, proba=part.predict_proba([case])[0], note=note)
    hint = (
        f"Without a mask {names} could predict it: ask for that with missing_mask='partial' (--missing-mask)."
    )
    return Answer(case=case, proba=nothing, error=DataError(f"{found} {hint}"))


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


def table_of(some: Sequence[Answer], model: Model) -> pd.DataFrame:
    """Return a row a case: case, prediction, ``probability_<class>``, status, message."""
    classes = model.classes
    rows = [
        {
            "case": one.case.case,
            "prediction": None if one.error is not None else classes[int(model.told(one.proba[None])[0])],
            **{f"probability_{name}": value for name, value in zip(classes, one.proba, strict=True)},
            "status": one.status,
            "message": one.message,
        }
        for one in some
    ]
    columns = ["case", "prediction", *(f"probability_{name}" for name in classes), "status", "message"]
    return pd.DataFrame(rows, columns=columns)


def tables(
    model: Model,
    cases: Sequence[Case],
    *,
    missing_mask: str = "raise",
    batch: int = BATCH,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield `table_of` for one batch after another; `on_progress` is called with (cases done, all cases)."""
    done = 0
    for some in answers(model, cases, missing_mask=missing_mask, batch=batch):
        yield table_of(some, model)
        done += len(some)
        if on_progress is not None:
            on_progress(done, len(cases))
