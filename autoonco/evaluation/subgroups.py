"""How good the delivered kind of model is in each site, sex, age band, scanner and lesion size, on test cases.

A figure of a group is that of its test cases; with several outer folds the mean of the folds' figures weighed by their
cases, for each fold has a model of its own. The difference to the rest is bootstrapped by patient, the models
being what they are: it tells of these models on new patients, not of new trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.facts import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.evaluation.baselines import lesion_sizes
from autoonco.evaluation.folded import FoldedCases, apart, bounds_of, p_of
from autoonco.metrics.comparison import holm
from autoonco.metrics.intervals import FIGURES, auc_interval, bootstrap_intervals
from autoonco.metrics.resampling import evaluate_resamples
from autoonco.metrics.scores import Values

COLUMNS = (
    "attribute", "group", "metric", "n", "value", "lower", "upper", "difference", "difference_lower",
    "difference_upper", "p", "p_holm",
)  # fmt: skip
NAMES: Mapping[str, frozenset[str]] = {
    "sex": frozenset({"sex", "gender", "patient_sex", "patientsex"}),
    "age": frozenset({"age", "age_years", "patient_age", "patientage", "age_at_diagnosis"}),
    "scanner": frozenset(
        {"scanner", "scanner_model", "scanner_type", "manufacturer", "vendor", "device", "camera"}
    ),
}
"""What the columns of an attribute may be called, in small letters; the first that is there counts."""
AGE_BANDS = (40.0, 60.0, 75.0)
"""Where age bands begin, in years."""
FEWEST = 10
"""Cases on either side below which a difference is not looked at."""
MOST_GROUPS = 12
"""Of an attribute with more values, each is too small to say something of: the largest are told."""
RESAMPLES = 1000
_GROWS_WITH_FEW = {"ece"}
"""Figures that chance alone makes larger in a small group: nothing can be said of a difference to a larger one."""
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute by name and each case's group ``(n_cases,)``, empty where it isn't known."""

    name: str
    groups: NDArray[np.str_]


