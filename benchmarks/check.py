"""How long the data check takes: `autoonco check` on data sets, and its search of many features for a hint.

    python -m benchmarks check ../shared/data/busi/all_with_masks.csv ../shared/data/skin/labels.csv

Each data set is checked in a process of its own by the command, its start-up included. Features are of pure noise: none
of them is a hint, so that all are looked at to the end.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoonco.data.case import Case
from autoonco.data.hints import telling_inputs
from autoonco.data.manifest import Dataset

BAR_S = 30.0
"""What the 780 pictures of BUSI may take on two cores."""
_COUNTED = re.compile(r"(\d+) cases, (\d+) errors, (\d+) warnings and notes")


def checked(manifest: Path) -> tuple[int, int, int, float]:
    """Return how many cases, errors, and warnings and notes the command tells of, and its seconds."""
    command = [sys.executable, "-m", "autoonco.cli", "check", str(manifest)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    told = _COUNTED.search(done.stdout)
    if told is None:
        sys.exit(f"The check of {manifest} ended with code {done.returncode}: {done.stderr[-1000:]}")
    n_cases, n_errors, n_others = map(int, told.groups())
    return n_cases, n_errors, n_others, seconds


def of_noise(*, n_cases: int, n_features: int) -> Dataset:
    """Return cases of two classes whose own features are noise."""
    values = np.random.default_rng(0).normal(size=(n_cases, n_features))
    names = [f"f{number}" for number in range(n_features)]
    cases = tuple(
        Case(
            case=str(row),
            patient=str(row),
            images={},
            features=dict(zip(names, found.tolist(), strict=True)),
            row=row + 1,
        )
        for row, found in enumerate(values)
    )
    return Dataset(cases=cases, classes=("no", "yes"), y=np.arange(n_cases) % 2, features=tuple(names))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks check", description=__doc__)
    parser.add_argument("data", type=Path, nargs="*", help="manifests")
    parser.add_argument("--features", type=int, default=1000, help="columns of noise")
    parser.add_argument("--cases", type=int, default=300, help="cases that have them")
    given = parser.parse_args(arguments)
    print("| data | cases | errors | warnings and notes | seconds | cases a second |")
    print("| --- | --- | --- | --- | --- | --- |")
    slowest = 0.0
    for manifest in given.data:
        n_cases, n_errors, n_others, seconds = checked(manifest)
        slowest = max(slowest, seconds)
        name = f"{manifest.parent.name}/{manifest.name}"
        print(
            f"| {name} | {n_cases} | {n_errors} | {n_others} | {seconds:.1f} | {n_cases / seconds:.0f} |",
            flush=True,
        )
    if given.data:
        print(
            f"\nBar: {BAR_S:.0f} s; the slowest took {slowest:.1f}: {'kept' if slowest < BAR_S else 'MISSED'}."
        )
    dataset = of_noise(n_cases=given.cases, n_features=given.features)
    started = time.process_time()
    told = len(list(telling_inputs(dataset, [])))
    seconds = time.process_time() - started
    print(
        f"\n{given.features} features of noise, {given.cases} cases: {told} told, {seconds:.2f} CPU-seconds, "
        f"{1000 * seconds / given.features:.2f} ms a feature."
    )
