"""Two datasets as one: what is learned from, and what another hospital sent to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError


def joined(dataset: Dataset, external: Dataset) -> Dataset:
    """Return one dataset of both, whose test split is `external`.

    Cases that `dataset` itself keeps for a test are neither learned from nor judged, and left out. Rows of `external`
    count on after the last row of `dataset`. Its patients are others than those of `dataset` unless a column named
    them: row numbers name nobody.

    Raises
    ------
    DataError
        If `external` has no labels, a class, channel, clinical column or feature that `dataset` has not, or lacks one.
    """
    for kind, ours, theirs in (
        ("image channels", dataset.channels, external.channels),
        ("clinical columns", dataset.clinical, external.clinical),
        ("features of its own", tuple(sorted(dataset.features)), tuple(sorted(external.features))),
    ):
        if set(ours) != set(theirs):
            raise DataError(
                f"The external dataset has the {kind} {', '.join(theirs) or 'none'}, expected those of the dataset, "
                f"{', '.join(ours) or 'none'}: read both manifests alike."
            )
    external, y = _labels(dataset, external)
    own = dataset if dataset.split is None else dataset.subset(dataset.split != "test")
    if own.y is None or not len(own):
        raise DataError(
            "No labelled case is left to learn from: the dataset keeps all of them for its own test."
        )
    first = max(case.row for case in dataset.cases)
    named = _names_patients(dataset) or _names_patients(external)
    cases = tuple(_moved(case, first, channels=dataset.channels, is_known=named) for case in external.cases)
    is_clean = np.concatenate([_clean(own), _clean(external)])
    return replace(
        own,
        cases=own.cases + cases,
        y=np.concatenate([own.y, y]),
        split=np.array(["train"] * len(own) + ["test"] * len(cases)),
        is_clean=None if is_clean.all() else is_clean,
        others={
            name: cells + external.others[name]
            for name, cells in own.others.items()
            if name in external.others
        },
    )


def _labels(dataset: Dataset, external: Dataset) -> tuple[Dataset, NDArray[np.int64]]:
    """Return `external` and its labels by the classes of `dataset`, without other classes where those were named.

    A row without a label (-1) stays one, for the data check to tell of.
    """
    if external.y is None:
        raise DataError("The external dataset has no labels: read its manifest with the label column.")
    unknown = [name for name in external.classes if name not in dataset.classes]
    if unknown and not dataset.is_ordered:
        raise DataError(
            f"The external dataset has the class {unknown[0]!r}, expected one of {', '.join(dataset.classes)}: "
            "name the classes to keep with classes= (--classes), or correct the label."
        )
    left_out = np.isin(external.y, [external.classes.index(name) for name in unknown])
    place = [dataset.classes.index(name) if name not in unknown else -1 for name in external.classes]
    y = np.array([*place, -1], dtype=np.int64)[external.y]  # -1 stays: no label
    return external.subset(~left_out), y[~left_out]


def _names_patients(dataset: Dataset) -> bool:
    return any(case.patient != case.case for case in dataset.cases)


def _moved(case: Case, first: int, *, channels: Sequence[str], is_known: bool) -> Case:
    return replace(
        case,
        row=first + case.row,
        patient=case.patient if is_known else f"external {case.patient}",
        images={channel: case.images[channel] for channel in channels},
    )


def _clean(dataset: Dataset) -> NDArray[np.bool_]:
    return np.ones(len(dataset), dtype=bool) if dataset.is_clean is None else dataset.is_clean
