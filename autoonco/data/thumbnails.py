"""Small pictures of a case for people: windowed, with the lesion's outline, and with a map of evidence over it.

A picture is shown whole or around its lesion; a volume as three planes through the lesion, feet to head upwards.
They hold pixels of a patient: what is written here belongs into a run folder, never into a model file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from autoonco.data.grids import lesion_box
from autoonco.data.readers import Scan

SIDE = 160
"""Height of a thumbnail in pixels."""
OUTLINE = (230, 159, 0)
"""Okabe and Ito's orange, which stands out on grey for any colour vision."""
OUTLINE_ON_MAP = (86, 180, 233)
"""Their sky blue, for an orange line is lost on a map that glows orange."""
_ROOM, _LEAST_PX = 0.6, 16
_WINDOW = (0.5, 99.5)
_STRENGTH = 0.65
_COLOURS = 128
_WIDEST = 2.0
_GAP_PX = 4

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One flat view of a case.

    Parameters
    ----------
    grey
        ``(height, width)`` or, of a colour picture, ``(height, width, 3)``, 0..255.
    inside
        Whether a pixel is of the lesion ``(height, width)``, None without a mask.
    heat
        Evidence 0..1 ``(height, width)``, None without a map.
    aspect
        Height of a pixel over its width.
    """

    grey: Bytes
    inside: NDArray[np.bool_] | None = None
    heat: NDArray[np.float32] | None = None
    aspect: float = 1.0


def panels(scan: Scan, heat: NDArray[Any] | None = None) -> list[Panel]:
    """Return the view of a picture, or the axial, coronal and sagittal ones of a volume.

    Parameters
    ----------
    scan
        Image and mask on one grid.
    heat
        Evidence on the same grid ``(height, width)`` or ``(depth, height, width)``, 0..1.
    """
    image = scan.image
    if image.GetDimension() == 2:
        values = np.asarray(sitk.GetArrayViewFromImage(image))
        inside = None if scan.mask is None else np.asarray(sitk.GetArrayViewFromImage(scan.mask)) > 0
        spacing = image.GetSpacing()
        return [_panel(values, inside, heat, aspect=spacing[1] / spacing[0])]
    values, spacing = _upright(image)
    mask = None if scan.mask is None else _upright(scan.mask)[0] > 0
    evidence = None if heat is None else _upright(_like(heat, image))[0]
    return [_plane(values, mask, evidence, axis, spacing) for axis in range(3)]


def picture(views: Sequence[Panel], *, with_heat: bool = False, side: int = SIDE) -> Bytes:
    """Return the views side by side ``(height, width, 3)``; with `with_heat` the maps stand in a second row.

    Views are `side` pixels high and 4 pixels apart; a single one has its map beside it.
    """
    rows = [[_drawn(view, side, heat=False) for view in views]]
    if with_heat:
        rows.append([_drawn(view, side, heat=True) for view in views])
    if len(views) == 1:  # a picture and its map side by side take less room
        return _joined([row[0] for row in rows], axis=1)
    return _joined([_joined(row, axis=1) for row in rows], axis=0)


def save_png(pixels: Bytes, path: Any) -> None:
    """Write `pixels` ``(height, width, 3)`` as a small PNG of at most 128 colours, without metadata."""
    Image.fromarray(pixels).quantize(_COLOURS, dither=Image.Dither.NONE).save(
        path, format="PNG", optimize=True
    )


def _upright(image: sitk.Image) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """Return a volume ``(z, y, x)`` along the patient's axes (LPS), and its spacing in that order."""
    turned = sitk.DICOMOrient(image, "LPS")
    x, y, z = turned.GetSpacing()
    return np.asarray(sitk.GetArrayFromImage(turned)), (z, y, x)


def _like(values: NDArray[Any], image: sitk.Image) -> sitk.Image:
    made = sitk.GetImageFromArray(np.asarray(values, np.float32))
    made.CopyInformation(image)
    return made


