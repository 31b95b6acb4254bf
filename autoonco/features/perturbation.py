"""Masks as another reader might have drawn them: moved, turned, or with another contour; without any label."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MAX_SHIFT = 0.1
"""Of the lesion's radius: how far it is moved, where that is no less than three quarters of a pixel."""
MAX_ANGLE_DEG = 15.0
CONTOUR_ROUGHNESS = 0.15
"""Standard deviation of the contour's displacement, as a share of the lesion's radius."""


class Perturbing(StrEnum):
    """How a mask is perturbed."""

    TRANSLATION = "translation"
    ROTATION = "rotation"
    CONTOUR = "contour"


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """One perturbation of every case's mask; `seed` tells those of a kind apart."""

    kind: Perturbing
    seed: int = 0

    @property
    def key(self) -> str:
        """What it is called in the key of an artefact."""
        return f"{self.kind}-{self.seed}"


PERTURBATIONS = (
    Perturbation(kind=Perturbing.TRANSLATION),
    Perturbation(kind=Perturbing.ROTATION),
    Perturbation(kind=Perturbing.CONTOUR),
)
"""What the robustness filter sees beside the mask as it is."""


def perturb(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], kind: Perturbing, seed: int
) -> NDArray[np.bool_]:
    """Return the perturbed mask: the same for the same mask and seed; the mask itself where nothing would be left.

    Parameters
    ----------
    mask
        True inside the lesion, (z, y, x) or (y, x).
    spacing_mm
        Voxel sides in the order of the axes.
    kind
        Moved in a random direction in the plane by a tenth of its radius, but three quarters of a pixel at least;
        turned in the plane by up to `MAX_ANGLE_DEG`; or its signed distances changed by a smooth random field.
    seed
        Seed of direction, angle or field, together with the mask itself.

    References
    ----------
    Zwanenburg et al., Scientific Reports 2019 (robustness by perturbation; contours there by supervoxels).
    """
    rng = np.random.default_rng([seed, zlib.crc32(np.packbits(mask).tobytes())])
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    radius = radius_mm(mask, spacing)
    if kind is Perturbing.CONTOUR:
        found = _recontoured(mask, spacing, radius, rng)
    else:
        found = _moved(mask, spacing, radius, rng, is_turned=kind is Perturbing.ROTATION)
    return found if found.any() else mask.copy()


def radius_mm(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> float:
    """Return the radius of the disc or ball of the lesion's size."""
    size = float(mask.sum() * spacing.prod())
    return float(np.sqrt(size / np.pi)) if mask.ndim == 2 else float(np.cbrt(size * 0.75 / np.pi))


def _moved(
    mask: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
    *,
    is_turned: bool,
) -> NDArray[np.bool_]:
    """Return the mask turned about its centre in the plane, or moved."""
    ndim = mask.ndim
    turn, shift = np.eye(ndim), np.zeros(ndim)
    centre = np.argwhere(mask).mean(axis=0)
    if is_turned:
        angle = np.deg2rad(rng.uniform(0.3, 1) * MAX_ANGLE_DEG) * rng.choice([-1, 1])
        turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    else:
        direction = rng.normal(size=ndim)
        # A slice is no distance by which readers differ: lesions move in the plane.
        direction[:-2] = 0
        length = max(MAX_SHIFT * radius, 0.75 * float(spacing[-2:].max()))
        shift = direction / np.linalg.norm(direction) * length / spacing
    # Turns are of millimetres: voxels to millimetres, turned, and back.
    matrix = np.diag(1 / spacing) @ turn @ np.diag(spacing)
    offset = centre - matrix @ (centre + shift)
    moved = ndimage.affine_transform(mask.astype(np.float32), matrix, offset, order=1)
    return np.asarray(moved >= 0.5)


def _recontoured(
    mask: NDArray[np.bool_], spacing: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return where the signed distance plus a smooth field is above 0, within the lesion's surroundings."""
    margin = np.ceil(radius / spacing).astype(int) + 2
    inside = np.argwhere(mask)
    low = np.maximum(inside.min(axis=0) - margin, 0)
    high = np.minimum(inside.max(axis=0) + margin + 1, mask.shape)
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    near = np.pad(mask[box], 1)
    distance = ndimage.distance_transform_edt(near, sampling=spacing) - ndimage.distance_transform_edt(
        ~near, sampling=spacing
    )
    field = ndimage.gaussian_filter(rng.normal(size=near.shape), 0.5 * radius / spacing, mode="wrap")
    spread = float(field.std()) or 1.0
    amplitude = max(CONTOUR_ROUGHNESS * radius, 0.5 * float(spacing.min()))
    drawn = distance + amplitude * field / spread > 0
    found = np.zeros_like(mask)
    found[box] = drawn[(slice(1, -1),) * mask.ndim]
    return found
