"""From the cells of a manifest to cases and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data import columns as cols
from autoonco.data.case import Case
from autoonco.data.mark import marks_in
from autoonco.data.pick import ALWAYS, IMAGE_OPTIONS, MASK_OPTIONS, WHOLE, Always, Pick, with_options
from autoonco.errors import DataError


def make_cases(
    table: Mapping[str, list[str]],
    images: Mapping[str, str],
    masks: Mapping[str, str],
    clinical: tuple[str, ...],
    root: Path,
    *,
    must_exist: bool,
    always: Always = ALWAYS,
    with_marks: bool = False,
) -> tuple[Case, ...]:
    """Return one case a row; `images`, `masks` map channel → column, relative paths count from `root`.

    Without `must_exist` a missing file is left to whoever reads the case: one bad scan must not lose the others. Points
    and boxes (`autoonco.data.mark`) are read `with_marks`, of cases to predict.
    """
    n_rows = len(next(iter(table.values())))
    names = names_of_rows(table)
    _refuse_duplicates(names)
    patients = table.get("patient", names)
    cols.require_filled(patients, "patient", "fill it, or drop the column to count each case as a patient")
    image_files = {
        key: _files(table, key, name, root, must_exist=must_exist, of_masks=False)
        for key, name in images.items()
    }
    mask_files = {
        key: _files(table, key, name, root, must_exist=must_exist, of_masks=True)
        for key, name in masks.items()
    }
    values = {name: cols.clinical_values(table[name]) for name in clinical}
    sites = table.get("site", [""] * n_rows)
    marks = marks_in(table) if with_marks else [None] * n_rows
    return tuple(
        Case(
            case=names[i],
            patient=patients[i],
            images=_paths(image_files, i),
            masks=_paths(mask_files, i),
            clinical={name: column[i] for name, column in values.items()},
            image_picks=_picks(image_files, i, always.of_image),
            mask_picks=_picks(mask_files, i, always.of_mask),
            site=sites[i] or None,
            mark=marks[i],
            row=i + 1,
        )
        for i in range(n_rows)
    )


def names_of_rows(table: Mapping[str, list[str]]) -> list[str]:
    """Return what the rows of a manifest call their cases: by the column ``case``, else by their numbers."""
    numbers = [str(row) for row in range(1, len(next(iter(table.values()))) + 1)]
    return [cell or number for cell, number in zip(table.get("case", numbers), numbers, strict=True)]


def _files(
    table: Mapping[str, list[str]], channel: str, column: str, root: Path, *, must_exist: bool, of_masks: bool
) -> list[cols.Found]:
    """Return what each row's cell in `column` names, with what the option columns add."""
    cells = table[column]
    if must_exist:
        found = cols.existing(cells, column, root, of_masks=of_masks)
    else:
        found = cols.cells_of(cells, root, of_masks=of_masks)
    for kind, texts in cols.options_of(table, channel, MASK_OPTIONS if of_masks else IMAGE_OPTIONS).items():
        for i, (one, text) in enumerate(zip(found, texts, strict=True)):
            if one is not None:
                with naming_row(i + 1):
                    found[i] = one[0], with_options(one[1], kind, text)
    return found


@contextmanager
def naming_row(row: int) -> Iterator[None]:
    """Put the row in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"row {row}: {error}") from error


def _paths(files: Mapping[str, list[cols.Found]], position: int) -> dict[str, Path]:
    return {key: found[0] for key, column in files.items() if (found := column[position]) is not None}


def _picks(
    files: Mapping[str, list[cols.Found]], position: int, always: Callable[[str, Pick], Pick]
) -> dict[str, Pick]:
    """Return what is picked of each file, where it is not the whole."""
    found = {key: always(key, one[1]) for key, column in files.items() if (one := column[position])}
    return {key: pick for key, pick in found.items() if pick != WHOLE}


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
    """Return one case a file or DICOM folder, named by its stem, or by its path where two share a stem."""
    found = cols.existing([str(path) for path in paths], "image", Path(), of_masks=False)
    images = [one for one in found if one is not None]
    if not images:
        raise DataError("No scan was given: name at least one image file.")
    stems = [_stem(path) + ("" if pick.index is None else f"[{pick.index}]") for path, pick in images]
    count = Counter(stems)
    names = [stem if count[stem] == 1 else str(given) for stem, given in zip(stems, paths, strict=True)]
    _refuse_duplicates(names)
    return tuple(
        Case(
            case=name,
            patient=name,
            images={"image": path},
            image_picks={} if pick == WHOLE else {"image": pick},
            row=row,
        )
        for row, (name, (path, pick)) in enumerate(zip(names, images, strict=True), start=1)
    )


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0]
