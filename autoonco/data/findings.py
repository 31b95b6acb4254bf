"""What the data check finds: how bad it is, of which row, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from autoonco.data.manifest import Dataset


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong or doubtful. `row` is None where it is about the data set as a whole."""

    code: str
    severity: Severity
    row: int | None
    message: str
    remedy: str
    expected: str = ""

    @property
    def found(self) -> str:
        """The message without the row in front."""
        return self.message.removeprefix(f"row {self.row}: ").removeprefix(f"row {self.row}, ")


def errors_of(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that rule out a case or, where they name no row, the whole data set."""
    return [finding for finding in found if finding.severity is Severity.ERROR]


def findings_frame(found: Sequence[Finding], dataset: Dataset) -> pd.DataFrame:
    """Return a table of findings, a row each, with the user's own name of the case; see `Dataset.check`."""
    names = {case.row: case.case for case in dataset.cases}
    rows = [
        {
            "code": finding.code,
            "severity": str(finding.severity),
            "row": finding.row,
            "case": None if finding.row is None else names[finding.row],
            "found": finding.found,
            "expected": finding.expected,
            "remedy": finding.remedy,
        }
        for finding in found
    ]
    columns = ["code", "severity", "row", "case", "found", "expected", "remedy"]
    return pd.DataFrame(rows, columns=columns).astype({"row": "Int64"})
