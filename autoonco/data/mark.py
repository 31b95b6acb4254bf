"""A lesion that is pointed at or boxed in, not drawn: where it is in millimetres, and how a user says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import DataError

if TYPE_CHECKING:
    from autoonco.data.case import Case

POINT_COLUMNS = ("lesion_x", "lesion_y", "lesion_z")
BOX_COLUMNS = ("box_x_min", "box_y_min", "box_z_min", "box_x_max", "box_y_max", "box_z_max")
AXES_COLUMN = "lesion_axes"
AXES = ("LPS", "RAS")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where a lesion is, in the LPS millimetres of its scan ``(x, y[, z])``.

    Attributes
    ----------
    low_mm, high_mm
        Opposite corners of a box; the same for a point.
    usual_mm
        Edges of the usual lesion, which stand for those of one that is only pointed at.
    """

    low_mm: tuple[float, ...]
    high_mm: tuple[float, ...]
    usual_mm: tuple[float, ...] | None = None

    @property
    def is_point(self) -> bool:
        """Whether only a place is known, no size."""
        return self.low_mm == self.high_mm

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def point(place_mm: Any, *, axes: str = "LPS") -> Mark:
    """Return the mark of a point ``(x, y, z)``, or ``(x, y)`` of a picture, in millimetres.

    Parameters
    ----------
    axes
        ``"LPS"``: x runs to the patient's left, y to the back, z to the head, as in DICOM and SimpleITK. ``"RAS"``:
        to the right, to the front, to the head, as NIfTI's own affine and the display of 3D Slicer have it.

    Raises
    ------
    DataError
        If these are not two or three finite numbers, or the axes are others.

    Examples
    --------
    >>> point((10.0, -4.0, 30.0), axes="RAS").low_mm
    (-10.0, 4.0, 30.0)
    """
    place = _numbers(
        place_mm, "a lesion's place", expected="x, y and z in millimetres (x and y of a picture)"
    )
    if place.ndim != 1 or len(place) not in (2, 3):
        raise DataError(
            f"A lesion's place is x, y and z in millimetres (x and y of a picture), got {place_mm!r}."
        )
    lps = _in_lps(place, axes)
    return Mark(low_mm=lps, high_mm=lps)


def box(corners_mm: Any, *, axes: str = "LPS") -> Mark:
    """Return the mark of a box by two opposite corners, ``((x, y, z), (x, y, z))`` or six numbers in a row.

    `axes` is as for `point`; of a picture there are two numbers a corner.

    Raises
    ------
    DataError
        If these are not so many finite numbers, or the box is flat.

    Examples
    --------
    >>> made = box((0, 0, 0, 10, 20, 30), axes="RAS")
    >>> made.low_mm, made.high_mm
    ((-10.0, -20.0, 0.0), (0.0, 0.0, 30.0))
    """
    what = "two opposite corners, x, y and z in millimetres each (x and y of a picture)"
    flat = _numbers(corners_mm, "a box", expected=what).ravel()
    if len(flat) not in (4, 6):
        raise DataError(f"A box is {what}, got {corners_mm!r}.")
    one, other = (_in_lps(corner, axes) for corner in np.split(flat, 2))
    low = tuple(map(min, one, other))
    high = tuple(map(max, one, other))
    if any(start >= end for start, end in zip(low, high, strict=True)):
        raise DataError(f"The box {corners_mm!r} is flat: give two opposite corners of one that is not.")
    return Mark(low_mm=low, high_mm=high)


