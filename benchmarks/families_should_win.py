"""Whether the search finds the kind of model that can solve a task, on tasks of which only one kind can.

    python -m benchmarks families_should_win alone handedness [--time-limit 5min] [--families a,b]
    python -m benchmarks families_should_win search handedness [--time-limit 15min]

`alone` gives each family a search of its own and prints its ROC AUC on test cases that the search never saw: that shows
what the task asks for. `search` gives all families one search together and prints who won, what each family's best
reached, and where the time went. The bars: on `handedness` radiomics and networks of slices stay at 0.6 or below and 3D
reaches 0.95 alone; then the search of all reaches 0.95 within 15 minutes on 2 cores. `stripes` and `outline` have to be
won by networks of slices and by radiomics. With ``--shuffled`` the labels mean nothing, and all figures have to be near
0.5. Volumes are made in a temporary folder; ``--train`` and ``--test`` say how many.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from autoonco.classifier import AutoOncoClassifier
from autoonco.reporting.result import Result
from benchmarks.should_win_tasks import TASKS, WINNERS, make_task

FAMILIES = ("radiomics", "pretrained2d", "scratch2d", "volumetric3d")
"""Those that see pixels, and what is measured on them; a fusion would hide who sees what."""


def main(argv: Sequence[str] | None = None) -> None:
    """Make the task, search, print."""
    options = _options(argv)
    families = tuple(name for name in options.families.split(",") if name)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_task(
            options.task,
            folder / "data",
            n_train=options.train,
            n_test=options.test,
            seed=options.seed,
            shuffled=options.shuffled,
        )
        print(
            f"{options.task}: {options.train} to search, {options.test} to judge, {options.time_limit} a search"
        )
        for some in [families] if options.mode == "search" else [(family,) for family in families]:
            start = time.monotonic()
            result = search(manifest, some, folder / "-".join(some), options)
            told(result, time.monotonic() - start, task=options.task, all_of_them=options.mode == "search")


def search(manifest: Path, families: Sequence[str], run: Path, options: argparse.Namespace) -> Result:
    """Return the result of one search, judged on the test cases of the manifest."""
    model = AutoOncoClassifier(
        time_limit=options.time_limit,
        families=families,
        evaluation="external",
        n_jobs=options.jobs,
        seed=options.seed,
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
        print(f"  won by {first}: {verdict}")
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
    parser.add_argument("mode", choices=("alone", "search"))
    parser.add_argument("task", choices=tuple(TASKS))
    parser.add_argument("--time-limit", default="15min")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffled", action="store_true", help="labels that mean nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
