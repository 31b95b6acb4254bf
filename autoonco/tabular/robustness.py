"""Intraclass correlations over perturbed masks, and the filter that drops what a contour changes too much."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from autoonco.errors import AutoOncoError, UnknownNameError

FORMS = ("agreement", "consistency")


def icc(ratings: NDArray[np.float64], form: str = "agreement") -> NDArray[np.float64]:
    """Return the intraclass correlation of single ratings, one for each feature.

    Parameters
    ----------
    ratings
        ``(n_raters, n_cases, n_features)``; a case with a gap in a feature is left out of that feature.
    form
        ``"agreement"``: ICC(2,1), raters at random; ``"consistency"``: ICC(3,1), raters fixed, so that a shift
        which all cases share doesn't count.

    Returns
    -------
    numpy.ndarray
        ``(n_features,)``, NaN where fewer than two cases are complete or nothing varies.

    Raises
    ------
    UnknownNameError
        If `form` is none of `FORMS`.

    References
    ----------
    Shrout and Fleiss, Psychological Bulletin 1979.
    """
    if form not in FORMS:
        raise UnknownNameError("form of the intraclass correlation", form, FORMS)
    k = len(ratings)
    complete = np.isfinite(ratings).all(axis=0)
    n = complete.sum(axis=0)
    shown = np.where(complete, ratings, 0.0)
    safe = np.maximum(n, 1)
    # Centred first: sums of squares of large numbers would lose the small differences.
    shown = np.where(complete, shown - shown.sum(axis=(0, 1)) / (k * safe), 0.0)
    of_cases = k * (shown.mean(axis=0) ** 2).sum(axis=0)
    of_raters = safe * ((shown.sum(axis=1) / safe) ** 2).sum(axis=0)
    rest = np.maximum((shown**2).sum(axis=(0, 1)) - of_cases - of_raters, 0.0)
    between = of_cases / np.maximum(n - 1, 1)
    raters = of_raters / (k - 1)
    error = rest / (np.maximum(n - 1, 1) * (k - 1))
    below = between + (k - 1) * error
    if form == "agreement":
        below = below + k * (raters - error) / safe
    defined = (n >= 2) & (below > 0)
    found: NDArray[np.float64] = np.divide(between - error, below, out=np.full(len(n), np.nan), where=defined)
    return found


class RobustnessFilter(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Drop features whose intraclass correlation over perturbed masks is below a threshold.

    Only the training cases' tables are looked at, which come with the fit. At least one column stays; one whose
    correlation is undefined goes.

    Parameters
    ----------
    threshold
        In (0, 1).
    form
        See `icc`.
    """

    def __init__(self, threshold: float = 0.75, form: str = "agreement") -> None:
        self.threshold = threshold
        self.form = form

    def fit(
        self,
        X: NDArray[Any],
        y: NDArray[Any] | None = None,  # noqa: ARG002 - scikit-learn's form
        *,
        perturbed: NDArray[Any] | None = None,
    ) -> Self:
        """Learn which columns of `X` ``(n_cases, n_features)`` stay.

        Parameters
        ----------
        perturbed
            ``(n_raters, n_cases, n_features)``: the same cases' features under the mask as it is and under
            perturbed ones.

        Raises
        ------
        AutoOncoError
            If `perturbed` is absent, of another size than `X`, or has fewer than two raters.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        got = () if perturbed is None else perturbed.shape
        if perturbed is None or got[1:] != X.shape or got[0] < 2:
            raise AutoOncoError(
                f"The robustness filter expected features of at least two masks of each case, "
                f"(2 or more, {X.shape[0]}, {X.shape[1]}), got {got or 'none'}: give them as `perturbed`."
            )
        self.icc_ = icc(np.asarray(perturbed, dtype=np.float64), self.form)
        kept = np.nan_to_num(self.icc_, nan=-np.inf) >= self.threshold
        if not kept.any():
            kept[np.argmax(np.nan_to_num(self.icc_, nan=-np.inf))] = True
        self.support_ = kept
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        """Let gaps through: they are filled in afterwards."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
