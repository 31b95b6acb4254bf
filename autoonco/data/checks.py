"""The doctor: what is wrong or doubtful in the data, told before hours are spent on it.

An *error* names a case that can't be used: it is excluded, or stops the run (`Settings.on_bad_case`). A
*warning* is about what biases a result or its estimate but leaves every case usable; a *note* is worth
knowing.
Contradictory labels of one picture are a warning: one of the two is wrong, but which one no check can know,
and dropping both would change a published test set without a word.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact

from autoonco.data.facts import CaseFacts, ChannelFacts, inspect
from autoonco.data.manifest import Dataset

__all__ = ["CHECKS", "CaseFacts", "Check", "Finding", "Severity", "errors_of", "findings", "inspect"]

MIN_LESION_VOXELS = 3  # below, no second-order texture has a pair to count
MIN_PATIENTS = 5  # a class with fewer can't be in each of five folds
MAX_P_VALUE = 0.001  # of missingness against the label; strict, for there are several columns


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


Found = Iterator[tuple[int | None, str]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule: a code, how bad, what to do, and a function that yields (row or None, message)."""

    code: str
    severity: Severity
    find: Callable[[Dataset, Sequence[CaseFacts]], Found]
    remedy: str


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


# --- one case -----------------------------------------------------------------------------------------------


def _channels(facts: Sequence[CaseFacts]) -> Iterator[tuple[int, str, ChannelFacts]]:
    for case in facts:
        for name, channel in case.channels.items():
            yield case.row, name, channel


