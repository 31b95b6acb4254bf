"""Whether a case is unlike the training cases: in geometry, in intensity, or in what the model sees of it.

Each part is a table of numbers. Its distance from the training cases is a robust Mahalanobis distance: columns are
centred at their medians and scaled by their median absolute deviations, the leading principal components are divided
by their variances, and what lies outside of them counts by its own (as in Lee et al., NeurIPS 2018, without classes).
How rare a distance is, is told by distances of training cases from detectors that were fitted without them; a case
is odd where its rarest part is rarer than that of all but `FALSE_ALARMS` of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from autoonco.data.signature import PARTS

Values = NDArray[np.float64]
Tables = Mapping[str, Sequence[Values]]
"""Of each part a row a case, ``(n_columns,)``; a row of another length is of another kind of scan."""

FALSE_ALARMS = 0.05
FEWEST = 40
"""Training cases below which 5 % of them are no number to go by."""
FOLDS = 5
MOST_COMPONENTS = 20
CASES_A_COMPONENT = 10
"""A component's variance is learned from so many cases at least."""
_LIMIT = 12.0  # robust deviations: one column of a file may hold anything
_FLOOR = 0.02  # of logarithms, 2 %: a spacing that never varies in training would make any rounding odd
_DECIMALS = 6
_LEAST = 0.1  # of a variance, 1 being that of a usual column: what never varies is allowed its rounding
_GRID = 256


@dataclass(frozen=True, kw_only=True)
class Detector:
    """The distance of one part: centre and scale ``(n,)``, components ``(k, n)``, variances ``(k,)``, and the rest."""

    centre: Values
    scale: Values
    components: Values
    variances: Values
    residual: float

    @classmethod
    def fitted(cls, table: Values, *, n_components: int, floor: float = 0.0) -> Detector:
        """Return the detector of the training cases' `table` ``(n_cases, n_columns)``.

        `floor` is the least deviation that a column is taken to have; without one, a column that never varies is
        not looked at.
        """
        centre = np.nan_to_num(np.nanmedian(table, axis=0))
        deviation = np.nanmedian(np.abs(table - centre), axis=0) * 1.4826
        plain = np.nanstd(table, axis=0)
        # half of the cases may be alike in a column that still varies
        scale = np.maximum(np.nan_to_num(np.where(deviation > 0, deviation, plain)), floor)
        scale[scale == 0] = np.inf
        z = _standardised(table, centre, scale)
        k = min(n_components, z.shape[1])
        _, singular, rows = np.linalg.svd(z, full_matrices=False)
        return cls(
            centre=centre,
            scale=scale,
            components=rows[:k],
            variances=np.maximum(singular[:k] ** 2 / len(z), _LEAST),
            residual=max(float(np.sum(singular[k:] ** 2) / len(z)), _LEAST),
        )

    def distance(self, table: Values) -> Values:
        """Return the distances ``(n_cases,)`` of cases ``(n_cases, n_columns)``."""
        z = _standardised(table, self.centre, self.scale)
        along = z @ self.components.T
        beside = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.asarray(np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.residual))