def _numbers(given: Any, what: str, *, expected: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise DataError(f"For {what} {expected} are needed, got {given!r}: give finite numbers.")
    return numbers


def _in_lps(place: NDArray[np.float64], axes: str) -> tuple[float, ...]:
    if axes.upper() not in AXES:
        raise DataError(f"The axes of a place are LPS or RAS, got {axes!r}.")
    turned = place.copy()
    if axes.upper() == "RAS" and len(place) == 3:
        turned[:2] *= -1
    return tuple(float(value) + 0.0 for value in turned)  # no minus zero


def marks_of(
    n_cases: int, *, lesion: Any = None, box_mm: Any = None, axes: str = "LPS"
) -> tuple[Mark, ...] | None:
    """Return the mark of each case: one point or box for a single case, or a list of them; None without any.

    Raises
    ------
    DataError
        If both are given, or not one for each case.

    Examples
    --------
    >>> [mark.is_point for mark in marks_of(2, lesion=[(1, 2, 3), (4, 5, 6)])]
    [True, True]
    >>> len(marks_of(1, box_mm=((0, 0, 0), (9, 9, 9))))
    1
    """
    if lesion is not None and box_mm is not None:
        raise DataError("Both a point (lesion=) and a box (box=) were given: give one of them.")
    if lesion is None and box_mm is None:
        return None
    if lesion is not None:
        given = _numbers(lesion, "a lesion's place", expected="x, y and z in millimetres")
        each = given if given.ndim == 2 else [given]
        found = tuple(point(place, axes=axes) for place in each)
    else:
        given = _numbers(box_mm, "a box", expected="two opposite corners in millimetres")
        is_one = given.ndim == 1 or (given.ndim == 2 and given.shape[0] == 2 and given.shape[1] in (2, 3))
        found = tuple(box(corners, axes=axes) for corners in ([given] if is_one else given))
    if len(found) != n_cases:
        raise DataError(
            f"Places of {len(found)} lesions were given for {n_cases} cases: give one for each case."
        )
    return found


def with_marks(
    cases: Sequence[Case], marks: Sequence[Mark] | None, *, usual_mm: Sequence[float] | None
) -> tuple[Case, ...]:
    """Return the cases with a mark each, where there are `marks`; a point stands for a lesion of the usual size."""
    each: Sequence[Mark | None] = [case.mark for case in cases] if marks is None else marks
    named = zip(cases, each, strict=True)
    usual = None if usual_mm is None else tuple(usual_mm)
    return tuple(
        case if mark is None else replace(case, mark=replace(mark, usual_mm=usual)) for case, mark in named
    )


def marks_in(
    table: Mapping[str, Sequence[str]], *, on_error: Callable[[int, str], object] | None = None
) -> list[Mark | None]:
    """Return the mark in each row of a manifest, None where its cells are empty.

    Parameters
    ----------
    on_error
        Told (row, message) of each row whose cells are no place, which then has no mark.

    Raises
    ------
    DataError
        If a row's cells are no place and there is no `on_error`; the message names the row.

    Examples
    --------
    >>> table = {"image": ["a", "b"], "lesion_x": ["1", ""], "lesion_y": ["2", ""], "lesion_z": ["3", ""]}
    >>> [mark and mark.low_mm for mark in marks_in(table)]
    [(1.0, 2.0, 3.0), None]
    """
    n_rows = len(next(iter(table.values())))
    axes = table.get(AXES_COLUMN, [""] * n_rows)
    found: list[Mark | None] = [None] * n_rows
    for names, make in ((POINT_COLUMNS, point), (BOX_COLUMNS, box)):
        columns = [name for name in names if name in table]
        for row in range(n_rows) if columns else ():
            cells = {name: text for name in columns if (text := table[name][row].strip())}
            if not cells:
                continue
            try:
                if found[row] is not None:
                    raise DataError("both a point and a box are given: give one of them.")
                _refuse_gaps(cells, names)
                found[row] = make([_cell(text) for text in cells.values()], axes=axes[row].strip() or "LPS")
            except DataError as error:
                message = f"row {row + 1}, columns {names[0]} ...: {error}"
                if on_error is None:
                    raise DataError(message) from None
                on_error(row + 1, message)
    return found


def _refuse_gaps(cells: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse a place of which a number is missing: what is left would be taken for that of a picture."""
    flat = [name for name in names if "_z" not in name]
    wanted = flat if set(cells) <= set(flat) else names
    if missing := [name for name in wanted if name not in cells]:
        raise DataError(f"{missing[0]} is missing: give x, y and z in millimetres (x and y of a picture).")


def _cell(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
