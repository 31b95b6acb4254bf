"""How the work grows: trials by 1, 2, 4 and 8 workers of a Dask cluster, and the cost a case from 100 to 10,000 cases.

    python -m benchmarks run scale [--seconds 15] [--workers 1,2,4,8] [--cases 100,1000,10000]

The trials sleep, so more workers than cores are of use; workers are separate processes. The cases have a clinical
column, and a tiny picture each that no model sees: what is measured is what autoonco does for a case besides learning
from it (checks, fingerprint, folds, tasks sent to a worker, stored probabilities, intervals), in CPU milliseconds a
case of a run of few trials.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from autoonco.classifier import AutoOncoClassifier
from autoonco.settings import Settings
from benchmarks.workers import TRIAL_S, dask_trials

N_TRIALS = 6


def main(arguments: Sequence[str]) -> None:
    """Print a table for each question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--cases", default="100,1000,10000")
    options = parser.parse_args(arguments)
    workers(list(map(int, options.workers.split(","))), options.seconds)
    cases(list(map(int, options.cases.split(","))))


def workers(numbers: Sequence[int], seconds: float) -> None:
    """Print the trials of so many workers, against the first number's."""
    print(f"trials of {TRIAL_S} s in {seconds:.0f} s\n\n| workers | trials | ratio |\n| --- | --- | --- |")
    first = None
    for number in numbers:
        done = dask_trials(number, seconds=seconds)
        first = first or done
        print(f"| {number} | {done} | {done / first:.2f} |", flush=True)


def cases(numbers: Sequence[int]) -> None:
    """Print what a run of a clinical column costs by the number of cases."""
    print(
        f"\n{N_TRIALS} trials of clinical models\n\n| cases | wall s | CPU ms a case |\n| --- | --- | --- |"
    )
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = run_of(number, Path(folder))
        print(f"| {number} | {wall:.1f} | {1000 * cpu / number:.2f} |", flush=True)


def make_cases(n: int, folder: Path) -> Path:
    """Write `n` cases with one informative column and a picture of their own each; return the manifest.

    Patients who share a picture are kept whole as one, so that one picture for all would leave nothing to split.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    for i, picture in enumerate(rng.integers(0, 255, (n, 8, 8)).astype(np.uint8)):
        np.save(folder / f"{i}.npy", picture)
    table = pd.DataFrame({
        "case": [f"c{i}" for i in range(n)],
        "image": [f"{i}.npy" for i in range(n)],
        "label": np.where(y == 1, "yes", "no"),
        "age": 50 + 8 * y + rng.normal(0, 12, n),
        "split": np.where(np.arange(n) % 4 == 0, "test", "train"),
    })  # fmt: skip
    table.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def run_of(n: int, folder: Path) -> tuple[float, float]:
    """Return wall and CPU seconds, its workers' too, of a run on `n` cases."""
    import resource

    manifest = make_cases(n, folder)
    me, start = psutil.Process().cpu_times(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    AutoOncoClassifier(
        time_limit="10min",
        families=["clinical"],
        clinical=["age"],
        run_dir=folder / "run",
        settings=Settings(max_trials=N_TRIALS, inner_folds=3, shortcuts=False),
    ).fit(manifest)
    now, after = psutil.Process().cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.user + now.system - me.user - me.system
    cpu += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu


if __name__ == "__main__":
    main(sys.argv[1:])
