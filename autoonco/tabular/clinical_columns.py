"""Clinical values as numbers: what is learned from the training cases, and how new ones are read by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.errors import DataError

FEWEST_OF_CATEGORY = 2
"""A category of a single case teaches nothing, and may be what names a patient: it is never kept."""


class ColumnKind(StrEnum):
    """What a clinical column holds in the training cases."""

    NUMBER = "number"
    CATEGORY = "category"
    EMPTY = "empty"  # no training case has a value: nothing is made of it


@dataclass(frozen=True, kw_only=True)
class ClinicalColumn:
    """One clinical column: its kind, the categories that are kept, whether a missing value has a column of its own."""

    name: str
    kind: ColumnKind
    categories: tuple[str, ...] = ()
    is_flagged: bool = False

    @property
    def width(self) -> int:
        """Columns of the table that it fills."""
        own = {ColumnKind.NUMBER: 1, ColumnKind.CATEGORY: len(self.categories), ColumnKind.EMPTY: 0}
        return own[self.kind] + self.is_flagged


@dataclass(frozen=True, kw_only=True)
class ClinicalEncoder:
    """Clinical columns as a table, by what the training cases held.

    A number stays as it is, NaN where it is missing. A category becomes a column of 0 and 1 for each kept category;
    rare, unseen and missing ones are 0 in all of them.

    Examples
    --------
    >>> ages, sexes = (61.0, None, 50.0, 4.0), ("f", "m", "f", "m")
    >>> rows = [{"age": age, "sex": sex} for age, sex in zip(ages, sexes, strict=True)]
    >>> cases = [Case(case=str(i), patient=str(i), images={}, clinical=row) for i, row in enumerate(rows)]
    >>> encoder = ClinicalEncoder.fitted(cases, ("age", "sex"))
    >>> encoder.names
    ('age', 'sex=f', 'sex=m')
    >>> encoder.transform(cases[:2])
    array([[61.,  1.,  0.],
           [nan,  0.,  1.]])
    """

    columns: tuple[ClinicalColumn, ...]

    @classmethod
    def fitted(
        cls,
        cases: Sequence[Case],
        names: Sequence[str],
        *,
        min_share: float = 0.0,
        flag_missing: bool = False,
    ) -> ClinicalEncoder:
        """Learn from `cases` what the columns `names` hold.

        Parameters
        ----------
        min_share
            Categories of a smaller share of the cases are not kept; nor is any of a single case.
        flag_missing
            Whether a column in which a value is missing gets one that says where.

        Raises
        ------
        DataError
            If a case lacks a column; the message names its row.
        """
        return cls(
            columns=tuple(
                _learn([_value(case, name, names) for case in cases], name, min_share, flag_missing)
                for name in names
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        found: list[str] = []
        for column in self.columns:
            if column.kind is ColumnKind.NUMBER:
                found.append(column.name)
            found += [f"{column.name}={category}" for category in column.categories]
            if column.is_flagged:
                found.append(f"{column.name} is missing")
        return tuple(found)

    def transform(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return the table ``(n_cases, n_columns)``, columns as in `names`.

        Raises
        ------
        DataError
            If a case lacks a column, or has text where the training cases had numbers; the message names its row.
        """
        table = np.zeros((len(cases), sum(column.width for column in self.columns)))
        wanted = [column.name for column in self.columns]
        for row, case in enumerate(cases):
            start = 0
            for column in self.columns:
                value = _value(case, column.name, wanted)
                table[row, start : start + column.width] = _encode(value, column, case.row)
                start += column.width
        return table

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON."""
        return [asdict(column) | {"kind": str(column.kind)} for column in self.columns]

    @classmethod
    def from_json(cls, plain: Sequence[Mapping[str, Any]]) -> ClinicalEncoder:
        """Read what `to_json` wrote."""
        return cls(
            columns=tuple(
                ClinicalColumn(
                    name=item["name"],
                    kind=ColumnKind(item["kind"]),
                    categories=tuple(item["categories"]),
                    is_flagged=bool(item["is_flagged"]),
                )
                for item in plain
            )
        )


def _value(case: Case, name: str, wanted: Sequence[str]) -> float | str | None:
    if name not in case.clinical:
        raise DataError(
            f"row {case.row}: the clinical column {name!r} is missing, and the model takes "
            f"{', '.join(wanted)}: add the column; an empty cell stands for a value that isn't known."
        )
    value = case.clinical[name]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _learn(
    values: Sequence[float | str | None], name: str, min_share: float, flag_missing: bool
) -> ClinicalColumn:
    known = [value for value in values if value is not None]
    if not known:
        return ClinicalColumn(name=name, kind=ColumnKind.EMPTY)
    is_flagged = flag_missing and len(known) < len(values)
    if not any(isinstance(value, str) for value in known):
        return ClinicalColumn(name=name, kind=ColumnKind.NUMBER, is_flagged=is_flagged)
    counts = Counter(category_of(value) for value in known)
    fewest = max(FEWEST_OF_CATEGORY, min_share * len(values))
    kept = tuple(sorted(category for category, count in counts.items() if count >= fewest))
    return ClinicalColumn(name=name, kind=ColumnKind.CATEGORY, categories=kept, is_flagged=is_flagged)


def category_of(value: float | str) -> str:
    """Return the category that a cell names: a number is the same category however it is written.

    A table whose cells of a column are all numbers is read as numbers, even where the training cases had text too.

    Examples
    --------
    >>> category_of("2"), category_of("2.0"), category_of(2.0), category_of(" III")
    ('2', '2', '2', 'III')
    """
    try:
        return f"{float(value):.12g}"
    except ValueError:
        return str(value).strip()


def _encode(value: float | str | None, column: ClinicalColumn, row: int) -> list[float]:
    flag = [float(value is None)] if column.is_flagged else []
    if column.kind is ColumnKind.EMPTY:
        return flag
    if column.kind is ColumnKind.CATEGORY:
        found = None if value is None else category_of(value)
        return [float(category == found) for category in column.categories] + flag
    if value is None:
        return [np.nan, *flag]
    try:
        return [float(value), *flag]
    except ValueError:
        raise DataError(
            f"row {row}: the clinical column {column.name!r} says {value!r}, expected a number as in the training "
            "cases: correct the cell, or leave it empty where the value isn't known."
        ) from None
