"""From scans to the arrays that networks see: one place for views, crops, resampling and grey values.

Here is what a crop shows and in which grey values; `grids` lays it out in millimetres and samples it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from autoonco.data.fingerprint import Intensity
from autoonco.data.greys import Scaling, layers_of, scale_intensity, scan_range
from autoonco.data.grids import (
    Frame,
    axial_slice,
    components,
    frame_of,
    grid_of,
    resample,
    roi_of,
    sample,
    thick_axis_last,
)
from autoonco.data.readers import Scan
from autoonco.errors import DataError

MIN_SIDE_PX = 16
"""A crop spans at least so many source pixels: a smaller one would only magnify interpolation."""
DIMMEST, FADE = 0.2, 0.25
"""Of the mask as attention: what is left of a voxel far from the lesion, and the share of the cube's side over which
that falls (the width of a Gaussian)."""


@dataclass(frozen=True, kw_only=True)
class SliceView:
    """A square picture of a case.

    Parameters
    ----------
    size
        Side of the picture in pixels.
    focus
        ``"whole"`` shows the image padded to a square, ``"lesion"`` the square around the mask.
    margin
        Share of the lesion's longer side added on each side of it.
    use_mask
        Whether a volume's slice is the one with the largest lesion area; else the middle slice.
    shape
        Of the lesion's crop: ``"square"`` keeps proportions, ``"box"`` stretches the lesion's box to a square.
    background
        ``"blank"`` shows what is outside of the mask in black.
    mask_channel
        Whether the mask is the last channel.
    slices
        What of a volume: its ``"largest"`` slice of the lesion; that and its neighbours as channels
        (``"adjacent"``); ``"several"`` or ``"all"`` as `n_slices` pictures spread evenly over the lesion, or over
        the volume where `use_mask` is false; the three orthogonal ``"planes"`` through its centre.
    gap
        Share of the lesion's height from a slice to its neighbour, where these are channels; never less than a slice.
    sequences
        Several channels of a case are the ``"channels"`` of one picture, or a picture each (``"late"``).
    """

    size: int
    focus: Literal["whole", "lesion"] = "whole"
    margin: float = 0.25
    use_mask: bool = False
    shape: Literal["square", "box"] = "square"
    background: Literal["keep", "blank"] = "keep"
    mask_channel: bool = False
    slices: Literal["largest", "adjacent", "several", "all", "planes"] = "largest"
    n_slices: int = 1
    gap: float = 0.0
    sequences: Literal["channels", "late"] = "channels"

    @property
    def n_positions(self) -> int:
        """Pictures of one sequence of a volume."""
        return {"several": self.n_slices, "all": self.n_slices, "planes": 3}.get(self.slices, 1)


@dataclass(frozen=True, kw_only=True)
class VolumeView:
    """A box of a case, as wide, high and deep as a cube.

    Parameters
    ----------
    size
        Side of the cube in voxels.
    focus
        ``"whole"`` centres the cube on the volume and spans its longest side; ``"lesion"`` centres it on the mask.
    extent_mm
        Side of the cube in millimetres, which keeps a lesion's size visible; None fits the cube to each lesion.
    margin
        Share of the lesion's longest side added on each side of it, where `extent_mm` is None.
    mask
        ``"channel"`` is the last channel; ``"attention"`` dims what is outside of the lesion, the farther the more,
        down to `DIMMEST`; ``"none"`` leaves it out.
    depth
        Layers of the cube where they are fewer than `size`, thicker ones then, for scans of thick slices: they lie
        along the axis of the patient that the scan's longest voxel edges run along. None for as many as `size`.
    scaling
        How grey values become numbers.
    """

    size: int
    focus: Literal["whole", "lesion"] = "lesion"
    extent_mm: float | None = None
    margin: float = 0.25
    mask: Literal["none", "channel", "attention"] = "none"
    depth: int | None = None
    scaling: Scaling = field(default_factory=Scaling)

    @property
    def sides(self) -> tuple[int, int, int]:
        """Voxels along each axis of the array, the layers first."""
        return (self.depth or self.size, self.size, self.size)

    @property
    def needs_mask(self) -> bool:
        """Whether the outline of the lesion is shown, not only its place."""
        return self.mask != "none"


def slice_2d(scans: Sequence[Scan], units: Sequence[Intensity], view: SliceView) -> NDArray[np.float32]:
    """Return the picture ``(n_channels, size, size)`` of a case in 0..1: of a volume one axial slice.

    It is the slice with the largest lesion area, or the middle one; see `picture_on` for the channels.

    Raises
    ------
    DataError
        If the view needs a lesion and no scan has a mask with a nonzero voxel.
    """
    return picture_on([slice_grid(scans, view)], scans, units, view)


def picture_on(
    grids: Sequence[sitk.Image], scans: Sequence[Scan], units: Sequence[Intensity], view: SliceView
) -> NDArray[np.float32]:
    """Return a picture ``(n_channels, size, size)`` in 0..1, sampled on a grid of one slice, or on neighbouring ones.

    One grey layer fills three channels, one colour scan keeps its own, two layers repeat cyclically, and more than
    two are the channels as they are (brightness only). Layers are the scans, each on all `grids`. What lies outside
    of the scan on all of a grid is shown as on the middle one. Then comes the mask, where the view has its channel.
    """
    if len(scans) == 1 and scans[0].image.GetNumberOfComponentsPerPixel() > 1:
        colours = [resample(part, grids[0]) for part in components(roi_of(scans[0].image, grids[0]))]
        layers = [scale_intensity(colour, units[0]) for colour in colours]
    else:
        pairs = zip(scans, units, strict=True)
        layers = [layer for scan, unit in pairs for layer in scale_intensity(_sampled(scan, grids), unit)]
    shown = [layers[index % len(layers)] for index in range(max(3, len(layers)))]
    if view.background == "keep" and not view.mask_channel:
        return _stack(shown, view.size)
    mask = scale_intensity(sample(lesion_mask(scans), grids[len(grids) // 2]), Intensity.UNIT)
    if view.background == "blank":
        shown = [layer * mask for layer in shown]
    return _stack([*shown, mask] if view.mask_channel else shown, view.size)


def _sampled(scan: Scan, grids: Sequence[sitk.Image]) -> NDArray[np.float32]:
    """Return the brightness on each grid; one that misses the scan repeats the middle one."""
    found = [sample(scan.image, grid) for grid in grids]
    middle = found[len(found) // 2]
    return np.stack([middle if np.isnan(layer).all() else layer for layer in found])


def volume_3d(
    scans: Sequence[Scan],
    units: Sequence[Intensity],
    view: VolumeView,
    *,
    value_ranges: Sequence[tuple[float, float]] | None = None,
) -> NDArray[np.float32]:
    """Return the cube ``(n_channels, *view.sides)`` of a case in 0..1: the channels of each scan, then the mask.

    Scans may lie on different grids: all are sampled on one. `value_ranges` are the scans' `greys.scan_range`, where
    they are parts of larger ones.

    Raises
    ------
    DataError
        If the view needs a lesion and no scan has a mask with a nonzero voxel.
    """
    mask = lesion_mask(scans) if view.needs_mask else None
    grid = volume_grid(scans, view)
    ranges = value_ranges or [scan_range(scan.image) for scan in scans]
    channels = [
        layer
        for scan, unit, known in zip(scans, units, ranges, strict=True)
        for layer in layers_of(sample(scan.image, grid), unit, view.scaling, value_range=known)
    ]
    if mask is None:
        return np.stack(channels)
    shown = scale_intensity(sample(mask, grid), Intensity.UNIT)
    if view.mask == "channel":
        return np.stack([*channels, shown])
    return np.stack(channels) * attention(shown)


def attention(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of each voxel is left ``(*space)``: 1 in the lesion, `DIMMEST` far from it, smooth between.

    Examples
    --------
    >>> line = attention(np.array([[[1.0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]], np.float32))[0, 0]
    >>> line[:2].tolist(), bool((np.diff(line[1:]) < 0).all()), bool(line.min() > DIMMEST)
    ([1.0, 1.0], True, True)
    """
    inside = mask >= min(
        0.5, float(mask.max())
    )  # of a lesion thinner than a voxel, where there is most of it
    reach = FADE * max(mask.shape)
    spacing = [max(mask.shape) / side for side in mask.shape]
    faded = np.exp(-np.square(distance_transform_edt(~inside, sampling=spacing) / reach))
    return np.asarray(DIMMEST + (1 - DIMMEST) * faded, np.float32)


