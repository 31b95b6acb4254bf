"""A whole run: every scope searched, refitted and judged, everything written to the run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoonco.data.cache import ArtefactCache, default_cache_dir
from autoonco.data.checks import CaseFacts, Finding
from autoonco.data.manifest import Dataset
from autoonco.errors import RunMismatchError
from autoonco.evaluation import modes
from autoonco.evaluation.compared import missing_notes, models_json
from autoonco.evaluation.early import told
from autoonco.evaluation.explained import explain_run, explaining_s
from autoonco.evaluation.extras import tried
from autoonco.evaluation.inner import check_inner
from autoonco.evaluation.judge import Judge
from autoonco.evaluation.outcome import ScopeResult
from autoonco.evaluation.own_metric import OWN_FILE, own_figures
from autoonco.evaluation.patients import by_patient, has_several
from autoonco.evaluation.power import POWER_FILE, foreseen
from autoonco.evaluation.predicted import predictions_frame
from autoonco.evaluation.radiomics_record import SETTINGS_FILE, TABLE_FILE, radiomics_record
from autoonco.evaluation.request import Request, settings_json
from autoonco.evaluation.run_folder import RunFolder, hardware, versions
from autoonco.evaluation.said import constant, said, searches_json
from autoonco.evaluation.speed import SPEED_FILE, speeds
from autoonco.evaluation.split_table import SPLITS_FILE, splits_frame
from autoonco.evaluation.splits import Groups, OuterSplit, Rows, groups_of, outer_splits
from autoonco.evaluation.tables import read_predictions
from autoonco.evaluation.told import kept_apart, tell_trust
from autoonco.evaluation.trust import without
from autoonco.families import get_family
from autoonco.families.contract import Runtime
from autoonco.nets import own_zoo
from autoonco.nets.access import Access
from autoonco.nets.zoo import left_out
from autoonco.search.devices import visible_gpus
from autoonco.search.interrupt import stop_asked
from autoonco.search.problem import BEFORE, Observer, Progress
from autoonco.search.rungs import rung_correlations
from autoonco.search.space import build_space, space_json
from autoonco.search.store import Store
from autoonco.search.worker import Setup
from autoonco.search.workers import WorkerPool

if TYPE_CHECKING:
    from autoonco.search.dask_pool import DaskPool

_RECORD_SHARE = 0.1
"""Share of the time limit for the best model's features, where they were made on other machines than this one."""
_TRUST_SHARE = 0.05
"""Share of the time limit for looking at the training cases, so that others can be told to be unlike them."""
_SPEED_SHARE = 0.02
"""Share of the time limit after which no further model is timed on new cases."""
_ICC_SHARE = 0.02
"""Share of the time limit for features of perturbed masks, which no model needs."""


