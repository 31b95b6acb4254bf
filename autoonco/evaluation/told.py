"""The files of a run that say how far its model may be trusted: decisions, subgroups and shortcuts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.facts import CaseFacts
from autoonco.data.folds import holdout
from autoonco.data.manifest import Dataset
from autoonco.evaluation.baselines import lesion_sizes
from autoonco.evaluation.extras import tried
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.predicted import once_each, predictions_frame
from autoonco.evaluation.run_folder import RunFolder
from autoonco.evaluation.shortcuts import ORIGINAL, shortcut_table
from autoonco.evaluation.splits import FINAL, Groups, OuterSplit
from autoonco.evaluation.subgroups import attributes_of, subgroup_table
from autoonco.evaluation.tables import FIGURES_OF
from autoonco.evaluation.tasks import Task
from autoonco.evaluation.trust import Trust, Trusted, learn_trust
from autoonco.families.contract import Runtime
from autoonco.families.state import write_state

DECISIONS_FILE, SUBGROUPS_FILE, SHORTCUTS_FILE = (
    f"evaluation/{name}" for name in ("decisions.json", "subgroups.csv", "shortcuts.csv")
)
_FOLDER = "decisions"


def trust_folder(run: Path) -> Path | None:
    """Return the folder of a run that holds the state of its model's `Trust`, None where there is none."""
    folder = run / _FOLDER
    return folder if (folder / "meta.json").is_file() else None


def kept_apart(
    dataset: Dataset, split: OuterSplit, groups: Groups, share: float, *, seed: int
) -> NDArray[np.int64]:
    """Return the positions of the training cases that are kept apart to calibrate prediction sets; none for no share.

    `groups` are kept whole, see `splits.groups_of`.

    Raises
    ------
    DataError
        If a class has too few patients for it.
    """
    if not share or dataset.y is None:
        return np.empty(0, dtype=np.int64)
    rows = split.train
    _, apart = holdout(dataset.y[rows], groups[rows], share, seed=seed, class_names=dataset.classes)
    return np.asarray(rows[apart], dtype=np.int64)


def tell_trust(
    folder: RunFolder,
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    groups: Groups,
    splits: Sequence[OuterSplit],
    results: Sequence[ScopeResult],
    kept: NDArray[np.int64],
    runtime: Runtime,
    task: Task,
    *,
    limit_s: float,
) -> list[str]:
    """Write decisions, subgroups and shortcuts of a run, and the state that its model file takes.

    Returns
    -------
    list of str
        A sentence for each thing that couldn't be made.
    """
    notes: list[str] = []
    noting: dict[str, Any] = {"dataset": dataset, "notes": notes}
    shutil.rmtree(folder.path / _FOLDER, ignore_errors=True)  # an earlier session's is of another model
    learning = partial(learn_trust, dataset, splits, results, kept, runtime, limit_s=limit_s, task=task.name)
    found = tried("What tells how far the model may be trusted", learning, **noting)
    decided = results[-1].decided
    if found is None and decided is not None:  # what is delivered decides at least as it was judged
        found = Trusted(trust=Trust(decisions=decided.decisions), record=decided.record)
    tests = [(split, result) for split, result in zip(splits, results, strict=True) if len(split.test)]
    if found is not None:
        folder.write(DECISIONS_FILE, _with_thresholds(found.record, tests))
        write_state(folder.path / _FOLDER, found.trust.state())
    if tests:
        ensembles = predictions_frame(dataset, groups, [(s, _only_ensemble(r)) for s, r in tests])
        for what, name, make in (
            ("Figures of subgroups", SUBGROUPS_FILE, partial(_subgroups, ensembles, dataset, facts, task)),
            (
                "Figures on shortcuts",
                SHORTCUTS_FILE,
                partial(_shortcuts, ensembles, dataset, facts, groups, tests, task),
            ),
        ):
            table = tried(what, make, **noting)
            if table is not None:
                folder.write(name, table)
    return notes


def _with_thresholds(
    record: Mapping[str, Any], tests: Sequence[tuple[OuterSplit, ScopeResult]]
) -> Mapping[str, Any]:
    """Return the record with the threshold of each outer fold: the delivered one was learned on all of their cases.

    A final search that is judged itself decides on its test cases by its own, which is the delivered one.
    """
    if all(split.scope == FINAL for split, _ in tests):
        return record
    own = [None if each.decided is None else each.decided.decisions.threshold for _, each in tests]
    return {**record, "threshold": {**record["threshold"], "of_folds": own}}


def _only_ensemble(result: ScopeResult) -> ScopeResult:
    return _with(result, tuple(model for model in result.judged if model.kind == ORIGINAL))


def _with(result: ScopeResult, judged: tuple[Judged, ...]) -> ScopeResult:
    return ScopeResult(judged=judged, delivered=(), fingerprint=result.fingerprint)


def _subgroups(
    ensembles: pd.DataFrame, dataset: Dataset, facts: Sequence[CaseFacts], task: Task
) -> pd.DataFrame:
    rows = [case.row for case in dataset.cases]
    attributes = {
        each.name: dict(zip(rows, each.groups.tolist(), strict=True))
        for each in attributes_of(dataset, facts)
    }
    return subgroup_table(once_each(ensembles), attributes, FIGURES_OF[task.name])


def _shortcuts(
    ensembles: pd.DataFrame,
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    groups: Groups,
    tests: Sequence[tuple[OuterSplit, ScopeResult]],
    task: Task,
) -> pd.DataFrame:
    frames, notes = [ensembles], {}
    names = list(dict.fromkeys(probe.name for _, result in tests for probe in result.probes))
    for fold, (split, result) in enumerate(tests):
        for probe in result.probes:
            if probe.reason:
                notes[probe.name] = probe.reason
            if probe.positions:
                part = OuterSplit(
                    scope=split.scope,
                    train=split.train,
                    test=split.test[list(probe.positions)],
                    repeat=split.repeat,
                )
                judged = Judged(name=probe.name, kind="probe", proba=probe.proba)
                frame: Any = predictions_frame(dataset, groups, [(part, _with(result, (judged,)))])
                frames.append(frame.assign(fold=fold))
    sizes = lesion_sizes(facts)
    by_row = (
        None
        if sizes is None
        else {case.row: float(size) for case, size in zip(dataset.cases, sizes[:, 0], strict=True)}
    )
    table = pd.concat(frames, ignore_index=True)
    return shortcut_table(table, names, notes, by_row, auc=task.auc, task=task.name)
