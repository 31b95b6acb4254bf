"""What a nested evaluation takes beside fitting models: the share of its wall time that no fit was under way.

    python -m benchmarks nested_overhead [--cases 200] [--features 1000] [--folds 5] [--trials 100] [--profile]

A table of features, as radiomics has after extraction, through the whole of `fit`: a search in each outer fold and the
final one, refits, baselines, the model file; one worker. A fit's seconds are those that the worker took to fit and
predict a fold, or to refit. All else counts as overhead: the optimiser, the store, messages, the start of the worker,
reading the pictures, the evaluation. The bar: less than 5 %.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import autoonco
from autoonco.search.store import read_trials
from benchmarks.spent import family_seconds

BAR = 0.05


def make_task(folder: Path, *, n_cases: int, n_features: int, seed: int) -> tuple[Path, pd.DataFrame]:
    """Write a manifest of tiny pictures; return it and a table of correlated features, a tenth of which tell."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_cases) % 2
    for i in range(n_cases):
        Image.fromarray(rng.integers(0, 255, (8, 8)).astype(np.uint8)).save(folder / f"{i}.png")
    names = [f"c{i}" for i in range(n_cases)]
    table = {"case": names, "image": [f"{i}.png" for i in range(n_cases)], "label": labels}
    pd.DataFrame(table).to_csv(folder / "data.csv", index=False)
    hidden = rng.normal(size=(n_cases, 40))
    hidden[:, :4] += 0.5 * labels[:, None]
    features = hidden @ rng.normal(size=(40, n_features)) / 6 + rng.normal(size=(n_cases, n_features))
    columns = {f"f{k}": features[:, k] for k in range(n_features)}
    return folder / "data.csv", pd.DataFrame({"case": names, **columns})


def main(arguments: list[str]) -> None:
    """Print the shares and whether the bar is met; exit with 1 where it is not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args(arguments)
    settings = autoonco.Settings(max_trials=options.trials, outer_folds=options.folds, outer_repeats=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, features = make_task(
            folder, n_cases=options.cases, n_features=options.features, seed=options.seed
        )
        profile = cProfile.Profile() if options.profile else None
        started, cpu = time.monotonic(), time.process_time()
        if profile is not None:
            profile.enable()
        autoonco.fit(
            manifest,
            features=features,
            families=["own_features"],
            evaluation="nested",
            time_limit="24h",
            seed=options.seed,
            run_dir=folder / "run",
            settings=settings,
        )
        if profile is not None:
            profile.disable()
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        inside, n_trials = family_seconds(folder / "run"), len(read_trials(folder / "run"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    worker = children.ru_utime + children.ru_stime
    outside = 1 - inside / wall
    print(
        f"{options.cases} cases x {options.features} features, {options.folds} outer folds and the final search"
    )
    print(f"trials: {n_trials} (asked for: {options.trials} a search, {options.folds + 1} searches)")
    print(f"wall: {wall:.1f} s, of which fits: {inside:.1f} s; outside fits: {outside:.2%} (bar {BAR:.0%})")
    print(
        f"CPU: main process {cpu:.1f} s, worker {worker:.1f} s; main process {cpu / (cpu + worker):.2%} of both"
    )
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    print("met" if outside < BAR else "missed")
    sys.exit(int(outside >= BAR))


if __name__ == "__main__":
    main(sys.argv[1:])