def _plane(
    values: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    heat: NDArray[Any] | None,
    axis: int,
    spacing: tuple[float, float, float],
) -> Panel:
    """Return the plane across `axis` where the lesion is largest, the middle one without a lesion."""
    position = values.shape[axis] // 2
    if mask is not None and mask.any():
        others = tuple(other for other in range(3) if other != axis)
        position = int(np.argmax(np.count_nonzero(mask, axis=others)))
    rows, columns = (spacing[other] for other in range(3) if other != axis)

    def cut(array: NDArray[Any] | None) -> Any:
        if array is None:
            return None
        flat = np.take(array, position, axis=axis)
        return flat if axis == 0 else flat[::-1]  # the head is up

    return _panel(cut(values), cut(mask), cut(heat), aspect=rows / columns)


def _panel(
    values: NDArray[Any], inside: NDArray[np.bool_] | None, heat: NDArray[Any] | None, *, aspect: float
) -> Panel:
    box = _box(inside, values.shape[:2])
    shown = values[box]
    return Panel(
        grey=shown if shown.dtype == np.uint8 and shown.ndim == 3 else _windowed(shown),
        inside=None if inside is None else inside[box],
        heat=None if heat is None else np.asarray(heat, np.float32)[box],
        aspect=aspect,
    )


def _box(inside: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the lesion's box with room around it; the whole view without a lesion."""
    found = None if inside is None else lesion_box(inside)
    if found is None:
        return tuple(slice(0, length) for length in shape)
    room = max(_LEAST_PX, round(_ROOM * max(side.stop - side.start for side in found)))
    return tuple(
        slice(max(0, side.start - room), min(length, side.stop + room))
        for side, length in zip(found, shape, strict=True)
    )


def _windowed(values: NDArray[Any]) -> Bytes:
    """Return grey values stretched over 0..255 between their outer percentiles; what is no number is black."""
    plain = np.asarray(values, np.float32)
    plain = plain if plain.ndim == 2 else plain.mean(axis=-1)
    finite = plain[np.isfinite(plain)]
    if not finite.size:
        return np.zeros(plain.shape, np.uint8)
    low, high = np.percentile(finite, _WINDOW)
    scaled = (np.nan_to_num(plain, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-9)
    return np.asarray(np.rint(255 * np.clip(scaled, 0, 1)), np.uint8)


def _drawn(view: Panel, side: int, *, heat: bool) -> Bytes:
    """Return a view `side` pixels high, at most twice as wide, with outline and, if asked for, the map over it."""
    height, width = view.grey.shape[:2]
    ratio = min(_WIDEST, width / (height * view.aspect))
    size = (max(8, round(side * ratio)), side)
    grey = view.grey if view.grey.ndim == 3 else np.repeat(view.grey[..., None], 3, axis=2)
    pixels = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), np.float32)
    if heat and view.heat is not None:
        evidence = Image.fromarray(view.heat, mode="F").resize(size, Image.Resampling.BILINEAR)
        shares = np.clip(np.asarray(evidence), 0, 1)
        colours = mpl.colormaps["inferno"](shares)[..., :3] * 255
        weight = (_STRENGTH * np.sqrt(shares))[..., None]
        pixels = (1 - weight) * pixels + weight * colours
    drawn = np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
    if view.inside is not None and view.inside.any():
        large = np.asarray(Image.fromarray(view.inside).resize(size, Image.Resampling.NEAREST))
        drawn[large ^ ndimage.binary_erosion(large)] = OUTLINE_ON_MAP if heat else OUTLINE
    return drawn


def _joined(parts: Sequence[Bytes], *, axis: int) -> Bytes:
    """Return the parts beside (axis 1) or below one another (axis 0), with a black gap between them."""
    shape = list(parts[0].shape)
    shape[axis] = _GAP_PX
    gap = np.zeros(shape, np.uint8)
    return np.concatenate([piece for part in parts for piece in (gap, part)][1:], axis=axis)