def run_experiment(
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    findings: Sequence[Finding],
    request: Request,
    folder: RunFolder,
    *,
    n_excluded: int,
    started: float,
    observer: Observer | None = None,
) -> tuple[ScopeResult, str | None]:
    """Run every scope and return the final one's result; `started` is the monotonic time the run began.

    `facts` belong to `dataset`'s cases one by one. The time limit, less a little for explanations, is shared evenly by
    the scopes. Beside the result stands what has to be said of a run that was asked to end and did, None of another.
    """
    groups = groups_of(dataset, facts)
    splits, kept = _splits(dataset, groups, request)
    spoken = said(dataset, groups, splits, request.mode, request.table, limit_s=request.time_limit_s)
    margin, can_repeat = request.settings.equivalence_margin, request.evaluation == modes.NESTED
    power = foreseen(dataset, groups, splits, request.task, margin=margin, can_repeat=can_repeat)
    if power is not None:
        spoken.append(power["sentence"])
        folder.write(POWER_FILE, power)
    for sentence in spoken:
        folder.log(sentence)
    _tell(observer, request, spoken)
    folder.write("checks.csv", _findings_frame(findings))
    rows = [case.row for case in dataset.cases]
    folder.write(
        SPLITS_FILE,
        splits_frame(rows, {each.scope: (each.train, each.test) for each in splits if len(each.test)}),
    )
    folder.update(
        session_s=time.monotonic() - started,
        status="running",
        stopped=None,
        failure=None,
        seed=request.seed,
        task=request.task.name,
        metric=request.metric.name,
        evaluation=request.evaluation,
        repeats=request.mode.repeats,
        searches=searches_json(splits, request.time_limit_s),
        notes=spoken,
        time_limit_s=request.time_limit_s,
        n_jobs=request.n_jobs,
        device=request.device,
        settings=settings_json(request.settings),
        versions=versions(),
        hardware=hardware(),
        n=_counts(dataset, splits[-1], n_excluded),
    )
    setup = Setup(
        dataset=dataset,
        cache_dir=default_cache_dir(),
        device=request.device,
        n_threads=request.n_threads,
        probe=not request.settings.is_reproducible(n_workers=_n_workers(request)),
        environment=Access.current().environment() | own_zoo.environment(),
    )
    with _pool(setup, request) as pool:
        judge = Judge(
            dataset=dataset,
            facts=facts,
            families=request.families,
            metric=request.metric,
            settings=request.settings,
            seed=request.seed,
            pool=pool,
            store=Store(folder.path),
            artefacts=ArtefactCache(setup.cache_dir),
            n_workers=_n_workers(request),
            n_threads=request.n_threads,
            limit_s=(request.time_limit_s - explaining_s(request.time_limit_s)) / len(splits),
            task=request.task,
            observer=observer,
            notes=spoken,
        )
        _write_space(folder, judge, splits[-1])
        planned, splits = splits, []
        results: list[ScopeResult] = []
        for split in planned:
            already_s = time.monotonic() - started if split is planned[0] else 0.0
            result = judge.run(split, already_s=already_s)
            if result is None:
                continue
            splits.append(split)
            results.append(result)
            tested = list(zip(splits, results, strict=True))
            predictions = predictions_frame(dataset, groups, tested)
            folder.write("evaluation/predictions.csv", predictions)
            if has_several(predictions):
                how, task = request.settings.patient_level, request.task.name
                folder.write("evaluation/patients.csv", by_patient(predictions, how=how, task=task))
    judge.notes.extend([*constant(splits, results), *missing_notes(splits, results)])
    noting: dict[str, Any] = {"dataset": dataset, "notes": judge.notes}
    folder.write("evaluation/models.json", models_json(results))
    if request.metric.code and (judged := read_predictions(folder.path)) is not None:
        own = tried("Figures of your own metric", lambda: own_figures(judged, request.metric), **noting)
        if own is not None:
            folder.write(OWN_FILE, own)
    # shares are of what the run had: of one that was asked to end, up to now
    whole_s = min(request.time_limit_s, time.monotonic() - started) if stop_asked() else request.time_limit_s
    by_time = stop_asked() or not judge.reproducible
    _write_radiomics(folder, dataset, splits[-1], results[-1], judge, whole_s=whole_s if by_time else np.inf)
    runtime = Runtime(artefacts=judge.artefacts, n_threads=request.n_threads)
    left_s = request.time_limit_s - (time.monotonic() - started)
    limit_s = min(left_s, _TRUST_SHARE * whole_s) if by_time else np.inf
    arguments = (folder, dataset, facts, groups, splits, results, kept, runtime, request.task)
    judge.notes.extend(tell_trust(*arguments, limit_s=limit_s))
    left_s = request.time_limit_s - (time.monotonic() - started)
    limit_s = min(left_s, _SPEED_SHARE * whole_s) if by_time else np.inf
    cases = [dataset.cases[row] for row in splits[-1].train]
    measuring = partial(speeds, results[-1].judged, folder.path / "models", cases, runtime, limit_s=limit_s)
    if (measured := tried("Seconds a case", measuring, **noting)) is not None:
        folder.write(SPEED_FILE, measured)
    folder.write("evaluation/rungs.csv", rung_correlations(judge.store.scope_trials(splits[-1].scope)))
    limit_s = explaining_s(whole_s) if by_time else np.inf
    explaining = partial(explain_run, device=request.device, limit_s=limit_s)
    tried("Explanations", lambda: explaining(judge, splits[-1], results[-1], folder), **noting)
    stopped = None
    if stop_asked():
        spent = {"after_s": folder.spent_s(time.monotonic() - started), "limit_s": request.time_limit_s}
        stopped = told(planned, [split.scope for split in splits], judge.cut_short, judge.store, **spent)
        folder.log(stopped)
    folder.update(session_s=time.monotonic() - started, notes=list(judge.notes), stopped=stopped)
    return results[-1], stopped


