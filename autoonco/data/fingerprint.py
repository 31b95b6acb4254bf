"""What a search may know of the data: plain, JSON-able facts; no case, no path, no pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Intensity(StrEnum):
    """Unit of the grey values, *measured* on the images, never guessed from a modality's name."""

    BYTE = "byte"  # 0..255 integers: photographs, ultrasound PNG
    UNIT = "unit"  # 0..1: somebody scaled it
    HOUNSFIELD = "hounsfield"  # air near -1000 and whole numbers
    ARBITRARY = "arbitrary"  # MR, PET and the rest: only relative values mean something


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

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def anisotropy(self) -> float:
        """Largest spacing over the smallest, 1 for isotropic grids."""
        return max(self.spacing_mm) / min(self.spacing_mm)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {"intensity": {name: str(unit) for name, unit in self.intensity.items()}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Fingerprint:
        """Read what `to_json` wrote."""

        def as_tuple(value: Sequence[Any] | None) -> tuple[Any, ...] | None:
            return None if value is None else tuple(value)

        lists = ("classes", "class_counts", "channels", "clinical", "spacing_mm", "shape", "lesion_mm")
        fields = {name: as_tuple(value) if name in lists else value for name, value in plain.items()}
        fields["intensity"] = {name: Intensity(unit) for name, unit in plain["intensity"].items()}
        return cls(**fields)
