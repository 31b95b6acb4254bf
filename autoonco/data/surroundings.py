"""A lesion with what lies around it, cut out of a scan once and kept: from there every cube is sampled.

Decoding and unpacking a whole CT takes longer than all that follows, so no second view of a case reads the file again.
Voxels stay as they are, on the scan's own grid: nothing is resampled twice. Where a cube reaches beyond what was kept,
the scan is read once more and more of it kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.data.greys import scan_range
from autoonco.data.grids import box_of, frame_of, grid_of
from autoonco.data.readers import Scan, read_scan

VERSION = 1
REACH, LEAST_MM = 1.5, 24.0
"""What is kept on each side of a lesion: so many times its longest side, and no less than that: a cube of four times
the side of a lesion of the usual size."""
CUBE = 32
"""Voxels a side of the cube that this room is meant for: coarser ones need more for smoothing."""
Box = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First voxel along each axis (x, y, z) and the one behind the last."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """A part of a scan; `start` is its first voxel in the scan, which is `full` voxels long, both (x, y, z).

    `value_range` is that of `greys.scan_range` over the whole scan.
    """

    scan: Scan
    start: NDArray[np.int64]
    full: NDArray[np.int64]
    value_range: tuple[float, float]

    @classmethod
    def whole(cls, scan: Scan) -> Surroundings:
        """Return all of a scan."""
        full = np.array(scan.image.GetSize(), np.int64)
        return cls(scan=scan, start=np.zeros_like(full), full=full, value_range=scan_range(scan.image))

    def holds(self, grid: sitk.Image) -> bool:
        """Return whether all of the scan that `grid` needs is in this part."""
        low, high = box_of(self.scan.image, grid)
        stop = self.start + self.scan.image.GetSize()
        return bool(
            ((low >= 0) | (self.start == 0)).all()
            and ((high <= self.scan.image.GetSize()) | (stop == self.full)).all()
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays; voxels that are whole numbers take two bytes each."""
        image = self.scan.image
        geometry = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection(), *self.value_range]
        arrays = {
            "image": _small(sitk.GetArrayViewFromImage(image)),
            "geometry": np.array(geometry, np.float64),
            "place": np.array([*self.start, *self.full, self.scan.is_drawn], np.int64),
        }
        if self.scan.mask is not None:
            arrays["mask"] = sitk.GetArrayFromImage(self.scan.mask)
        return arrays

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Surroundings:
        """Read what `to_arrays` wrote."""
        geometry, place = arrays["geometry"].tolist(), arrays["place"]

        def image_of(values: NDArray[Any]) -> sitk.Image:
            made = sitk.GetImageFromArray(values)
            made.SetSpacing(geometry[:3])
            made.SetOrigin(geometry[3:6])
            made.SetDirection(geometry[6:15])
            return made

        mask = image_of(arrays["mask"]) if "mask" in arrays else None
        values = np.asarray(arrays["image"], np.float32)
        scan = Scan(image=image_of(values), mask=mask, is_drawn=bool(place[6]))
        return cls(scan=scan, start=place[:3], full=place[3:6], value_range=(geometry[15], geometry[16]))


def surroundings(
    case: Case, channel: str, artefacts: ArtefactCache | None, *, grid: sitk.Image | None = None
) -> Surroundings:
    """Return a lesion's surroundings in one channel of a case, read from the scan where nothing is kept.

    Without `artefacts` it is the whole scan.

    Parameters
    ----------
    grid
        A grid that has to find all it needs.

    Raises
    ------
    DataError
        As `read_scan`.
    """
    if artefacts is None:
        return Surroundings.whole(read_scan(case, channel))
    key = digest("surroundings", VERSION, content_hash(case), channel)
    kept = artefacts.get("surroundings", key)
    found = None if kept is None else Surroundings.of_arrays(kept)
    if found is not None and (grid is None or found.holds(grid)):
        return found
    made = cut(read_scan(case, channel), grid=grid)
    if made.scan.image.GetDimension() == 3:
        artefacts.put("surroundings", key, made.to_arrays())
    return made


def cut(scan: Scan, *, grid: sitk.Image | None = None) -> Surroundings:
    """Return the lesion's surroundings in a volume, and what `grid` needs; without a lesion all of the scan."""
    whole = Surroundings.whole(scan)
    full = whole.full
    if len(full) != 3 or scan.mask is None or not sitk.GetArrayViewFromImage(scan.mask).any():
        return whole
    lesion = frame_of(scan.mask, of_lesion=True)
    low, high = box_of(scan.image, grid_of(lesion, side_mm=_side_mm(lesion.side_mm), size=CUBE))
    if grid is not None:
        low, high = _union((low, high), box_of(scan.image, grid))
    low, high = np.maximum(low, 0), np.minimum(high, full)
    part = replace(scan, image=_part(scan.image, low, high), mask=_part(scan.mask, low, high))
    return Surroundings(scan=part, start=low, full=full, value_range=whole.value_range)


def _side_mm(side_mm: NDArray[np.float64]) -> float:
    longest = float(side_mm.max())
    return longest + 2 * max(REACH * longest, LEAST_MM)


def _union(one: Box, other: Box) -> Box:
    return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


def _part(image: sitk.Image, low: NDArray[np.int64], high: NDArray[np.int64]) -> sitk.Image:
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _small(values: NDArray[Any]) -> NDArray[Any]:
    limits = np.iinfo(np.int16)
    finite = bool(np.isfinite(values).all())
    if (
        finite
        and values.min() >= limits.min
        and values.max() <= limits.max
        and (values == np.rint(values)).all()
    ):
        return values.astype(np.int16)
    return np.ascontiguousarray(values, np.float32)
