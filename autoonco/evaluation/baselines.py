"""What every model has to beat: the majority, clinical columns, the lesion's size, its outline, radiomics as usual."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, DataError
from autoonco.evaluation.fixed_radiomics import fixed_spec, lasso_proba, shares
from autoonco.evaluation.outcome import Judged
from autoonco.evaluation.splits import OuterSplit
from autoonco.evaluation.tables import MAJORITY as MAJORITY
from autoonco.families.radiomics import family as radiomics
from autoonco.families.tables import spread
from autoonco.features.blocks import extract_outlines, extract_table
from autoonco.search.interrupt import Allowance
from autoonco.tabular.clinical_columns import ClinicalEncoder

CLINICAL = "baseline: clinical variables"
LESION_SIZE = "baseline: lesion size"
LESION_OUTLINE = "baseline: lesion outline"
RADIOMICS = "baseline: radiomics, LASSO"
_BATCH = 8  # cases a thread between two looks at the clock

Rows = NDArray[np.int64]
Table = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The baselines of one scope, learned from its training cases alone.

    `limit_s` is what extracting features for one baseline may take; one that takes longer is left out, as is one that
    the data don't allow, and `notes` says so.
    """

    dataset: Dataset
    facts: Sequence[CaseFacts]
    fingerprint: Fingerprint
    artefacts: ArtefactCache
    n_threads: int
    seed: int
    limit_s: float
    notes: list[str] = field(default_factory=list)

    def judged(self, split: OuterSplit) -> list[Judged]:
        """Return each baseline's probabilities of the test cases, with the seconds that it took."""
        if not len(split.test):
            return []
        made = {
            MAJORITY: self._majority,
            CLINICAL: self._clinical,
            LESION_SIZE: self._size,
            LESION_OUTLINE: self._outline,
            RADIOMICS: self._radiomics,
        }
        found = []
        for name, make in made.items():
            began = time.monotonic()
            try:
                proba = make(split)
            except AutoOncoError as error:
                note = self.dataset.redact(f"No {name}: {error}")
                self.notes.extend([] if note in self.notes else [note])  # once, and not by every scope
                continue
            if proba is not None:
                seconds = time.monotonic() - began
                found.append(Judged(name=name, kind="baseline", proba=proba, refit_s=seconds))
        return found

    def _majority(self, split: OuterSplit) -> NDArray[Any]:
        return shares(self._y, split.train, len(split.test), len(self.dataset.classes))

    def _clinical(self, split: OuterSplit) -> NDArray[Any] | None:
        if not self.dataset.clinical:
            return None
        cases = self.dataset.cases
        inside = [cases[row] for row in split.train]
        encoder = ClinicalEncoder.fitted(inside, self.dataset.clinical, flag_missing=True)
        x = encoder.transform(cases)
        x = x[:, np.isfinite(x[split.train]).any(axis=0)]
        if not x.shape[1]:
            raise DataError("no clinical column has a value that two training cases share, or a number.")
        return self._regression(x, split)

    def _size(self, split: OuterSplit) -> NDArray[Any] | None:
        self._require_all_or_none([_lesion_size(case) > 0 for case in self.facts])
        x = lesion_sizes(self.facts)
        return None if x is None else self._regression(x, split)

    def _outline(self, split: OuterSplit) -> NDArray[Any] | None:
        cases = self.dataset.cases
        channel = next(iter(cases[0].images), None)
        self._require_all_or_none(
            [channel is not None and case.mask_of(channel) is not None for case in cases]
        )
        x = lesion_outlines(cases, artefacts=self.artefacts, n_threads=self.n_threads, limit_s=self.limit_s)
        return None if x is None else self._regression(x, split)

    def _require_all_or_none(self, has_lesion: Sequence[bool]) -> None:
        """Raise `DataError` where some cases have a lesion and others don't: of none, no baseline is expected."""
        if any(has_lesion) and not all(has_lesion):
            raise DataError(
                f"{len(has_lesion) - sum(has_lesion)} of {len(has_lesion)} cases have no lesion mask to measure: give "
                "every case one."
            )

    def _radiomics(self, split: OuterSplit) -> NDArray[Any] | None:
        if radiomics.why_not(self.fingerprint) is not None:
            return None
        spec = fixed_spec(self.fingerprint)

        def extract(cases: Sequence[Case]) -> Table:
            return extract_table(cases, spec, artefacts=self.artefacts, n_threads=self.n_threads)[0]

        x = _in_time(extract, self.dataset.cases, self.limit_s, self.n_threads)
        n_classes, groups = len(self.dataset.classes), self.dataset.groups
        return lasso_proba(x, self._y, groups, split.train, split.test, n_classes=n_classes, seed=self.seed)

    def _regression(self, x: Table, split: OuterSplit) -> NDArray[Any]:
        return baseline_proba(x, self._y, split.train, split.test, n_classes=len(self.dataset.classes))

    @property
    def _y(self) -> Rows:
        assert self.dataset.y is not None
        return self.dataset.y


