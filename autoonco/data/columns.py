"""What the columns of a manifest mean: which hold images, masks, labels, splits and clinical values."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from autoonco.data.pick import IMAGE_OPTIONS, MASK_OPTIONS, Pick, parse_cell
from autoonco.errors import DataError, UnknownNameError

SPLITS = ("train", "val", "test")
RESERVED = ("case", "patient", "site", "split", "split_clean")
MAX_CLASSES = 50
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
"""Files that people take for a table, and that are none."""
MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "null"})

_SEPARATOR = re.compile(r"sep=(.)")  # a first line by which Excel is told what is between cells
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:,\d+)?")

Names = str | Sequence[str] | None


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV file's cells as they are written; comma, semicolon or tab between them.

    With semicolons a column of decimal commas gets points, as spreadsheets of many countries write numbers.

    Raises
    ------
    DataError
        If the file is missing, empty, a spreadsheet, not UTF-8, or has rows of unequal length or a column twice.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of a manifest, a CSV file.")
    if path.suffix.lower() in SPREADSHEETS:
        raise DataError(
            f"The manifest is a spreadsheet ({path.suffix}): save it as 'CSV UTF-8', or hand over the table of "
            "pandas.read_excel(path, dtype=str)."
        )
    try:
        n_before, separator, names = _header(path)
        _refuse_twice(names)
        with warnings.catch_warnings():
            # a row with more cells than the header is cut short with no more than a warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep=separator,
                skiprows=n_before,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except UnicodeDecodeError:
        raise DataError("The manifest is not UTF-8 text: save it as 'CSV UTF-8'.") from None
    except pd.errors.EmptyDataError:
        raise DataError("The manifest is empty: it needs a header and one row for each case.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        reason = str(error).strip()
        raise DataError(f"The manifest is not a table ({reason}): quote cells with commas.") from error
    return pd.DataFrame({name: _with_points(table[name]) for name in table}) if separator == ";" else table


def _header(path: Path) -> tuple[int, str, list[str]]:
    """Return how many lines come before the header, what is between its cells, and the names in it."""
    with path.open(encoding="utf-8-sig") as stream:
        line = stream.readline()
        told = _SEPARATOR.fullmatch(line.rstrip("\r\n"))  # what it names may be a tab
        line = line if told is None else stream.readline()
    separator = max(",;\t", key=line.count) if told is None else told[1]
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    return int(told is not None), separator, names


def _with_points(column: pd.Series[str]) -> pd.Series[str]:
    """Return a column of decimal commas with points; any other, and lists of a mask's values, as it is."""
    name = str(column.name).strip()
    if name in RESERVED or name.startswith(MASK_OPTIONS):
        return column
    filled = [cell.strip() for cell in column.dropna() if cell.strip().lower() not in MISSING]
    if not any("," in cell for cell in filled) or not all(map(_DECIMAL_COMMA.fullmatch, filled)):
        return column
    return column.str.replace(",", ".", regex=False)


