"""What stands in for the mask of a lesion that is pointed at or boxed in, and which lesion of a mask a mark means."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.mark import Mark
from autoonco.errors import DataError

USUAL_MM = 20.0
"""Side of a lesion that is pointed at, where no training case's was measured."""


def stand_in(mark: Mark, image: sitk.Image) -> sitk.Image:
    """Return an ellipsoid on the grid of `image`, uint8, that fills the marked box, or has the usual size at a point.

    It says where a lesion lies and how large it is, nothing about its outline. Its edges run along the axes of the
    patient. No lesion is so small that it falls between voxels.

    Raises
    ------
    DataError
        If the mark has another number of dimensions than the image, or lies outside of it.
    """
    n = image.GetDimension()
    if len(mark.low_mm) != n:
        raise DataError(
            f"The lesion's place has {len(mark.low_mm)} numbers a corner, expected {n} for an image of {n} dimensions."
        )
    centre, side_mm = _extent(mark, n)
    nearest = np.rint(image.TransformPhysicalPointToContinuousIndex(centre.tolist())).astype(int)
    if (nearest < 0).any() or (nearest >= image.GetSize()).any():
        raise DataError(f"The lesion's place {_text(centre)} mm lies outside of the scan, {_span(image)}.")
    inside = np.zeros(image.GetSize()[::-1], np.uint8)
    half = np.maximum(side_mm / 2, 0.51 * _voxel_mm(image))
    low, high = _reach(image, centre, half)
    places = np.moveaxis(np.indices(tuple((high - low)[::-1].tolist()))[::-1], 0, -1) + low
    own = np.asarray(image.GetDirection()).reshape(n, n) * np.asarray(image.GetSpacing())
    away = places @ own.T + np.asarray(image.GetOrigin()) - centre
    box = tuple(slice(start, stop) for start, stop in zip(low[::-1], high[::-1], strict=True))
    inside[box] = np.square(away / half).sum(axis=-1) <= 1
    inside[tuple(nearest[::-1])] = 1
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(image)
    return mask


def _extent(mark: Mark, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre and the edges of what is marked."""
    low, high = np.array(mark.low_mm), np.array(mark.high_mm)
    usual = mark.usual_mm if mark.usual_mm is not None and len(mark.usual_mm) == n else (USUAL_MM,) * n
    # edges of the usual lesion are those along the axes of files: which way a scan was taken is not a lesion's shape
    side = np.full(n, float(np.median(usual))) if mark.is_point else high - low
    return (low + high) / 2, side


def _voxel_mm(image: sitk.Image) -> NDArray[np.float64]:
    """Return the lengths of a voxel along the axes of the patient."""
    n = image.GetDimension()
    own = np.asarray(image.GetDirection()).reshape(n, n)
    return np.asarray(np.abs(own) @ np.asarray(image.GetSpacing()))


def _reach(image: sitk.Image, centre: Any, half: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first voxel (x, y[, z]) of the box around `centre` and the one behind the last, inside the image."""
    corners = [centre + half * np.array(signs) * 2 - half for signs in np.ndindex(*(2,) * len(half))]
    index = np.array([image.TransformPhysicalPointToContinuousIndex(corner.tolist()) for corner in corners])
    low = np.clip(np.floor(index.min(axis=0)), 0, None).astype(np.int64)
    high = np.minimum(np.ceil(index.max(axis=0)) + 1, image.GetSize()).astype(np.int64)
    return low, np.maximum(high, low + 1)


def chosen(mask: sitk.Image, mark: Mark) -> sitk.Image:
    """Return the one connected part of a mask that lies nearest to the middle of a mark; an empty mask as it is.

    Voxels that touch at a corner belong together.
    """
    values = sitk.GetArrayViewFromImage(mask)
    if not values.any() or len(mark.low_mm) != mask.GetDimension():
        return mask
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(mask, True))
    places = np.argwhere(parts)
    centre, _ = _extent(mark, mask.GetDimension())
    index = np.array(mask.TransformPhysicalPointToContinuousIndex(centre.tolist()))[::-1]
    spacing = np.array(mask.GetSpacing())[::-1]
    nearest = places[np.argmin(np.square((places - index) * spacing).sum(axis=1))]
    kept = sitk.GetImageFromArray((parts == parts[tuple(nearest)]).astype(np.uint8))
    kept.CopyInformation(mask)
    return kept


def _span(image: sitk.Image) -> str:
    n = image.GetDimension()
    ends = [np.where(np.array(choice), image.GetSize(), 0) - 0.5 for choice in np.ndindex(*(2,) * n)]
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(end.tolist()) for end in ends])
    return (
        f"which spans {_text(corners.min(axis=0))} to {_text(corners.max(axis=0))} mm (LPS axes): "
        "correct the numbers, or say whether they are LPS or RAS"
    )


def _text(numbers: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{number:.4g}" for number in numbers) + ")"