def attributes_of(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[Attribute]:
    """Return the attributes that are known of a dataset: site, sex, age band, scanner, tertile of lesion size.

    Sex, age and scanner are looked for in the clinical columns and in those that have no part in the task: no model
    sees the latter. `facts` belong to the dataset's cases one by one.
    """
    found = [] if dataset.sites is None else [Attribute(name="site", groups=dataset.sites)]
    for name, called in NAMES.items():
        cells = _cells(dataset, called)
        if cells is not None:
            groups = _bands(cells) if name == "age" else np.array([cell.strip().lower() for cell in cells])
            found.append(Attribute(name=name, groups=groups.astype(np.str_)))
    sizes = lesion_sizes(facts)
    if sizes is not None and len(facts) == len(dataset):
        edges = np.quantile(sizes[:, 0], [1 / 3, 2 / 3])
        place = np.searchsorted(edges, sizes[:, 0], side="right")
        found.append(Attribute(name="lesion size", groups=np.array(SIZES)[place]))
    return [each for each in found if len(set(each.groups.tolist()) - {""}) > 1]


def _cells(dataset: Dataset, called: frozenset[str]) -> list[str] | None:
    clinical = next((name for name in dataset.clinical if name.lower() in called), None)
    if clinical is not None:
        values = [case.clinical.get(clinical) for case in dataset.cases]
        return ["" if value is None else str(value) for value in values]
    other = next((name for name in dataset.others if name.lower() in called), None)
    return None if other is None else [str(cell) for cell in dataset.others[other]]


def _bands(cells: Sequence[str]) -> NDArray[np.str_]:
    """Return the age band of each cell, empty where it isn't a number (DICOM's ``061Y`` is one)."""
    years = pd.to_numeric(pd.Series(cells).str.strip().str.removesuffix("Y"), errors="coerce").to_numpy()
    first, *others = (f"{band:g}" for band in AGE_BANDS)
    names = [f"under {first}"]
    names += [f"{low} to {float(high) - 1:g}" for low, high in zip((first, *others), others, strict=False)]
    names.append(f"{others[-1]} and over")
    place = np.searchsorted(AGE_BANDS, np.nan_to_num(years), side="right")
    return np.where(np.isfinite(years), np.array(names)[place], "")


def subgroup_table(
    predictions: pd.DataFrame,
    attributes: Mapping[str, Mapping[int, str]],
    metrics: Sequence[str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return every metric in every group, and how far it lies from that of all other test cases.

    Parameters
    ----------
    predictions
        Those of one model, as `predicted.predictions_frame` has them.
    attributes
        The group of each manifest row, by attribute; rows that are not there, or of the group ``""``, are left out.
    metrics
        Names in `intervals.FIGURES`.

    Returns
    -------
    DataFrame
        ``attribute``, ``group``, ``metric``, ``n`` (cases); ``value``, ``lower``, ``upper``; ``difference`` (the
        group's minus that of the rest), ``difference_lower``, ``difference_upper``; ``p`` of no difference and
        ``p_holm``, adjusted for the groups that were looked at by the same metric. Figures that users know as the
        lower the better are told so. What can't be told of so few cases, or of one class, is ``nan``; so is how the
        expected calibration error differs, for it is the larger, the fewer cases there are.
    """
    rows: list[dict[str, Any]] = []
    for name, by_row in attributes.items():
        groups = predictions["row"].map(dict(by_row)).fillna("").to_numpy(dtype=np.str_)
        cases = FoldedCases.of(predictions[groups != ""])
        groups = groups[groups != ""]
        values, counts = np.unique(groups, return_counts=True)
        largest = sorted(values[np.argsort(-counts, kind="stable")][:MOST_GROUPS])
        for group in largest if len(values) > 1 else ():
            # of two groups each is the other's rest: that is one test
            test = name if len(values) == 2 else f"{name}: {group}"
            fixed = {"attribute": name, "group": str(group), "test": test}
            rows += [fixed | row for row in _rows_of(cases, groups == group, metrics, level=level, seed=seed)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "test"])
    for _, own in table.groupby("metric"):
        tests = own.drop_duplicates("test")
        adjusted = dict(zip(tests["test"], holm(tests["p"].tolist()), strict=True))
        table.loc[own.index, "p_holm"] = own["test"].map(adjusted)
    return table.drop(columns="test").astype({"p_holm": float})


def _rows_of(
    cases: FoldedCases, inside: NDArray[np.bool_], metrics: Sequence[str], *, level: float, seed: int
) -> list[dict[str, Any]]:
    """Return a row a metric of one group of `cases`."""

    def figures(weights: Values) -> Values:
        return np.stack([cases.figures(metrics, part, weights) for part in (inside, ~inside)])

    own, rest = figures(np.ones((1, len(cases.y))))[:, :, 0]
    draws = evaluate_resamples(figures, cases.patients, resamples=RESAMPLES, seed=seed)
    sizes = [len(np.unique(cases.row[part])) for part in (inside, ~inside)]
    rows = []
    for place, name in enumerate(metrics):
        alike = [
            cases.exact_bounds(name, found[place], part, level)
            for found, part in ((own, inside), (rest, ~inside))
        ]
        if name in _GROWS_WITH_FEW:
            draws[:, place] = rest[place] = np.nan
        lower, upper = bounds_of(draws[0, place], own[place], level, if_equal=alike[0])
        gaps = draws[0, place] - draws[1, place]
        gaps = gaps[np.isfinite(gaps)] if min(sizes) >= FEWEST else gaps[:0]
        difference = own[place] - rest[place]
        low, high = bounds_of(gaps, difference, level, if_equal=apart(*alike))
        rows.append(
            {"metric": name, "n": sizes[0], "p": p_of(gaps)}
            | _told(name, "value", own[place], lower, upper, ("lower", "upper"))
            | _told(name, "difference", difference, low, high, ("difference_lower", "difference_upper"))
        )
    exact = _exact(cases, inside, metrics, level=level, seed=seed)
    return [row | exact.get(str(row["metric"]), {}) for row in rows]


def _exact(
    cases: FoldedCases, inside: NDArray[np.bool_], metrics: Sequence[str], *, level: float, seed: int
) -> dict[str, dict[str, float]]:
    """Return the intervals of one test set, which know what to do at the ends of a range; none of several folds."""
    y = cases.y[inside]
    if len(np.unique(cases.fold)) > 1 or len(np.unique(y)) < 2:
        return {}
    arrays = (y, cases.proba[inside], cases.patients[inside])
    found = bootstrap_intervals(metrics, *arrays, level=level, resamples=RESAMPLES, seed=seed)
    if "roc_auc" in metrics:
        found["roc_auc"] = auc_interval(*arrays, level=level, seed=seed)
    return {
        name: _told(name, "value", each.value, each.lower, each.upper, ("lower", "upper"))
        for name, each in found.items()
    }


def _told(
    name: str, column: str, value: float, lower: float, upper: float, bounds: tuple[str, str]
) -> dict[str, float]:
    """Return a figure with its bounds as users know it: of a loss positive, the lower the better."""
    if FIGURES[name].negated:
        value, lower, upper = -value, -upper, -lower
    return {column: float(value), bounds[0]: float(lower), bounds[1]: float(upper)}
