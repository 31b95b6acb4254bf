"""What each feature tells of the classes by itself: rank tests, AUC, false discovery rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autoonco.errors import DataError

MANN_WHITNEY, KRUSKAL = "Mann-Whitney U", "Kruskal-Wallis"
COLUMNS = ("feature", "test", "n", "auc", "statistic", "p", "q")


def univariate_tests(
    table: NDArray[np.float64], y: NDArray[np.integer[Any]], names: Sequence[str]
) -> pd.DataFrame:
    """Return a row a feature: test, cases, AUC, statistic, p, and q of the false discovery rate.

    Two classes are compared by the Mann-Whitney U test (two-sided, normal approximation with ties), more by that of
    Kruskal and Wallis. q is the smallest false discovery rate at which the feature counts as a discovery
    (Benjamini and Hochberg, J R Stat Soc B 1995;57:289), over the features that could be tested.

    Parameters
    ----------
    table
        ``(n_cases, n_features)``; a case with a gap in a feature is left out of that feature.
    y
        Class of each case ``(n_cases,)``. Tests belong on cases that the model may see: give no test case.
    names
        ``n_features`` names.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, in the order of `names`. The AUC is that of the later class; with more than two classes
        it is the mean over classes of one against the rest, each turned to 0.5 or more. NaN where a feature has one
        value, or no case of some class.

    Raises
    ------
    DataError
        If there are fewer than two classes.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise DataError(
            f"Univariate tests compare classes: expected two or more, got {len(classes)}: give cases of each."
        )
    test = MANN_WHITNEY if len(classes) == 2 else KRUSKAL
    rows = [_test(column, y, classes) for column in np.asarray(table, dtype=np.float64).T]
    found = pd.DataFrame(rows, columns=["n", "auc", "statistic", "p"])
    q = np.full(len(found), np.nan)
    tested = found["p"].notna().to_numpy()
    if tested.any():
        q[tested] = stats.false_discovery_control(found["p"].to_numpy()[tested], method="bh")
    return found.assign(feature=list(names), test=test, q=q)[list(COLUMNS)]


def _test(
    column: NDArray[np.float64], y: NDArray[np.integer[Any]], classes: NDArray[Any]
) -> tuple[int, float, float, float]:
    """Return cases, AUC, statistic and p of one feature."""
    known = np.isfinite(column)
    values, labels = column[known], y[known]
    groups = [values[labels == label] for label in classes]
    if min(len(group) for group in groups) == 0 or np.ptp(values) == 0:
        return len(values), np.nan, np.nan, np.nan
    ranks = stats.rankdata(values)
    areas = [_auc(ranks, labels == label) for label in classes]
    if len(groups) == 2:
        found = stats.mannwhitneyu(groups[1], groups[0], method="asymptotic")
        return len(values), areas[1], float(found.statistic), float(found.pvalue)
    found = stats.kruskal(*groups)
    mean = float(np.mean([max(area, 1 - area) for area in areas]))
    return len(values), mean, float(found.statistic), float(found.pvalue)


def _auc(ranks: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Return the share of pairs whose positive has the higher rank, ties half: U over the number of pairs."""
    n = int(is_positive.sum())
    above = ranks[is_positive].sum() - n * (n + 1) / 2
    return float(above / (n * (len(ranks) - n)))
