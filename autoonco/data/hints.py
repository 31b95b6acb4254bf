"""Rules of the data check about what gives the label away: a gap, a column, or how the picture was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact, kruskal, rankdata

from autoonco.data.columns import number_of
from autoonco.data.facts import CaseFacts
from autoonco.data.fingerprint import unit_of
from autoonco.data.formats import suffix_of
from autoonco.data.manifest import Dataset
from autoonco.data.rules import MIN_PATIENTS, Found

MAX_P_VALUE = 0.001  # strict, for there are several columns and properties
MIN_V = 0.2  # Cramér's V, corrected for bias: from here on a table of two columns is worth a look
MIN_AUC = 0.7  # of one property alone, one class against the rest
TELLING = 0.95  # balanced accuracy from which a column as good as is the label
TELLING_AUC = 0.98  # the same of a measure: its tenths may straddle the place where the classes part
MIN_ROWS = 20
BINS = 10
SCANNER_COLUMNS = frozenset(
    (
        "scanner",
        "manufacturer",
        "vendor",
        "device",
        "machine",
        "model",
        "protocol",
        "hospital",
        "institution",
        "centre",
    )
)
"""Columns that name where or how a picture was taken, by their usual names; `site` has a part of its own."""

Cells = NDArray[Any]


def telling_gaps(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield what is missing in one class more than in another: it tells the label without being seen."""
    for what, missing in _gaps(dataset):
        known, y = _labelled(dataset)
        gone = missing[known]
        if 0 < gone.sum() < len(gone) and (p := _association(gone, y)) < MAX_P_VALUE:
            shares = ", ".join(
                f"{gone[y == index].mean():.0%} of {dataset.classes[index]}" for index in np.unique(y)
            )
            yield None, f"A missing {what} predicts the label (p = {p:.1g}): it is missing in {shares}."


