"""What a delivered model brings beside its probabilities: how they are decided by, and which cases it doesn't know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.signature import signatures
from autoonco.evaluation.calibration import OutOfFold
from autoonco.evaluation.decisions import KEPT, OUTER, Decided, Decisions, with_sets, with_test_figures
from autoonco.evaluation.delivered import Weighted, mean_proba, restored
from autoonco.evaluation.oddity import FALSE_ALARMS, Oddity, Tables, fit_oddity
from autoonco.evaluation.outcome import ScopeResult
from autoonco.evaluation.splits import OuterSplit
from autoonco.evaluation.tasks import CLASSIFICATION
from autoonco.families.contract import FittedModel, ModelState, Runtime
from autoonco.metrics.scores import Labels, Values
from autoonco.search.interrupt import Allowance

EMBEDDING = "embedding"
_AT_ONCE = 16
_MOST_TESTED = 500
_TESTED_SHARE = 0.3  # of the time: for the test cases, which only measure


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Decisions, and what tells odd cases; None where there were too few cases, or no time, to learn it.

    `eye` is the number of the member whose embedding is looked at, None where none has one.
    """

    decisions: Decisions = field(default_factory=Decisions)
    oddity: Oddity | None = None
    eye: int | None = None

    def odd_parts(
        self, cases: Sequence[Case], members: Weighted, runtime: Runtime
    ) -> list[tuple[str, ...] | None]:
        """Return for each case in which parts it is unlike the training cases; None where that isn't known.

        A case that can't be looked at is not known; the others don't suffer from it.
        """
        if self.oddity is None:
            return [None] * len(cases)
        eye = None if self.eye is None else members[self.eye][1]
        try:
            return list(self.oddity.odd_parts(_tables(cases, eye, runtime)))
        except Exception:  # whatever it is, the prediction stands
            if len(cases) < 2:
                return [None] * len(cases)
            return [part for case in cases for part in self.odd_parts([case], members, runtime)]

    def state(self) -> ModelState:
        """Return JSON and tensors, as `families.state.write_state` takes them."""
        meta: dict[str, Any] = {"decisions": self.decisions.to_json(), "oddity": None, "eye": self.eye}
        if self.oddity is None:
            return ModelState(meta=meta)
        return ModelState(meta={**meta, "oddity": self.oddity.to_json()}, tensors=self.oddity.tensors())

    @classmethod
    def from_state(cls, state: ModelState) -> Trust:
        """Return what `state` described.

        Raises
        ------
        UnsafeBundleError
            If the calibration is none of autoonco's.
        """
        meta = state.meta
        oddity = None if meta["oddity"] is None else Oddity.from_parts(meta["oddity"], state.tensors)
        eye = meta["eye"]
        return cls(
            decisions=Decisions.from_json(meta["decisions"]),
            oddity=oddity,
            eye=None if eye is None else int(eye),
        )


def _tables(cases: Sequence[Case], eye: FittedModel | None, runtime: Runtime) -> Tables:
    found: dict[str, Sequence[Values]] = dict(
        signatures(cases, artefacts=runtime.artefacts, n_threads=runtime.n_threads)
    )
    if eye is not None:
        found[EMBEDDING] = list(_embedded(eye, cases))
    return found


def _embedded(model: FittedModel, cases: Sequence[Case]) -> Values:
    """Return what a model sees of cases ``(n_cases, n)``: a network's embedding, or its table of features."""
    see = getattr(model, "embed", None) or getattr(model, "table")  # noqa: B009 - `_eye_of` has looked
    return np.asarray(see(cases), dtype=np.float64).reshape(len(cases), -1)


def _eye_of(members: Weighted) -> int | None:
    """Return the heaviest member that sees numbers of a case; one that wasn't trained by gradient first.

    A fine-tuned network's embeddings of its training cases are not those of cases it has never seen.
    """
    able = [
        (not _is_trained(model), weight, -number)
        for number, (weight, model) in enumerate(members)
        if hasattr(model, "embed") or hasattr(model, "table")
    ]
    return -max(able)[2] if able else None


def _is_trained(model: FittedModel) -> bool:
    """Return whether a model's embeddings are of a network that was fine-tuned: its own, or a fusion's."""
    branches = getattr(model, "branches", ())
    return hasattr(model, "views") or any(branch.embedder.features is None for branch in branches)


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """A model's trust and the record of it, plain JSON for ``evaluation/decisions.json``."""

    trust: Trust
    record: Mapping[str, Any]


def learn_trust(
    dataset: Dataset,
    splits: Sequence[OuterSplit],
    results: Sequence[ScopeResult],
    kept: NDArray[np.int64],
    runtime: Runtime,
    *,
    limit_s: float,
    task: str = CLASSIFICATION,
) -> Trusted | None:
    """Return the trust of the model that the last scope delivers; None where it has no decisions.

    Parameters
    ----------
    dataset
        All cases of the run.
    splits, results
        The scopes in order.
    kept
        Positions of training patients' cases that chose and fitted nothing; may be empty.
    runtime
        Where fitted members work; their artefacts of the training cases are in its cache mostly.
    limit_s
        Seconds for looking at the training cases.
    task
        What kind of labels there are, see `evaluation.tasks`.
    """
    final, split = results[-1], splits[-1]
    if final.decided is None or dataset.y is None:
        return None
    members = tuple((item.weight, restored(item.family, item.folder, runtime)) for item in final.delivered)
    decided = _calibrated_sets(final.decided, dataset, splits, results, kept, members, task)
    judged = next(model for model in final.judged if model.kind == "ensemble")
    if len(split.test):
        tested = _out_of_sample(dataset, split.test, judged.proba, np.zeros(len(split.test), dtype=np.int64))
        decided = with_test_figures(decided, tested, task=task)
    oddity, eye, record = _learn_oddity(dataset, split, members, runtime, limit_s=limit_s)
    trust = Trust(decisions=decided.decisions, oddity=oddity, eye=eye)
    return Trusted(trust=trust, record={**decided.record, "out_of_distribution": record})


