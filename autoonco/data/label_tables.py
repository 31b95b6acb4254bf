"""A table of labels beside files that were found on disk: joined by a key, an unmatched row told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from autoonco.data.columns import as_text, read_table, require
from autoonco.errors import DataError

LabelTable = pd.DataFrame | str | Path
Rows = dict[str, list[str]]
"""Column → its cells as text."""


def read_labels(labels: LabelTable) -> Rows:
    """Return the cells of a table or a CSV file."""
    return as_text(labels if isinstance(labels, pd.DataFrame) else read_table(Path(labels)))


def joined(found: Sequence[Mapping[str, str]], labels: LabelTable) -> pd.DataFrame:
    """Return a row of a manifest for each row of `labels`: what was found of its case, and the table's own columns.

    Cases that the table doesn't name are left out.

    Raises
    ------
    DataError
        If the table has no column ``case``, or names one that was not found.
    """
    table = read_labels(labels)
    require(
        table,
        "case",
        "A table of labels for files is keyed by the column case: the file's name without its end.",
    )
    by_name = {row["case"]: row for row in found}
    rows = []
    for number, name in enumerate(table["case"], start=1):
        if name not in by_name:
            raise DataError(
                f"row {number} of the labels: there are no files of this case among the {len(by_name)} found: "
                "correct the column case (the name of its file without the end), or drop the row."
            )
        own = {column: cells[number - 1] for column, cells in table.items()}
        rows.append({**by_name[name], **own})
    return as_frame(rows)


def as_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows as a table of text, a cell that a row lacks empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame({name: [row.get(name, "") for row in rows] for name in columns}, dtype=object)
