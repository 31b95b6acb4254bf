"""The rules of the data check: each yields (row, message), row None where it is about the data as a whole.

Here are those about files, masks, classes and splits; `copies` has those about equal pictures, `hints` those about
what gives the label away.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autoonco.data.columns import number_of
from autoonco.data.facts import CaseFacts, ChannelFacts, Fault, LesionFacts
from autoonco.data.fingerprint import unit_of
from autoonco.data.manifest import Dataset

MIN_LESION_VOXELS = 3  # below, no second-order texture has a pair to count
MIN_PATIENTS = 5  # a class with fewer can't be in each of five folds
MAX_SPACING_RATIO = 3.0  # between an image's spacing and the usual one; a texture then has another meaning
NOTED_GAP_VOXELS = 1e-3  # float32 headers differ by less of themselves
LEAST_SHARE = 0.9  # of a lesion's volume that a resampling has to keep

MIN_NUMBERS = 10  # different ones, from which a column is a measure
MOST_TEXT = 0.2  # of a column's values, that are no numbers by mistake

Found = Iterator[tuple[int | None, str]]
Rule = Callable[[Dataset, Sequence[CaseFacts]], Found]


# --- one case -----------------------------------------------------------------------------------------------


def channels_of(facts: Sequence[CaseFacts]) -> Iterator[tuple[int, str, ChannelFacts]]:
    """Yield (row, channel, its facts) of every image that could be read."""
    for case in facts:
        for name, channel in case.channels.items():
            yield case.row, name, channel


def unreadable(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield cases whose files could not be read."""
    yield from _faulty(facts, Fault.UNREADABLE)


