"""McNemar's test: whether one of two models is right more often on the same cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, chi2


def mcnemar(first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Return the p value of "both are right equally often", from which cases each is right on ``(n_cases,)``.

    One case a patient: exact, by the sign of the cases that one is right on and the other isn't. Where patients have
    several cases (or a case was predicted in several repeats): the clustered statistic of Durkalski et al. (2003),
    Statistics in Medicine 22:2417, on a chi-squared distribution with one degree of freedom.

    Parameters
    ----------
    groups
        Patients ``(n_cases,)``; every case is its own where None.

    Examples
    --------
    >>> first = [True] * 9 + [False] * 2
    >>> mcnemar(first, [True] * 3 + [False] * 6 + [False, True])  # 6 against 1
    0.125
    """
    gain = np.asarray(first, dtype=np.int64) - np.asarray(second, dtype=np.int64)
    patients = (
        np.arange(gain.size) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    sizes = np.bincount(patients)
    if sizes.max() == 1:
        only_first, only_second = int((gain > 0).sum()), int((gain < 0).sum())
        n = only_first + only_second
        return float(binomtest(only_first, n).pvalue) if n else 1.0
    means = np.bincount(patients, weights=gain) / sizes
    spread = float((means**2).sum())
    return float(chi2.sf(means.sum() ** 2 / spread, 1)) if spread > 0 else 1.0
