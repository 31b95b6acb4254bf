"""The variance of an AUC from its structural components (DeLong 1988), by patient (Obuchowski 1997).

The AUC is the mean of psi(x, z) over all pairs of a positive score x and a negative score z, where psi is 1
for x > z, 1/2 for a tie, 0 otherwise. Each positive case i has the component V10_i, its mean psi over the
negatives; each negative case j has V01_j, its mean psi over the positives. Both means need only ranks (Sun
and Xu 2014): sorting costs O(n log n) where the pairs cost O(n^2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autoonco.metrics.scores import Values


def components(positive: NDArray[np.bool_], scores: Values) -> Values:
    """Return each case's structural component ``(n_cases,)``: V10 where `positive`, V01 elsewhere.

    The mean over the positives, and over the negatives, is the AUC.

    Examples
    --------
    >>> components(np.array([False, False, True]), np.array([0.1, 0.5, 0.5]))
    array([1.  , 0.5 , 0.75])
    """
    m, n = int(positive.sum()), int((~positive).sum())
    among_all = rankdata(scores)
    out = np.empty(len(scores))
    out[positive] = (among_all[positive] - rankdata(scores[positive])) / n
    out[~positive] = 1 - (among_all[~positive] - rankdata(scores[~positive])) / m
    return out


def variance(positive: NDArray[np.bool_], values: Values, groups: NDArray[Any]) -> tuple[float, float]:
    """Return the variance of a mean of structural components, by patient, and its degrees of freedom.

    `values` ``(n_cases,)`` are the components of one AUC, or the differences of those of two AUCs of the
    same cases, for the covariance of sums is linear. `groups` ``(n_cases,)`` are the patients' codes; with
    one case a patient this is DeLong's variance. Obuchowski (1997), Biometrics 53:567, equations 3 to 5.
    The degrees of freedom are Satterthwaite's for a sum of two variances, one a class. Both are ``nan``
    where a class has fewer than two patients; a variance of 0 has no degrees of freedom (``nan``).
    """
    centred = values - np.where(positive, values[positive].mean(), values[~positive].mean())
    codes = np.unique(groups, return_inverse=True)[1]
    sums, own, freedom = [], [], []
    for of_class in (positive, ~positive):
        used = np.unique(codes[of_class]).size
        if used < 2:
            return float("nan"), float("nan")
        sums.append(
            np.bincount(codes[of_class], centred[of_class], minlength=codes.max() + 1) / of_class.sum()
        )
        own.append(used / (used - 1) * float(sums[-1] @ sums[-1]))
        freedom.append(used - 1)
    n_groups = int(codes.max()) + 1
    total = max(0.0, sum(own) + 2 * n_groups / (n_groups - 1) * float(sums[0] @ sums[1]))
    spread = sum(part**2 / df for part, df in zip(own, freedom, strict=True))
    return total, (sum(own) ** 2 / spread if spread > 0 else float("nan"))
