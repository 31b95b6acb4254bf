"""Gabor filter: how strong stripes of one width are, whatever their direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from autoonco.errors import AutoOncoError
from autoonco.features.surroundings import Edge, with_room

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]
REACH_SIGMAS = 6.0
"""Half the kernel: the Gaussian is 1.5e-8 there, below what a grey value of 1000 HU would let through."""
N_ANGLES = 8
"""Rotations by 22.5°; IBSI-2's filter test 4 takes steps of 45° and 22.5°."""


def wavelength_of(sigma_mm: float, *, bandwidth_octaves: float = 1.0) -> float:
    """Return the wavelength in mm at which a Gabor filter of width `sigma_mm` passes a band so wide.

    The response falls to half at frequencies 1/λ ± √(2 ln 2) / (2πσ); their ratio is 2 to the power of b:
    λ = πσ √(2 / ln 2) (2ᵇ - 1) / (2ᵇ + 1).

    Raises
    ------
    AutoOncoError
        If a number is not above 0.

    References
    ----------
    Petkov N. Biol Cybern 1997;76(2):83-96; IBSI-2 manual, Gabor filters.

    Examples
    --------
    >>> round(1 / wavelength_of(1.0), 2)  # σ is 0.56 λ at one octave
    0.56
    """
    _check(sigma_mm=sigma_mm, bandwidth_octaves=bandwidth_octaves)
    ratio = math.exp2(bandwidth_octaves)
    return math.pi * sigma_mm * math.sqrt(2 / math.log(2)) * (ratio - 1) / (ratio + 1)


def gabor(
    roi: Roi, *, wavelength_mm: float, sigma_mm: float, gamma: float = 1.0, n_angles: int = N_ANGLES
) -> Floats:
    """Return the magnitude of the Gabor response within the lesion's box, averaged over directions (IBSI Q88H).

    The kernel is exp(-(u² + γ²v²) / (2σ²) + 2πi u/λ), with u and v in mm, turned by kπ/n for k from 0 to n - 1:
    by the other half turn the magnitudes are the same. It is not normalised, as IBSI wants it, and goes over
    each slice alone. Beyond the image lies its mirror image.

    Parameters
    ----------
    roi
        The lesion, in 3D taken slice by slice along the first axis.
    wavelength_mm
        λ: width of a bright and a dark stripe together.
    sigma_mm
        σ: standard deviation across the stripes; see `wavelength_of`.
    gamma
        γ: σ over the standard deviation along the stripes; 1 for a round window.
    n_angles
        Number of directions.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is within six σ (six σ/γ, if that is more) in both axes.

    Raises
    ------
    AutoOncoError
        If a number is not above 0.
    """
    _check(wavelength_mm=wavelength_mm, sigma_mm=sigma_mm, gamma=gamma, n_angles=n_angles)
    reach_mm = REACH_SIGMAS * sigma_mm / min(gamma, 1.0)
    room = [math.ceil(reach_mm / side) for side in roi.spacing_mm[-2:]]
    values = with_room(roi, [0] * (roi.image.ndim - 2) + room, Edge.MIRROR)
    slices = values.reshape(-1, *values.shape[-2:])
    kernels = [
        gabor_kernel(
            room,
            roi.spacing_mm[-2:],
            wavelength_mm=wavelength_mm,
            sigma_mm=sigma_mm,
            gamma=gamma,
            angle=np.pi * step / n_angles,
        )
        for step in range(n_angles)
    ]
    return _mean_magnitude(slices, kernels).reshape(roi.lesion.shape)


def gabor_kernel(
    half: list[int],
    spacing_mm: tuple[float, ...],
    *,
    wavelength_mm: float,
    sigma_mm: float,
    gamma: float,
    angle: float,
) -> NDArray[np.complex128]:
    """Return the Gabor kernel of one direction, (2 half + 1) pixels a side, `angle` in radians from the last axis.

    Examples
    --------
    >>> kernel = gabor_kernel([1, 1], (1.0, 1.0), wavelength_mm=4.0, sigma_mm=1.0, gamma=1.0, angle=0.0)
    >>> np.round(kernel[1], 4).tolist()
    [-0.6065j, (1+0j), 0.6065j]
    """
    y, x = (np.arange(-pixels, pixels + 1) * side for pixels, side in zip(half, spacing_mm, strict=True))
    across = x[None, :] * np.cos(angle) + y[:, None] * np.sin(angle)
    along = y[:, None] * np.cos(angle) - x[None, :] * np.sin(angle)
    window = np.exp(-(across**2 + (gamma * along) ** 2) / (2 * sigma_mm**2))
    return np.asarray(window * np.exp(2j * np.pi * across / wavelength_mm), dtype=np.complex128)


def _mean_magnitude(slices: Floats, kernels: list[NDArray[np.complex128]]) -> Floats:
    """Return the mean over `kernels` of the magnitudes of each slice's valid convolution.

    By Fourier transform, where a product is a convolution on a torus: of the torus' side only what is at
    least a kernel away from its seam is kept, so that no padding beyond the slice itself is needed.
    """
    side, size = kernels[0].shape, slices.shape[-2:]
    torus = [fft.next_fast_len(length) for length in size]
    valid = tuple(slice(width - 1, length) for width, length in zip(side, size, strict=True))
    spectra = [fft.fft2(kernel, torus) for kernel in kernels]
    found = []
    for values in slices:
        is_gap = ~np.isfinite(values)
        # The level of the slice is taken off and its response given back: it would cost the digits of small ones.
        level = 0.0 if is_gap.all() else float(values[~is_gap].mean())
        spectrum = fft.fft2(np.where(is_gap, 0.0, values - level), torus)
        total = np.zeros([length - width + 1 for width, length in zip(side, size, strict=True)])
        for kernel, own in zip(kernels, spectra, strict=True):
            total += np.abs(fft.ifft2(spectrum * own)[valid] + level * kernel.sum())
        if is_gap.any():
            total[ndimage.maximum_filter(is_gap, size=side)[_middle(side, size)]] = np.nan
        found.append(total / len(kernels))
    return np.stack(found)


def _middle(side: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(width // 2, length - width // 2) for width, length in zip(side, size, strict=True))


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise AutoOncoError(f"{name} of a Gabor filter must be above 0, got {number:g}.")
