"""IBSI-2's separable filters: mean, Laplacian of Gaussian, and Laws' kernels with their energy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoonco.errors import AutoOncoError
from autoonco.features.surroundings import Edge, with_room, without_room

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]
LAWS = {
    "L3": (1, 2, 1), "E3": (-1, 0, 1), "S3": (-1, 2, -1),
    "L5": (1, 4, 6, 4, 1), "E5": (-1, -2, 0, 2, 1), "S5": (-1, 0, 2, 0, -1),
    "W5": (-1, 2, 0, -2, 1), "R5": (1, -4, 6, -4, 1),
}  # fmt: skip
"""Laws' kernels for level, edge, spot, wave and ripple, before they are brought to unit length."""


def mean_filter(roi: Roi, *, support: int, edge: Edge = Edge.MIRROR) -> Floats:
    """Return the mean of the `support` voxels a side around each voxel of the lesion's box.

    Parameters
    ----------
    roi
        The lesion.
    support
        Side of the neighbourhood in voxels: an odd number.
    edge
        What lies beyond the image.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is in the neighbourhood.

    Raises
    ------
    AutoOncoError
        If `support` isn't odd and positive.
    """
    if support < 1 or support % 2 == 0:
        raise AutoOncoError(f"support of a mean filter must be an odd number from 1 on, got {support}.")
    kernel = np.full(support, 1.0 / support)
    return _separable(roi, [kernel] * roi.image.ndim, edge)


def laplacian_of_gaussian(
    roi: Roi, *, sigma_mm: float, cutoff_sigmas: float = 4.0, edge: Edge = Edge.MIRROR
) -> Floats:
    """Return IBSI-2's Laplacian of Gaussian within the lesion's box.

    The sampled kernel is -(2πσ²)^(-D/2) (D/σ² - r²/σ⁴) exp(-r²/(2σ²)), cut off at the voxel nearest to
    `cutoff_sigmas` σ along each axis. It differs from pyradiomics' recursive filter, and from the scale-normalised
    one by the missing σ². It is the sum over the axes of a second derivative along one and Gaussians along the
    others. Derivatives are in grey values per squared pixel of the last axis, for cubic voxels as IBSI has it.

    Parameters
    ----------
    roi
        The lesion.
    sigma_mm
        σ of the Gaussian.
    cutoff_sigmas
        Half the side of the kernel in σ.
    edge
        What lies beyond the image.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is under the kernel.

    Raises
    ------
    AutoOncoError
        If a number is not above 0.
    """
    for name, number in (("sigma_mm", sigma_mm), ("cutoff_sigmas", cutoff_sigmas)):
        if not 0 < number < math.inf:
            raise AutoOncoError(f"{name} of a Laplacian of Gaussian must be above 0, got {number:g}.")
    smooth, curved = [], []
    for side in roi.spacing_mm:
        sigma = sigma_mm / side
        at = np.arange(-math.floor(cutoff_sigmas * sigma + 0.5), math.floor(cutoff_sigmas * sigma + 0.5) + 1)
        gauss = np.exp(-(at**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
        smooth.append(gauss)
        curved.append(gauss * (at**2 / sigma**4 - 1 / sigma**2) * (roi.spacing_mm[-1] / side) ** 2)
    total = np.zeros(roi.lesion.shape)
    for axis in range(roi.image.ndim):
        total += _separable(roi, [*smooth[:axis], curved[axis], *smooth[axis + 1 :]], edge)
    return total


def laws(roi: Roi, kernels: str, *, edge: Edge = Edge.MIRROR, energy_px: int | None = None) -> Floats:
    """Return the response to one of Laws' kernels within the lesion's box (IBSI JTXT), or its energy.

    Parameters
    ----------
    roi
        The lesion.
    kernels
        One name of `LAWS` an axis, x first: ``"L5E5S5"`` smooths along x and finds edges along y and spots
        along z.
    edge
        What lies beyond the image.
    energy_px
        None for the response; else the mean magnitude of the responses within so many voxels along each axis.
        Beyond the image lies the response to what `edge` puts there.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is in reach.

    Raises
    ------
    AutoOncoError
        If `kernels` doesn't name one kernel an axis, or `energy_px` is negative.

    References
    ----------
    Laws KI. Proc SPIE 1980;238:376-381.
    """
    names = re.findall("..", kernels)
    if "".join(names) != kernels or len(names) != roi.image.ndim or not set(names) <= LAWS.keys():
        raise AutoOncoError(
            f"Laws' kernels must be {roi.image.ndim} of {', '.join(LAWS)}, one an axis, got {kernels!r}."
        )
    if energy_px is not None and energy_px < 0:
        raise AutoOncoError(f"energy_px of Laws' kernels must be 0 or more, got {energy_px}.")
    weights = [np.array(LAWS[name], dtype=np.float64) for name in reversed(names)]
    weights = [kernel / np.linalg.norm(kernel) for kernel in weights]
    if energy_px is None:
        return _separable(roi, weights, edge)
    margin = [energy_px] * roi.image.ndim
    response = np.abs(_separable(roi, weights, edge, margin))
    mean = np.full(2 * energy_px + 1, 1.0 / (2 * energy_px + 1))
    return without_room(_convolved(response, [mean] * roi.image.ndim), margin)


def _separable(
    roi: Roi, kernels: Sequence[Floats], edge: Edge, margin: Sequence[int] | None = None
) -> Floats:
    """Return the convolution with the product of `kernels`, one an axis, on the box and `margin` around it."""
    half = [len(kernel) // 2 for kernel in kernels]
    keep = margin if margin is not None else [0] * len(half)
    room = [pad + more for pad, more in zip(half, keep, strict=True)]
    return without_room(_convolved(with_room(roi, room, edge), kernels), half)


def _convolved(values: Floats, kernels: Sequence[Floats]) -> Floats:
    """Return the convolution along each axis; what is nearer to an end than half a kernel is for the caller to cut."""
    for axis, kernel in enumerate(kernels):
        values = ndimage.convolve1d(values, kernel, axis=axis, mode="nearest")
    return values
