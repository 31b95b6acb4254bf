"""Ready splits, so that published ones can be replayed: a table with a row a case and a column a repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.columns import as_text, read_table
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError

SPLITS_FILE = "evaluation/splits.csv"
"""Where a run folder holds the splits that were used."""
TRAIN, TEST, NEITHER = "train", "test", ""
_ROLES = {"train": TRAIN, "val": TRAIN, "test": TEST, "": NEITHER}
_KEYS = ("case", "row")
_NOT_ROLES = (*_KEYS, "patient", "label", "site")

Splits = pd.DataFrame | str | Path


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """Ready splits: of each row of the manifest its part in every repeat, named after the table's columns."""

    names: tuple[str, ...]
    roles: Mapping[int, tuple[str, ...]]
    n_unknown: int = 0

    def of(self, dataset: Dataset, repeat: int) -> NDArray[np.str_]:
        """Return ``train``, ``test`` or nothing for each case of `dataset` in a repeat ``(n_cases,)``."""
        nothing = (NEITHER,) * len(self.names)
        return np.array([self.roles.get(case.row, nothing)[repeat] for case in dataset.cases], dtype=np.str_)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON: what a run with this table is told by."""
        return {"names": list(self.names), "roles": {str(row): list(own) for row, own in self.roles.items()}}


def read_split_table(splits: Splits, dataset: Dataset) -> SplitTable:
    """Return the splits of a table for `dataset`.

    Parameters
    ----------
    splits
        A table or a CSV file. Rows belong to cases by the column ``case``, else by ``row`` (line of the manifest from
        1), else in the manifest's order. Every other column is a repeat whose cells say ``train``, ``val`` (learned
        from too), ``test`` or nothing; ``patient``, ``label`` and ``site`` are passed over.

    Raises
    ------
    DataError
        If the table can't be used; the message names the column or row and the remedy.
    """
    try:
        cells = as_text(splits if isinstance(splits, pd.DataFrame) else read_table(Path(splits)))
    except DataError as error:
        raise DataError(f"The table of splits can't be used. {error}") from None
    names = tuple(name for name in cells if name not in _NOT_ROLES)
    if not names:
        raise DataError(
            f"The table of splits has the columns {', '.join(cells)}, expected one for each repeat beside them that "
            "says train or test: add it."
        )
    columns = [_roles(cells[name], name) for name in names]
    rows = _rows(cells, dataset)
    known = {case.row for case in dataset.cases}
    found = {row: own for row, own in zip(rows, zip(*columns, strict=True), strict=True) if row in known}
    if not found:
        raise DataError(
            "No row of the table of splits belongs to a case of the manifest: both are matched by the column "
            f"{'case' if 'case' in cells else 'row'!r}."
        )
    table = SplitTable(names=names, roles=found, n_unknown=len(rows) - len(found))
    for repeat, name in enumerate(names):
        _require_both(table.of(dataset, repeat), name)
    return table


def splits_frame(
    rows: Sequence[int], splits: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> pd.DataFrame:
    """Return splits as such a table: `rows` of the manifest, and by name the positions in them to train and test on."""
    columns: dict[str, object] = {"row": list(rows)}
    for name, (train, test) in splits.items():
        role = np.full(len(rows), NEITHER, dtype=object)
        role[train], role[test] = TRAIN, TEST
        columns[name] = role
    return pd.DataFrame(columns)


def _roles(cells: Sequence[str], name: str) -> list[str]:
    for row, cell in enumerate(cells, start=1):
        if cell.lower() not in _ROLES:
            raise DataError(
                f"Row {row} of the table of splits says {cell!r} in column {name!r}, expected train, val, test or an "
                "empty cell: correct it."
            )
    return [_ROLES[cell.lower()] for cell in cells]


def _rows(cells: Mapping[str, list[str]], dataset: Dataset) -> list[int]:
    """Return the row of the manifest that each row of the table is about, 0 for none."""
    n = len(next(iter(cells.values())))
    if "case" in cells:
        by_name = {case.case: case.row for case in dataset.cases}
        rows = [by_name.get(name, 0) for name in cells["case"]]
    elif "row" in cells:
        bad = next((cell for cell in cells["row"] if not cell.isdigit()), None)
        if bad is not None:
            raise DataError(
                f"Column 'row' of the table of splits holds {bad!r}, expected a line of the manifest."
            )
        rows = [int(cell) for cell in cells["row"]]
    elif n == len(dataset):
        rows = [case.row for case in dataset.cases]
    else:
        raise DataError(
            f"The table of splits has {n} rows for {len(dataset)} cases and no column 'case' to match them by: add it."
        )
    twice = [row for row, times in Counter(rows).items() if row and times > 1]
    if twice:
        raise DataError(f"The table of splits has row {twice[0]} of the manifest twice: keep one.")
    return rows


def _require_both(roles: NDArray[np.str_], name: str) -> None:
    for part in (TRAIN, TEST):
        if not (roles == part).any():
            raise DataError(
                f"Column {name!r} of the table of splits has no case to {part}, expected some of both parts: correct "
                "it, or drop the column."
            )
