"""What is measured on the pixels of each case, in one reading; checks and fingerprint are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from autoonco.errors import DataError, GeometryError

_WHOLE_TOLERANCE = 1e-3  # float32 keeps whole numbers, and so does a rescale slope of one


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
    """

    voxels: int
    extent_mm: tuple[float, ...] | None
    touches_border: bool


@dataclass(frozen=True, kw_only=True)
class ChannelFacts:
    """An image, measured. Axes are (x, y[, z]), lengths in millimetres.

    `low` and `high` are over finite values only, None where there are none; `whole_share` is the share of
    values that are whole numbers; `content` is the hash of shape and values as decoded.
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

    `error` is what reading said, and `is_misplaced` whether it was about the mask's grid; `channels` then
    holds those that could be read.
    """

    row: int
    channels: Mapping[str, ChannelFacts] = field(default_factory=dict)
    error: str | None = None
    is_misplaced: bool = False


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
    found = []
    with ThreadPoolExecutor(max_workers=n_jobs) as pool:
        for facts in pool.map(_measure_case, dataset.cases):
            found.append(facts)
            if on_progress is not None:
                on_progress(len(found), len(dataset))
    return found


def _measure_case(case: Case) -> CaseFacts:
    channels: dict[str, ChannelFacts] = {}
    for name in case.images:
        try:
            scan = read_scan(case, name)
        except DataError as error:
            return CaseFacts(
                row=case.row,
                channels=channels,
                error=str(error),
                is_misplaced=isinstance(error, GeometryError),
            )
        channels[name] = _measure(scan.image, scan.mask)
    return CaseFacts(row=case.row, channels=channels)


def _measure(image: sitk.Image, mask: sitk.Image | None) -> ChannelFacts:
    values = sitk.GetArrayViewFromImage(image)
    is_byte = values.dtype == np.uint8
    finite = values if is_byte else values[np.isfinite(values)]
    return ChannelFacts(
        shape=tuple(image.GetSize()),
        spacing_mm=tuple(image.GetSpacing()),
        is_colour=image.GetNumberOfComponentsPerPixel() > 1,
        low=float(finite.min()) if finite.size else None,
        high=float(finite.max()) if finite.size else None,
        whole_share=1.0 if is_byte else _whole_share(finite),
        n_not_finite=int(values.size - finite.size),
        content=_content(values),
        lesion=None if mask is None else _measure_lesion(mask),
    )


def _whole_share(values: NDArray[Any]) -> float:
    return float(np.mean(np.abs(values - np.rint(values)) <= _WHOLE_TOLERANCE)) if values.size else 0.0


def _content(values: NDArray[Any]) -> str:
    found = hashlib.sha256(f"{values.shape}{values.dtype}".encode())
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()[:24]


def _measure_lesion(mask: sitk.Image) -> LesionFacts:
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
    )


def _bounding_box(inside: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the first and last index inside, for each axis."""
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        yield int(hit[0]), int(hit[-1])
