"""What a network sees of a case, made once, cached as bytes, described by a JSON-able `InputSpec`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.preprocessing import SliceView, VolumeView, slice_2d, volume_3d
from autoonco.data.readers import read_scan
from autoonco.errors import DataError

VERSION = 2
"""Raised whenever `data` would give other pixels for the same file: old crops are then not read."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which channels of a case a network sees, the unit of each one's grey values, and through which view.

    `ndim` is that of the images, 2 or 3: a slice of a volume is not what a picture is.
    """

    intensity: Mapping[str, Intensity]
    view: SliceView | VolumeView
    ndim: int

    @classmethod
    def of(cls, fingerprint: Fingerprint, view: SliceView | VolumeView) -> InputSpec:
        """Return the spec of all channels of a dataset, in its order."""
        units = {name: fingerprint.intensity[name] for name in fingerprint.channels}
        return cls(intensity=units, view=view, ndim=fingerprint.ndim)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one crop: ``(3, size, size)`` or ``(n_channels, size, size, size)``."""
        size = self.view.size
        if isinstance(self.view, SliceView):
            return (3, size, size)
        return (len(self.intensity) + self.view.with_mask, size, size, size)

    @property
    def n_image_channels(self) -> int:
        """Channels that hold grey values; a mask channel comes after them."""
        return 3 if isinstance(self.view, SliceView) else len(self.intensity)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        kind = "slice" if isinstance(self.view, SliceView) else "volume"
        units = [
            [name, str(unit)] for name, unit in self.intensity.items()
        ]  # a list: the order of channels counts
        return {"kind": kind, "intensity": units, "view": asdict(self.view), "ndim": self.ndim}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> InputSpec:
        """Read what `to_json` wrote."""
        view = {"slice": SliceView, "volume": VolumeView}[plain["kind"]](**plain["view"])
        units = {name: Intensity(unit) for name, unit in plain["intensity"]}
        return cls(intensity=units, view=view, ndim=plain["ndim"])


def crop(case: Case, spec: InputSpec) -> NDArray[np.uint8]:
    """Read a case's scans and return its crop `spec.shape` in 0..255.

    Raises
    ------
    DataError
        If a scan can't be read or has another number of dimensions than `spec` says, or the view needs a mask
        and the case has none; the message names the row.
    """
    scans = [read_scan(case, channel) for channel in spec.intensity]
    for scan in scans:
        if (ndim := scan.image.GetDimension()) != spec.ndim:
            raise DataError(
                f"row {case.row}: the image is {ndim}D, expected {spec.ndim}D as the cases that the model was made for."
            )
    units = list(spec.intensity.values())
    try:
        if isinstance(spec.view, SliceView):
            values = slice_2d(scans, units, spec.view)
        else:
            values = volume_3d(scans, units, spec.view)
    except DataError as error:
        raise DataError(f"row {case.row}: {error}") from None
    if values.shape != spec.shape:  # would be broadcast into place
        raise DataError(f"row {case.row}: the crop has shape {values.shape}, expected {spec.shape}.")
    return np.rint(values * 255).astype(np.uint8)


def crops(
    cases: Sequence[Case], spec: InputSpec, artefacts: ArtefactCache | None, *, n_threads: int = 1
) -> NDArray[np.uint8]:
    """Return the crops of all cases ``(n_cases, *spec.shape)``; a crop made before is only read.

    Without `artefacts` all are made anew and none is stored.
    """
    out = np.empty((len(cases), *spec.shape), np.uint8)

    def fill(row: int) -> None:
        if artefacts is None:
            out[row] = crop(cases[row], spec)
            return
        key = digest("crop", VERSION, content_hash(cases[row]), spec.to_json())
        out[row] = artefacts.get_or_make("crops", key, lambda: {"x": crop(cases[row], spec)})["x"]

    # Decoding, resampling and disk release Python's lock, so threads do.
    with ThreadPoolExecutor(n_threads) as pool:
        deque(pool.map(fill, range(len(cases))), maxlen=0)
    return out
