"""Features by the group that their name tells, and a step that leaves groups out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

GROUPS = ("shape", "contour", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
"""The groups that a config can leave out."""
EVERY_GROUP = (*GROUPS, "location")
"""Those and the place of the lesion, which extraction has a switch for."""


def group_of(name: str) -> str | None:
    """Return the group of a feature, or None for one that no extraction of autoonco makes.

    Examples
    --------
    >>> group_of("ct:wavelet-LLH_glcm_Contrast"), group_of("original_shape2D_Sphericity")
    ('glcm', 'shape')
    >>> group_of("contour_Solidity"), group_of("pet:location_OffCentre"), group_of("age")
    ('contour', 'location', None)
    """
    parts = name.rpartition(":")[2].split("_")
    if len(parts) == 2:  # an outline or a place is of no image
        return parts[0] if parts[0] in ("contour", "location") else None
    found = parts[1].removesuffix("2D") if len(parts) == 3 else ""
    return found if found in EVERY_GROUP else None


def columns_left_out(config: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    """Return the columns of the groups that `config` switches off (``use_<group>``); none if all would go."""
    off = {group for group in GROUPS if config.get(f"use_{group}", "yes") == "no"}
    found = [column for column, name in enumerate(names) if group_of(name) in off]
    return found if len(found) < len(names) else []


class LeaveOut(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Leave out columns by their number, whatever they hold.

    Parameters
    ----------
    columns
        Numbers of the columns that go.
    """

    def __init__(self, columns: Sequence[int] = ()) -> None:
        self.columns = columns

    def fit(self, X: NDArray[Any], y: NDArray[Any] | None = None) -> Self:  # noqa: ARG002 - scikit-learn's form
        """Take the number of columns of `X` ``(n_cases, n_features)``."""
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        self.support_ = ~np.isin(np.arange(X.shape[1]), np.asarray(self.columns, dtype=np.int64))
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        """Let gaps through: they are filled in afterwards."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
