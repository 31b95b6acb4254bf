"""What to take of a file or folder that holds more than one picture, lesion or series, and how a manifest says it.

A cell of a manifest is a path, and may go on: ``scans.npz::images[17]`` is picture 17, counted from 0, of the array
``images``; ``clip.dcm[3]`` a frame, ``stack.tif[0]`` a page, ``dwi.nii.gz[1]`` or ``series[1]`` one of several volumes.
A cell of masks may name several files, ``a.png | b.png``: what lies in any of them is lesion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from autoonco.errors import DataError, UnknownNameError

_CELL = re.compile(r"(?P<path>.+?)(?:::(?P<member>[^\[\]:]+))?(?:\[(?P<index>\d+)\])?")
_BETWEEN = re.compile(r"\s*[|+,;]\s*")


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Which part of a file or folder is meant, and in which unit; empty, the whole of it as it is.

    Attributes
    ----------
    index
        Position of a picture in a stack, counted from 0.
    member
        Name of an array in a ``.npz`` file.
    series
        Of a DICOM folder: SeriesInstanceUID, series number or description.
    labels
        Values of a mask that are lesion; by default all but 0.
    rois
        Names or numbers of segments (DICOM SEG) or ROIs (RTSTRUCT).
    spacing_mm
        Of pictures and arrays, in the order of the array's axes: rows, columns or slices, rows, columns; one number
        stands for all. Files that state their own spacing keep it.
    suv
        Whether PET is read as standardised uptake value by body weight.
    also
        Further files of a mask; what lies in any of them is lesion.
    """

    index: int | None = None
    member: str | None = None
    series: str | None = None
    labels: tuple[int, ...] = ()
    rois: tuple[str, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    suv: bool = False
    also: tuple[Path, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return what is picked of the files themselves, as plain JSON; empty where it is all of them.

        Which files they are, of a folder or together, is not in it: neither paths nor how a series was named.
        """
        plain = Pick()
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("also", "series") and getattr(self, item.name) != getattr(plain, item.name)
        }


WHOLE = Pick()
"""The whole of a file, as it is."""


def parse_cell(cell: str, root: Path, *, may_be_several: bool = False) -> tuple[Path, Pick]:
    r"""Return the path of a manifest's cell, counted from `root`, and what it picks of it.

    A file that is really called so comes before any meaning of ``::``, ``[n]``, ``|`` and ``\``.

    Examples
    --------
    >>> path, pick = parse_cell("scans.npz::images[17]", Path("data"))
    >>> path.as_posix(), pick.member, pick.index
    ('data/scans.npz', 'images', 17)
    >>> parse_cell("a (1).png", Path("data"))[1] == WHOLE
    True
    >>> parse_cell("scans\\a.png", Path("data"))[0].as_posix()
    'data/scans/a.png'
    """
    if "\\" in cell and not _is_there(root / cell):  # a manifest that was written on Windows
        cell = cell.replace("\\", "/")
    if may_be_several and "|" in cell and not _is_there(root / cell):
        first, *others = (part.strip() for part in cell.split("|"))
        path, pick = parse_cell(first, root)
        return path, replace(pick, also=tuple(root / other for other in others if other))
    if not (cell.endswith("]") or "::" in cell) or _is_there(root / cell):
        return root / cell, WHOLE
    found = _CELL.fullmatch(cell)
    if found is None:
        return root / cell, WHOLE
    index = found["index"]
    return root / found["path"], Pick(index=None if index is None else int(index), member=found["member"])


def _is_there(path: Path) -> bool:
    """Return whether there is such a file; a list of many masks is longer than any name may be."""
    try:
        return path.exists()
    except OSError:
        return False


def parse_labels(text: str) -> tuple[int, ...]:
    """Return the values of a mask that a cell or option names: ``2`` or ``1, 3``.

    Raises
    ------
    DataError
        If it holds anything but whole numbers.

    Examples
    --------
    >>> parse_labels("1, 3"), parse_labels("")
    ((1, 3), ())
    """
    try:
        return tuple(int(part) for part in _BETWEEN.split(text.strip()) if part)
    except ValueError:
        raise DataError(
            f"mask_label is {text!r}, expected whole numbers that the mask holds: 2, or 1,3."
        ) from None


def parse_rois(text: str) -> tuple[str, ...]:
    """Return the names in a cell, with ``|`` between them, for names hold commas.

    Examples
    --------
    >>> parse_rois("GTV-1 | GTV, nodal")
    ('GTV-1', 'GTV, nodal')
    """
    return tuple(part for name in text.split("|") if (part := name.strip()))


def parse_spacing(text: str) -> tuple[float, ...]:
    """Return the millimetres in a cell: one number, or one for each axis of the array with blanks between them.

    Raises
    ------
    DataError
        If they are not one to three positive numbers, or a comma may be in a number as well as between two.

    Examples
    --------
    >>> parse_spacing("0.5"), parse_spacing("2.5 0.7 0.7"), parse_spacing("")
    ((0.5,), (2.5, 0.7, 0.7), ())
    """
    if re.search(r"\d,\d", text) and "." not in text:
        raise DataError(
            f"spacing_mm is {text!r}, expected a point in decimals and blanks between numbers: 0.5, or 2.5 0.7 0.7."
        )
    try:
        numbers = tuple(float(part) for part in re.split(r"[\s;,×x]+", text.strip()) if part)
    except ValueError:
        numbers = (float("nan"),)
    if not all(0 < number < float("inf") for number in numbers) or len(numbers) > 3:
        raise DataError(
            f"spacing_mm is {text!r}, expected positive millimetres: 0.5, or rows and columns 0.5 0.5, or slices, rows "
            "and columns 2.5 0.7 0.7."
        )
    return numbers


IMAGE_OPTIONS = ("series", "spacing_mm")
MASK_OPTIONS = ("mask_label", "mask_roi")


def with_options(pick: Pick, kind: str, text: str) -> Pick:
    """Return `pick` with what a cell of the column `kind` adds; an empty cell adds nothing."""
    if not text:
        return pick
    if kind == "series":
        return replace(pick, series=text)
    if kind == "spacing_mm":
        return replace(pick, spacing_mm=parse_spacing(text))
    if kind == "mask_label":
        return replace(pick, labels=parse_labels(text))
    return replace(pick, rois=parse_rois(text))


@dataclass(frozen=True, kw_only=True)
class Always:
    """What is picked of every file, unless its row says otherwise.

    Attributes
    ----------
    labels, rois
        Values of masks, names of segments or ROIs.
    suv
        Channels of PET that are read as standardised uptake values.
    """

    labels: tuple[int, ...] = ()
    rois: tuple[str, ...] = ()
    suv: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        mask_label: int | str | Sequence[int] | None,
        mask_roi: str | Sequence[str] | None,
        suv: str | Sequence[str] | None,
        channels: Mapping[str, str],
    ) -> Always:
        """Return what the arguments of `Dataset.from_frame` say; `channels` maps channel → column."""
        labels = parse_labels(mask_label) if isinstance(mask_label, str) else mask_label
        rois = parse_rois(mask_roi) if isinstance(mask_roi, str) else mask_roi
        wanted = (suv,) if isinstance(suv, str) else tuple(suv or ())
        for name in wanted:
            if name not in channels and name not in channels.values():
                raise DataError(f"{UnknownNameError('channel', name, channels)} Correct suv= (--suv).")
        return cls(
            labels=(labels,) if isinstance(labels, int) else tuple(labels or ()),
            rois=tuple(rois or ()),
            suv=tuple(key for key, column in channels.items() if {key, column} & set(wanted)),
        )

    def of_image(self, channel: str, pick: Pick) -> Pick:
        """Return `pick` of an image, in SUV where the channel is named so."""
        return replace(pick, suv=True) if channel in self.suv else pick

    def of_mask(self, _: str, pick: Pick) -> Pick:
        """Return `pick` of a mask, completed."""
        return replace(pick, labels=pick.labels or self.labels, rois=pick.rois or self.rois)


ALWAYS = Always()
"""Nothing but what the rows say."""
