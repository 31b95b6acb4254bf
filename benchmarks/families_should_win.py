"""Whether the search finds the kind of model that can solve a task, on tasks of which only one kind can.

    python -m benchmarks families_should_win all                     # everything, about an hour on 2 cores
    python -m benchmarks families_should_win arms [TASK ...] [--families a,b] [--seeds 0,1]
    python -m benchmarks families_should_win search [TASK ...] [--time-limit 15min]
    python -m benchmarks families_should_win alone [TASK ...] [--time-limit 5min]

`arms` fits each family's defaults, and networks of slices on every view of them, once in full, and prints the ROC AUC
on fresh cases of the best of each family: that shows what a task asks for, without a clock. `search` gives all families
one search together and prints who won on fresh cases, what each family reached, and where the time went; `alone` gives
each family a search of its own. `all` is `arms` on `handedness`, then `search` on every task.

The bars: on `handedness` radiomics and networks of slices stay at 0.6 or below and 3D reaches 0.95; the search of all
reaches 0.95 within 15 minutes on 2 cores. `stripes` and `outline` have to be won by networks of slices and by
radiomics. With ``--shuffled`` the labels mean nothing, and all figures have to be near 0.5. Volumes are made in a
temporary folder; ``--train`` and ``--test`` say how many; each seed makes other volumes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from autoonco.classifier import AutoOncoClassifier
from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families import get_family
from autoonco.families.contract import Config, FitContext, Runtime
from autoonco.metrics.scores import get_metric
from autoonco.reporting.result import Result
from autoonco.tabular.pipeline import complete
from benchmarks.should_win_tasks import TASKS, WINNERS, make_task

FAMILIES = ("radiomics", "pretrained2d", "scratch2d", "volumetric3d")
"""Those that see pixels, and what is measured on them; a fusion would hide who sees what."""
VIEWS: tuple[Config, ...] = (
    {"slices": "adjacent", "gap": 0.0},
    {"slices": "adjacent", "gap": 0.25},
    {"slices": "planes"},
    {"slices": "planes", "head:learner": "svm", "head:svm:kernel": "rbf"},
    {"slices": "several", "n_slices": 9},
)
"""What a network of slices may see of a volume beside its largest slice; the last but one joins three planes."""
BLIND, SEES = 0.6, 0.95
"""Largest AUC of a family that can't see what a task asks for, and the smallest of one that can."""


def main(argv: Sequence[str] | None = None) -> None:
    """Make the tasks, fit or search, print."""
    options = _options(argv)
    steps = [(options.mode, task) for task in options.tasks]
    if options.mode == "all":
        steps = [("arms", "handedness"), *(("search", task) for task in options.tasks)]
    for seed in map(int, options.seeds.split(",")):
        for mode, task in steps:
            with tempfile.TemporaryDirectory() as name:
                _measure(mode, task, Path(name), seed, options)


def _measure(mode: str, task: str, folder: Path, seed: int, options: argparse.Namespace) -> None:
    """Make the volumes of a task and say what `mode` shows on them."""
    families = tuple(name for name in options.families.split(",") if name)
    numbers = {"n_train": options.train, "n_test": options.test}
    manifest = make_task(task, folder / "data", **numbers, seed=seed, shuffled=options.shuffled)
    print(
        f"{mode} {task}, seed {seed}: {options.train} cases to learn from, {options.test} to judge",
        flush=True,
    )
    if mode == "arms":
        told_arms(arms(manifest, families, folder / "cache", seed=seed, n_threads=options.threads), task)
        return
    for some in [families] if mode == "search" else [(family,) for family in families]:
        start = time.monotonic()
        result = search(manifest, some, folder / "-".join(some), options, seed=seed)
        told(result, time.monotonic() - start, task=task, all_of_them=mode == "search")


def arms(
    manifest: Path, families: Sequence[str], cache: Path, *, seed: int, n_threads: int
) -> dict[str, list[float]]:
    """Return the AUC on the test cases of every config of `configs_of`, fitted once on the training cases."""
    data = Dataset.from_csv(manifest)
    train, test = (data.subset(np.flatnonzero(np.equal(data.split, part))) for part in ("train", "test"))
    known = fingerprint(train, inspect(train, n_jobs=n_threads))
    runtime = Runtime(artefacts=ArtefactCache(cache), n_threads=n_threads)
    found: dict[str, list[float]] = {}
    for name in families:
        family, context = get_family(name), FitContext(runtime=runtime, fingerprint=known, seed=seed)
        for config in configs_of(name, known):
            full = family.plan(config, 1.0, inner_folds=5, n_train=len(train))
            model = family.fit(config, train.cases, train.y, fidelity=full, context=context)
            found.setdefault(name, []).append(get_metric("roc_auc")(test.y, model.predict_proba(test.cases)))
    return found