def slice_grid(scans: Sequence[Scan], view: SliceView) -> sitk.Image:
    """Return the empty grid ``(size, size)`` on which `slice_2d` samples; of a volume it is one slice thick.

    It is what takes a pixel of the picture back to its place in the scan.
    """
    of_lesion, flat = view.focus == "lesion", scans[0].image.GetDimension() == 2
    wants_mask = of_lesion or (view.use_mask and not flat)
    mask = lesion_mask(scans) if wants_mask else None
    shown = scans[0].image if mask is None else mask
    if not flat:
        shown = axial_slice(shown, largest=wants_mask)
    frame = frame_of(shown, of_lesion=of_lesion)
    return plane_grid(frame, view, flat_axis=None if flat else 2)


def plane_grid(frame: Frame, view: SliceView, *, flat_axis: int | None) -> sitk.Image:
    """Return the grid of one picture centred in a frame, across axis `flat_axis` of a volume; None for pictures."""
    shown = [axis for axis in range(len(frame.centre)) if axis != flat_axis]
    sides, pixel_mm = frame.side_mm, float(frame.pixel_mm[shown].min())
    if view.focus == "lesion" and view.shape == "box":
        sides = np.array([crop_side(float(side), pixel_mm, view) for side in sides])
    else:
        sides = np.full(len(sides), crop_side(float(sides[shown].max()), pixel_mm, view))
    return grid_of(frame, side_mm=sides, size=view.size, flat_axis=flat_axis)