def _refuse_twice(names: Sequence[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1 and name:
            raise DataError(f"{count} columns are called {name!r}, expected one: rename or drop the others.")


def as_text(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns, each cell as stripped text, empty where missing; whole floats lose their ``.0``.

    Raises
    ------
    DataError
        If there are no rows, or two columns have one name.

    Examples
    --------
    >>> as_text(pd.DataFrame({" a": ["x ", None], "b": [1.0, float("nan")]}))
    {'a': ['x', ''], 'b': ['1', '']}
    """
    if len(table) == 0:
        raise DataError("The manifest has no rows: it needs one for each case.")
    names = [str(name).strip() for name in table.columns]
    _refuse_twice(names)
    return {name: [_cell(value) for value in table.iloc[:, at]] for at, name in enumerate(names)}


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return "" if text.lower() in MISSING else text


def require(columns: Mapping[str, Any], name: str, remedy: str) -> None:
    """Raise `DataError` with the nearest and all valid names where there is no column `name`."""
    if name not in columns:
        raise DataError(f"{UnknownNameError('column', name, columns)} {remedy}")


# --- images and masks ---------------------------------------------------------------------------------------


def _channel(column: str, prefix: str) -> str:
    return column.removeprefix(f"{prefix}_") if column.startswith(f"{prefix}_") else column


def _named(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def image_columns(columns: Mapping[str, Any], names: Names) -> dict[str, str]:
    """Return channel → column: those named, else ``image``, else every ``image_*``.

    Examples
    --------
    >>> image_columns({"image_ct": [], "mask_ct": [], "image_pet": []}, None)
    {'ct': 'image_ct', 'pet': 'image_pet'}
    >>> image_columns({"scan": []}, "scan")
    {'image': 'scan'}
    """
    named = _named(names)
    if not named:
        named = ["image"] if "image" in columns else [name for name in columns if name.startswith("image_")]
    if not named:
        require(columns, "image", "Name the column of image files with image= (--image).")
    for name in named:
        require(columns, name, "Name the column of image files with image= (--image).")
    if len(named) == 1 and not named[0].startswith("image_"):
        return {"image": named[0]}
    return _unique({column: _channel(column, "image") for column in named})


def mask_columns(columns: Mapping[str, Any], names: Names, images: Mapping[str, str]) -> dict[str, str]:
    """Return channel → column of the masks that belong to `images`; the key ``mask`` serves every channel.

    Examples
    --------
    >>> mask_columns({"mask_ct": [], "mask_pet": []}, None, {"ct": "image_ct"})
    {'ct': 'mask_ct'}
    """
    if names is None:
        found = [name for name in columns if name == "mask" or name.removeprefix("mask_") in images]
        return {_channel(name, "mask"): name for name in found if name.startswith("mask")}
    named = _named(names)
    for name in named:
        require(columns, name, "Name the column of mask files with mask= (--mask).")
    if len(named) == 1 and _channel(named[0], "mask") not in images:
        return {"mask": named[0]}
    if all(_channel(name, "mask") in images for name in named):
        return _unique({name: _channel(name, "mask") for name in named})
    if len(named) != len(images):
        raise DataError(
            f"{len(named)} mask columns are named for {len(images)} image columns: name one, or one for each."
        )
    return _unique(dict(zip(named, images, strict=True)))


def _unique(channels: Mapping[str, str]) -> dict[str, str]:
    """Return channel → column from column → channel."""
    turned = {channel: column for column, channel in channels.items()}
    if len(turned) != len(channels):
        raise DataError(f"Two columns stand for one channel ({', '.join(channels)}): name one of them.")
    return turned


Found = tuple[Path, Pick] | None
"""A cell of files, understood: where they are and what of them is meant; None where it is empty."""


def cells_of(cells: Sequence[str], root: Path, *, of_masks: bool) -> list[Found]:
    """Return what a column of files names, counted from `root`, whether there are such files or not."""
    return [parse_cell(cell, root, may_be_several=of_masks) if cell else None for cell in cells]


def existing(cells: Sequence[str], column: str, root: Path, *, of_masks: bool) -> list[Found]:
    """Return what a column of files names, counted from `root`.

    Raises
    ------
    DataError
        Naming the first row whose cell is empty (that of a mask may be) or whose file or folder does not exist.
    """
    found = cells_of(cells, root, of_masks=of_masks)
    if not of_masks:
        require_filled(cells, column, "give the path of its file")
    _raise_first(
        found,
        lambda one: one is not None and not all(path.exists() for path in (one[0], *one[1].also)),
        f"the file in column {column!r} does not exist: correct its path, counted from the manifest's folder",
    )
    return found


def options_of(columns: Mapping[str, list[str]], channel: str, kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return kind → cells of the columns that say what to pick of a channel: ``series_ct``, or ``series`` for all."""
    own = {kind: columns.get(f"{kind}_{channel}", columns.get(kind)) for kind in kinds}
    return {kind: cells for kind, cells in own.items() if cells is not None}


def is_option(column: str, channels: Iterable[str]) -> bool:
    """Return whether a column says what to pick of files, of all or of one of `channels`."""
    kinds = (*IMAGE_OPTIONS, *MASK_OPTIONS)
    return column in kinds or any(column == f"{kind}_{channel}" for kind in kinds for channel in channels)


def require_filled(cells: Sequence[str], column: str, remedy: str) -> None:
    """Raise `DataError` naming the first row whose cell is empty."""
    _raise_first(cells, lambda cell: not cell, f"column {column!r} is empty: {remedy}")


def _raise_first(values: Sequence[Any], is_bad: Callable[[Any], bool], message: str) -> None:
    bad = [row for row, value in enumerate(values, start=1) if is_bad(value)]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(f"row {bad[0]}{more}: {message}.")


# --- labels, splits, clinical values ------------------------------------------------------------------------


def class_labels(
    cells: Sequence[str], column: str, *, may_be_many: bool = False, may_miss: bool = False
) -> list[str]:
    """Return the class of each row; whole numbers are written without decimals, and a missing one stays empty.

    Raises
    ------
    DataError
        If a label is missing (unless some `may_miss`), or if the column looks like a measurement and not like classes.

    Examples
    --------
    >>> class_labels(["1.0", "0"], "label")
    ['1', '0']
    """
    if not may_miss or not any(cells):
        require_filled(cells, column, "fill it, or drop the row")
    numbers = [number_of(cell) for cell in cells]
    if all(number is not None for number, cell in zip(numbers, cells, strict=True) if cell):
        if any(number != int(number) for number in numbers if number is not None):
            raise DataError(
                f"Column {column!r} holds decimals, expected classes: name the label with label= (--label)."
            )
        cells = [str(int(number)) if number is not None else "" for number in numbers]
    found = len(set(cells) - {""})
    if found > MAX_CLASSES and not may_be_many:
        raise DataError(
            f"Column {column!r} holds {found} different values, expected at most {MAX_CLASSES} classes: "
            f"name the label with label= (--label), or pick classes with classes= (--classes)."
        )
    return list(cells)


def splits(cells: Sequence[str], column: str, *, may_be_none: bool = False) -> list[str]:
    """Return train, val or test for each row; `DataError` names the first row with anything else.

    Where `may_be_none`, anything else is empty.
    """
    lower = [cell.lower() for cell in cells]
    if may_be_none:
        return [value if value in SPLITS else "" for value in lower]
    valid = ", ".join(SPLITS)
    for row, value in enumerate(lower, start=1):
        if value not in SPLITS:
            raise DataError(f"row {row}: column {column!r} says {cells[row - 1]!r}, expected one of {valid}.")
    return lower


def clinical_values(cells: Sequence[str]) -> list[float | str | None]:
    """Return floats where every filled cell is a number, else text; None where the cell is empty.

    Examples
    --------
    >>> clinical_values(["61", "", "7.5"]), clinical_values(["male", "", "2"])
    ([61.0, None, 7.5], ['male', None, '2'])
    """
    numbers = [number_of(cell) for cell in cells]
    if all(number is not None for number, cell in zip(numbers, cells, strict=True) if cell):
        return list(numbers)
    return [cell or None for cell in cells]


def number_of(cell: str) -> float | None:
    """Return the finite number that a cell holds, or None.

    Examples
    --------
    >>> number_of("7.5"), number_of("nan"), number_of("seven")
    (7.5, None, None)
    """
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
