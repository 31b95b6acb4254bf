"""How an image looks, as a short hash: pictures that a person would call the same have nearly the same one.

The perceptual hash of Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010): the image is
averaged down to a small grid, its lowest spatial frequencies are taken by a cosine transform, and a bit says whether
each is above zero. Size, brightness, contrast, compression and small print change few bits. A volume is treated
alike along three axes. The mean, which brightness alone decides, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GRID = {2: 64, 3: 32}
"""Side of the grid that an image is averaged down to, by its number of axes."""
FREQUENCIES = {2: 16, 3: 6}
"""Lowest frequencies kept along each axis: 255 bits of a picture, 215 of a volume."""
NEAR = 0.12
"""Share of bits in which two images that look the same may differ. Unrelated images of one kind differ in 0.23 or
more (1,926 photographs of skin lesions) and in 0.26 or more (134 CT cubes); among 780 breast ultrasounds the
distances of frames stored twice thin out at 0.16, and those of others begin near 0.28."""
_SHARE_OF_TYPICAL = 1 / 3
_ROWS_AT_A_TIME = 512


def look_of(values: NDArray[Any]) -> str:
    """Return the perceptual hash of an image as hexadecimal text.

    Parameters
    ----------
    values
        Grey values ``(y, x)`` or ``(z, y, x)``; what is not finite counts as zero.

    Examples
    --------
    >>> picture = np.random.default_rng(0).random((40, 50))
    >>> look_of(picture) == look_of(3 * picture + 7)
    True
    """
    found = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    n_axes = found.ndim
    for axis in range(n_axes):
        basis = _basis(found.shape[axis], GRID[n_axes], FREQUENCIES[n_axes])
        found = np.moveaxis(np.tensordot(basis, found, axes=(1, axis)), 0, axis)
    return np.packbits(found.ravel()[1:] > 0).tobytes().hex()


@lru_cache(maxsize=256)
def _basis(length: int, grid: int, n: int) -> NDArray[np.float32]:
    """Return the matrix ``(n, length)`` that averages an axis down to `grid` cells and takes its `n` lowest waves."""
    edges, cells = np.linspace(0, length, grid + 1), np.arange(length)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    average = np.clip(overlap, 0, None) / (length / grid)
    waves = dct(np.eye(grid), axis=0, norm="ortho")[:n]
    return np.asarray(waves @ average, dtype=np.float32)


def distances(looks: Sequence[str]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (first row, block ``(rows, n_looks)``) of the shares of bits in which hashes of one length differ."""
    if not looks:
        return
    packed = np.frombuffer(bytes.fromhex("".join(looks)), np.uint8).reshape(len(looks), -1)
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    words = np.ascontiguousarray(packed).view(np.uint64)
    n_bits = 8 * (len(looks[0]) // 2)
    for start in range(0, len(looks), _ROWS_AT_A_TIME):
        differing = np.zeros((min(_ROWS_AT_A_TIME, len(looks) - start), len(looks)), np.uint16)
        for column in range(words.shape[1]):
            mine = words[start : start + _ROWS_AT_A_TIME, column]
            differing += np.bitwise_count(mine[:, None] ^ words[None, :, column])
        yield start, differing / n_bits


def look_alikes(looks: Sequence[str], groups: Sequence[str]) -> list[list[int]]:
    """Return the positions of images that look the same, each group of two or more in order.

    Where all images resemble one another (registered brains), what counts as the same is narrowed: to a third of the
    distance that nine in ten pairs of different groups exceed.

    Parameters
    ----------
    looks
        Hashes by `look_of`, of one length.
    groups
        Patient of each image; images of one patient resemble one another by right.
    """
    if len(looks) < 2:
        return []
    owners = np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
    limit = min(NEAR, _SHARE_OF_TYPICAL * _typical(looks, owners))
    pairs = [
        (start + row, column)
        for start, block in distances(looks)
        for row, column in np.argwhere(block <= limit).tolist()
        if column > start + row
    ]
    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(looks), len(looks)))
    names = connected_components(graph, directed=False)[1]
    return [
        np.flatnonzero(names == name).tolist() for name in dict.fromkeys(names[np.unique([rows, columns])])
    ]


def _typical(looks: Sequence[str], owners: NDArray[np.int64]) -> float:
    """Return the distance that nine in ten pairs of different owners exceed, of at most some hundred images."""
    picked = np.unique(np.linspace(0, len(looks) - 1, min(len(looks), _ROWS_AT_A_TIME)).astype(int))
    _, block = next(distances([looks[position] for position in picked]))
    apart = owners[picked][:, None] != owners[picked][None, :]
    return float(np.quantile(block[apart], 0.1)) if apart.any() else 1.0
