"""Made volumes of which one kind of model alone can tell the classes: what it takes is known from how they are made.

`handedness`: in a ball lie two plates of bars, coarse ones in front and fine ones behind, which cross at 70 degrees, to
the left or to the right; where in the ball the bars lie is random. The classes are mirror images of one another. No
picture that a network of slices is shown says which is which, nor do several, pooled or side by side:

- an axial slice shows in both classes waves along x whose phase is random, and so does a bag of slices spread evenly
  over the lesion: what moves to the right from slice to slice in one class moves to the left in the other, and a bag
  has no order (the lesion's box has its middle where the ball has it, so a slice's size tells none);
- the largest slice and its neighbours as channels: the mask has a brim below the ball, which is the largest and holds
  nothing, so of three equally spaced slices around it one at most lies in the ball;
- the three planes through the middle: the coronal one lies between the plates, the axial one in a gap, and of bars that
  the sagittal one cuts it shows the phase.

Features that average over directions are the same of a case and its mirror image. What sees three dimensions at once
sees the coarse bars slant one way or the other, as long as it is not taught on mirror images (flips off).

`stripes`: fine stripes within each slice run along one diagonal or the other. Features that average over directions
can't tell, and cubes of the usual resolution do not show stripes so fine: a network that sees slices can.

`outline`: a mask in noise that has nothing to do with it, long or flat, turned at random. Only the outline tells.

With `shuffled` labels nothing can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[Any]
CLASSES = ("left", "right")
COARSE_MM, FINE_MM = 10.0, 6.0
"""From bar to bar, in front and behind."""
SLANT = np.deg2rad(35.0)
"""Of the coarse bars against the axis of the patient; the fine ones lean as far to the other side."""
APART_MM, GAP_MM = 3.0, 2.0
"""Half of what is empty between the plates, and above and below the middle of the lesion's box."""
BRIM_MM, OVERHANG_MM, KNOB_MM = 3.0, 2.0, 4.0
"""Height of the brim below the ball and of the knob above it, how far the one reaches beyond the ball's radius, and the
radius of the other."""
NOISE = 0.05


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A scan and its mask ``(z, y, x)``, and the edges of their voxels in millimetres (x, y, z)."""

    image: Array
    mask: Array
    spacing_mm: tuple[float, float, float]


def handedness(rng: np.random.Generator, label: int) -> Volume:
    """Return a ball of two plates of bars that cross to the left (0) or to the right (1)."""
    side = 40
    radius = rng.uniform(13.5, 15.0)
    places = np.moveaxis(np.indices((side,) * 3), 0, -1) - (side - 1) / 2 - rng.uniform(-1.0, 1.0, 3)
    z, y, x = np.moveaxis(places, -1, 0)
    ball = np.linalg.norm(places, axis=-1) < radius
    beside, aside = np.hypot(y, x), (np.abs(z) >= radius) & (np.abs(z) < radius + BRIM_MM)
    mask = ball | (aside & (beside < np.where(z < 0, radius + OVERHANG_MM, KNOB_MM)))
    slant = SLANT if label else -SLANT
    front = (y < -APART_MM) & _bars(rng, x, z, apart_mm=COARSE_MM, slant=slant)
    behind = (y > APART_MM) & _bars(rng, x, z, apart_mm=FINE_MM, slant=-slant)
    image = 0.1 * mask + ((front | behind) & ball & (np.abs(z) > GAP_MM))
    return Volume(image=_measured(rng, image), mask=mask, spacing_mm=(1.0, 1.0, 1.0))


def _bars(rng: np.random.Generator, x: Array, z: Array, *, apart_mm: float, slant: float) -> Array:
    """Return where bars are that lean by `slant` and are as broad as what is between them, at a random place."""
    across = x * np.cos(slant) + z * np.sin(slant)
    return np.asarray(np.cos(2 * np.pi * across / apart_mm + rng.uniform(0, 2 * np.pi)) > 0)


def stripes(rng: np.random.Generator, label: int) -> Volume:
    """Return an ellipsoid whose slices have fine stripes along one diagonal (0) or the other (1)."""
    shape, spacing, period = (12, 96, 96), (0.4, 0.4, 3.0), 3.0
    centre = (*rng.uniform(-0.3, 0.3, 1), *rng.uniform(-4, 4, 2))
    distance = _distance(shape, (np.array(shape) - 1) / 2 + centre, scale=(3.0, 0.4, 0.4))
    ball = distance < rng.uniform(8.5, 11.5)
    y, x = np.indices(shape[1:])
    along = x + y if label else x - y
    phases = rng.uniform(0, 2 * np.pi, shape[0])
    waves = np.sin(2 * np.pi * along / (period * np.sqrt(2)) + phases[:, None, None])
    image = ball * (0.6 + 0.25 * waves)
    return Volume(image=_measured(rng, image, blur=0.0), mask=ball, spacing_mm=spacing)


def outline(rng: np.random.Generator, label: int) -> Volume:
    """Return noise and the mask of a flat (0) or long (1) ellipsoid, which has left no trace in it."""
    shape = (44, 44, 44)
    stretch = rng.normal(0.12 if label else -0.12, 0.09)
    axes = rng.uniform(9.0, 12.0) * np.exp(stretch * np.array([2.0, -1.0, -1.0]))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    offset = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    mask = (np.square((offset @ turn) / axes).sum(axis=-1)) < 1
    return Volume(image=_measured(rng, np.full(shape, 0.5)), mask=mask, spacing_mm=(1.0, 1.0, 1.0))


TASKS: Mapping[str, Callable[[np.random.Generator, int], Volume]] = {
    "handedness": handedness,
    "stripes": stripes,
    "outline": outline,
}
WINNERS: Mapping[str, tuple[str, ...]] = {
    "handedness": ("volumetric3d",),
    "stripes": ("pretrained2d", "scratch2d"),
    "outline": ("radiomics",),
}
"""Families that should win each task."""


def _distance(shape: tuple[int, ...], middle: Any, scale: Any = (1.0, 1.0, 1.0)) -> Array:
    """Return the distance of each voxel's centre from `middle`, in units of `scale` a voxel."""
    away = (np.moveaxis(np.indices(shape), 0, -1) - middle) * np.asarray(scale)
    return np.asarray(np.linalg.norm(away, axis=-1))


