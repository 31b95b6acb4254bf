"""The doctor: what is wrong or doubtful in the data, told before hours are spent on it.

An *error* names a case that can't be used: it is excluded, or stops the run (`Settings.on_bad_case`). A
*warning* is about what biases a result or its estimate but leaves every case usable; a *note* is worth
knowing.
Contradictory labels of one picture are a warning: one of the two is wrong, but which one no check can know,
and dropping both would change a published test set without a word.
Codes stay: AO1xx are about single cases, AO2xx about images that differ, AO3xx about labels, classes and clinical
values, AO4xx about what is on both sides of a split, AO5xx about what gives the label away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoonco.data import copies, hints, rules
from autoonco.data.facts import CaseFacts, inspect
from autoonco.data.findings import Finding, Severity, errors_of, findings_frame
from autoonco.data.manifest import Dataset

__all__ = [
    "CHECKS", "CaseFacts", "Check", "Finding", "Severity", "errors_of", "findings", "findings_frame", "inspect",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule: a code, how bad, what is right, what to do, and a function that yields (row or None, message)."""

    code: str
    severity: Severity
    find: rules.Rule
    expected: str
    remedy: str


CHECKS: tuple[Check, ...] = (
    Check(
        code="AO101",
        severity=Severity.ERROR,
        find=rules.unreadable,
        expected="a file that can be read",
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO102",
        severity=Severity.ERROR,
        find=rules.misplaced,
        expected="a mask with the size, spacing, origin and direction of its image",
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO103",
        severity=Severity.ERROR,
        find=rules.empty_mask,
        expected="a lesion of three voxels or more",
        remedy="Draw the lesion, or leave the cell empty: an empty mask is no missing mask.",
    ),
    Check(
        code="AO104",
        severity=Severity.WARNING,
        find=rules.tiny_lesion,
        expected="a lesion of three voxels or more",
        remedy="See whether the outline is right: no texture can be measured on it.",
    ),
    Check(
        code="AO105",
        severity=Severity.ERROR,
        find=rules.not_finite,
        expected="finite values",
        remedy="Replace NaN and infinite values, by the value of air for instance.",
    ),
    Check(
        code="AO106",
        severity=Severity.ERROR,
        find=rules.constant,
        expected="an image of several values",
        remedy="Export the image again: it shows nothing.",
    ),
    Check(
        code="AO107",
        severity=Severity.ERROR,
        find=rules.absent_label,
        expected="a mask that holds the value of the lesion",
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO108",
        severity=Severity.WARNING,
        find=rules.mixed_values,
        expected="one value beside 0, or a label that says which is meant",
        remedy="Say which value is the lesion, or save masks with 0 and 1.",
    ),
    Check(
        code="AO109",
        severity=Severity.ERROR,
        find=rules.four_axes,
        expected="a picture or a volume",
        remedy="Or leave the row out.",
    ),
    Check(
        code="AO110",
        severity=Severity.NOTE,
        find=rules.healed,
        expected="headers that agree to float32",
        remedy="Nothing to do: the voxels are those that were drawn.",
    ),
    Check(
        code="AO111",
        severity=Severity.NOTE,
        find=rules.resampled,
        expected="masks drawn on their image",
        remedy="See in the report that the outlines lie where they were drawn.",
    ),
    Check(
        code="AO112",
        severity=Severity.WARNING,
        find=rules.clipped,
        expected="a lesion that lies in its image",
        remedy="See that mask and image belong together, or register them.",
    ),
    Check(
        code="AO201",
        severity=Severity.ERROR,
        find=rules.mixed_dimensions,
        expected="images of one number of axes",
        remedy="Keep pictures and volumes in separate manifests.",
    ),
    Check(
        code="AO202",
        severity=Severity.NOTE,
        find=rules.mixed_colour,
        expected="all in colour, or all grey",
        remedy="Grey pictures are repeated in three channels; see that colour does not tell the label.",
    ),
    Check(
        code="AO203",
        severity=Severity.NOTE,
        find=rules.border,
        expected="lesions within the image",
        remedy="Their shape and size are cut short; see that the crop does not depend on the label.",
    ),
    Check(
        code="AO204",
        severity=Severity.WARNING,
        find=rules.mixed_units,
        expected="grey values of one unit",
        remedy="Export them as the others: all are read in the unit of the majority.",
    ),
    Check(
        code="AO205",
        severity=Severity.WARNING,
        find=rules.mixed_spacing,
        expected="spacings alike within a factor of three",
        remedy="Correct the headers if they are wrong; textures of such images mean something else.",
    ),
    Check(
        code="AO301",
        severity=Severity.ERROR,
        find=rules.absent_class,
        expected="two or more patients a class",
        remedy="Collect more patients, or leave the class out with classes= (--classes).",
    ),
    Check(
        code="AO302",
        severity=Severity.WARNING,
        find=rules.small_class,
        expected="five or more patients a class",
        remedy="Use fewer folds (inner_folds, outer_folds), or collect more patients.",
    ),
    Check(
        code="AO303",
        severity=Severity.ERROR,
        find=rules.missing_label,
        expected="a label",
        remedy="Fill it, or drop the row.",
    ),
    Check(
        code="AO304",
        severity=Severity.ERROR,
        find=rules.one_class,
        expected="two classes or more",
        remedy="Name another column with label= (--label), or add cases of another class.",
    ),
    Check(
        code="AO305",
        severity=Severity.WARNING,
        find=rules.alike_classes,
        expected="a name for each class",
        remedy="Write them in one way where they are one class.",
    ),
    Check(
        code="AO306",
        severity=Severity.WARNING,
        find=rules.nearly_numbers,
        expected="numbers alone, or categories",
        remedy="Correct these cells, or leave them empty where the value isn't known: then it is a measure.",
    ),
    Check(
        code="AO307",
        severity=Severity.ERROR,
        find=rules.unread_class,
        expected="two or more patients a class that can be read",
        remedy="Mend these files (autoonco check tells of each), or leave the class out with classes= (--classes).",
    ),
    Check(
        code="AO401",
        severity=Severity.WARNING,
        find=rules.patient_in_splits,
        expected="each patient on one side of the test",
        remedy="Put each patient in one split: as it is, the test is too easy.",
    ),
    Check(
        code="AO402",
        severity=Severity.WARNING,
        find=copies.same_picture("labels", copies.labels),
        expected="one label a picture",
        remedy="Correct the wrong label, or drop the rows: no model can be right on both.",
    ),
    Check(
        code="AO403",
        severity=Severity.WARNING,
        find=copies.same_picture("splits", copies.splits),
        expected="each picture in one split",
        remedy="Keep one of them: as it is, the test is too easy.",
    ),
    Check(
        code="AO404",
        severity=Severity.WARNING,
        find=copies.same_picture("patients", copies.patients),
        expected="one patient a picture",
        remedy="Give them one patient, or keep one of them: folds can't hold them apart else.",
    ),
    Check(
        code="AO405",
        severity=Severity.WARNING,
        find=hints.telling_gaps,
        expected="gaps that have nothing to do with the label",
        remedy="Leave that column out, or the model learns who was examined and not what was seen.",
    ),
    Check(
        code="AO406",
        severity=Severity.WARNING,
        find=rules.torn_labels,
        expected="one class a patient",
        remedy="Right where each lesion has a label of its own; correct the wrong ones else.",
    ),
    Check(
        code="AO407",
        severity=Severity.WARNING,
        find=copies.near_picture("labels", copies.labels),
        expected="one label a picture",
        remedy="Look at them: where it is one lesion, correct the label or drop the rows.",
    ),
    Check(
        code="AO408",
        severity=Severity.WARNING,
        find=copies.near_picture("splits", copies.splits),
        expected="each picture in one split",
        remedy="Look at them: where it is one lesion, keep one, or the test is too easy.",
    ),
    Check(
        code="AO409",
        severity=Severity.WARNING,
        find=copies.near_picture("patients", copies.patients),
        expected="one patient a picture",
        remedy="Look at them: where it is one lesion, give them one patient, for folds can't hold them apart else.",
    ),
    Check(
        code="AO501",
        severity=Severity.WARNING,
        find=hints.telling_inputs,
        expected="inputs that are known before the label is",
        remedy="Take it out of the inputs if it was written down after the diagnosis: the figures would be worthless.",
    ),
    Check(
        code="AO502",
        severity=Severity.NOTE,
        find=hints.telling_columns,
        expected="columns that were not made from the label",
        remedy="It is no input, and should stay none.",
    ),
    Check(
        code="AO503",
        severity=Severity.WARNING,
        find=hints.shortcuts,
        expected="pictures taken alike whatever their class",
        remedy="Balance the classes over it, or judge on cases where it is the same for all.",
    ),
)


def findings(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[Finding]:
    """Return what every check says of `dataset`, given what `inspect` measured, errors first."""
    found = [
        Finding(
            code=check.code,
            severity=check.severity,
            row=row,
            message=message,
            remedy=check.remedy,
            expected=check.expected,
        )
        for check in CHECKS
        for row, message in check.find(dataset, facts)
    ]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))
