"""How many radiomics pipelines a minute are fitted, and what everything around the fits costs.

    python -m benchmarks radiomics_pipelines [busi/lesions.csv] [--each 4] [--seed 0]

A fixed mix, the same number of configs of each learner with steps drawn at random, is fitted on every inner fold three
ways on one core: by a worker with its store, as a run does; bare, the same pipelines on a table in memory by
scikit-learn and XGBoost; and the optimiser alone proposes as many configs from the whole space. Features are extracted
beforehand. What is around the fits is the first plus the third over the second. Each config is fitted in both ways one
after the other, so that other work on the machine slows both; CPU seconds, of which it takes none, stand beside them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psutil

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.manifest import Dataset
from autoonco.evaluation.inner import inner_problem
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.splits import outer_splits
from autoonco.families.radiomics import family
from autoonco.features.blocks import extract_table
from autoonco.features.choices import spec_of
from autoonco.metrics.scores import get_metric
from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, OptimizerSettings
from autoonco.search.problem import Problem
from autoonco.search.space import build_space, config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Ended, Task, next_task_id
from autoonco.search.worker import Setup
from autoonco.search.workers import WorkerPool
from autoonco.settings import Settings
from autoonco.tabular.learners import LEARNERS
from autoonco.tabular.pipeline import build_pipeline, complete, fit_pipeline, needs_perturbed

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Config = dict[str, Any]
Seconds = tuple[float, float]
"""Of the clock, and of the CPU."""


def main(arguments: Sequence[str]) -> None:
    """Print seconds by learner, pipelines a minute, and the share of what is around the fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED / "busi" / "lesions.csv")
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    data = Dataset.from_csv(options.data)
    settings = Settings()
    (split, *_) = outer_splits(data, Mode(kind="external"), settings=settings, seed=options.seed)
    facts = inspect(data)
    problem = inner_problem(
        data, facts, split, metric=get_metric("roc_auc"), families=("radiomics",), settings=settings, seed=0
    )
    configs = mixed_configs(problem, each=options.each, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        table, names = _extract(data, problem, configs[0], cache)
        bare, in_run = both_seconds(configs, problem, table, names, data, Path(folder), cache)
    optimiser = optimiser_seconds(len(configs), problem, seed=options.seed)
    _print(configs, bare, in_run, optimiser, len(problem.folds))


def mixed_configs(problem: Problem, *, each: int, seed: int) -> list[Config]:
    """Return `each` configs of every learner: steps drawn from the space, extraction as in the first default."""
    space = family.space(problem.fingerprint)
    space.seed(seed)
    default = family.defaults(problem.fingerprint)[0]
    tabular = [name for name in space if name not in _extraction_names()]
    found: dict[str, list[Config]] = defaultdict(list)
    learners = list(LEARNERS)
    while any(len(found[name]) < each for name in learners):
        drawn = dict(space.sample_configuration())
        learner = str(drawn["learner"])
        if len(found[learner]) < each and not needs_perturbed(drawn):
            steps = {name: value for name, value in drawn.items() if name in tabular}
            fixed = {name: value for name, value in default.items() if name in _extraction_names()}
            found[learner].append(complete(space, {**fixed, **steps}))
    return [config for name in learners for config in found[name]]


def _extraction_names() -> set[str]:
    from autoonco.resources import load_space

    return set(load_space("radiomics"))


def _extract(data: Dataset, problem: Problem, config: Config, cache: Path) -> tuple[Any, tuple[str, ...]]:
    spec = spec_of(config, problem.fingerprint)
    table, names = extract_table(data.cases, spec, artefacts=ArtefactCache(cache), n_threads=2)
    print(f"{table.shape[0]} cases, {table.shape[1]} features, {len(problem.folds)} inner folds")
    return table, names


def both_seconds(
    configs: Sequence[Config],
    problem: Problem,
    table: Any,
    names: Sequence[str],
    data: Dataset,
    folder: Path,
    cache: Path,
) -> tuple[list[Seconds], list[Seconds]]:
    """Return what each config took bare, and by a worker that has loaded its libraries, with every result stored."""
    setup = Setup(dataset=data, cache_dir=cache, device="cpu", n_threads=1)
    store = Store(folder / "run")
    bare, in_run = [], []
    with WorkerPool(setup, n_workers=1) as pool:
        _submit(pool, store, problem, configs[0], fold=0)  # imports, and blocks into the worker's memory
        for number, config in enumerate(configs):
            bare.append(measured(lambda i=number: _bare(i, configs[i], problem, table, names, data)))
            in_run.append(measured(lambda c=config: _in_run(c, problem, pool, store)))
    return bare, in_run


def measured(job: Callable[[], None]) -> Seconds:
    """Return the seconds that `job` took, and the CPU seconds of this process and its workers."""
    everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def cpu() -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in everyone))

    start, start_cpu = time.monotonic(), cpu()
    job()
    return time.monotonic() - start, cpu() - start_cpu