def telling_inputs(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield clinical columns and own features whose values say nearly for sure which class a case is of.

    Of those cases that have a value: what its absence tells is `telling_gaps`.
    """
    for name in dataset.clinical:
        cells = [case.clinical.get(name) for case in dataset.cases]
        yield from _telling(dataset, f"clinical column {name!r}", cells, is_input=True)
    for name in dataset.features:
        cells = [case.features.get(name) for case in dataset.cases]
        yield from _telling(dataset, f"feature {name!r}", cells, is_input=True)


def telling_columns(dataset: Dataset, _: Sequence[CaseFacts]) -> Found:
    """Yield columns that have no part in the task and say nearly for sure which class a case is of."""
    for name, cells in dataset.others.items():
        yield from _telling(dataset, f"column {name!r}", [cell or None for cell in cells], is_input=False)


def _telling(dataset: Dataset, what: str, cells: Sequence[Any], *, is_input: bool) -> Found:
    known, y = _labelled(dataset)
    column = _column(cells)[known]
    numbers = _numbers(column)
    values = _levels(column, numbers)
    here = values >= 0 if is_input else np.ones(len(values), dtype=bool)
    if here.sum() < MIN_ROWS:
        return
    owners = np.unique(dataset.groups[known][here], return_inverse=True)[1]
    values, y = values[here], y[here]
    share = _balanced_accuracy(values, y, owners)
    if share >= TELLING:
        told = f"with balanced accuracy {share:.2f}"
    elif numbers is not None and (area := _area(numbers[here], y)) >= TELLING_AUC:
        told = f"with AUC {area:.3f}"
    elif (back := _balanced_accuracy(y, values, owners)) >= TELLING:
        yield (
            None,
            f"The {what} is made from the label: the class predicts it with balanced accuracy {back:.2f}.",
        )
        return
    else:
        return
    yield None, f"The {what} alone predicts the label of a new patient {told}."


def _area(numbers: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve of a column of numbers of two classes; 0 with more classes or a gap."""
    classes, count = np.unique(y, return_counts=True)
    if len(classes) != 2 or count.min() < MIN_PATIENTS or not np.isfinite(numbers).all():
        return 0.0
    return _auc(numbers, y == classes[1])


def _labelled(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of cases with a label, and their labels."""
    y = np.full(len(dataset), -1) if dataset.y is None else dataset.y
    known = np.flatnonzero(y >= 0)
    return known, y[known]


def _numbers(cells: Cells) -> NDArray[np.float64] | None:
    """Return the cells as numbers, NaN where missing; None where one is text, or where they are few different ones."""
    found = np.empty(len(cells))
    for position, cell in enumerate(cells):
        value = cell if isinstance(cell, float) else np.nan if cell is None else number_of(str(cell))
        if value is None:
            return None
        found[position] = value if np.isfinite(value) else np.nan
    return found if len(np.unique(found[np.isfinite(found)])) > BINS else None


def _levels(cells: Cells, numbers: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return a number for each cell's value, of columns of many numbers for its tenth of all; -1 where missing."""
    found = np.full(len(cells), -1)
    if numbers is not None:
        here = np.isfinite(numbers)
        edges = np.quantile(numbers[here], np.linspace(0, 1, BINS + 1)[1:-1])
        found[here] = np.searchsorted(edges, numbers[here], side="right")
        return found
    here = np.array([cell is not None and cell == cell for cell in cells])  # NaN is not equal to itself
    if here.any():
        found[here] = np.unique(cells[here].astype(str), return_inverse=True)[1]
    return found


def _balanced_accuracy(
    given: NDArray[np.int64], asked: NDArray[np.int64], owners: NDArray[np.int64]
) -> float:
    """Return how well a column tells another for a patient left out: the mean share right over the values asked.

    A row gets the value that is most over-represented among rows of other patients with the same given value, so
    that what names patients or studies tells nothing. Values of fewer than five patients are not asked for; 0 where
    fewer than two values are left, or where a value is missing.
    """
    n_owners = int(owners.max()) + 1
    pairs = np.unique((asked + 1) * n_owners + owners)  # each patient once for a value; + 1, for a gap is -1
    names, count = np.unique(pairs // n_owners - 1, return_counts=True)
    names = names[(count >= MIN_PATIENTS) & (names >= 0)]
    rows = np.isin(asked, names)
    if len(names) < 2 or rows.mean() < TELLING:
        return 0.0
    given, asked, owners = given[rows], np.searchsorted(names, asked[rows]), owners[rows]
    cell = np.unique(given, return_inverse=True)[1]
    table = np.zeros((cell.max() + 1, len(names)))
    np.add.at(table, (cell, asked), 1)
    group, member = np.unique(cell * n_owners + owners, return_inverse=True)
    mine = np.zeros((len(group), len(names)))
    np.add.at(mine, (member, asked), 1)
    others = table[cell] - mine[member]
    guess = np.where(others.any(axis=1), (others / table.sum(axis=0)).argmax(axis=1), -1)
    return float(np.mean([np.mean(guess[asked == value] == value) for value in range(len(names))]))


def _gaps(dataset: Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for channel in dataset.channels:
        what = "mask" if len(dataset.channels) == 1 else f"mask of {channel!r}"
        yield what, np.array([case.mask_of(channel) is None for case in dataset.cases])
    for name in dataset.clinical:
        yield f"value of {name!r}", np.array([case.clinical.get(name) is None for case in dataset.cases])


def _association(values: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return the p-value of values against classes: Fisher's exact test of two by two, else chi squared."""
    table = _table(values, y)
    if min(table.shape) < 2:
        return 1.0
    test = fisher_exact if table.shape == (2, 2) else chi2_contingency
    return float(test(table).pvalue)


def _table(values: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.int64]:
    rows, columns = np.unique(values, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


# --- how the picture was taken ------------------------------------------------------------------------------


def shortcuts(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
    """Yield what of a picture's making goes with the label: site, scanner, spacing, size, colour, unit, file type.

    One case a patient is counted, for those of a patient are alike.
    """
    known, y = _labelled(dataset)
    first = np.unique(dataset.groups[known], return_index=True)[1]
    known, y = known[first], y[first]
    if len(y) < MIN_ROWS:
        return
    found = list(_properties(dataset, facts))
    for what, values in found:
        mine = values[known]
        here = np.array([value is not None for value in mine])
        if here.sum() < MIN_ROWS:
            continue
        says = _says(mine[here], y[here], MAX_P_VALUE / len(found))
        if says:
            yield (
                None,
                f"The label goes with {what} ({says}): a model may learn that and not what is in the picture.",
            )


def _properties(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[tuple[str, Cells]]:
    """Yield (what, value of each case or None); text is a category, a float a measure."""
    if dataset.sites is not None:
        yield "the site", _column([site or None for site in dataset.sites.tolist()])
    for name, cells in dataset.others.items():
        if name.lower() in SCANNER_COLUMNS:
            yield f"the column {name!r}", _column([cell or None for cell in cells])
    for channel in dict.fromkeys(name for case in facts for name in case.channels):
        of = "" if len(dataset.channels) == 1 else f" of {channel!r}"
        seen = [case.channels.get(channel) for case in facts]
        paths = [case.images.get(channel) for case in dataset.cases]
        yield f"the file type{of}", _column([path and suffix_of(path) for path in paths])
        yield (
            f"the colour of the images{of}",
            _column([one and ("grey", "colour")[one.is_colour] for one in seen]),
        )
        yield f"the unit of the grey values{of}", _column([one and str(unit_of(one)) for one in seen])
        yield f"the size of the images{of}", _column([one and float(np.prod(one.shape)) for one in seen])
        yield f"the pixel spacing{of}", _column([one and float(one.spacing_mm[0]) for one in seen])
        if any(one is not None and one.ndim == 3 for one in seen):
            deep = [one.spacing_mm[2] if one is not None and one.ndim == 3 else None for one in seen]
            yield f"the slice spacing{of}", _column(deep)


def _column(values: Sequence[Any]) -> Cells:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _says(values: Cells, y: NDArray[np.int64], limit: float) -> str:
    """Return how strongly values go with classes, in figures; empty where they don't, or only a little."""
    if len(np.unique(y)) < 2 or len(set(values.tolist())) < 2:
        return ""
    if isinstance(values[0], str):
        p, v = _association(values.astype(str), y), _cramers_v(values.astype(str), y)
        return f"Cramér's V = {v:.2f}, p = {p:.1g}" if p < limit and v >= MIN_V else ""
    numbers = values.astype(float)
    p = float(kruskal(*(numbers[y == index] for index in np.unique(y))).pvalue)
    large = [index for index in np.unique(y) if np.sum(y == index) >= MIN_PATIENTS]
    auc = max((_auc(numbers, y == index) for index in large), default=0.5)
    return f"AUC = {auc:.2f}, p = {p:.1g}" if p < limit and auc >= MIN_AUC else ""


def _auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of a measure, whichever way it points (Mann and Whitney's U)."""
    n, m = int(positive.sum()), int((~positive).sum())
    area = (rankdata(values)[positive].sum() - n * (n + 1) / 2) / (n * m)
    return float(max(area, 1 - area))


def _cramers_v(values: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return Cramér's V corrected for bias (Bergsma, J Korean Stat Soc 2013;42:323)."""
    table = _table(values, y)
    n, (rows, columns) = table.sum(), table.shape
    phi2 = max(
        0.0, chi2_contingency(table, correction=False).statistic / n - (rows - 1) * (columns - 1) / (n - 1)
    )
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(phi2 / smaller)) if smaller > 0 else 0.0
