"""Made volumes of which one kind of model alone can tell the classes: what it takes is known from how they are made.

`handedness`: tripods of three arms lie in a ball, all of a case left-handed or all right-handed, each turned by
half turns about the axes. A plane shows two arms at most, which lie alike in both classes; features that average over
directions are the same of a case and its mirror image. Only what sees three dimensions at once can tell.

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
HALF_TURNS = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
"""Signs of the axes that turns by 180 degrees leave: mirror images are not among them."""
ARMS, THICKNESS = (4, 4, 4), 2
"""Voxels of a tripod's arms along x, y and z, and their breadth; no half turn makes its mirror image of it."""
NOISE = 0.05


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A scan and its mask ``(z, y, x)``, and the edges of their voxels in millimetres (x, y, z)."""

    image: Array
    mask: Array
    spacing_mm: tuple[float, float, float]


def handedness(rng: np.random.Generator, label: int) -> Volume:
    """Return a ball of tripods that are all left-handed (0) or all right-handed (1)."""
    side, n_tripods = 32, 12
    radius = rng.uniform(13.0, 14.5)
    middle = (side - 1) / 2 + rng.uniform(-1.0, 1.0, 3)
    ball = _distance((side,) * 3, middle) < radius
    inside = np.zeros(ball.shape)
    reach = max(ARMS) + THICKNESS
    for centre in _apart(rng, n_tripods, reach=radius - reach + 1, distance=reach - 1):
        _add_tripod(inside, np.rint(middle + centre).astype(int), _signs(rng, label))
    image = 0.1 * ball + inside
    return Volume(image=_measured(rng, image), mask=ball, spacing_mm=(1.0, 1.0, 1.0))


def _signs(rng: np.random.Generator, label: int) -> Array:
    """Return where the arms along z, y and x point: an even number of turned ones, or, mirrored, an odd one."""
    return HALF_TURNS[rng.integers(4)] * (1, 1, 1 if label else -1)


def _add_tripod(image: Array, centre: Array, signs: Array) -> None:
    """Draw three arms from a corner; `centre` and `signs` are along z, y and x."""
    for axis, length in zip((2, 1, 0), ARMS, strict=True):
        box = [slice(at, at + THICKNESS) for at in centre]
        away = (0, length) if signs[axis] > 0 else (-length, 0)
        box[axis] = slice(centre[axis] + away[0], centre[axis] + away[1] + THICKNESS)
        image[tuple(box)] = 1.0


def _apart(rng: np.random.Generator, n: int, *, reach: float, distance: float) -> list[Array]:
    """Return up to `n` points within `reach` of the origin, some axis of any two `distance` apart at least."""
    found: list[Array] = []
    for point in rng.uniform(-reach, reach, (1000, 3)):
        is_free = all(np.abs(point - other).max() >= distance for other in found)
        if np.linalg.norm(point) <= reach and is_free:
            found.append(point)
    return found[:n]


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


def write(path: Path, values: Array, spacing_mm: tuple[float, float, float]) -> None:
    """Write an array ``(z, y, x)``: a mask as bytes, a scan as 16-bit integers."""
    image = sitk.GetImageFromArray(values.astype(np.uint8 if values.dtype == bool else np.int16))
    image.SetSpacing(spacing_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
