"""Contours on the planes of a scan, made a mask: a pixel is inside where its centre is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fill(polygons: Sequence[Floats], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels of a plane lie inside an odd number of closed polygons: a contour in a contour is a hole.

    Parameters
    ----------
    polygons
        Each ``(n_points, 2)``, (column, row) index with the centre of the first pixel at (0, 0); the last point joins
        the first.
    shape
        (rows, columns).

    Notes
    -----
    Even-odd rule: along a row, what is inside changes at each crossing of an edge. An edge from (x0, y0) to (x1, y1)
    crosses row y where min(y0, y1) <= y < max(y0, y1), so that a corner counts once and horizontal edges never, at
    x0 + (y - y0) (x1 - x0) / (y1 - y0). A pixel at column c is inside where the number of crossings at x <= c is
    odd: counting the crossings into the first pixel at or right of each, and summing along the row, gives all of them.

    Examples
    --------
    >>> outer = np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 4.5], [0.5, 4.5]])
    >>> inner = np.array([[1.5, 1.5], [3.5, 1.5], [3.5, 3.5], [1.5, 3.5]])
    >>> fill([outer, inner], (6, 6)).astype(int)[2].tolist()
    [0, 1, 0, 0, 1, 0]
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), np.int32)
    for polygon in polygons:
        x0, y0 = polygon[:, 0], polygon[:, 1]
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        first = np.clip(np.ceil(np.minimum(y0, y1)), 0, rows).astype(int)
        last = np.clip(np.ceil(np.maximum(y0, y1)), 0, rows).astype(int)
        n_rows = last - first
        edge = np.repeat(np.arange(len(polygon)), n_rows)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
        at = x0[edge] + (row - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        np.add.at(crossings, (row, np.clip(np.ceil(at), 0, columns).astype(int)), 1)
    inside: NDArray[np.bool_] = np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1
    return inside
