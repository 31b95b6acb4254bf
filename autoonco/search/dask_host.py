"""What lives in a Dask worker: the dataset, and processes that fit, like those of this machine's pool.

A hang, a crash or a limit costs such a process and never the Dask worker. Checkpoints and fitted models come and go
as bytes, by way of a scratch folder of the worker's own.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from autoonco.data.cache import default_cache_dir, write_atomically
from autoonco.search.interrupt import deaf_to_ctrl_c
from autoonco.search.trial import Ended, Task
from autoonco.search.worker import Setup
from autoonco.search.workers import WorkerPool

_LAST_WRITTEN = "meta.json"  # a model's folder that has it is whole

Files = Mapping[str, bytes]
"""A folder's files by their path inside it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task on its way to a Dask worker; `kind` is ``gpu``, ``cpu``, or ``any`` where no worker has a GPU."""

    task: Task
    timeout_s: float
    kind: str
    checkpoint: Files


@dataclass(frozen=True, kw_only=True)
class Done:
    """A task on its way back, with the files it left: only those of the checkpoint that changed."""

    ended: Ended
    checkpoint: Files
    model: Files


class ClosedError(Exception):
    """The Dask worker or the run was closed under a task."""


class Host(WorkerPlugin):
    """What lives in each Dask worker, also in those that join later: the dataset and the processes that fit."""

    def __init__(self, setup: Setup, *, memory_limit_gb: float | None) -> None:
        self._given, self._memory_limit_gb = setup, memory_limit_gb

    def setup(self, worker: Any) -> None:
        """Take up residence; the artefact cache is the one of this machine."""
        self._scratch = worker.local_directory
        # the owner's number of threads is of another machine
        n_threads = max(1, (os.cpu_count() or 1) // max(1, worker.state.nthreads))
        self._here = replace(self._given, cache_dir=default_cache_dir(), n_threads=n_threads)
        self._idle: dict[tuple[str, int], WorkerPool] = {}
        self._taken: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._deaf = ExitStack()
        self._deaf.enter_context(
            deaf_to_ctrl_c()
        )  # the workers of a cluster on one machine share its terminal

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's signature
        """End all processes; those at work are ended by the threads that wait for them."""
        with self._lock:
            self._closed = True
            for pool in self._idle.values():
                pool.close()
            self._idle.clear()
        self._deaf.close()

    def run(self, job: Job) -> Done:
        """Carry out a task in a process of its own, within its limits."""
        with self._lock:
            number = next(i for i in range(len(self._taken) + 1) if (job.kind, i) not in self._taken)
            seat = job.kind, number
            self._taken.add(seat)
            pool = self._idle.pop(seat, None) or self._pool(*seat)
        try:
            with tempfile.TemporaryDirectory(prefix="autoonco-", dir=self._scratch) as scratch:
                return self._run(job, pool, Path(scratch))
        finally:
            with self._lock:
                self._taken.discard(seat)
                if self._closed:
                    pool.close()
                else:
                    self._idle[seat] = pool

    def _pool(self, kind: str, number: int) -> WorkerPool:
        device = {"gpu": f"cuda:{number}", "cpu": "cpu"}.get(kind, self._here.device)
        return WorkerPool(replace(self._here, device=device), memory_limit_gb=self._memory_limit_gb)

    def _run(self, job: Job, pool: WorkerPool, scratch: Path) -> Done:
        checkpoint, model = scratch / "checkpoint", scratch / "model"
        write_files(checkpoint, job.checkpoint)
        here = replace(
            job.task,
            checkpoint=None if job.task.checkpoint is None else str(checkpoint),
            save_to=None if job.task.save_to is None else str(model),
        )
        pool.submit(here, timeout_s=job.timeout_s)
        while not self._closed:
            for ended in pool.poll():
                left = read_files(checkpoint)
                changed = {name: data for name, data in left.items() if job.checkpoint.get(name) != data}
                return Done(ended=ended, checkpoint=changed, model=read_files(model))
        raise ClosedError


def carry_out(host: str, job: Job) -> Done:
    """Have the `Host` of this name in the Dask worker that runs this carry `job` out."""
    found = get_worker().plugins[host]
    assert isinstance(found, Host)
    return found.run(job)


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files in `folder`, which need not be there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def write_files(folder: Path, files: Files) -> None:
    """Write `files` into `folder`, each whole or not at all."""
    for name in sorted(files, key=lambda name: name == _LAST_WRITTEN):
        write_atomically(folder / name, lambda path, name=name: path.write_bytes(files[name]))  # type: ignore[misc]
