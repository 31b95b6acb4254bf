"""Labels as scikit-learn hands them over, beside the class names that a dataset has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from autoonco.data import columns as cols


def labels_of(y: ArrayLike) -> list[str]:
    """Return the class names that labels stand for, as a manifest's column of them would give.

    Examples
    --------
    >>> labels_of([1, 0.0]), labels_of(["yes", "no"])
    (['1', '0'], ['yes', 'no'])
    """
    return cols.class_labels(cols.as_text(pd.DataFrame({"y": np.asarray(y).ravel()}))["y"], "y")


def classes_as_in(y: ArrayLike, names: Sequence[str]) -> NDArray[Any]:
    """Return the classes `names` as they stand in the numbers `y`; the names themselves where `y` is no numbers.

    Examples
    --------
    >>> classes_as_in([1, 0, 1], ["0", "1"]).tolist(), classes_as_in(["b", "a"], ["a", "b"]).tolist()
    ([0, 1], ['a', 'b'])
    """
    values = np.unique(np.asarray(y))
    known = dict(zip(labels_of(values), values, strict=True)) if values.dtype.kind in "biuf" else {}
    return np.array([known[name] for name in names] if set(names) <= set(known) else names)