def _standardised(table: Values, centre: Values, scale: Values) -> Values:
    return np.asarray(np.clip(np.nan_to_num((table - centre) / scale), -_LIMIT, _LIMIT))


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Fitted detectors by part, the distances by which rarity is told, and the rarity from which a case is odd.

    `known` holds quantiles of the training cases' cross-fitted distances ``(n_quantiles,)``, no case's own.
    """

    detectors: Mapping[str, Detector]
    known: Mapping[str, Values]
    n: int
    threshold: float

    def rarity(self, tables: Tables) -> dict[str, Values]:
        """Return of each part how rare such a distance is among training cases ``(n_cases,)``, from 1 to near 0."""
        return {
            name: _rarity(_distances(detector, tables[name]), self.known[name], self.n)
            for name, detector in self.detectors.items()
            if name in tables
        }

    def odd_parts(self, tables: Tables) -> list[tuple[str, ...]]:
        """Return for each case the parts in which it is odd, none for a case like those of the training."""
        found = self.rarity(tables)
        n = len(next(iter(tables.values()), ()))
        return [
            tuple(name for name, rare in found.items() if rare[row] <= self.threshold) for row in range(n)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, arrays left out."""
        return {
            "parts": {name: {"residual": item.residual} for name, item in self.detectors.items()},
            "n": self.n,
            "threshold": self.threshold,
        }

    def tensors(self) -> dict[str, Values]:
        """Return the arrays by name."""
        out: dict[str, Values] = {}
        for name, item in self.detectors.items():
            for field in ("centre", "scale", "components", "variances"):
                out[f"{name}.{field}"] = getattr(item, field)
            out[f"{name}.known"] = self.known[name]
        return out

    @classmethod
    def from_parts(cls, plain: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Oddity:
        """Read what `to_json` and `tensors` gave.

        Raises
        ------
        KeyError
            If an array is missing.
        """
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
        return cls(
            detectors={
                name: Detector(
                    centre=arrays[f"{name}.centre"],
                    scale=arrays[f"{name}.scale"],
                    components=arrays[f"{name}.components"],
                    variances=arrays[f"{name}.variances"],
                    residual=float(item["residual"]),
                )
                for name, item in plain["parts"].items()
            },
            known={name: arrays[f"{name}.known"] for name in plain["parts"]},
            n=int(plain["n"]),
            threshold=float(plain["threshold"]),
        )


def fit_oddity(
    tables: Tables, patients: NDArray[Any], *, false_alarms: float = FALSE_ALARMS
) -> tuple[Oddity, float] | None:
    """Return what tells odd cases, and its share of false alarms among training cases that it had not seen.

    Parameters
    ----------
    tables
        The training cases' rows of each part; a part whose rows differ in length for more than a few cases is left
        out, for it can't be learned what is usual.
    patients
        Patient of each case ``(n_cases,)``, who is never both fitted on and told.
    false_alarms
        Share of the training cases that may be odd.

    Returns
    -------
    tuple or None
        None for fewer than `FEWEST` cases or patients in fewer than `FOLDS` folds.
    """
    n = len(patients)
    if n < FEWEST or len(np.unique(patients)) < 2 * FOLDS:
        return None
    usual = {name: _table(rows) for name, rows in tables.items()}
    known = {name: table for name, table in usual.items() if table is not None}
    if not known:
        return None
    crossed = {name: np.full(n, np.nan) for name in known}
    # as many components where all cases are fitted on as where a fold is held out: their distances are compared
    k = int(np.clip(n * (FOLDS - 1) // FOLDS // CASES_A_COMPONENT, 1, MOST_COMPONENTS))
    floors = {name: _FLOOR if name in PARTS else 0.0 for name in known}
    for rows, held in GroupKFold(FOLDS).split(np.zeros(n), groups=patients):
        for name, table in known.items():
            detector = Detector.fitted(_whole(table[rows]), n_components=k, floor=floors[name])
            crossed[name][held] = _distance_of(detector, table[held])
    rare = np.min([_rank(distances) for distances in crossed.values()], axis=0)
    threshold = _threshold(rare, false_alarms)
    oddity = Oddity(
        detectors={
            name: Detector.fitted(_whole(table), n_components=k, floor=floors[name])
            for name, table in known.items()
        },
        known={name: _quantiles(distances) for name, distances in crossed.items()},
        n=n,
        threshold=threshold,
    )
    return oddity, float(np.mean(rare <= threshold))


def _table(rows: Sequence[Values]) -> Values | None:
    """Return rows as a table ``(n_cases, n_columns)``, those of an unusual length as NaN; None where many are."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    usual = int(np.bincount(lengths).argmax())
    if usual == 0 or np.mean(lengths != usual) > FALSE_ALARMS:
        return None
    return np.array([row if len(row) == usual else np.full(usual, np.nan) for row in rows])


def _whole(table: Values) -> Values:
    return np.asarray(table[~np.isnan(table).all(axis=1)])


def _distance_of(detector: Detector, table: Values) -> Values:
    """Return distances of rows, infinite for one that is of another kind of scan.

    Rounded, so that cases that are alike are equally far: on pictures of one size all are.
    """
    return np.where(np.isnan(table).all(axis=1), np.inf, np.round(detector.distance(table), _DECIMALS))


def _distances(detector: Detector, rows: Sequence[Values]) -> Values:
    width = len(detector.centre)
    table = np.array([row if len(row) == width else np.full(width, np.nan) for row in rows]).reshape(
        -1, width
    )
    return _distance_of(detector, table)


def _rank(distances: Values) -> Values:
    """Return the rarity of each training case among the others: 1/n of the farthest one."""
    ordered = np.sort(distances)
    return np.asarray((len(ordered) - np.searchsorted(ordered, distances, side="left")) / len(ordered))


_SHARES = np.concatenate([np.linspace(0, 0.8, _GRID // 4, endpoint=False), np.linspace(0.8, 1, _GRID)])
"""Where distances are remembered: most of the grid lies where it matters, in the tail."""


def _quantiles(distances: Values) -> Values:
    return np.asarray(np.quantile(distances[np.isfinite(distances)], _SHARES))


def _rarity(distances: Values, known: Values, n: int) -> Values:
    """Return the rarity of new cases among `n` training cases, (how many of them are as far + 1) / (n + 1)."""
    nearer = np.interp(np.minimum(distances, 1e12), known, _SHARES)
    # of equal distances the interpolation takes the last, as if the others were nearer
    first = np.minimum(np.searchsorted(known, distances, side="left"), len(known) - 1)
    nearer = np.where(known[first] == distances, _SHARES[first], nearer)
    return np.asarray((n * (1 - nearer) + 1) / (n + 1))


def _threshold(rare: Values, false_alarms: float) -> float:
    """Return the largest rarity at which no more than this share of the cases is told odd."""
    values = np.unique(rare)
    shares = np.searchsorted(np.sort(rare), values, side="right") / len(rare)
    able = values[shares <= false_alarms]
    return float(able[-1]) if able.size else 0.5 / (len(rare) + 1)