def _unreadable(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    yield from ((case.row, case.error) for case in facts if case.error and not case.is_misplaced)


def _misplaced(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    yield from ((case.row, case.error) for case in facts if case.error and case.is_misplaced)


def _empty_mask(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for row, name, channel in _channels(facts):
        if channel.lesion is not None and channel.lesion.voxels == 0:
            yield row, f"row {row}: the mask of {name!r} is empty."


def _tiny_lesion(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for row, name, channel in _channels(facts):
        if channel.lesion is not None and 0 < channel.lesion.voxels < MIN_LESION_VOXELS:
            yield row, f"row {row}: the mask of {name!r} has {channel.lesion.voxels} voxel(s)."


def _not_finite(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for row, name, channel in _channels(facts):
        if channel.n_not_finite:
            yield (
                row,
                f"row {row}: image {name!r} has {channel.n_not_finite} values that are NaN or infinite.",
            )


def _constant(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for row, name, channel in _channels(facts):
        if channel.is_constant:
            yield row, f"row {row}: all values of image {name!r} are {channel.low}."


def _mixed_dimensions(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    usual = Counter(channel.ndim for _, _, channel in _channels(facts)).most_common(1)
    for row, name, channel in _channels(facts):
        if channel.ndim != usual[0][0]:
            yield row, f"row {row}: image {name!r} is {channel.ndim}D, most are {usual[0][0]}D."


# --- all cases ----------------------------------------------------------------------------------------------


def _mixed_colour(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for name in dict.fromkeys(name for _, name, _ in _channels(facts)):
        colour = [channel.is_colour for _, other, channel in _channels(facts) if other == name]
        if 0 < sum(colour) < len(colour):
            yield None, f"{sum(colour)} of {len(colour)} images of {name!r} are in colour, the others grey."


def _border(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    lesions = [(row, channel.lesion) for row, _, channel in _channels(facts) if channel.lesion is not None]
    cut = [row for row, lesion in lesions if lesion.touches_border]
    if cut:
        yield None, f"{len(cut)} of {len(lesions)} lesions touch the edge of the image{_rows(cut)}."


def _small_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for name, patients in _patients_of_classes(dataset, facts):
        if 2 <= patients < MIN_PATIENTS:
            yield None, f"Class {name!r} has {patients} patients, fewer than {MIN_PATIENTS} folds need."


def _absent_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    for name, patients in _patients_of_classes(dataset, facts):
        if patients < 2:
            yield None, f"Class {name!r} has {patients} patient(s) that can be read, expected two or more."


def _patients_of_classes(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[tuple[str, int]]:
    """Yield (class, number of patients with a readable case) outside the test split."""
    if dataset.y is None:
        return
    usable = np.array([case.error is None for case in facts])
    if dataset.split is not None:
        usable &= dataset.split != "test"
    for index, name in enumerate(dataset.classes):
        yield name, len(set(dataset.groups[usable & (dataset.y == index)]))


def _patient_in_splits(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    if dataset.split is None:
        return
    split_of = _values_by(dataset.groups.tolist(), dataset.split.tolist())
    torn = {patient for patient, splits in split_of.items() if len(splits) > 1}
    if torn:
        rows = [case.row for case in dataset.cases if case.patient in torn]
        yield None, f"{len(torn)} patients are in several splits, with {len(rows)} cases{_rows(rows)}."


def _values_by(keys: Sequence[str], values: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, value in zip(keys, values, strict=True):
        found[key].add(value)
    return found


def _same_picture(kind: str, values: Callable[[Dataset], Sequence[str] | None]) -> Callable[..., Found]:
    """Return a rule: exactly equal images with different `values`."""

    def find(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
        known = values(dataset)
        if known is None:
            return
        copies: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for position, case in enumerate(facts):
            if case.channels and case.error is None:
                copies[tuple(channel.content for channel in case.channels.values())].append(position)
        for positions in copies.values():
            if len({known[position] for position in positions}) > 1:
                rows = [facts[position].row for position in positions]
                yield None, f"Rows {', '.join(map(str, rows))} hold the same picture under different {kind}."

    return find


def _patients(dataset: Dataset) -> list[str]:
    return [str(patient) for patient in dataset.groups]


def _labels(dataset: Dataset) -> list[str] | None:
    return None if dataset.y is None else [dataset.classes[label] for label in dataset.y]


def _splits(dataset: Dataset) -> list[str] | None:
    return None if dataset.split is None else [str(split) for split in dataset.split]


def _telling_gaps(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield what is missing in one class more than in another: it tells the label without being seen."""
    if dataset.y is None:
        return
    for what, missing in _gaps(dataset):
        if 0 < missing.sum() < len(missing) and (p := _association(missing, dataset.y)) < MAX_P_VALUE:
            shares = ", ".join(
                f"{missing[dataset.y == index].mean():.0%} of {name}"
                for index, name in enumerate(dataset.classes)
                if (dataset.y == index).any()
            )
            yield None, f"A missing {what} predicts the label (p = {p:.1g}): it is missing in {shares}."


def _gaps(dataset: Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for channel in dataset.channels:
        what = "mask" if len(dataset.channels) == 1 else f"mask of {channel!r}"
        yield what, np.array([case.mask_of(channel) is None for case in dataset.cases])
    for name in dataset.clinical:
        yield f"value of {name!r}", np.array([case.clinical.get(name) is None for case in dataset.cases])


def _association(missing: NDArray[np.bool_], y: NDArray[np.int64]) -> float:
    """Return the p-value of missing against class: Fisher's exact test, chi squared beyond two classes."""
    table = np.array(
        [[np.sum(missing[y == index] == state) for index in np.unique(y)] for state in (False, True)]
    )
    test = fisher_exact if table.shape[1] == 2 else chi2_contingency
    return float(test(table).pvalue)


def _rows(rows: Sequence[int]) -> str:
    """Return at most eight rows as text."""
    shown = ", ".join(map(str, rows[:8]))
    return f" (rows {shown}{', …' if len(rows) > 8 else ''})"


CHECKS: tuple[Check, ...] = (
    Check(
        code="AO101",
        severity=Severity.ERROR,
        find=_unreadable,
        remedy="Copy or export the file again, or drop the row.",
    ),
    Check(
        code="AO102",
        severity=Severity.ERROR,
        find=_misplaced,
        remedy="Name the mask drawn on this image, or resample it onto the image's grid.",
    ),
    Check(
        code="AO103",
        severity=Severity.ERROR,
        find=_empty_mask,
        remedy="Draw the lesion, or leave the cell empty: an empty mask is no missing mask.",
    ),
    Check(
        code="AO104",
        severity=Severity.WARNING,
        find=_tiny_lesion,
        remedy="See whether the outline is right: no texture can be measured on it.",
    ),
    Check(
        code="AO105",
        severity=Severity.ERROR,
        find=_not_finite,
        remedy="Replace NaN and infinite values, by the value of air for instance.",
    ),
    Check(
        code="AO106",
        severity=Severity.ERROR,
        find=_constant,
        remedy="Export the image again: it shows nothing.",
    ),
    Check(
        code="AO201",
        severity=Severity.ERROR,
        find=_mixed_dimensions,
        remedy="Keep pictures and volumes in separate manifests.",
    ),
    Check(
        code="AO202",
        severity=Severity.NOTE,
        find=_mixed_colour,
        remedy="Grey pictures are repeated in three channels; see that colour does not tell the label.",
    ),
    Check(
        code="AO203",
        severity=Severity.NOTE,
        find=_border,
        remedy="Their shape and size are cut short; see that the crop does not depend on the label.",
    ),
    Check(
        code="AO301",
        severity=Severity.ERROR,
        find=_absent_class,
        remedy="Collect more patients, or leave the class out with classes= (--classes).",
    ),
    Check(
        code="AO302",
        severity=Severity.WARNING,
        find=_small_class,
        remedy="Use fewer folds (inner_folds, outer_folds), or collect more patients.",
    ),
    Check(
        code="AO401",
        severity=Severity.WARNING,
        find=_patient_in_splits,
        remedy="Put each patient in one split: as it is, the test is too easy.",
    ),
    Check(
        code="AO402",
        severity=Severity.WARNING,
        find=_same_picture("labels", _labels),
        remedy="Correct the wrong label, or drop the rows: no model can be right on both.",
    ),
    Check(
        code="AO403",
        severity=Severity.WARNING,
        find=_same_picture("splits", _splits),
        remedy="Keep one of them: as it is, the test is too easy.",
    ),
    Check(
        code="AO404",
        severity=Severity.WARNING,
        find=_same_picture("patients", _patients),
        remedy="Give them one patient, or keep one of them: folds can't hold them apart else.",
    ),
    Check(
        code="AO405",
        severity=Severity.WARNING,
        find=_telling_gaps,
        remedy="Leave that column out, or the model learns who was examined and not what was seen.",
    ),
)
