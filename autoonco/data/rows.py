"""From the cells of a manifest to cases and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
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
    to_predict: bool = False,
) -> tuple[Case, ...]:
    """Return one case a row; `images`, `masks` map channel → column, relative paths count from `root`.

    Without `must_exist` a missing file is left to whoever reads the case: one bad scan must not lose the others. Of
    cases `to_predict` no row loses the others, what is wrong with one becomes its `Case.problem`, and points and boxes
    (`autoonco.data.mark`) are read.
    """
    n_rows = len(next(iter(table.values())))
    names = names_of_rows(table)
    patients = table.get("patient", names)
    if not to_predict:
        refuse_rows(names, patients, range(1, n_rows + 1))
    problems: dict[int, str] | None = {} if to_predict else None
    files = partial(_files, table, root=root, must_exist=must_exist, problems=problems)
    image_files = {key: files(key, name, of_masks=False) for key, name in images.items()}
    mask_files = {key: files(key, name, of_masks=True) for key, name in masks.items()}
    values = {name: cols.clinical_values(table[name]) for name in clinical}
    sites = table.get("site", [""] * n_rows)
    marks = [None] * n_rows if problems is None else marks_in(table, on_error=problems.setdefault)
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
            problem=None if problems is None else problems.get(i + 1),
            row=i + 1,
        )
        for i in range(n_rows)
    )


def refuse_rows(names: Sequence[str], patients: Sequence[str], rows: Iterable[int]) -> None:
    """Raise `DataError` naming the first row that can't be learned from: its case is another row's, or no patient's."""
    first: dict[str, int] = {}
    for row, name, patient in zip(rows, names, patients, strict=True):
        if first.setdefault(name, row) != row:
            raise DataError(
                f"row {row}: the case identifier is that of row {first[name]}: give each row its own; the "
                f"column 'patient' says what belongs together."
            )
        if not patient:
            raise DataError(
                f"row {row}: column 'patient' is empty: fill it, or drop the column to count each case as a patient."
            )


def names_of_rows(table: Mapping[str, list[str]]) -> list[str]:
    """Return what the rows of a manifest call their cases: by the column ``case``, else by their numbers."""
    numbers = [str(row) for row in range(1, len(next(iter(table.values()))) + 1)]
    return [cell or number for cell, number in zip(table.get("case", numbers), numbers, strict=True)]


def _files(
    table: Mapping[str, list[str]],
    channel: str,
    column: str,
    *,
    root: Path,
    must_exist: bool,
    problems: dict[int, str] | None,
    of_masks: bool,
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
                with _naming_row(i + 1, problems):
                    found[i] = one[0], with_options(one[1], kind, text)
    return found


@contextmanager
def _naming_row(row: int, problems: dict[int, str] | None) -> Iterator[None]:
    """Put the row in front of what is wrong with it, and the first such among `problems` where these are kept."""
    try:
        yield
    except DataError as error:
        message = f"row {row}: {error}"
        if problems is None:
            raise type(error)(message) from error
        problems.setdefault(row, message)


def _paths(files: Mapping[str, list[cols.Found]], position: int) -> dict[str, Path]:
    return {key: found[0] for key, column in files.items() if (found := column[position]) is not None}


def _picks(
    files: Mapping[str, list[cols.Found]], position: int, always: Callable[[str, Pick], Pick]
) -> dict[str, Pick]:
    """Return what is picked of each file, where it is not the whole."""
    found = {key: always(key, one[1]) for key, column in files.items() if (one := column[position])}
    return {key: pick for key, pick in found.items() if pick != WHOLE}


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
    table: Mapping[str, list[str]], split: str, *, to_predict: bool = False
) -> tuple[NDArray[np.str_] | None, NDArray[np.bool_] | None]:
    """Return the split of each row and whether ``split_clean`` keeps it; None without the column.

    Of cases `to_predict` a cell that says no split is empty.
    """
    if split not in table:
        if split != "split":
            cols.require(table, split, "Name the column of splits with split= (--split).")
        return None, None
    splits = np.array(cols.splits(table[split], split, may_be_none=to_predict), dtype=np.str_)
    if "split_clean" not in table:
        return splits, None
    return splits, np.array([cell.lower() != "excluded" for cell in table["split_clean"]])


def scan_cases(paths: Sequence[str | Path], *, must_exist: bool = True) -> tuple[Case, ...]:
    """Return one case a file or DICOM folder, named by its stem, or by its path where two share a stem.

    Without `must_exist` a missing file is left to whoever reads the case, unless all are missing.
    """
    given = [str(path) for path in paths]
    found = cols.cells_of(given, Path(), of_masks=False)
    if must_exist or not any(one is not None and one[0].exists() for one in found):
        found = cols.existing(given, "image", Path(), of_masks=False)
    if not found:
        raise DataError("No scan was given: name at least one image file.")
    stems = ["" if one is None else _stem_of(*one) for one in found]
    count = Counter(stems)
    names = [stem if count[stem] == 1 else path for stem, path in zip(stems, given, strict=True)]
    return tuple(
        Case(
            case=name or str(row),
            patient=name or str(row),
            images={} if one is None else {"image": one[0]},
            image_picks={} if one is None or one[1] == WHOLE else {"image": one[1]},
            row=row,
        )
        for row, (name, one) in enumerate(zip(names, found, strict=True), start=1)
    )


def _stem_of(path: Path, pick: Pick) -> str:
    stem = path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return stem + ("" if pick.index is None else f"[{pick.index}]")
