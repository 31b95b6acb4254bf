"""The pictures that a 2D network sees of a case: slices or planes of a volume, its sequences, their grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.grids import Frame, frame_of
from autoonco.data.preprocessing import SliceView, lesion_mask, picture_on, plane_grid, slice_grid
from autoonco.data.readers import Scan

MAX_SLICES = 16
"""Of ``slices="all"``: at four millimetres a slice it is a lesion of 64, and as many forward passes a case."""
MIN_SLICES = 4
TRAINED_PICTURES = 4
"""Pictures of a bag that a training step sees, drawn anew each time: the memory of sixteen would be gigabytes, and a
network that never sees all slices at once learns not to lean on one."""


def slices_of(fingerprint: Fingerprint) -> int:
    """Return how many pictures show all slices of a usual case: those of the lesion, or of the volume without masks.

    One number for all cases, from the medians: the pictures are spread evenly, so that longer lesions are seen at
    larger steps and no case brings more pictures than another.
    """
    n = fingerprint.shape[2]
    if fingerprint.has_mask and fingerprint.lesion_mm is not None:
        n = round(fingerprint.lesion_mm[2] / fingerprint.spacing_mm[2])
    return int(np.clip(n, MIN_SLICES, MAX_SLICES))


def pictures(scans: Sequence[Scan], units: Sequence[Intensity], view: SliceView) -> NDArray[np.float32]:
    """Return the pictures ``(n_pictures, n_channels, size, size)`` of a case in 0..1.

    With ``sequences="late"`` all positions of the first sequence come first, then those of the second.

    Raises
    ------
    DataError
        If the view needs a lesion and no scan has a mask with a nonzero voxel.
    """
    grids = picture_grids(scans, view)
    if view.sequences == "channels" or len(scans) == 1:
        return np.stack([picture_on(place, scans, units, view) for place in grids])
    masks = [scan.mask for scan in scans]
    shared = lesion_mask(scans) if any(mask is not None for mask in masks) and _shows_mask(view) else None
    alone = [
        Scan(image=scan.image, mask=shared) for scan in scans
    ]  # one lesion, whichever sequence it was drawn on
    return np.stack(
        [
            picture_on(place, [scan], [unit], view)
            for scan, unit in zip(alone, units, strict=True)
            for place in grids
        ]
    )


def _shows_mask(view: SliceView) -> bool:
    return view.mask_channel or view.background == "blank"


def picture_grids(scans: Sequence[Scan], view: SliceView) -> list[list[sitk.Image]]:
    """Return, for each position, the empty grid that its picture is sampled on; of ``"adjacent"`` slices three.

    They are what takes a pixel back to its place in the scan. Grids are laid out in millimetres on the axes of the
    patient, so that neither the orientation of the file nor a sequence's own grid matters.
    """
    if scans[0].image.GetDimension() == 2 or view.slices == "largest":
        return [[slice_grid(scans, view)]]
    if view.slices == "adjacent":
        middle, step_mm = slice_grid(scans, view), _step_mm(scans, view)
        return [[_moved(middle, offset) for offset in (-step_mm, 0.0, step_mm)]]
    shown, through = _frames(scans, view)
    if view.slices == "planes":
        return [[_across(shown, through, view, axis=axis, share=0.0)] for axis in (2, 1, 0)]
    shares = (np.arange(view.n_slices) + 0.5) / view.n_slices - 0.5
    return [[_across(shown, through, view, axis=2, share=float(share))] for share in shares]


def _frames(scans: Sequence[Scan], view: SliceView) -> tuple[Frame, Frame]:
    """Return the box that is shown in each plane, and the one that the planes go through."""
    mask = lesion_mask(scans) if view.focus == "lesion" or view.use_mask else None
    if mask is None:
        whole = frame_of(scans[0].image, of_lesion=False)
        return whole, whole
    lesion = frame_of(mask, of_lesion=True)
    return (lesion if view.focus == "lesion" else frame_of(mask, of_lesion=False)), lesion


def _across(shown: Frame, through: Frame, view: SliceView, *, axis: int, share: float) -> sitk.Image:
    """Return the grid across `axis`, `share` of the box's length (-0.5..0.5) from the middle of `through`."""
    along: NDArray[Any] = shown.axes[:, axis]
    offset = along @ (through.centre - shown.centre) + share * through.side_mm[axis]
    return plane_grid(replace(shown, centre=shown.centre + offset * along), view, flat_axis=axis)


def _step_mm(scans: Sequence[Scan], view: SliceView) -> float:
    _, through = _frames(scans, view)
    return max(float(through.pixel_mm[2]), view.gap * float(through.side_mm[2]))


def _moved(grid: sitk.Image, offset_mm: float) -> sitk.Image:
    """Return a copy of a slice's grid, moved along its normal."""
    copy = sitk.Image(grid)
    normal = np.asarray(grid.GetDirection()).reshape(3, 3)[:, 2]
    copy.SetOrigin((np.asarray(grid.GetOrigin()) + offset_mm * normal).tolist())
    return copy