def volume_grid(scans: Sequence[Scan], view: VolumeView) -> sitk.Image:
    """Return the empty grid ``view.sides`` (layers last, as SimpleITK orders axes) on which `volume_3d` samples."""
    of_lesion = view.focus == "lesion"
    frame = frame_of(lesion_mask(scans) if of_lesion else scans[0].image, of_lesion=of_lesion)
    side_mm = view.extent_mm if of_lesion else None
    if side_mm is None:
        side_mm = crop_side(float(frame.side_mm.max()), float(frame.pixel_mm.min()), view)
    if view.depth is not None:
        frame = thick_axis_last(frame)
    return grid_of(frame, side_mm=side_mm, size=view.sides[::-1])


def lesion_mask(scans: Sequence[Scan]) -> sitk.Image:
    """Return the first mask that isn't empty."""
    for scan in scans:
        if scan.mask is not None and sitk.GetArrayViewFromImage(scan.mask).any():
            return scan.mask
    raise DataError(
        "this view needs a mask with at least one nonzero voxel, got none; give a mask for this case."
    )


def crop_side(side_mm: float, pixel_mm: float, view: SliceView | VolumeView) -> float:
    """Return the side of the crop: with the margin around a lesion, and never less than a few source pixels."""
    if view.focus == "whole":
        return side_mm
    return max(side_mm * (1 + 2 * view.margin), MIN_SIDE_PX * pixel_mm)


def _stack(layers: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
    """Return layers of one slice, whichever way it lies, as ``(n, size, size)``."""
    return np.stack([layer.reshape(size, size) for layer in layers])
