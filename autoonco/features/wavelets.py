"""One level of the stationary wavelet transform, for a lesion's box alone.

Along each axis the image is split into its low and its high half; of the border around the box only what the next
axis needs is kept. pywt knows the filters, and its transform is the oracle of the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.features.compiled import compiled

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]


def wavelet_bands(roi: Roi, wavelet: str) -> dict[str, Floats]:
    """Return the sub-bands within the lesion's box, named by axis from x to z (or x, y): ``LLH`` is high along z.

    The transform of a whole image is periodic, its odd sides filled up by one voxel of its other end. The crop takes
    its frame from that periodic image, so that lesions at the border get the values of the whole image as well.

    Parameters
    ----------
    roi
        The lesion.
    wavelet
        A discrete wavelet of pywt.

    Returns
    -------
    dict
        float64 arrays of the box's shape; NaN where a NaN is under the filters.
    """
    low, high = _filters(wavelet)
    after = len(low) // 2
    before = len(low) - 1 - after
    spans = []
    for part, length in zip(roi.box, roi.image.shape, strict=True):
        period = length + length % 2
        index = np.arange(part.start - before, part.stop + after) % period
        spans.append(np.where(index == length, 0, index))
    bands = {"": roi.image[np.ix_(*spans)].astype(np.float64)}
    for axis in range(roi.image.ndim):  # the slowest axis first: its border is the largest to be rid of
        bands = {
            half + name: found
            for name, values in bands.items()
            for half, found in zip("LH", _split(values, axis, low, high), strict=True)
        }
    return bands


@lru_cache(maxsize=8)
def _filters(wavelet: str) -> tuple[Floats, Floats]:
    """Return the low and the high filter, ready to be laid over an image as they are."""
    import pywt  # here, so that listing the families stays quick

    found = pywt.Wavelet(wavelet)
    low, high = (np.array(taps[::-1], dtype=np.float64) for taps in (found.dec_lo, found.dec_hi))
    return low, high


def _split(values: Floats, axis: int, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return both halves of `values` along an axis, shorter by the filter's length less one."""
    shape = list(values.shape)
    before, length, after = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    shape[axis] = length - len(low) + 1
    halves = np.empty((2, before, shape[axis] * after))
    _convolve(values.reshape(before, length * after), halves, low, high, after)
    one, other = halves.reshape(2, *shape)
    return one, other


@compiled
def _convolve(rows: Any, halves: Any, low: Floats, high: Floats, step: int) -> None:
    """Lay both filters over each row, their taps `step` values apart."""
    length = halves.shape[2]
    for row in range(len(rows)):
        for first in range(0, length, 1024):  # so much stays in the processor's cache
            stop = min(first + 1024, length)
            halves[:, row, first:stop] = 0
            for tap in range(len(low)):
                of_low, of_high, ahead = low[tap], high[tap], tap * step
                for at in range(first, stop):
                    halves[0, row, at] += of_low * rows[row, at + ahead]
                    halves[1, row, at] += of_high * rows[row, at + ahead]
