"""Scans that are arrays in memory, made cases: written to a folder for as long as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from autoonco.data.case import Case
from autoonco.data.pick import Pick
from autoonco.errors import DataError


@dataclass(frozen=True, eq=False)
class ArrayScan:
    """A scan to predict that is an array, with its spacing.

    Parameters
    ----------
    pixels
        ``(y, x)``, ``(z, y, x)``, or bytes of colour ``(y, x, 3)``; a mapping of channel names to such arrays on one
        grid where the model takes several images.
    spacing_mm
        Distance of pixels in millimetres in the order of the array's axes, ``(y, x)`` or ``(z, y, x)``.
    mask
        Lesion: an array on the same grid, anything but 0 is inside; or None.
    clinical
        Values of the clinical columns that the model takes.
    case
        How tables name it; by default its place in what is given.
    """

    pixels: ArrayLike | Mapping[str, ArrayLike]
    spacing_mm: Sequence[float]
    mask: ArrayLike | None = None
    clinical: Mapping[str, float | str | None] = field(default_factory=dict)
    case: str | None = None


def written(scans: Sequence[ArrayScan], folder: Path) -> tuple[Case, ...]:
    """Return cases that read `scans` from files in `folder`.

    Raises
    ------
    DataError
        If an array is no picture or volume of numbers, or spacing or mask don't fit it; the message names the row.
    """
    return tuple(_written(scan, folder, row) for row, scan in enumerate(scans, start=1))


def _written(scan: ArrayScan, folder: Path, row: int) -> Case:
    given = scan.pixels if isinstance(scan.pixels, Mapping) else {"image": scan.pixels}
    spacing = tuple(float(length) for length in scan.spacing_mm)
    images: dict[str, Path] = {}
    picks: dict[str, Pick] = {}
    for number, (name, pixels) in enumerate(given.items()):
        array = _numbers(pixels, row)
        is_colour = array.ndim == 3 and array.shape[-1] == 3 and len(spacing) == 2
        if is_colour and array.dtype != np.uint8:
            raise DataError(
                f"row {row}: colour of type {array.dtype}, expected bytes 0..255 (uint8): convert it."
            )
        _check(array.ndim - is_colour, spacing, row)
        images[name] = folder / f"{row}-{number}.{'png' if is_colour else 'nrrd'}"
        if is_colour:
            Image.fromarray(array).save(images[name])
            picks[name] = Pick(spacing_mm=spacing)  # which a file of colours doesn't hold
        else:
            _write(array.astype(np.float32), spacing, images[name])
        if scan.mask is not None and np.shape(scan.mask) != array.shape[: len(spacing)]:
            raise DataError(
                f"row {row}: the mask has shape {np.shape(scan.mask)}, expected {array.shape[: len(spacing)]} as the "
                f"image {name!r}: give a mask on its grid."
            )
    masks: dict[str, Path] = {}
    if scan.mask is not None:
        masks["mask"] = folder / f"{row}-mask.nrrd"
        _write((_numbers(scan.mask, row) != 0).astype(np.uint8), spacing, masks["mask"])
    name = scan.case or str(row)
    return Case(
        case=name,
        patient=name,
        images=images,
        masks=masks,
        clinical=dict(scan.clinical),
        image_picks=picks,
        row=row,
    )


def _numbers(values: ArrayLike, row: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise DataError(
            f"row {row}: the array holds {array.size} values of type {array.dtype}, expected numbers."
        )
    return array


def _check(ndim: int, spacing: tuple[float, ...], row: int) -> None:
    if ndim not in (2, 3):
        raise DataError(
            f"row {row}: the array has {ndim} axes, expected (y, x) or (z, y, x): give one scan at a time."
        )
    if len(spacing) != ndim or not all(0 < length < np.inf for length in spacing):
        raise DataError(
            f"row {row}: spacing_mm is {spacing}, expected {ndim} positive lengths, in the order of the array's axes."
        )


def _write(array: NDArray[Any], spacing: tuple[float, ...], path: Path) -> None:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path))
