"""Laplacian of Gaussian by recursive filters, as ITK has it, computed for a lesion's box alone.

A recursive Gaussian runs along each line forth and back, with four values of memory each way, whatever σ. The crop
around the box is as wide as the filter remembers; a line that no value of the box depends on is left out after
the axis that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.features.compiled import compiled

Floats = NDArray[np.float64]
Box = tuple[slice, ...]
# Deriche's fit of a Gaussian, h(x) = Σ (a cos(w x/σ) + b sin(w x/σ)) exp(l x/σ), and of its second derivative.
_W, _L = (0.6681, 2.0787), (-1.3932, -1.3732)
_SMOOTH = ((1.3530, -0.3531), (1.8151, 0.0902))
_CURVED = ((-1.3563, 0.3446), (5.2318, -2.2355))


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """Coefficients of y[k] = Σ n[i] x[k - i] - Σ d[i] y[k - i] forth, and of the same from the other end back.

    Parameters
    ----------
    forth, back
        n of both ways, shape (5,); n back is 0 for the voxel itself, which counts once.
    memory
        d[1] to d[4].
    """

    forth: Floats
    back: Floats
    memory: Floats


@lru_cache(maxsize=64)
def recursion(sigma_px: float, *, curved: bool) -> Recursion:
    """Return the recursion of a Gaussian of `sigma_px` pixels, or of its second derivative times σ².

    Of a constant, the one gives the constant and the other 0; of x²/2, the other gives σ², exactly.

    References
    ----------
    Deriche R. INRIA research report 1893, 1993; Farnebäck G, Westin C-F. Improving Deriche-style recursive Gaussian
    filters. J Math Imaging Vis 2006;26:293.

    Examples
    --------
    >>> found = recursion(2.0, curved=False)
    >>> round(float((found.forth.sum() + found.back.sum()) / (1 + found.memory.sum())), 12)
    1.0
    """
    poles = [
        np.exp(complex(low, way * w) / sigma_px) for low, w in zip(_L, _W, strict=True) for way in (1, -1)
    ]
    below = np.asarray(np.poly(poles).real, dtype=np.float64)  # 1, d1, ..., d4
    above = _numerator(_SMOOTH, sigma_px)
    if curved:
        above = _curvature(above, _numerator(_CURVED, sigma_px), below) * sigma_px**2
    else:
        above = above / (2 * above.sum() / below.sum() - above[0])
    above = np.append(above, 0.0)
    # What goes back is the mirror image less the voxel itself, which went forth.
    return Recursion(forth=above, back=above - below * above[0], memory=below[1:])


def _numerator(terms: tuple[tuple[float, float], tuple[float, float]], sigma_px: float) -> Floats:
    """Return n: the sum of both damped waves over their common denominator."""
    waves = []
    for a, b, w, low in zip(*terms, _W, _L, strict=True):
        turn, fall = w / sigma_px, math.exp(low / sigma_px)
        wave = np.array([a, fall * (b * math.sin(turn) - a * math.cos(turn))])
        waves.append((wave, np.array([1.0, -2 * fall * math.cos(turn), fall**2])))
    (first, first_below), (second, second_below) = waves
    return np.asarray(np.convolve(first, second_below) + np.convolve(second, first_below))


def _curvature(smooth: Floats, curved: Floats, below: Floats) -> Floats:
    """Return n of the second derivative: so much of the Gaussian added that a constant gives 0, scaled by x²/2."""
    level = [2 * part.sum() - below.sum() * part[0] for part in (smooth, curved)]
    n = curved - level[1] / level[0] * smooth
    k = np.arange(5.0)
    s, s1, s2 = below.sum(), k @ below, k**2 @ below
    n0, n1, n2 = n.sum(), k[:4] @ n, k[:4] ** 2 @ n
    return np.asarray(n * s**3 / (n2 * s**2 - s2 * n0 * s - 2 * n1 * s1 * s + 2 * s1**2 * n0))


def laplacian(crop: NDArray[Any], inner: Box, spacing_mm: Sequence[float], sigma_mm: float) -> NDArray[Any]:
    """Return the scale-normalised Laplacian of Gaussian of `crop` within the box `inner` of it.

    Each second derivative is followed by the smoothing along the other axes, x before y before z, and what is between
    is kept in the crop's precision: the values are those of ITK's filter, to the last bit but a few. Beyond the crop
    its border is repeated.

    Parameters
    ----------
    crop
        Grey values, float32 or float64.
    inner
        Which part of the crop is wanted.
    spacing_mm
        Voxel sides in the order of the axes.
    sigma_mm
        σ of the Gaussian.

    Returns
    -------
    NDArray
        Of the shape of `inner`, in the precision of `crop`.
    """
    last_to_first = range(crop.ndim - 1, -1, -1)
    total = np.zeros([part.stop - part.start for part in inner], dtype=crop.dtype)
    for axis in last_to_first:
        side = spacing_mm[axis]
        curve = recursion(sigma_mm / side, curved=True)
        # By the square of millimetres and back again, for ITK rounds in between.
        found = _along(crop, axis, inner[axis], curve, scale=side**2)
        for other in last_to_first:
            if other != axis:
                smooth = recursion(sigma_mm / spacing_mm[other], curved=False)
                found = _along(found, other, inner[other], smooth)
        total = (total + found.astype(np.float64) * (1 / side**2)).astype(crop.dtype)
    return total


def _along(
    values: NDArray[Any], axis: int, wanted: slice, how: Recursion, *, scale: float = 1.0
) -> NDArray[Any]:
    """Return `values` filtered along an axis, of which the `wanted` part is kept."""
    before, length, after = (
        math.prod(values.shape[:axis]),
        values.shape[axis],
        math.prod(values.shape[axis + 1 :]),
    )
    found = np.empty((before, wanted.stop - wanted.start, after), dtype=values.dtype)
    lines = np.ascontiguousarray(values).reshape(before, length, after)
    _filter(lines, found, wanted.start, how.forth * scale, how.back * scale, how.memory)
    return found.reshape(*values.shape[:axis], -1, *values.shape[axis + 1 :])


@compiled
def _filter(values: Any, found: Any, start: int, n: Floats, m: Floats, d: Floats) -> None:
    """Filter `values` (before, length, after) along its middle, both ways; `found` begins at `start` of it.

    Beyond its ends a line is taken to have had its first and its last value for ever. Sixty-four lines at a time are
    filtered side by side, in memory that stays in the processor's cache.
    """
    before, length, after = values.shape
    kept = found.shape[1]
    x, y, back = np.zeros((length + 8, 64)), np.zeros((length + 4, 64)), np.zeros((length + 4, 64))
    forth_level, back_level = n.sum() / (1 + d.sum()), m.sum() / (1 + d.sum())
    n0, n1, n2, n3, m1, m2, m3, m4 = n[0], n[1], n[2], n[3], m[1], m[2], m[3], m[4]
    d1, d2, d3, d4 = d[0], d[1], d[2], d[3]
    last, flat, found_flat = length - 1, values.ravel(), found.ravel()
    source, target = np.zeros(64, dtype=np.int64), np.zeros(64, dtype=np.int64)
    for first in range(0, before * after, 64):
        width = min(64, before * after - first)
        for j in range(width):
            a, b = (first + j) // after, (first + j) % after
            source[j], target[j] = a * length * after + b, a * kept * after + b
        for k in range(length):
            for j in range(width):
                x[k + 4, j] = flat[source[j] + k * after]
        x[:4], x[length + 4 :] = x[4], x[length + 3]
        y[:4], back[:4] = forth_level * x[4], back_level * x[length + 3]
        for k in range(start + kept):
            for j in range(64):
                y[k + 4, j] = (n0 * x[k + 4, j] + n1 * x[k + 3, j] + n2 * x[k + 2, j] + n3 * x[k + 1, j]) - (
                    d1 * y[k + 3, j] + d2 * y[k + 2, j] + d3 * y[k + 1, j] + d4 * y[k, j]
                )
        for k in range(length - start):  # from the end
            at = last - k + 4
            for j in range(64):
                back[k + 4, j] = (
                    m1 * x[at + 1, j] + m2 * x[at + 2, j] + m3 * x[at + 3, j] + m4 * x[at + 4, j]
                ) - (d1 * back[k + 3, j] + d2 * back[k + 2, j] + d3 * back[k + 1, j] + d4 * back[k, j])
        for k in range(kept):
            for j in range(width):
                found_flat[target[j] + k * after] = y[start + k + 4, j] + back[last - start - k + 4, j]