def _bare(
    number: int, config: Config, problem: Problem, table: Any, names: Sequence[str], data: Dataset
) -> None:
    """Fit and predict on all inner folds, and do nothing else."""
    assert data.y is not None
    patients = np.unique(data.groups, return_inverse=True)[1]
    for fold in problem.folds:
        train, test = list(fold.train), list(fold.test)
        try:
            pipeline = build_pipeline(
                config, n_features=len(names), n_classes=2, n_train=len(train), seed=0, names=names
            )
            fit_pipeline(pipeline, table[train], data.y[train], groups=patients[train])
            pipeline.predict_proba(table[test])
        except Exception as error:  # a worker reports it likewise
            print(f"config {number} ({config['learner']}): {type(error).__name__}: {error}")
            break


def _in_run(config: Config, problem: Problem, pool: WorkerPool, store: Store) -> None:
    for fold in range(len(problem.folds)):
        _submit(pool, store, problem, config, fold=fold)


def _submit(pool: WorkerPool, store: Store, problem: Problem, config: Config, *, fold: int) -> None:
    """Have one fold fitted, wait for it, and store it."""
    fidelity = family.plan(config, 1.0, inner_folds=len(problem.folds), n_train=len(problem.folds[0].train))
    task = Task(
        id=next_task_id(),
        family=family.name,
        config=config,
        fidelity=fidelity,
        fold=problem.folds[fold],
        fingerprint=problem.fingerprint.to_json(),
        seed=0,
        gpu=False,
    )
    pool.submit(task, timeout_s=600.0)
    ended: list[Ended] = []
    while not ended:
        ended = list(pool.poll())
    key = FoldKey(
        scope="final", config_key=config_key(family.name, config), fold_key=fidelity.fold_key, fold=str(fold)
    )
    if ended[0].proba is not None:
        store.add_fold(key, ended[0].proba, seconds=ended[0].seconds, elapsed_s=0.0)


def optimiser_seconds(n_trials: int, problem: Problem, *, seed: int) -> float:
    """Return the seconds that the optimiser takes for so many proposals and answers in the whole space."""
    space = build_space(("radiomics",), problem.fingerprint, seed=seed)
    seconds = SecondsModel(prior=lambda _name, _config: 1.0)
    noise = np.random.default_rng(seed)
    optimizer = Optimizer(
        space,
        settings=OptimizerSettings(),
        seed=seed,
        starts=[space.get_default_configuration()],
        seconds=seconds,
        spent=lambda: 0.5,
    )
    start = time.process_time()
    for _ in range(n_trials):
        proposal = optimizer.ask()
        if proposal is None:
            break
        optimizer.tell(proposal, loss=float(noise.uniform()), seconds=1.0)
    return time.process_time() - start


def _print(
    configs: Sequence[Config],
    bare: Sequence[Seconds],
    in_run: Sequence[Seconds],
    optimiser: float,
    n_folds: int,
) -> None:
    by_learner: dict[str, float] = defaultdict(float)
    for config, (_, cpu) in zip(configs, bare, strict=True):
        by_learner[str(config["learner"])] += cpu
    for name, seconds in sorted(by_learner.items(), key=lambda item: -item[1]):
        print(f"  {name:<24}{seconds:>8.1f} s CPU bare")
    fits = len(configs) * n_folds
    print(f"{len(configs)} pipelines, {fits} fits; optimiser {optimiser:.1f} s")
    for place, word in enumerate(("wall", "CPU")):
        alone, whole = (sum(each[place] for each in found) for found in (bare, in_run))
        whole += optimiser
        print(
            f"{word}: bare {alone:.1f} s, in a run {whole:.1f} s; fits a minute {60 * fits / alone:.0f} and ",
            end="",
        )
        print(
            f"{60 * fits / whole:.0f}; pipelines (all folds) a minute {60 * len(configs) / whole:.0f}; ",
            end="",
        )
        print(f"around the fits {100 * (whole / alone - 1):.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
