"""Which models a run compares: whatever some outer fold judged, also what the final search came to no model of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.splits import OuterSplit

BASELINE = "baseline"


def models_json(results: Sequence[ScopeResult]) -> list[dict[str, Any]]:
    """Return the judged models as ``evaluation/models.json`` holds them, as the last of `results` has them.

    ``in_final`` is false of a model that some outer folds judged and the final search has none of: it is compared, has
    no members, and its score and seconds are those of the last fold that had it. ``fold_scores`` and ``fold_seconds``
    are those of each scope's model of that name.
    """
    return [
        (judged.to_json() if in_final else judged.to_json() | {"members": []})
        | {
            "in_final": in_final,
            "fold_scores": [result.inner_score_of(judged.name) for result in results],
            "fold_seconds": [result.seconds_of(judged.name) for result in results],
        }
        for judged, in_final in _every(results)
    ]


def missing_notes(splits: Sequence[OuterSplit], results: Sequence[ScopeResult]) -> list[str]:
    """Return a sentence on each family that has no model in the final search, or in some of the folds that judge."""
    tested = [result for split, result in zip(splits, results, strict=True) if len(split.test)]
    found = []
    for judged, in_final in _every(results):
        n = sum(_has(result, judged.name) for result in tested)
        if judged.kind == BASELINE or (in_final and n == len(tested)):
            continue
        where = f"{judged.name} has a model in {n} of {len(tested)} outer folds"
        found.append(
            f"{where}, on which it is compared with the others."
            if in_final
            else f"{where}, but the final search came to none of it: it is compared on those folds, and is not in the "
            "model that is delivered."
        )
    return found


def _every(results: Sequence[ScopeResult]) -> list[tuple[Judged, bool]]:
    """Return each model as the last scope that has it describes it, and whether that is the final one."""
    *outer, final = results
    found = {judged.name: (judged, True) for judged in final.judged}
    for result in reversed(outer):
        for judged in result.judged:
            found.setdefault(judged.name, (judged, False))
    return sorted(found.values(), key=lambda item: item[0].kind == BASELINE)


def _has(result: ScopeResult, name: str) -> bool:
    return any(judged.name == name for judged in result.judged)