def configs_of(name: str, known: Fingerprint) -> list[Config]:
    """Return a family's defaults and, of networks of slices that are frozen, one on each of `VIEWS`."""
    family = get_family(name)
    defaults = list(family.defaults(known))
    if name != "pretrained2d":
        return defaults
    space = family.space(known)
    return [*defaults, *(complete(space, {**defaults[0], **view}) for view in VIEWS)]


def told_arms(found: Mapping[str, Sequence[float]], task: str) -> None:
    """Print what each family's configs reached, on `handedness` beside the bar."""
    for name, reached in found.items():
        every, bar = ", ".join(f"{one:.3f}" for one in reached), ""
        if task == "handedness":
            bar = _bar(max(reached), least=SEES) if name in WINNERS[task] else _bar(max(reached), most=BLIND)
        print(f"  {name:<14}best {max(reached):.3f}{bar}; all: {every}", flush=True)


def _bar(reached: float, *, least: float = 0.0, most: float = 1.0) -> str:
    """Return in words whether a figure keeps its bar."""
    said = f"at least {least}" if least else f"at most {most}"
    return f" (bar: {said}: {'kept' if least <= reached <= most else 'MISSED'})"


def search(
    manifest: Path, families: Sequence[str], run: Path, options: argparse.Namespace, *, seed: int
) -> Result:
    """Return the result of one search, judged on the test cases of the manifest."""
    model = AutoOncoClassifier(
        time_limit=options.time_limit,
        families=families,
        evaluation="external",
        n_jobs=options.jobs,
        seed=seed,
        run_dir=run,
    ).fit(manifest)
    assert model.result_ is not None
    return model.result_


def told(result: Result, seconds: float, *, task: str, all_of_them: bool) -> None:
    """Print the figures of a search, and of one over all families who won and where the time went."""
    summary = result.summary()
    for row in summary.itertuples():
        print(f"  {row.model:<24}AUC {row.auc:.3f} [{row.auc_lower:.3f}, {row.auc_upper:.3f}]", flush=True)
    print(f"  {seconds:.0f} s in all", flush=True)
    if all_of_them:
        first, reached = winner(summary), shares(result.leaderboard())
        verdict = "as it should" if first in WINNERS[task] else f"not {' or '.join(WINNERS[task])}"
        best = summary.loc[summary["model"] == first, "auc"].item()
        bar = _bar(best, least=SEES) if task == "handedness" else ""
        print(f"  won by {first}: {verdict}; AUC {best:.3f}{bar}")
        print(reached.to_string(index=False), flush=True)


def winner(summary: pd.DataFrame) -> str:
    """Return the family whose best model has the largest AUC on the test cases.

    Examples
    --------
    >>> winner(pd.DataFrame({"model": ["ensemble", "radiomics", "volumetric3d"], "auc": [0.99, 0.5, 0.98]}))
    'volumetric3d'
    """
    own = summary[summary["model"].isin(FAMILIES)]
    return str(own.loc[own["auc"].idxmax(), "model"])


def shares(leaderboard: pd.DataFrame) -> pd.DataFrame:
    """Return a row a family: trials, share of all seconds, and the best score at full budget on inner folds."""
    full = leaderboard[leaderboard["budget"] >= 1].groupby("family")["score"].max()
    seconds = leaderboard.groupby("family")["seconds"].sum()
    table = pd.DataFrame(
        {
            "trials": leaderboard.groupby("family").size(),
            "share_of_time": (seconds / seconds.sum()).round(2),
            "best_inner": full.round(3),
        }
    )
    return table.reset_index(names="family")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks families_should_win", description=__doc__)
    parser.add_argument("mode", choices=("all", "arms", "search", "alone"))
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help=f"of {', '.join(TASKS)}; all without")
    parser.add_argument("--time-limit", default="15min", help="of each search")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of a fit, without a search")
    parser.add_argument("--seeds", default="0", help="0,1,2: everything once for each")
    parser.add_argument("--shuffled", action="store_true", help="labels that mean nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
