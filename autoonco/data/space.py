"""Where the pixels of an image lie, as plain numbers, and arrays written so that they lie there too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import DataError

if TYPE_CHECKING:
    import SimpleITK as sitk

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
PICTURE_SUFFIXES = (".png",)


@dataclass(frozen=True, kw_only=True)
class Space:
    """Spacing and origin in millimetres ``(x, y[, z])``, and direction cosines row by row, as SimpleITK has them."""

    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Self:
        """Return the space of an image."""
        return cls(spacing_mm=image.GetSpacing(), origin_mm=image.GetOrigin(), direction=image.GetDirection())

    def image(self, values: NDArray[Any]) -> sitk.Image:
        """Return an image of an array ``([z,] y, x)`` in this space."""
        import SimpleITK as sitk

        made = sitk.GetImageFromArray(np.ascontiguousarray(values))
        made.SetSpacing(self.spacing_mm)
        made.SetOrigin(self.origin_mm)
        made.SetDirection(self.direction)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{name: tuple(values) for name, values in plain.items()})


def write_map(values: NDArray[Any], space: Space | None, path: Path) -> Path:
    """Write an array of 0..1 to an image file; a viewer lays one with a `space` over the scan that it belongs to.

    Parameters
    ----------
    values
        ``(height, width)`` or ``(depth, height, width)``.
    path
        ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``; of a picture ``.png`` too, in 256 shades.

    Raises
    ------
    DataError
        If the file is of another type, or its folder is missing.
    """
    import SimpleITK as sitk

    known = VOLUME_SUFFIXES if values.ndim == 3 else VOLUME_SUFFIXES + PICTURE_SUFFIXES
    suffix = next((one for one in known if path.name.lower().endswith(one)), None)
    if suffix is None:
        raise DataError(
            f"A map of {values.ndim} dimensions can't be written to {path.name!r}: use {', '.join(known)}."
        )
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent} to write {path.name!r} to: make it first.")
    shades = (
        np.rint(values * 255).astype(np.uint8) if suffix in PICTURE_SUFFIXES else values.astype(np.float32)
    )
    made = sitk.GetImageFromArray(shades) if space is None else space.image(shades)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=".", suffix=suffix
    )  # the writer goes by the suffix
    os.close(handle)
    temporary = Path(name)
    try:
        sitk.WriteImage(made, str(temporary), useCompression=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