def _tell(observer: Observer | None, request: Request, spoken: Sequence[str]) -> None:
    """Let whoever watches read what is known before the search."""
    if observer is not None:
        limit_s, families = request.time_limit_s, request.families
        observer(
            Progress(
                scope=BEFORE,
                families=families,
                elapsed_s=0.0,
                limit_s=limit_s,
                trials=(),
                running=(),
                notes=tuple(spoken),
            )
        )


def _splits(dataset: Dataset, groups: Groups, request: Request) -> tuple[list[OuterSplit], Rows]:
    """Return the searches of the run, each known to be possible, and the cases that the final one leaves apart."""
    settings, seed, task = request.settings, request.seed, request.task
    splits = outer_splits(
        dataset, request.mode, settings=settings, seed=seed, groups=groups, task=task, table=request.table
    )
    kept = kept_apart(dataset, splits[-1], groups, settings.conformal_share, seed=seed)
    splits[-1] = without(splits[-1], kept)
    check_inner(dataset, splits, groups, task, settings, seed=seed)
    return splits, kept


def _pool(setup: Setup, request: Request) -> WorkerPool | DaskPool:
    """Return who does the work: the cluster that was given, or processes of this machine."""
    limit_gb = request.settings.memory_limit_gb
    if request.client is not None:
        from autoonco.search.dask_pool import DaskPool

        return DaskPool(request.client, setup, memory_limit_gb=limit_gb)
    gpus = visible_gpus(request.device)
    return WorkerPool(setup, n_workers=request.n_jobs, gpus=gpus, memory_limit_gb=limit_gb)


def _n_workers(request: Request) -> int:
    """Return how many trials can run at the same time, at least: a cluster counts as two."""
    return (
        max(2, request.n_jobs)
        if request.client is not None
        else request.n_jobs + len(visible_gpus(request.device))
    )


def _write_space(folder: RunFolder, judge: Judge, split: OuterSplit) -> None:
    problem = judge.problem(split)
    folder.write("fingerprint.json", problem.fingerprint.to_json())
    space = space_json(build_space(problem.families, problem.fingerprint))
    path = folder.path / "space.json"
    if path.exists() and path.read_text(encoding="utf-8") != space + "\n":
        raise RunMismatchError(
            f"{folder.path} holds a run over another space or set of families. Choose another run folder."
        )
    path.write_text(space + "\n", encoding="utf-8")
    reasons = {name: get_family(name).why_not(problem.fingerprint) for name in judge.families}
    absent = networks_left_out(problem.fingerprint.ndim)
    folder.update(session_s=0.0, families=reasons, networks_left_out=absent)


def networks_left_out(ndim: int) -> dict[str, str]:
    """Return why pretrained networks take no part, of those that images of so many dimensions could have had.

    Of volumes these are networks on slices as well as on the whole.
    """
    return {name: why for n in range(2, ndim + 1) for name, why in left_out(n).items()}


def _write_radiomics(
    folder: RunFolder,
    dataset: Dataset,
    split: OuterSplit,
    result: ScopeResult,
    judge: Judge,
    *,
    whole_s: float,
) -> None:
    """Write what the report says of the best radiomics model; after a cluster, features are extracted here anew.

    `whole_s` is the time of which it may take its share, infinite where no time may matter.
    """
    if dataset.y is None:
        return
    recording = partial(
        radiomics_record,
        result,
        folder.path,
        [dataset.cases[row] for row in split.train],
        dataset.y[split.train],
        artefacts=judge.artefacts,
        n_threads=judge.n_threads,
        limit_s=_RECORD_SHARE * whole_s,
        icc_limit_s=min(60.0, _ICC_SHARE * whole_s) if np.isfinite(whole_s) else np.inf,
    )
    record = tried("Figures on the radiomic features", recording, dataset=dataset, notes=judge.notes)
    if record is not None:
        folder.write(SETTINGS_FILE, record.settings)
        folder.write(TABLE_FILE, record.features)


def _counts(dataset: Dataset, final: OuterSplit, n_excluded: int) -> dict[str, int]:
    return {
        "cases": len(dataset),
        "patients": len(set(dataset.groups)),
        "excluded": n_excluded,
        "train": len(final.train),
        "test": len(final.test),
    }


def _findings_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    columns = ["code", "severity", "row", "message", "expected", "remedy"]
    return pd.DataFrame([{name: getattr(f, name) for name in columns} for f in findings], columns=columns)
