"""From the cells of a manifest to cases and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data import columns as cols
from autoonco.data.case import Case
from autoonco.errors import DataError


def make_cases(
    table: Mapping[str, list[str]],
    images: Mapping[str, str],
    masks: Mapping[str, str],
    clinical: tuple[str, ...],
    root: Path,
    *,
    must_exist: bool,
) -> tuple[Case, ...]:
    """Return one case a row; `images`, `masks` map channel → column, relative paths count from `root`.

    Without `must_exist` a missing file is left to whoever reads the case: one bad scan must not lose the others.
    """
    n_rows = len(next(iter(table.values())))
    numbers = [str(row) for row in range(1, n_rows + 1)]
    names = [cell or number for cell, number in zip(table.get("case", numbers), numbers, strict=True)]
    _refuse_duplicates(names)
    patients = table.get("patient", names)
    cols.require_filled(patients, "patient", "fill it, or drop the column to count each case as a patient")

    def files(columns: Mapping[str, str], *, may_miss: bool) -> dict[str, list[Path | None]]:
        if not must_exist:
            return {key: cols.paths(table[name], root) for key, name in columns.items()}
        return {
            key: cols.existing_files(table[name], name, root, may_miss=may_miss)
            for key, name in columns.items()
        }

    image_files, mask_files = files(images, may_miss=False), files(masks, may_miss=True)
    values = {name: cols.clinical_values(table[name]) for name in clinical}
    sites = table.get("site", [""] * n_rows)
    return tuple(
        Case(
            case=names[i],
            patient=patients[i],
            images=_filled(image_files, i),
            masks=_filled(mask_files, i),
            clinical={name: column[i] for name, column in values.items()},
            site=sites[i] or None,
            row=i + 1,
        )
        for i in range(n_rows)
    )


def _filled(files: Mapping[str, list[Path | None]], position: int) -> dict[str, Path]:
    return {key: file for key, column in files.items() if (file := column[position]) is not None}


def _refuse_duplicates(names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names, start=1):
        if name in first:
            raise DataError(
                f"row {row}: the case identifier is that of row {first[name]}: give each row its own; the "
                f"column 'patient' says what belongs together."
            )
        first[name] = row


def pick_clinical(
    table: Mapping[str, Any], clinical: cols.Names, *, taken: set[str], labelled: bool
) -> tuple[str, ...]:
    """Return the clinical columns; `DataError` where one is unknown or already has a part in the task.

    Without labels they are those that a model takes, and what is to correct is the table.
    """
    names = (clinical,) if isinstance(clinical, str) else tuple(clinical or ())
    remedy = "Correct clinical= (--clinical)."
    if not labelled:
        remedy = (
            f"The clinical columns are {', '.join(names)}: add the column; an empty cell stands for a value "
            "that isn't known."
        )
    for name in names:
        cols.require(table, name, remedy)
        if name in taken or name in cols.RESERVED:
            raise DataError(f"Column {name!r} can't be clinical: it already has a part in the task.")
    return names


def read_splits(
    table: Mapping[str, list[str]], split: str
) -> tuple[NDArray[np.str_] | None, NDArray[np.bool_] | None]:
    """Return the split of each row and whether ``split_clean`` keeps it; None without the column."""
    if split not in table:
        if split != "split":
            cols.require(table, split, "Name the column of splits with split= (--split).")
        return None, None
    splits = np.array(cols.splits(table[split], split), dtype=np.str_)
    if "split_clean" not in table:
        return splits, None
    return splits, np.array([cell.lower() != "excluded" for cell in table["split_clean"]])


def scan_cases(paths: Sequence[str | Path]) -> tuple[Case, ...]:
    """Return one case a file, named by its stem, or by its path where two files share a stem."""
    files = cols.existing_files([str(path) for path in paths], "image", Path(), may_miss=False)
    images = [file for file in files if file is not None]
    if not images:
        raise DataError("No scan was given: name at least one image file.")
    stems = [file.name.removesuffix(".gz").rsplit(".", 1)[0] for file in images]
    count = Counter(stems)
    names = [stem if count[stem] == 1 else str(file) for stem, file in zip(stems, images, strict=True)]
    _refuse_duplicates(names)
    return tuple(
        Case(case=name, patient=name, images={"image": file}, row=row)
        for row, (name, file) in enumerate(zip(names, images, strict=True), start=1)
    )
