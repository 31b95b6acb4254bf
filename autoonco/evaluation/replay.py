"""One trial of a run, run again alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.errors import RunMismatchError, UnknownNameError
from autoonco.evaluation.inner import inner_problem
from autoonco.evaluation.modes import SPLITS, Mode
from autoonco.evaluation.run_folder import read_json
from autoonco.evaluation.split_table import SPLITS_FILE, read_split_table
from autoonco.evaluation.splits import OuterSplit, groups_of, outer_splits
from autoonco.evaluation.tasks import get_task, metric_of
from autoonco.evaluation.told import kept_apart
from autoonco.evaluation.trust import without
from autoonco.families.contract import Runtime
from autoonco.search.store import read_trials
from autoonco.search.trial import Origin, Task, Trial
from autoonco.search.worker import run_fold
from autoonco.settings import Settings


def replay(
    run_dir: Path, dataset: Dataset, facts: Sequence[CaseFacts], trial_id: int, *, n_threads: int
) -> tuple[Trial, float]:
    """Return a trial of the run and its score computed anew in this process, with the trial's own seed.

    Raises
    ------
    RunMismatchError
        If `dataset`, whose facts are `facts`, is not the run's.
    UnknownNameError
        If the run has no trial of that number.
    """
    run = read_json(run_dir / "run.json")
    task = get_task(run["task"])
    dataset = task.labelled(dataset)
    if run["identity"]["data"] != dataset.identity():
        raise RunMismatchError(f"{run_dir} holds a run over other data: give the manifest it was made with.")
    trial, settings = _trial(run_dir, trial_id), Settings.checked(run["settings"])
    splits = splits_again(run_dir, run, dataset, facts)
    problem = inner_problem(
        dataset,
        facts,
        next(split for split in splits if split.scope == trial.scope),
        metric=metric_of(task, run["metric"]),
        families=run["identity"]["families"],
        settings=settings,
        seed=run["seed"],
        task=task,
    )
    again = trial.origin is Origin.FINALIST
    n_fresh = (trial.fidelity.repeats - 1) * len(problem.folds)
    runtime = Runtime(artefacts=ArtefactCache(), n_threads=n_threads)
    scores = []
    for fold in problem.fresh[:n_fresh] if again else problem.folds[: trial.fidelity.folds]:
        job = Task(
            id=trial.id,
            family=trial.family,
            config=trial.config,
            fidelity=trial.fidelity,
            fold=fold,
            fingerprint=problem.fingerprint.to_json(),
            seed=trial.seed,
        )
        scores.append(problem.fold_score(fold, run_fold(job, dataset, runtime, dict(trial.notes))))
    return trial, float(np.mean(scores))


def splits_again(
    run_dir: Path, run: Mapping[str, Any], dataset: Dataset, facts: Sequence[CaseFacts]
) -> list[OuterSplit]:
    """Return the searches of a run, whose ``run.json`` is `run`, each with the cases that it learned from.

    A single ready split was written down without the cases that were kept apart, any other one is split anew.
    """
    task, settings = get_task(run["task"]), Settings.checked(run["settings"])
    mode, groups = Mode(kind=run["evaluation"], repeats=run["repeats"]), groups_of(dataset, facts)
    splits = outer_splits(
        dataset,
        mode,
        settings=settings,
        seed=run["seed"],
        groups=groups,
        task=task,
        table=read_split_table(run_dir / SPLITS_FILE, dataset) if mode.kind == SPLITS else None,
    )
    if mode.kind != SPLITS or not len(splits[-1].test):
        kept = kept_apart(dataset, splits[-1], groups, settings.conformal_share, seed=run["seed"])
        splits[-1] = without(splits[-1], kept)
    return splits


def _trial(run_dir: Path, trial_id: int) -> Trial:
    """Return a trial of the journal, which is only read: the run may be going on."""
    trials = {trial.id: trial for trial in read_trials(run_dir)}
    if trial_id not in trials:
        raise UnknownNameError("trial", str(trial_id), [str(number) for number in trials])
    return trials[trial_id]