def _calibrated_sets(
    decided: Decided,
    dataset: Dataset,
    splits: Sequence[OuterSplit],
    results: Sequence[ScopeResult],
    kept: NDArray[np.int64],
    members: Weighted,
    task: str,
) -> Decided:
    """Return the decisions with prediction sets calibrated on cases that chose nothing, where there are any."""
    assert dataset.y is not None
    if len(kept):
        raw = mean_proba(members, [dataset.cases[row] for row in kept], n_classes=len(dataset.classes))
        _, patient = np.unique(dataset.groups[kept], return_inverse=True)
        cases = _out_of_sample(dataset, kept, decided.decisions.calibrator(raw), patient % 5)
        return with_sets(decided, cases, calibrated_on=KEPT, task=task)
    outer = [
        (split, next(model.proba for model in result.judged if model.kind == "ensemble"))
        for split, result in zip(splits[:-1], results[:-1], strict=True)
        if split.repeat == 0 and len(split.test)
    ]
    if len(outer) < 2:
        return decided
    cases = _out_of_sample(
        dataset,
        np.concatenate([split.test for split, _ in outer]),
        np.concatenate([proba for _, proba in outer]),
        np.repeat(np.arange(len(outer)), [len(split.test) for split, _ in outer]),
    )
    return with_sets(decided, cases, calibrated_on=OUTER, task=task)


def _out_of_sample(dataset: Dataset, rows: Labels, proba: Values, fold: Labels) -> OutOfFold:
    """Return cases of a dataset by position, with calibrated probabilities by models that had not seen them."""
    assert dataset.y is not None
    return OutOfFold(y=dataset.y[rows], proba=proba, fold=fold, patient=dataset.groups[rows])


def _learn_oddity(
    dataset: Dataset, split: OuterSplit, members: Weighted, runtime: Runtime, *, limit_s: float
) -> tuple[Oddity | None, int | None, dict[str, Any]]:
    """Return what tells odd cases, the member whose embedding it looks at, and the record of both."""
    eye = _eye_of(members)
    model = None if eye is None else members[eye][1]
    order = np.random.default_rng(0).permutation(split.train)
    allowance = Allowance(limit_s)
    share = 1 - _TESTED_SHARE if len(split.test) else 1.0
    rows, parts = _looked_at(dataset, order, model, runtime, limit_s=share * limit_s)
    found = fit_oddity(parts, dataset.groups[rows]) if len(rows) else None
    record: dict[str, Any] = {
        "n": len(rows),
        "n_train": len(split.train),
        "allowed_false_alarms": FALSE_ALARMS,
    }
    if found is None:
        why = (
            "too few training cases could be looked at in time" if len(rows) < len(order) else "too few cases"
        )
        return None, None, record | {"reason": why}
    oddity, rate = found
    record |= {
        "parts": sorted(oddity.detectors),
        "cross_fitted_false_alarms": rate,
        "embedding_of_trained_network": model is not None and _is_trained(model),
    }
    if len(split.test):
        drawn = np.random.default_rng(0).permutation(split.test)[:_MOST_TESTED]
        trust, odd = Trust(oddity=oddity, eye=eye), []
        for first in range(0, len(drawn), _AT_ONCE):
            if allowance.is_over():
                break
            cases = [dataset.cases[row] for row in drawn[first : first + _AT_ONCE]]
            odd += trust.odd_parts(cases, members, runtime)
        known = [part for part in odd if part is not None]
        record["test"] = {
            "n": len(known),
            "odd": float(np.mean([bool(part) for part in known])) if known else None,
            "by_part": {name: sum(name in part for part in known) for name in sorted(oddity.detectors)},
        }
    return oddity, eye, record


def _looked_at(
    dataset: Dataset, order: Labels, model: FittedModel | None, runtime: Runtime, *, limit_s: float
) -> tuple[Labels, dict[str, list[Values]]]:
    """Return which cases were looked at before the time was over, and their numbers by part."""
    allowance = Allowance(limit_s)
    rows: list[int] = []
    parts: dict[str, list[Values]] = {}
    for first in range(0, len(order), _AT_ONCE):
        if allowance.is_over():
            break
        some = order[first : first + _AT_ONCE].tolist()
        for name, found in _tables([dataset.cases[row] for row in some], model, runtime).items():
            parts.setdefault(name, []).extend(found)
        rows += some
    return np.array(rows, dtype=np.int64), parts


def without(split: OuterSplit, kept: NDArray[np.int64]) -> OuterSplit:
    """Return a split whose training part lacks the cases that are `kept` apart."""
    return replace(split, train=split.train[~np.isin(split.train, kept)])
