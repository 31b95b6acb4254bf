"""How long a report of a large run takes, and how much memory: ``python -m benchmarks report``.

The run is made up: 1,000 trials of three families and 5,000 cases that five models predicted, as a run folder has
them. Prints seconds, peak memory of the process and the size of the page.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.memory import status_kb

FAMILIES = ("pretrained2d", "radiomics", "volumetric3d")
SKILL = {
    "ensemble": 2.2,
    "pretrained2d": 2.0,
    "radiomics": 1.6,
    "volumetric3d": 1.3,
    "baseline: lesion size": 0.9,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=5000)
    chosen = parser.parse_args(arguments)
    from autoonco.reporting.page import write_report

    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", n_trials=chosen.trials, n_cases=chosen.cases)
        wall, cpu = time.perf_counter(), time.process_time()
        page = write_report(run)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{chosen.trials} trials, {chosen.cases} cases: {wall:.1f} s ({cpu:.1f} s of CPU), "
            f"{status_kb('VmHWM') / 2**20:.2f} GB at its peak, page of {page.stat().st_size / 1e6:.2f} MB"
        )


def make_run(folder: Path, *, n_trials: int, n_cases: int, seed: int = 0) -> Path:
    """Write a run folder of that size and return its path."""
    rng = np.random.default_rng(seed)
    (folder / "evaluation").mkdir(parents=True)
    trials = [_trial(i, n_trials, rng) for i in range(n_trials)]
    (folder / "journal.jsonl").write_text(
        "".join(json.dumps(trial) + "\n" for trial in trials), encoding="utf-8"
    )
    run = {
        "format": 1, "status": "finished", "evaluation": "external", "metric": "roc_auc", "time_limit_s": 36000.0,
        "elapsed_s": 35000.0, "families": dict.fromkeys(FAMILIES), "versions": {"autoonco": "benchmark"},
        "n": {"cases": 4 * n_cases, "patients": 4 * n_cases, "excluded": 0, "train": 3 * n_cases, "test": n_cases},
    }  # fmt: skip
    _write(folder / "run.json", run)
    models = [_model(name) for name in SKILL]
    _write(folder / "evaluation" / "models.json", models)
    _predictions(n_cases, rng).to_csv(folder / "evaluation" / "predictions.csv", index=False)
    return folder


def _trial(i: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    family = FAMILIES[i % len(FAMILIES)]
    budget = (1 / 9, 1 / 3, 1.0)[int(rng.integers(3))]
    status = str(rng.choice(["success", "failed", "timeout", "stopped"], p=[0.8, 0.05, 0.05, 0.1]))
    config: dict[str, Any] = {f"p{k}": float(rng.uniform()) for k in range(20)}
    config |= {f"choice{k}": str(rng.choice(["a", "b", "c"])) for k in range(8)}
    score = (
        0.9 - 0.1 * (config["p0"] - 0.6) ** 2 + 0.02 * rng.normal()
        if status in ("success", "stopped")
        else None
    )
    return {
        "event": "trial", "scope": "final", "id": i, "family": family, "config": config, "budget": budget,
        "fidelity": {"folds": 5, "epochs": None}, "status": status, "score": score,
        "loss": None if score is None else 1 - score,
        "seconds": float(rng.gamma(2, 15)), "elapsed_s": 34000.0 * (i + 1) / n, "origin": "search", "seed": 0,
        "reason": None if score is not None else f"ended as {status}",
    }  # fmt: skip


def _model(name: str) -> dict[str, Any]:
    kind = "ensemble" if name == "ensemble" else "baseline" if name.startswith("baseline") else "family"
    members = [
        {"family": f, "config": {"learner": "svm"}, "weight": 1 / 3, "inner_score": 0.9} for f in FAMILIES
    ]
    own = members if kind == "ensemble" else [m for m in members if m["family"] == name]
    return {
        "name": name, "kind": kind, "inner_score": None if kind == "baseline" else 0.9, "members": own,
        "refit_seconds": 60.0, "search_seconds": 9000.0,
    }  # fmt: skip


def _predictions(n: int, rng: np.random.Generator) -> pd.DataFrame:
    truth, shared, frames = np.arange(n) % 2, rng.normal(size=n), []
    for name, skill in SKILL.items():
        odds = skill * (2 * truth - 1) / 2 + 0.8 * shared + 0.8 * rng.normal(size=n)
        p = 1 / (1 + np.exp(-odds))
        fixed = {"fold": 0, "row": np.arange(1, n + 1), "group": np.arange(n), "truth": truth, "is_clean": 1}
        frames.append(pd.DataFrame(fixed | {"model": name, "p_0": 1 - p, "p_1": p}))
    return pd.concat(frames, ignore_index=True)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