def lesion_sizes(facts: Sequence[CaseFacts]) -> Table | None:
    """Return the logarithm of each lesion's area or volume ``(n_cases, 1)``, or None where one has none."""
    sizes = np.array([_lesion_size(case) for case in facts])
    return np.log(sizes)[:, None] if (sizes > 0).all() else None


def lesion_outlines(
    cases: Sequence[Case], *, artefacts: ArtefactCache, n_threads: int, limit_s: float = math.inf
) -> Table | None:
    """Return what each lesion's outline tells without a single grey value ``(n_cases, n_features)``.

    Outlines are drawn by people who often knew the diagnosis; where they alone tell the classes apart, a model
    that sees the mask may have learned the drawing. None where a case has no mask.

    Raises
    ------
    DataError
        If a case can't be read, or it takes longer than `limit_s` seconds.
    """
    channel = next(iter(cases[0].images), None)
    if channel is None or any(case.mask_of(channel) is None for case in cases):
        return None
    return _in_time(
        lambda some: extract_outlines(some, channel, artefacts=artefacts, n_threads=n_threads),
        cases,
        limit_s,
        n_threads,
    )


def baseline_proba(
    x: Table, y: Rows, train: Rows, test: Rows, *, n_classes: int | None = None
) -> NDArray[Any]:
    """Return probabilities ``(n_test, n_classes)`` of a logistic regression on columns `x`, fitted on `train`."""
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))
    found = model.fit(x[train], y[train]).predict_proba(x[test])
    return spread(found, model.classes_, len(model.classes_) if n_classes is None else n_classes)


def _in_time(
    extract: Callable[[Sequence[Case]], Table], cases: Sequence[Case], limit_s: float, n_threads: int
) -> Table:
    """Return the features of all cases, made batch by batch while `limit_s` lets expect an end."""
    allowance, began, parts, size = Allowance(limit_s), time.monotonic(), [], _BATCH * n_threads
    for start in range(0, len(cases), size):
        spent = time.monotonic() - began
        if start and (allowance.was_cut() or spent * len(cases) / start > limit_s):
            raise DataError(
                f"its features of {len(cases)} cases take about {spent * len(cases) / start:.0f} s, and "
                f"{limit_s:.0f} s of the time limit are kept for them. What was made is kept, and a longer limit or "
                "another run goes on from there."
            )
        parts.append(extract(cases[start : start + size]))
    return np.concatenate(parts)


def _lesion_size(case: CaseFacts) -> float:
    """Return the area in mm² or the volume in mm³ in the first channel, nan without a mask."""
    first = next(iter(case.channels.values()), None)
    lesion = None if first is None else first.lesion
    return math.nan if first is None or lesion is None else lesion.voxels * math.prod(first.spacing_mm)
