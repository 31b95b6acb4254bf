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
    lines = np.ascontiguousarray(np.moveaxis(values, axis, 0))
    length, shape = len(lines), lines.shape[1:]
    lines = lines.reshape(length, -1)
    found = np.zeros((wanted.stop - wanted.start, lines.shape[1]))
    _add(lines, found, wanted.start, how.forth * scale, how.memory, 1)
    _add(lines, found, length - wanted.stop, how.back * scale, how.memory, -1)
    return np.moveaxis(found.astype(values.dtype).reshape(len(found), *shape), 0, axis)


@compiled
def _add(values: Any, found: Floats, start: int, n: Floats, d: Floats, way: int) -> None:
    """Add the columns of `values` (length, n_lines), filtered one way, to `found`, whose rows begin at `start`.

    Rows count from the end where `way` is -1. Before its first value a line is taken to have had it for ever.
    """
    length, n_lines = values.shape
    rows = np.empty((4, 64))  # the last four rows of so many lines, which stay in the processor's cache
    steady = n.sum() / (1 + d.sum())
    for first in range(0, n_lines, 64):
        width = min(64, n_lines - first)
        head = values[0 if way > 0 else length - 1]
        for j in range(width):
            rows[:, j] = steady * head[first + j]
        for k in range(start + len(found)):
            at = k if way > 0 else length - 1 - k
            x0, x1, x2 = values[at], values[at - way * min(k, 1)], values[at - way * min(k, 2)]
            x3, x4 = values[at - way * min(k, 3)], values[at - way * min(k, 4)]
            y0, y1, y2, y3 = rows[k % 4], rows[(k - 1) % 4], rows[(k - 2) % 4], rows[(k - 3) % 4]
            for j in range(width):
                c = first + j
                new = n[0] * x0[c] + n[1] * x1[c] + n[2] * x2[c] + n[3] * x3[c] + n[4] * x4[c]
                y0[j] = new - (d[0] * y1[j] + d[1] * y2[j] + d[2] * y3[j] + d[3] * y0[j])
            if k >= start:
                row = found[k - start if way > 0 else len(found) - 1 - (k - start)]
                for j in range(width):
                    row[first + j] += y0[j]