def misplaced(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield cases whose mask does not lie on the grid of its image."""
    yield from _faulty(facts, Fault.MISPLACED)


def four_axes(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images with more than three axes."""
    yield from _faulty(facts, Fault.DIMENSIONS)


def absent_label(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks in which the value that stands for the lesion does not occur."""
    yield from _faulty(facts, Fault.LABEL)


def _faulty(facts: Sequence[CaseFacts], fault: Fault) -> Found:
    yield from ((case.row, case.error) for case in facts if case.error and case.fault is fault)


def missing_label(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield cases without a label."""
    if dataset.y is not None:
        for position in np.flatnonzero(dataset.y < 0):
            row = dataset.cases[position].row
            yield row, f"row {row}: the label is missing."


def mixed_values(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks that hold several values beside 0."""
    odd = [row for row, _, lesion in _lesions(facts) if not lesion.is_binary]
    if odd:
        yield None, f"{len(odd)} masks hold several values beside 0, all taken as one lesion{some_rows(odd)}."


def healed(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield how many headers of masks were taken for their image's, a fraction of a voxel away."""
    gaps = {row: lesion.gap_voxels for row, _, lesion in _lesions(facts)}
    odd = [row for row, gap in gaps.items() if gap > NOTED_GAP_VOXELS]
    if odd:
        yield (
            None,
            f"{len(odd)} masks lay up to {max(gaps.values()):.2g} voxels beside their image by their headers, "
            f"and were put on its grid{some_rows(odd)}.",
        )


def resampled(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield how many masks were resampled onto the grid of their image."""
    moved = [row for row, _, lesion in _lesions(facts) if lesion.share is not None]
    if moved:
        yield None, f"{len(moved)} masks were resampled onto the grid of their image{some_rows(moved)}."


def clipped(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks that lost part of their volume in a resampling."""
    for row, name, lesion in _lesions(facts):
        if lesion.share is not None and lesion.share < LEAST_SHARE:
            yield (
                row,
                f"row {row}: {lesion.share:.0%} of the mask of {name!r} lies in the image, the rest beside it.",
            )


def _lesions(facts: Sequence[CaseFacts]) -> Iterator[tuple[int, str, LesionFacts]]:
    for row, name, channel in channels_of(facts):
        if channel.lesion is not None:
            yield row, name, channel.lesion


def empty_mask(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks without a voxel."""
    for row, name, lesion in _lesions(facts):
        if lesion.voxels == 0:
            yield row, f"row {row}: the mask of {name!r} is empty."


def tiny_lesion(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield masks of one or two voxels."""
    for row, name, lesion in _lesions(facts):
        if 0 < lesion.voxels < MIN_LESION_VOXELS:
            yield row, f"row {row}: the mask of {name!r} has {lesion.voxels} voxel(s)."


def not_finite(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images with NaN or infinite values."""
    for row, name, channel in channels_of(facts):
        if channel.n_not_finite:
            count = channel.n_not_finite
            yield row, f"row {row}: image {name!r} has {count} values that are NaN or infinite."


def constant(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images of a single value."""
    for row, name, channel in channels_of(facts):
        if channel.is_constant:
            yield row, f"row {row}: all values of image {name!r} are {channel.low}."


def mixed_dimensions(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield images whose number of axes is not the usual one."""
    usual = Counter(channel.ndim for _, _, channel in channels_of(facts)).most_common(1)
    for row, name, channel in channels_of(facts):
        if channel.ndim != usual[0][0]:
            yield row, f"row {row}: image {name!r} is {channel.ndim}D, most are {usual[0][0]}D."


# --- all cases ----------------------------------------------------------------------------------------------


def mixed_colour(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield channels that hold both colour and grey images."""
    for name in dict.fromkeys(name for _, name, _ in channels_of(facts)):
        colour = [channel.is_colour for _, other, channel in channels_of(facts) if other == name]
        if 0 < sum(colour) < len(colour):
            yield None, f"{sum(colour)} of {len(colour)} images of {name!r} are in colour, the others grey."


def border(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield how many lesions touch the edge of the image."""
    lesions = list(_lesions(facts))
    cut = [row for row, _, lesion in lesions if lesion.touches_border]
    if cut:
        yield None, f"{len(cut)} of {len(lesions)} lesions touch the edge of the image{some_rows(cut)}."


def mixed_units(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield channels whose images' grey values aren't all of one unit."""
    readable = [case for case in facts if case.error is None]
    for name in dict.fromkeys(name for _, name, _ in channels_of(readable)):
        units = {row: unit_of(channel) for row, other, channel in channels_of(readable) if other == name}
        usual = Counter(units.values()).most_common(1)[0][0]
        odd = [row for row, unit in units.items() if unit is not usual]
        if odd:
            yield (
                None,
                f"The grey values of {len(odd)} of {len(units)} images of {name!r} are not of the unit of the "
                f"others, {usual}{some_rows(odd)}.",
            )


def mixed_spacing(_: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield channels in which the spacing of some images is far from the usual one along an axis."""
    for name in dict.fromkeys(name for _, name, _ in channels_of(facts)):
        mine = [(row, channel.spacing_mm) for row, other, channel in channels_of(facts) if other == name]
        ndim = Counter(len(spacing) for _, spacing in mine).most_common(1)[0][0]
        rows, spacings = zip(*((row, s) for row, s in mine if len(s) == ndim), strict=True)
        usual = np.median(np.array(spacings), axis=0)
        ratio = np.exp(np.abs(np.log(np.array(spacings) / usual)).max(axis=1))
        odd = [row for row, far in zip(rows, ratio, strict=True) if far > MAX_SPACING_RATIO]
        if odd:
            worst = " × ".join(f"{length:.3g}" for length in spacings[int(ratio.argmax())])
            yield (
                None,
                f"The spacing of {len(odd)} of {len(mine)} images of {name!r} is over {MAX_SPACING_RATIO:.0f} times "
                f"away from the usual {' × '.join(f'{length:.3g}' for length in usual)} mm, as far as {worst} mm"
                f"{some_rows(odd)}.",
            )


def one_class(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield that there is a single class."""
    if dataset.y is not None and len(dataset.classes) == 1:
        yield None, f"All cases are of the class {dataset.classes[0]!r}."


def alike_classes(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield classes whose names differ in capitals and blanks alone: one class, written in two ways."""
    written: dict[str, list[str]] = defaultdict(list)
    for name in dataset.classes:
        written[re.sub(r"[\s_]+", "", name).casefold()].append(name)
    for names in written.values():
        if len(names) > 1:
            yield None, f"The classes {' and '.join(map(repr, names))} are written alike."


def nearly_numbers(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield clinical columns of many numbers that a few cells of text, or decimal commas, make categories."""
    for name in dataset.clinical:
        cells = {case.row: case.clinical.get(name) for case in dataset.cases}
        texts = {row: cell for row, cell in cells.items() if isinstance(cell, str)}
        odd = [row for row, cell in texts.items() if number_of(cell) is None]
        have_commas = all(number_of(texts[row].replace(",", ".")) is not None for row in odd)
        is_mistake = have_commas or len(odd) <= MOST_TEXT * len(texts)
        if odd and is_mistake and len({*texts.values()}) > MIN_NUMBERS:
            yield (
                None,
                f"The clinical column {name!r} is taken for categories, as {len(odd)} of its {len(texts)} values are "
                f"no numbers{some_rows(odd)}.",
            )


def torn_labels(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield how many patients have cases of several classes."""
    if dataset.y is None:
        return
    known: dict[str, set[int]] = defaultdict(set)
    for patient, label in zip(dataset.groups.tolist(), dataset.y.tolist(), strict=True):
        if label >= 0:
            known[patient].add(label)
    rows = [case.row for case in dataset.cases if len(known[case.patient]) > 1]
    if rows:
        count = sum(len(found) > 1 for found in known.values())
        yield None, f"{count} patients have cases of several classes{some_rows(rows)}."


def small_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield classes too small for the usual number of folds."""
    for one in _classes(dataset, facts):
        if 2 <= one.n_read < MIN_PATIENTS:
            yield None, f"Class {one.name!r} has {one.n_read} patients, fewer than {MIN_PATIENTS} folds need."


def absent_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield classes that are not on both sides of any split, whatever can be read."""
    where = "" if dataset.split is None else " outside of the test split"
    for one in _classes(dataset, facts):
        if one.n < 2:
            yield None, f"Class {one.name!r} has {one.n} patient(s){where}, expected two or more."


def unread_class(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield classes that are not on both sides of any split because files of theirs can't be read."""
    where = "" if dataset.split is None else " outside of the test split"
    for one in _classes(dataset, facts):
        if one.n_read < 2 <= one.n:
            yield (
                None,
                f"Of the {one.n} patients of class {one.name!r}{where} {one.n_read} can be read, expected two or more: "
                f"{len(one.unread)} of its cases can't be{some_rows(one.unread)}.",
            )


@dataclass(frozen=True, kw_only=True)
class _Class:
    """Outside of the test split: how many patients a class has, with a case that can be read, and rows that can't."""

    name: str
    n: int
    n_read: int
    unread: list[int]


def _classes(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[_Class]:
    if dataset.y is None:
        return
    rows, is_read = np.array([case.row for case in facts]), np.array([case.error is None for case in facts])
    is_taught = np.ones(len(dataset), dtype=bool) if dataset.split is None else dataset.split != "test"
    for index, name in enumerate(dataset.classes):
        own = is_taught & (dataset.y == index)
        yield _Class(
            name=name,
            n=len(set(dataset.groups[own])),
            n_read=len(set(dataset.groups[own & is_read])),
            unread=rows[own & ~is_read].tolist(),
        )


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
        f"{len(torn)} patients are in test and in train or val, with {len(rows)} cases{some_rows(rows)}{clean}.",
    )


def _torn_patients(dataset: Dataset) -> set[str]:
    if dataset.split is None:
        return set()
    is_test = dataset.split == "test"
    return set(dataset.groups[is_test].tolist()) & set(dataset.groups[~is_test].tolist())


def some_rows(rows: Sequence[int]) -> str:
    """Return at most eight rows as text, each once."""
    different = list(dict.fromkeys(rows))
    shown = ", ".join(map(str, different[:8]))
    return f" (rows {shown}{', …' if len(different) > 8 else ''})"
