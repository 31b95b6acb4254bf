"""The doctor: what is wrong or doubtful in the data, told before hours are spent on it.

An *error* names a case that can't be used: it is excluded, or stops the run (`Settings.on_bad_case`). A
*warning* is about what biases a result or its estimate but leaves every case usable; a *note* is worth
knowing.
Contradictory labels of one picture are a warning: one of the two is wrong, but which one no check can know,
and dropping both would change a published test set without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoonco.data import rules
from autoonco.data.facts import CaseFacts, inspect
from autoonco.data.manifest import Dataset

__all__ = ["CHECKS", "CaseFacts", "Check", "Finding", "Severity", "errors_of", "findings", "inspect"]


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


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule: a code, how bad, what to do, and a function that yields (row or None, message)."""

    code: str
    severity: Severity
    find: rules.Rule
    remedy: str


CHECKS: tuple[Check, ...] = (
    Check(
        code="AO101",
        severity=Severity.ERROR,
        find=rules.unreadable,
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO102",
        severity=Severity.ERROR,
        find=rules.misplaced,
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO103",
        severity=Severity.ERROR,
        find=rules.empty_mask,
        remedy="Draw the lesion, or leave the cell empty: an empty mask is no missing mask.",
    ),
    Check(
        code="AO104",
        severity=Severity.WARNING,
        find=rules.tiny_lesion,
        remedy="See whether the outline is right: no texture can be measured on it.",
    ),
    Check(
        code="AO105",
        severity=Severity.ERROR,
        find=rules.not_finite,
        remedy="Replace NaN and infinite values, by the value of air for instance.",
    ),
    Check(
        code="AO106",
        severity=Severity.ERROR,
        find=rules.constant,
        remedy="Export the image again: it shows nothing.",
    ),
    Check(
        code="AO201",
        severity=Severity.ERROR,
        find=rules.mixed_dimensions,
        remedy="Keep pictures and volumes in separate manifests.",
    ),
    Check(
        code="AO202",
        severity=Severity.NOTE,
        find=rules.mixed_colour,
        remedy="Grey pictures are repeated in three channels; see that colour does not tell the label.",
    ),
    Check(
        code="AO203",
        severity=Severity.NOTE,
        find=rules.border,
        remedy="Their shape and size are cut short; see that the crop does not depend on the label.",
    ),
    Check(
        code="AO204",
        severity=Severity.WARNING,
        find=rules.mixed_units,
        remedy="Export them as the others: all are read in the unit of the majority.",
    ),
    Check(
        code="AO301",
        severity=Severity.ERROR,
        find=rules.absent_class,
        remedy="Collect more patients, or leave the class out with classes= (--classes).",
    ),
    Check(
        code="AO302",
        severity=Severity.WARNING,
        find=rules.small_class,
        remedy="Use fewer folds (inner_folds, outer_folds), or collect more patients.",
    ),
    Check(
        code="AO401",
        severity=Severity.WARNING,
        find=rules.patient_in_splits,
        remedy="Put each patient in one split: as it is, the test is too easy.",
    ),
    Check(
        code="AO402",
        severity=Severity.WARNING,
        find=rules.same_picture("labels", rules.labels),
        remedy="Correct the wrong label, or drop the rows: no model can be right on both.",
    ),
    Check(
        code="AO403",
        severity=Severity.WARNING,
        find=rules.same_picture("splits", rules.splits),
        remedy="Keep one of them: as it is, the test is too easy.",
    ),
    Check(
        code="AO404",
        severity=Severity.WARNING,
        find=rules.same_picture("patients", rules.patients),
        remedy="Give them one patient, or keep one of them: folds can't hold them apart else.",
    ),
    Check(
        code="AO405",
        severity=Severity.WARNING,
        find=rules.telling_gaps,
        remedy="Leave that column out, or the model learns who was examined and not what was seen.",
    ),
)


def findings(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Return what every check says of `dataset`, given what `inspect` measured, errors first."""
    found = [
        Finding(code=check.code, severity=check.severity, row=row, message=message, remedy=check.remedy)
        for check in CHECKS
        for row, message in check.find(dataset, facts)
    ]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def errors_of(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that rule out a case or, where they name no row, the whole data set."""
    return [finding for finding in found if finding.severity is Severity.ERROR]
