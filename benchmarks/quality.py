"""How good models get in the same time: autoonco, its ablations, random search, and what people would use instead.

    python -m benchmarks run quality [--tasks busi_lesions,lidc] [--methods autoonco,paper_lasso,...]
        [--time-limit 10min[,30min]] [--repeats 3] [--out FOLDER] [--development]

A task is one of ``tasks.yaml`` or a manifest of your own (``scans.csv:label=grade``). All methods of a repeat have the
same training and test cases, clock and cores. Each is a process of its own, one after the other; what it predicted, its
seconds, CPU seconds and memory go to ``results.csv`` the moment it ends, and the same command continues from there.
With ``--development`` cases marked ``test`` are not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

import autoonco
from autoonco.arguments import seconds
from autoonco.errors import NothingToFitError
from benchmarks.methods import Job, method_names, method_of
from benchmarks.peers import NotHereError
from benchmarks.quality_tables import judge, write_tables
from benchmarks.tasks import TaskSpec, outer_split, task_of, task_specs

DEFAULT_METHODS = (
    "autoonco", "random_search", "only_radiomics", "only_pretrained2d", "only_volumetric3d",
    "paper_lasso", "paper_xgboost", "fine_tuned_network", "autogluon",
)  # fmt: skip
KEY = ("task", "method", "repeat", "time_limit_s")
KILL_AFTER = 3.0
"""A method without a clock of its own is stopped after so many time limits."""


def main(arguments: Sequence[str]) -> None:
    """Run what is missing, then write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks", default="busi_lesions,lidc", help=f"of {', '.join(task_specs())}, or manifests"
    )
    parser.add_argument(
        "--methods", default=",".join(DEFAULT_METHODS), help=f"of {', '.join(method_names())}, or all"
    )
    parser.add_argument(
        "--time-limit", default="10min", help="one, or several for a curve over time: 1min,3min,10min"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs") / "quality")
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--cell", help="the job of one process, used by the benchmark itself")
    options = parser.parse_args(arguments)
    if options.cell:
        run_cell(Path(options.cell))
        return
    methods = method_names() if options.methods == "all" else options.methods.split(",")
    for name in methods:
        method_of(name)  # an unknown one is told before anything has run
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"
    tasks = [task_of(name) for name in options.tasks.split(",")]
    for repeat in range(options.repeats):
        for task in tasks:
            for limit_s in map(seconds, options.time_limit.split(",")):
                for method in methods:
                    key = (task.name, method, repeat, limit_s)
                    if not _is_done(path, key):
                        row = _row(key, task, options)
                        _append(path, row)
                        print(_line(row), flush=True)
    print(write_tables(pd.read_csv(path), options.out))


def _is_done(path: Path, key: tuple[Any, ...]) -> bool:
    if not path.exists():
        return False
    table = pd.read_csv(path)
    return bool((table[list(KEY)].apply(tuple, axis=1) == key).any())


def _row(key: tuple[Any, ...], task: TaskSpec, options: argparse.Namespace) -> dict[str, Any]:
    """Run one method on one split in a process of its own; return its row of the table."""
    _, method, repeat, limit_s = key
    folder = (options.out / "cells" / f"{task.name}-{method}-{repeat}-{limit_s:.0f}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    job = {
        "task": _task_argument(task),
        "method": method,
        "repeat": repeat,
        "limit_s": limit_s,
        "jobs": options.jobs,
        "development": options.development,
        "out": str(options.out.resolve()),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    measured = _measured(
        [sys.executable, "-m", "benchmarks.quality", "--cell", str(folder)],
        limit_s=KILL_AFTER * limit_s,
        log=folder / "log.txt",
    )
    result = {"status": "killed", "message": f"stopped after {measured['wall_s']:.0f} s"}
    if (folder / "result.json").exists():
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    row = dict(zip(KEY, key, strict=True)) | {"seed": repeat} | result | measured
    if row["status"] == "ok":
        row |= judge(folder / "proba.npz")
    return row | {
        "development": options.development,
        "version": autoonco.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "date": datetime.now(UTC).date().isoformat(),
    }


def _task_argument(task: TaskSpec) -> str:
    """Return what `task_of` makes the same task of."""
    if task.name in task_specs():
        return task.name
    options = [
        f"{key}={','.join([value] if isinstance(value, str) else value)}" for key, value in task.read.items()
    ]
    return ":".join([str(task.manifest), *options])


def _measured(command: Sequence[str], *, limit_s: float, log: Path) -> dict[str, float]:
    """Run a command; return its wall seconds, CPU seconds with those of its children, and peak resident memory."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("w", encoding="utf-8") as file:  # warnings of a method would bury the lines of the others
        process = subprocess.Popen(command, start_new_session=True, stdout=file, stderr=subprocess.STDOUT)
    peak = _Peak(process.pid)
    try:
        process.wait(timeout=limit_s + 120)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
    wall_s, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    peak.stop()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1), "peak_mb": round(peak.mb)}


class _Peak(threading.Thread):
    """Watches the resident memory of a process and its descendants, twice a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.mb, self._pid, self._over = 0.0, pid, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.5):
            try:
                root = psutil.Process(self._pid)
                all_of = [root, *root.children(recursive=True)]
                self.mb = max(self.mb, sum(process.memory_info().rss for process in all_of) / 2**20)
            except psutil.Error:
                continue

    def stop(self) -> None:
        self._over.set()
        self.join()


def run_cell(folder: Path) -> None:
    """Carry out one job: its probabilities go to ``proba.npz``, what became of it to ``result.json``."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    out = Path(job["out"])
    data = task_of(job["task"]).load(out)
    train, test = outer_split(data, repeat=job["repeat"], development=job["development"])
    assert test.y is not None
    start = time.monotonic()
    result: dict[str, Any] = {"n_train": len(train), "n_test": len(test), "status": "ok", "message": ""}
    try:
        answer = method_of(job["method"])(
            Job(
                train=train,
                test=test.unlabelled(),
                seed=job["repeat"],
                time_limit_s=job["limit_s"],
                folder=folder,
                shared=out / "shared",
                n_jobs=job["jobs"],
            )
        )
        result |= dict(answer.facts)
        result["method_s"] = (
            time.monotonic() - start
        )  # without the start of Python and the reading of the manifest
        groups = np.unique(test.groups, return_inverse=True)[1]
        np.savez(folder / "proba.npz", y=test.y, proba=answer.proba, groups=groups)
    except NotHereError as error:
        result |= {"status": "not here", "message": str(error)}
    except NothingToFitError as error:
        result |= {"status": "does not apply", "message": str(error)}
    except Exception as error:  # a method that fails is a row of the table
        traceback.print_exc()
        result |= {"status": "failed", "message": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    (folder / "result.json").write_text(json.dumps(result, default=float), encoding="utf-8")


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a row; columns that are new are added to the table."""
    table = pd.DataFrame([row])
    if path.exists():
        table = pd.concat([pd.read_csv(path), table], ignore_index=True)
    table.to_csv(path, index=False)


def _line(row: dict[str, Any]) -> str:
    figure = f"AUC {row['auc']:.3f}" if row["status"] == "ok" else f"{row['status']}: {row['message']}"
    return f"{row['task']}, {row['method']}, repeat {row['repeat']}: {figure} ({row['wall_s']:.0f} s)"


if __name__ == "__main__":
    main(sys.argv[1:])
