"""Where the slices of a DICOM series lie: their order, what is missing or there twice, and the grid they make.

Positions and directions are of the patient (LPS, millimetres), as DICOM states them (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.errors import ImageReadError

Floats = NDArray[np.float64]

_SAME_MM = 1e-2  # positions this close are one: headers hold six decimals
_NOISE = 0.1  # share of a slice or pixel by which positions may miss an even grid
_GAP = 1.5  # a step this much longer than the usual one has lost a slice
_TURN = 1e-3  # difference of direction cosines that is noise of a header


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One slice: where its first pixel's centre is, the directions of its rows and columns, and its pixels.

    `rows_to` is the direction in which the column index grows, `columns_to` that of the row index; `spacing_mm` is
    (between rows, between columns), as in PixelSpacing.
    """

    position: tuple[float, ...]
    rows_to: tuple[float, ...]
    columns_to: tuple[float, ...]
    spacing_mm: tuple[float, float]
    size: tuple[int, int]

    @property
    def normal(self) -> Floats:
        """Unit vector across the slice."""
        return np.cross(self.rows_to, self.columns_to)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An ordered stack of slices.

    Attributes
    ----------
    groups
        Positions in the list of planes of what lies at each place, from low to high along the normal; several where a
        place is there more than once.
    heights_mm
        Place of each group along the normal, from the first ``(n,)``.
    drift_mm
        How far each slice is shifted in its own plane against the first, along rows and columns ``(n, 2)``: a tilted
        gantry.
    first
        The lowest plane.
    """

    groups: tuple[tuple[int, ...], ...]
    heights_mm: Floats
    drift_mm: Floats
    first: Plane


def lay_out(planes: Sequence[Plane]) -> Layout:
    """Return the order of slices and their places.

    Raises
    ------
    ImageReadError
        If they differ in size, spacing or direction, or if a slice is missing between them.
    """
    one = planes[0]
    for name, differs in (
        ("sizes", any(plane.size != one.size for plane in planes)),
        ("pixel spacings", _differ([plane.spacing_mm for plane in planes], _SAME_MM)),
        ("directions", _differ([(*plane.rows_to, *plane.columns_to) for plane in planes], _TURN)),
    ):
        if differs:
            raise ImageReadError(
                f"The slices of the series have different {name}: it is a localiser or holds several volumes; name "
                "another series, or export them as series of their own."
            )
    heights = np.array([plane.normal @ np.asarray(plane.position) for plane in planes])
    order = np.argsort(heights, kind="stable")
    groups: list[list[int]] = []
    for index in order.tolist():
        if groups and heights[index] - heights[groups[-1][0]] <= _SAME_MM:
            groups[-1].append(index)
        else:
            groups.append([index])
    lowest = [group[0] for group in groups]
    places = heights[lowest] - heights[lowest[0]]
    _refuse_gaps(places)
    first = planes[lowest[0]]
    moved = np.array([np.subtract(planes[index].position, first.position) for index in lowest])
    drift = np.stack([moved @ np.asarray(first.rows_to), moved @ np.asarray(first.columns_to)], axis=1)
    return Layout(groups=tuple(map(tuple, groups)), heights_mm=places, drift_mm=drift, first=first)


def _differ(rows: Sequence[Sequence[float]], tolerance: float) -> bool:
    values = np.asarray(rows)
    return bool(np.ptp(values, axis=0).max() > tolerance)


def _refuse_gaps(places: Floats) -> None:
    steps = np.diff(places)
    if len(steps) < 2:
        return
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps >= _GAP * usual)
    if len(wide):
        missing = int(np.rint(steps[wide] / usual).sum()) - len(wide)
        raise ImageReadError(
            f"The series has gaps: {steps[wide[0]]:.2f} mm after slice {wide[0] + 1} of {len(places)}, expected "
            f"{usual:.2f} mm (about {missing} slices are missing): export it again, or split it where the spacing "
            "changes."
        )


def image_of(values: NDArray[np.float32], layout: Layout, thickness_mm: float) -> sitk.Image:
    """Return the volume of `values` ``(n_slices, rows, columns)`` on a rectangular, even grid.

    Slices of a tilted gantry are shifted in their planes, and unevenly spaced ones are interpolated linearly; what
    lies outside of the scan then is its lowest value. `thickness_mm` is the spacing of a single slice.
    """
    first, places = layout.first, layout.heights_mm
    spacing = np.asarray(first.spacing_mm[::-1])
    if np.abs(layout.drift_mm).max(initial=0.0) > _NOISE * spacing.min():
        values = _straightened(values, layout.drift_mm / spacing)
    step = float(places[-1] / (len(places) - 1)) if len(places) > 1 else thickness_mm
    if np.abs(places - step * np.arange(len(places))).max() > _NOISE * step:
        step = float(np.median(np.diff(places)))
        values = _evened(values, places, step)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.SetSpacing([*spacing.tolist(), step])
    image.SetDirection(np.stack([first.rows_to, first.columns_to, first.normal], axis=1).ravel().tolist())
    image.SetOrigin([float(value) for value in first.position])
    return image


def _straightened(values: NDArray[np.float32], shifts: Floats) -> NDArray[np.float32]:
    """Return slices moved by `shifts` ``(n_slices, 2)`` pixels along (column, row) index, onto the first one's grid."""
    lowest = float(values.min())
    moved = np.empty_like(values)
    for index, (x, y) in enumerate(shifts):
        layer = sitk.GetImageFromArray(values[index])
        # Resample looks up, for a place on the first slice's grid, the place on this one's: that lies by the shift
        # back.
        back = sitk.TranslationTransform(2, [-float(x), -float(y)])
        found = sitk.Resample(layer, layer, back, sitk.sitkLinear, lowest, sitk.sitkFloat32)
        moved[index] = sitk.GetArrayViewFromImage(found)
    return moved


def _evened(values: NDArray[np.float32], places: Floats, step: float) -> NDArray[np.float32]:
    """Return slices at 0, step, 2 step, ... up to the last place, each between its two neighbours."""
    wanted = np.arange(int(places[-1] / step + _NOISE) + 1) * step
    above = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    below = above - 1
    share = np.clip((wanted - places[below]) / (places[above] - places[below]), 0, 1).astype(np.float32)
    evened = np.empty((len(wanted), *values.shape[1:]), np.float32)
    for index in range(len(wanted)):
        evened[index] = (1 - share[index]) * values[below[index]] + share[index] * values[above[index]]
    return evened
