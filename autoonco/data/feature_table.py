"""Features that the user brings: a table of numbers, a row a case, checked before anything is fitted on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.columns import MISSING, read_table
from autoonco.errors import DataError, UnknownNameError

KEY = "case"
NOT_FEATURES = (KEY, "status", "message")
"""Columns of the tables that ``autoonco features`` writes which are no features."""

FeatureTable = pd.DataFrame | str | Path


def read_features(table: FeatureTable) -> pd.DataFrame:
    """Return the features indexed by case as float64, NaN where a cell is empty.

    Parameters
    ----------
    table
        A table, or a .csv, .tsv or .parquet file, with a column ``case`` and columns of numbers. The columns
        ``status`` and ``message`` are left out.

    Raises
    ------
    DataError
        If the table can't be read, has no column ``case`` or a case twice, or a column isn't numeric; the message
        names the row and the column.
    """
    frame = table if isinstance(table, pd.DataFrame) else _read(Path(table))
    frame = frame.rename(columns=lambda name: str(name).strip())
    if KEY not in frame:
        raise DataError(
            f"{UnknownNameError('column', KEY, map(str, frame.columns))} A table of features is keyed by "
            "the manifest's column case."
        )
    keys = [_key(value) for value in frame[KEY]]
    _refuse_twice(keys)
    names = [str(name) for name in frame.columns if name not in NOT_FEATURES]
    if len(set(names)) < len(names):
        raise DataError("A column of the feature table is there twice: give each feature its own name.")
    if not names:
        raise DataError("The feature table has no column beside case: add at least one feature.")
    return pd.DataFrame({name: _numbers(frame[name], name) for name in names}, index=pd.Index(keys, name=KEY))


def values_of(
    features: pd.DataFrame, cases: Sequence[str], *, rows: Sequence[int], must_have: bool
) -> list[dict[str, float]]:
    """Return column → value of each of `cases`, in their order.

    Parameters
    ----------
    features
        What `read_features` gave.
    rows
        Rows of the manifest, by which an error names cases.
    must_have
        Whether each case needs a row with a value; else it gets none, for whoever uses it to tell.

    Raises
    ------
    DataError
        Naming the row of the manifest whose case is not in the table, or has only empty cells there.
    """
    place = {key: number for number, key in enumerate(features.index)}
    names = [str(name) for name in features.columns]
    table = features.to_numpy(dtype=np.float64)
    found: list[dict[str, float]] = []
    for row, case in zip(rows, cases, strict=True):
        number = place.get(case)
        if number is None or np.isnan(table[number]).all():
            if must_have:
                lack = (
                    "not in the feature table" if number is None else "without a value in the feature table"
                )
                raise DataError(
                    f"row {row}: its case is {lack}, which has {len(features)} rows: add it, or leave the case out "
                    "of the manifest. Both are matched by the column case."
                )
            found.append({})
        else:
            found.append(dict(zip(names, table[number].tolist(), strict=True)))
    return found


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() != ".parquet":
        return read_table(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of a table of features.")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no parquet file ({type(error).__name__}): write it again.") from error


def _key(value: Any) -> str:
    """Return a case as the manifest writes it: whole numbers without decimals."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _refuse_twice(keys: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for row, key in enumerate(keys, start=1):
        if key in first:
            raise DataError(
                f"Row {row} of the feature table is about the case of row {first[key]}: keep one row a case; several "
                "lesions of a case have to be joined first."
            )
        first[key] = row


def _numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Return a column as float64; text that is empty or a usual word for missing is NaN."""
    is_empty = np.array([_is_missing(cell) for cell in column], dtype=bool)
    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    wrong = np.flatnonzero((np.isnan(numbers) & ~is_empty) | np.isinf(numbers))
    if len(wrong):
        raise DataError(
            f"Column {name!r} of the feature table holds {str(column.iloc[wrong[0]])!r} in row {wrong[0] + 1}, "
            "expected a finite number: correct it; text belongs into the manifest, with clinical= (--clinical)."
        )
    return numbers


def _is_missing(cell: Any) -> bool:
    return bool(pd.isna(cell)) or str(cell).strip().lower() in MISSING
