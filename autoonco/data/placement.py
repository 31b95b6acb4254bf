"""From a crop back to the scan: values laid where they were seen."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


def put_back(values: NDArray[np.float32], grid: sitk.Image, image: sitk.Image) -> NDArray[np.float32]:
    """Return `values`, which divide the box of `grid` evenly, on the grid of `image`; 0 outside of the box.

    Linear between the centres of their cells. `values` has the axes of numpy (``(height, width)``, or
    ``(depth, height, width)`` for a volume) and may be coarser or finer than the grid; those of a slice of a volume
    are two-dimensional and go to that slice alone, across whichever axis it lies.
    """
    size, sides = np.asarray(grid.GetSize()), iter(values.shape[::-1])
    is_flat = values.ndim < len(size)
    n_cells = np.array([1 if is_flat and length == 1 else next(sides) for length in size])
    cells = values.reshape(n_cells[::-1])
    step = np.asarray(grid.GetSpacing())
    wide = step * size / n_cells
    axes = np.asarray(grid.GetDirection()).reshape(len(size), -1)
    placed = sitk.GetImageFromArray(np.ascontiguousarray(cells, np.float32))
    placed.SetSpacing(wide.tolist())
    placed.SetDirection(grid.GetDirection())
    placed.SetOrigin((np.asarray(grid.GetOrigin()) + axes @ ((wide - step) / 2)).tolist())
    found = sitk.Resample(placed, image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    result: NDArray[np.float32] = sitk.GetArrayFromImage(found)
    return result
