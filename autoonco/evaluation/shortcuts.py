"""What the winner leans on: its AUC with the lesion or its mask changed, and among cases of matched size.

A model that reads the lesion falls to chance without it. One that doesn't has found a shortcut in the background;
one that falls with a slightly other mask has learned how masks were drawn; one that falls among cases of equal size
had learned size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from autoonco.evaluation.folded import FoldedCases, apart, bounds_of
from autoonco.evaluation.pairs import compare_models
from autoonco.evaluation.tables import figure_interval
from autoonco.metrics.resampling import evaluate_resamples
from autoonco.metrics.scores import Labels, Values

COLUMNS = (
    "probe", "n", "value", "lower", "upper", "difference", "difference_lower", "difference_upper", "note",
)  # fmt: skip
ORIGINAL, MATCHED = "ensemble", "matched lesion size"
CALIPER = 0.2
"""Standard deviations of log size by which matched lesions may differ (Austin, Pharm Stat 2011;10:150)."""
FEWEST = 10
"""Cases below which a figure says nothing: the row then has no figure."""
RESAMPLES = 2000


def shortcut_table(
    predictions: pd.DataFrame,
    probes: Sequence[str],
    notes: Mapping[str, str],
    sizes: Mapping[int, float] | None,
    *,
    auc: str = "roc_auc",
    task: str = "classification",
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a row a probe: the AUC on changed cases, and how far it is from that on the same cases as they are.

    Parameters
    ----------
    predictions
        As `predicted.predictions_frame` has them; `model` is ``"ensemble"``, or the name of a probe.
    probes
        Names of the probes, in order.
    notes
        Why a probe has not all cases, or none, by its name.
    sizes
        Logarithm of the lesion's size by manifest row, None where it isn't known.
    auc, task
        Name of the score that ranks and of the task.

    Returns
    -------
    DataFrame
        ``probe``, ``n`` (cases); ``value``, ``lower``, ``upper``; ``difference`` (that under the probe minus that of
        the same cases as they are; of matched size minus that of all), ``difference_lower``, ``difference_upper``:
        paired DeLong, of several outer folds the corrected resampled t, of matched size the bootstrap by patient;
        ``note``.
    """
    clean = predictions[predictions["is_clean"] == 1]
    rows = [
        _row_of(clean, name, auc, task, level=level, seed=seed) | {"note": notes.get(name, "")}
        for name in probes
    ]
    rows.append(_of_matched(clean, sizes, auc, level=level, seed=seed))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row_of(
    clean: pd.DataFrame, name: str, auc: str, task: str, *, level: float, seed: int
) -> dict[str, Any]:
    own = clean[clean["model"] == name]
    row: dict[str, Any] = {"probe": name, "n": int(own["row"].nunique())}
    if row["n"] < FEWEST:
        return row
    found = compare_models(clean, name, ORIGINAL, level=level, seed=seed, task=task)
    if found is None:
        return row
    cases = FoldedCases.of(own)
    inside = np.ones(len(own), dtype=bool)
    return (
        row
        | _value(own, cases, inside, auc, level=level, seed=seed)
        | {
            "difference": found["difference"],
            "difference_lower": found["lower"],
            "difference_upper": found["upper"],
        }
    )


def _value(
    own: pd.DataFrame, cases: FoldedCases, inside: NDArray[np.bool_], auc: str, *, level: float, seed: int
) -> dict[str, float]:
    """Return the AUC of the cases `inside` of one model's rows `own`, which `cases` are, with its bounds."""
    if own["fold"].nunique() == 1:  # one test set has bounds that know what to do at an AUC of 1
        one = figure_interval(auc, own[inside], level=level, seed=seed)
        return {"value": one.value, "lower": one.lower, "upper": one.upper}

    def figures(weights: Values) -> Values:
        return cases.figures([auc], inside, weights)

    value = float(figures(np.ones((1, len(cases.y))))[0, 0])
    draws = evaluate_resamples(figures, cases.patients, resamples=RESAMPLES, seed=seed)[0]
    alike = cases.exact_bounds(auc, value, inside, level)
    lower, upper = bounds_of(draws, value, level, if_equal=alike)
    return {"value": value, "lower": lower, "upper": upper}


def _of_matched(
    clean: pd.DataFrame, sizes: Mapping[int, float] | None, auc: str, *, level: float, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"probe": MATCHED, "n": 0, "note": ""}
    own = clean[clean["model"] == ORIGINAL]
    if sizes is None or not len(own):
        return row | {"note": "the size of the lesions is not known" if sizes is None else ""}
    cases = FoldedCases.of(own)
    size = own["row"].map(dict(sizes)).to_numpy(dtype=np.float64)
    matched = np.zeros(len(own), dtype=bool)
    for k in np.unique(cases.fold):
        rows = np.flatnonzero(cases.fold == k)
        matched[rows] = match_by_size(cases.y[rows], size[rows])
    row["n"] = int(own[matched]["row"].nunique())
    if row["n"] < FEWEST:
        return row | {"note": f"{row['n']} cases of different classes have lesions of matched size"}
    everyone = np.ones(len(own), dtype=bool)

    def figures(weights: Values) -> Values:
        return np.concatenate([cases.figures([auc], part, weights) for part in (matched, everyone)])

    both = figures(np.ones((1, len(own))))[:, 0]
    difference = float(both[0] - both[1])
    draws = evaluate_resamples(figures, cases.patients, resamples=RESAMPLES, seed=seed)
    alike = [
        cases.exact_bounds(auc, value, part, level)
        for value, part in zip(both.tolist(), (matched, everyone), strict=True)
    ]
    low, high = bounds_of(draws[0] - draws[1], difference, level, if_equal=apart(*alike))
    return (
        row
        | _value(own, cases, matched, auc, level=level, seed=seed)
        | {
            "difference": difference,
            "difference_lower": low,
            "difference_upper": high,
        }
    )


def match_by_size(y: Labels, size: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which cases ``(n_cases,)`` stay so that every class has lesions of the same sizes.

    Each case of the rarest class is matched with one of every other class within `CALIPER` standard deviations of
    `size` (the logarithm), in the way that the distances sum to the least; a case without a match in each goes.

    Examples
    --------
    >>> match_by_size(np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 9.0, 1.1, 5.0]))
    array([ True, False, False,  True, False])
    """
    labels, counts = np.unique(y, return_counts=True)
    stays = np.zeros(len(y), dtype=bool)
    if len(labels) < 2:
        return stays
    caliper = CALIPER * float(np.std(size))
    rare = np.flatnonzero(y == labels[counts.argmin()])
    partners = []
    for label in labels[labels != labels[counts.argmin()]]:
        other = np.flatnonzero(y == label)
        distance = np.abs(size[rare][:, None] - size[other][None, :])
        # too far apart is a match of last resort, so that as many as can be are near
        one, two = linear_sum_assignment(np.where(distance <= caliper, distance, 1e6))
        near = distance[one, two] <= caliper
        partner = np.full(len(rare), -1)
        partner[one[near]] = other[two[near]]
        partners.append(partner)
    whole = np.all([partner >= 0 for partner in partners], axis=0)
    stays[rare[whole]] = True
    for partner in partners:
        stays[partner[whole]] = True
    return stays
