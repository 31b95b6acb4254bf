"""The rules of the data check: each yields (row, message), row None where it is about the data as a whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact

from autoonco.data.facts import CaseFacts, ChannelFacts
from autoonco.data.fingerprint import unit_of
from autoonco.data.manifest import Dataset

MIN_LESION_VOXELS = 3  # below, no second-order texture has a pair to count
MIN_PATIENTS = 5  # a class with fewer can't be in each of five folds
MAX_P_VALUE = 0.001  # of missingness against the label; strict, for there are several columns

Found = Iterator[tuple[int | None, str]]
Rule = Callable[[Dataset, Sequence[CaseFacts]], Found]


# --- one case -----------------------------------------------------------------------------------------------


def _channels(facts: Sequence[CaseFacts]) -> Iterator[tuple[int, str, ChannelFacts]]:
    for case in facts:
        for name, channel in case.channels.items():
            yield case.row, name, channel


def unreadable(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield cases whose files could not be read."""
    yield from ((case.row, case.error) for case in facts if case.error and not case.is_misplaced)


def misplaced(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield cases whose mask does not lie on the grid of its image."""
    yield from ((case.row, case.error) for case in facts if case.error and case.is_misplaced)


def empty_mask(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks without a voxel."""
    for row, name, channel in _channels(facts):
        if channel.lesion is not None and channel.lesion.voxels == 0:
            yield row, f"row {row}: the mask of {name!r} is empty."


def tiny_lesion(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks of one or two voxels."""
    for row, name, channel in _channels(facts):
        if channel.lesion is not None and 0 < channel.lesion.voxels < MIN_LESION_VOXELS:
            yield row, f"row {row}: the mask of {name!r} has {channel.lesion.voxels} voxel(s)."


def not_finite(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images with NaN or infinite values."""
    for row, name, channel in _channels(facts):
        if channel.n_not_finite:
            count = channel.n_not_finite
            yield row, f"row {row}: image {name!r} has {count} values that are NaN or infinite."


def constant(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images of a single value."""
    for row, name, channel in _channels(facts):
        if channel.is_constant:
            yield row, f"row {row}: all values of image {name!r} are {channel.low}."


def mixed_dimensions(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images whose number of axes is not the usual one."""
    usual = Counter(channel.ndim for _, _, channel in _channels(facts)).most_common(1)
    for row, name, channel in _channels(facts):
        if channel.ndim != usual[0][0]:
            yield row, f"row {row}: image {name!r} is {channel.ndim}D, most are {usual[0][0]}D."


# --- all cases ----------------------------------------------------------------------------------------------


def mixed_colour(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield channels that hold both colour and grey images."""
    for name in dict.fromkeys(name for _, name, _ in _channels(facts)):
        colour = [channel.is_colour for _, other, channel in _channels(facts) if other == name]
        if 0 < sum(colour) < len(colour):
            yield None, f"{sum(colour)} of {len(colour)} images of {name!r} are in colour, the others grey."


def border(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield how many lesions touch the edge of the image."""
    lesions = [(row, channel.lesion) for row, _, channel in _channels(facts) if channel.lesion is not None]
    cut = [row for row, lesion in lesions if lesion.touches_border]
    if cut:
        yield None, f"{len(cut)} of {len(lesions)} lesions touch the edge of the image{_rows(cut)}."


def mixed_units(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield channels whose images' grey values aren't all of one unit."""
    readable = [case for case in facts if case.error is None]
    for name in dict.fromkeys(name for _, name, _ in _channels(readable)):
        units = {row: unit_of(channel) for row, other, channel in _channels(readable) if other == name}
        usual = Counter(units.values()).most_common(1)[0][0]
        odd = [row for row, unit in units.items() if unit is not usual]
        if odd:
            yield (
                None,
                f"The grey values of {len(odd)} of {len(units)} images of {name!r} are not of the unit of the "
                f"others, {usual}{_rows(odd)}.",
            )


def small_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield classes too small for the usual number of folds."""
    for name, patients in _patients_of_classes(dataset, facts):
        if 2 <= patients < MIN_PATIENTS:
            yield None, f"Class {name!r} has {patients} patients, fewer than {MIN_PATIENTS} folds need."


def absent_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield classes that are not on both sides of any split."""
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


def patient_in_splits(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield how many patients are on both sides of the test split, also among rows ``split_clean`` keeps.

    Train and val are one side: val joins the inner folds, which keep patients whole.
    """
    torn = _torn_patients(dataset)
    if not torn:
        return
    rows = [case.row for case in dataset.cases if case.patient in torn]
    clean = ""
    if dataset.is_clean is not None:
        left = len(_torn_patients(dataset.subset(dataset.is_clean)))
        clean = f"; {left} of them are also without the rows that split_clean excludes"
    yield (
        None,
        f"{len(torn)} patients are in test and in train or val, with {len(rows)} cases{_rows(rows)}{clean}.",
    )


def _torn_patients(dataset: Dataset) -> set[str]:
    if dataset.split is None:
        return set()
    is_test = dataset.split == "test"
    return set(dataset.groups[is_test].tolist()) & set(dataset.groups[~is_test].tolist())


def same_picture(kind: str, values: Callable[[Dataset], Sequence[str] | None]) -> Rule:
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


def patients(dataset: Dataset) -> list[str]:
    """Return the patient of each case."""
    return [str(patient) for patient in dataset.groups]


def labels(dataset: Dataset) -> list[str] | None:
    """Return the class name of each case, or None."""
    return None if dataset.y is None else [dataset.classes[label] for label in dataset.y]


def splits(dataset: Dataset) -> list[str] | None:
    """Return the split of each case, or None."""
    return None if dataset.split is None else [str(split) for split in dataset.split]


def telling_gaps(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
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
