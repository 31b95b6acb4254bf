"""What is measured on the pixels of each case, in one reading; checks and fingerprint are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.looks import look_of
from autoonco.data.manifest import Dataset
from autoonco.data.readers import Scan, read_scan
from autoonco.errors import AbsentLabelError, DataError, DimensionError, GeometryError

_PIECE = 2**22
_WHOLE_TOLERANCE = 1e-3  # float32 keeps whole numbers, and so does a rescale slope of one


class Fault(StrEnum):
    """Why a case can't be read."""

    UNREADABLE = "unreadable"
    MISPLACED = "misplaced"
    DIMENSIONS = "dimensions"
    LABEL = "label"


_FAULTS = {
    GeometryError: Fault.MISPLACED,
    DimensionError: Fault.DIMENSIONS,
    AbsentLabelError: Fault.LABEL,
}


@dataclass(frozen=True, kw_only=True)
class LesionFacts:
    """A mask, measured. Lengths in millimetres, (x, y[, z]).

    Attributes
    ----------
    voxels
        Number of voxels inside; 0 for an empty mask, which has `extent_mm` None.
    extent_mm
        Edges of the bounding box.
    touches_border
        Whether the lesion reaches the image's edge, on any axis longer than one voxel.
    is_binary, gap_voxels, share
        As `readers.Scan` tells: whether the file holds one value beside 0, how far its header lay from the image's,
        and what part of it a resampling kept.
    """

    voxels: int
    extent_mm: tuple[float, ...] | None
    touches_border: bool
    is_binary: bool = True
    gap_voxels: float = 0.0
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChannelFacts:
    """An image, measured. Axes are (x, y[, z]), lengths in millimetres.

    `low` and `high` are over finite values only, None where there are none; `whole_share` is the share of
    values that are whole numbers; `content` is the hash of shape and values as decoded, `look` the perceptual one
    (see `looks`), empty for an image of a single value.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    is_colour: bool
    low: float | None
    high: float | None
    whole_share: float
    n_not_finite: int
    content: str
    lesion: LesionFacts | None
    look: str = ""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """Whether all finite values are equal."""
        return self.low == self.high


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """A case, measured; `dataclasses.asdict` gives plain JSON. It names the case by its row only.

    `error` is what reading said, and `fault` the kind of it; `channels` then holds those that could be read.
    """

    row: int
    channels: Mapping[str, ChannelFacts] = field(default_factory=dict)
    error: str | None = None
    fault: Fault | None = None


def inspect(
    dataset: Dataset, *, n_jobs: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> list[CaseFacts]:
    """Read every case once and measure it.

    Parameters
    ----------
    dataset
        The cases; labels are not looked at.
    n_jobs
        Threads that read (decoding releases Python's lock).
    on_progress
        Called with (cases done, all cases) after each case.

    Returns
    -------
    list of CaseFacts
        One for each case, in order; a case that can't be read has its `error` set.
    """
    found: list[CaseFacts] = []
    channels = list(dict.fromkeys(name for case in dataset.cases for name in case.images))
    with ThreadPoolExecutor(max_workers=n_jobs) as pool:
        for facts in pool.map(lambda case: _measure_case(case, channels), dataset.cases):
            found.append(facts)
            if on_progress is not None:
                on_progress(len(found), len(dataset))
    return found


def _measure_case(case: Case, names: Sequence[str]) -> CaseFacts:
    channels: dict[str, ChannelFacts] = {}
    for name in names:
        try:
            channels[name] = _measure(read_scan(case, name))
        except MemoryError:
            reason = f"row {case.row}, image {name!r}: it needs more memory than there is; check its size."
            return CaseFacts(row=case.row, channels=channels, error=reason, fault=Fault.UNREADABLE)
        except DataError as error:
            return CaseFacts(
                row=case.row,
                channels=channels,
                error=str(error),
                fault=_FAULTS.get(type(error), Fault.UNREADABLE),
            )
    return CaseFacts(row=case.row, channels=channels)


def _measure(scan: Scan) -> ChannelFacts:
    image = scan.image
    values = sitk.GetArrayViewFromImage(image)
    is_byte = values.dtype == np.uint8
    finite = values if is_byte or np.isfinite(values).all() else values[np.isfinite(values)]
    is_colour = image.GetNumberOfComponentsPerPixel() > 1
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return ChannelFacts(
        shape=tuple(image.GetSize()),
        spacing_mm=tuple(image.GetSpacing()),
        is_colour=is_colour,
        low=low,
        high=high,
        whole_share=1.0 if is_byte else _whole_share(finite),
        n_not_finite=int(values.size - finite.size),
        content=_content(values),
        lesion=None if scan.mask is None else _measure_lesion(scan, scan.mask),
        look="" if low == high else look_of(values.mean(axis=-1, dtype=np.float32) if is_colour else values),
    )


def _whole_share(values: NDArray[Any]) -> float:
    if not values.size:
        return 0.0
    flat = values.ravel()  # in pieces: whole volumes of floats would be copied several times
    pieces = (flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE))
    return sum(int(np.sum(np.abs(one - np.rint(one)) <= _WHOLE_TOLERANCE)) for one in pieces) / len(flat)


def _content(values: NDArray[Any]) -> str:
    found = hashlib.sha256(f"{values.shape}{values.dtype}".encode())
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()[:24]


def _measure_lesion(scan: Scan, mask: sitk.Image) -> LesionFacts:
    inside = sitk.GetArrayViewFromImage(mask) > 0
    if not inside.any():
        return LesionFacts(voxels=0, extent_mm=None, touches_border=False)
    box = list(_bounding_box(inside))[::-1]  # arrays are (z, y, x), facts (x, y, z)
    return LesionFacts(
        voxels=int(inside.sum()),
        extent_mm=tuple(
            (last - first + 1) * step for (first, last), step in zip(box, mask.GetSpacing(), strict=True)
        ),
        touches_border=any(
            length > 1 and (first == 0 or last == length - 1)
            for (first, last), length in zip(box, mask.GetSize(), strict=True)
        ),
        is_binary=scan.is_binary,
        gap_voxels=scan.gap_voxels,
        share=scan.mask_share,
    )


def _bounding_box(inside: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the first and last index inside, for each axis."""
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        yield int(hit[0]), int(hit[-1])