def _measured(rng: np.random.Generator, image: Array, *, blur: float = 0.5) -> Array:
    """Return the image as a scanner gives it, in whole numbers: blurred, noisy, of a gain of its own."""
    seen = gaussian_filter(image, blur) if blur else image
    gain = np.exp(rng.normal(0, 0.1))
    return np.asarray(np.rint(1000 * gain * (0.5 + seen + rng.normal(0, NOISE, image.shape))))


def mirrored(volume: Volume) -> Volume:
    """Return the mirror image, left for right."""
    return Volume(
        image=volume.image[..., ::-1].copy(), mask=volume.mask[..., ::-1].copy(), spacing_mm=volume.spacing_mm
    )


def make_task(
    task: str, folder: Path, *, n_train: int, n_test: int, seed: int = 0, shuffled: bool = False
) -> Path:
    """Write the volumes of a task as NIfTI, half of each class, and return their manifest.

    Columns: case, patient, image, mask, label, split. `shuffled` gives labels that have nothing to do with the volumes.
    """
    rows = []
    for number in range(n_train + n_test):
        rng = np.random.default_rng([seed, number])
        label = number % 2
        volume = TASKS[task](rng, int(rng.integers(2)) if shuffled else label)
        files = {kind: f"{kind}s/{number:04d}.nii.gz" for kind in ("image", "mask")}
        for kind, values in (("image", volume.image), ("mask", volume.mask)):
            write(folder / files[kind], values, volume.spacing_mm)
        split = "train" if number < n_train else "test"
        rows.append(
            {"case": f"c{number}", "patient": f"p{number}", **files, "label": CLASSES[label], "split": split}
        )
    manifest = folder / "manifest.csv"
    pd.DataFrame(rows).to_csv(manifest, index=False)
    return manifest


def as_image(values: Array, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """Return an array ``(z, y, x)`` as an image: a mask of bytes, a scan of 16-bit integers."""
    image = sitk.GetImageFromArray(values.astype(np.uint8 if values.dtype == bool else np.int16))
    image.SetSpacing(spacing_mm)
    return image


def write(path: Path, values: Array, spacing_mm: tuple[float, float, float]) -> None:
    """Write an array ``(z, y, x)`` to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(as_image(values, spacing_mm), str(path), useCompression=True)
