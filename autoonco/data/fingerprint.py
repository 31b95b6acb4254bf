"""What a search may know of the data: plain, JSON-able facts; no case, no path, no pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from autoonco.errors import DataError

if TYPE_CHECKING:
    from autoonco.data.facts import CaseFacts, ChannelFacts
    from autoonco.data.manifest import Dataset

_WHOLE_SHARE = 0.99  # resampled CT is no longer whole; padding and rescaling leave a few fractions
_AIR_HU = -500.0  # a scan of a body holds air or lung below this
_SUV_WHOLE_SHARE = 0.9  # air around a patient may be 0, the patient is not
_SUV_LOWEST = 0.5  # a crop of PET without air still holds muscle or fat
_SUV_HIGHEST = 60.0  # tumours reach 40; a bladder beyond it is taken for an arbitrary unit, which is safe
_HU_RANGE = (-4100.0, 4100.0)  # 12 and 13 bit scanners; some pad with -2048 or -3024


class Intensity(StrEnum):
    """Unit of the grey values, *measured* on the images, never guessed from a modality's name."""

    BYTE = "byte"  # 0..255 integers: photographs, ultrasound PNG
    UNIT = "unit"  # 0..1: somebody scaled it
    HOUNSFIELD = "hounsfield"  # air near -1000 and whole numbers
    SUV = "suv"  # PET by dose and weight: fractions from about 0 to some tens
    ARBITRARY = "arbitrary"  # MR and the rest: only relative values mean something


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Facts of the training cases that decide which families apply and what their spaces hold.

    Lengths are in millimetres and in (x, y, z) order, 2D having two entries; pictures without spacing count
    one millimetre a pixel. `has_mask` is true when every case has a mask for every channel.
    """

    n_cases: int
    n_patients: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    ndim: int
    channels: tuple[str, ...]
    is_colour: bool
    has_mask: bool
    clinical: tuple[str, ...]
    has_site: bool
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    lesion_mm: tuple[float, ...] | None
    lesion_voxels: float | None
    intensity: Mapping[str, Intensity]
    own_features: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {"intensity": {name: str(unit) for name, unit in self.intensity.items()}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Fingerprint:
        """Read what `to_json` wrote."""

        def as_tuple(value: Sequence[Any] | None) -> tuple[Any, ...] | None:
            return None if value is None else tuple(value)

        lists = (
            "classes", "class_counts", "channels", "clinical", "spacing_mm", "shape", "lesion_mm", "own_features",
        )  # fmt: skip
        fields: dict[str, Any] = {
            name: as_tuple(value) if name in lists else value for name, value in plain.items()
        }
        fields["intensity"] = {name: Intensity(unit) for name, unit in plain["intensity"].items()}
        return cls(**fields)


def fingerprint(dataset: Dataset, facts: Sequence[CaseFacts]) -> Fingerprint:
    """Return the fingerprint of `dataset`, given what `inspect` measured on its cases.

    Sizes, spacing and lesion are medians over the readable cases, taken on the first channel; units of the
    grey values are those of the majority, for each channel.

    Raises
    ------
    DataError
        If no case could be read.
    """
    readable = [case for case in facts if case.error is None]
    if not readable:
        raise DataError("None of the cases could be read; see the findings of the data check.")
    channels = dataset.channels
    first = [case.channels[channels[0]] for case in readable]
    ndim = Counter(channel.ndim for channel in first).most_common(1)[0][0]
    first = [channel for channel in first if channel.ndim == ndim]
    lesions = [channel.lesion for channel in first if channel.lesion is not None]
    extents = [lesion.extent_mm for lesion in lesions if lesion.extent_mm is not None]
    y = np.array([], dtype=np.int64) if dataset.y is None else dataset.y
    return Fingerprint(
        n_cases=len(dataset),
        n_patients=len(set(dataset.groups)),
        classes=dataset.classes,
        class_counts=tuple(int(np.sum(y == index)) for index in range(len(dataset.classes))),
        ndim=ndim,
        channels=channels,
        is_colour=any(channel.is_colour for case in readable for channel in case.channels.values()),
        has_mask=all(case.mask_of(channel) is not None for case in dataset.cases for channel in channels),
        clinical=dataset.clinical,
        has_site=dataset.sites is not None,
        spacing_mm=_medians([channel.spacing_mm for channel in first]),
        shape=tuple(round(length) for length in _medians([channel.shape for channel in first])),
        lesion_mm=_medians(extents) if extents else None,
        lesion_voxels=float(np.median([lesion.voxels for lesion in lesions])) if lesions else None,
        intensity={name: _usual_unit([case.channels[name] for case in readable]) for name in channels},
        own_features=dataset.features,
    )


def _medians(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.median(np.array(rows, dtype=float), axis=0))


def _usual_unit(images: Sequence[ChannelFacts]) -> Intensity:
    return Counter(map(unit_of, images)).most_common(1)[0][0]


def unit_of(image: ChannelFacts) -> Intensity:
    """Return the unit that one image's values speak for."""
    if image.low is None or image.high is None:
        return Intensity.ARBITRARY
    is_whole = image.whole_share >= _WHOLE_SHARE
    if image.is_colour or (is_whole and image.ndim == 2 and image.low >= 0 and 1 < image.high <= 255):
        return Intensity.BYTE
    if image.low >= 0 and image.high <= 1:
        return Intensity.UNIT
    is_fraction = image.ndim == 3 and image.whole_share < _SUV_WHOLE_SHARE
    if is_fraction and 0 <= image.low < _SUV_LOWEST and image.high <= _SUV_HIGHEST:
        return Intensity.SUV
    if is_whole and _HU_RANGE[0] <= image.low <= _AIR_HU and image.high <= _HU_RANGE[1]:
        return Intensity.HOUNSFIELD
    return Intensity.ARBITRARY
