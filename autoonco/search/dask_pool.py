"""Tasks on a Dask cluster: any `distributed.Client`, no shared file system but for the scans.

Which worker gets a task is decided here, not by Dask: so a task whose worker is lost can be told from one that
waits, and is started once more elsewhere. What a Dask worker does with it is in `dask_host`; what comes back,
checkpoints and fitted models too, is written here alone.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker

from autoonco.errors import AutoOncoError
from autoonco.search.dask_host import ClosedError, Done, Host, Job, carry_out, read_files, write_files
from autoonco.search.trial import Closing, Ended, Status, Task
from autoonco.search.worker import Setup
from autoonco.search.workers import DIED

_POLL_S = 0.5
_FIRST_WORKER_S = 600.0
_NO_WORKER_S = 600.0
_FETCH_S = 120.0
_MAX_LOST = 2


@dataclass(kw_only=True)
class _Attempt:
    """A task here: how often its worker was lost, and where it is now."""

    task: Task
    timeout_s: float
    started: float = field(default_factory=time.monotonic)
    n_lost: int = 0
    address: str | None = None
    kind: str = ""
    future: Future[Any] | None = None


class DaskPool(Closing):
    """Carries tasks out on the workers of `client`'s cluster, one at a time for each thread of a Dask worker.

    Where workers declare the resource ``GPU``, tasks that want one run there, each with a GPU of its own, and the
    others on the threads that are left. At most `n_workers` tasks run at a time (None: as many as there is room for).
    A lost worker's task is started once more, on another; then it has failed. Workers may come and go.

    Parameters
    ----------
    setup
        The dataset and the device where no worker declares a GPU. Each Dask worker uses the artefact cache of its
        own machine, in place of ``setup.cache_dir``.

    Raises
    ------
    AutoOncoError
        If no worker joins within ten minutes, or none is left for ten minutes: what was done is in the run folder.
    """

    def __init__(
        self,
        client: Client,
        setup: Setup,
        *,
        n_workers: int | None = None,
        memory_limit_gb: float | None = None,
    ) -> None:
        self._client: Any = client  # much of its interface has no types
        self._setup, self._limit = setup, n_workers
        self._host = f"autoonco-{uuid.uuid4().hex}"
        self._attempts: dict[int, _Attempt] = {}
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._had_worker = time.monotonic()
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
        except TimeoutError:
            raise AutoOncoError("No Dask worker has joined the cluster within ten minutes.") from None
        client.register_plugin(Host(setup, memory_limit_gb=memory_limit_gb), name=self._host)
        self._look()

    def n_idle(self, *, gpu: bool) -> int:
        """Return how many tasks that want a GPU, or that want none, can be submitted now."""
        if time.monotonic() - self._looked > _POLL_S:
            self._look()
        waiting = sum(attempt.address is None for attempt in self._attempts.values())
        free = sum(self._free(address, gpu=gpu) for address in self._workers) - waiting
        allowed = free if self._limit is None else min(free, self._limit - len(self._attempts))
        return max(0, allowed)

    def submit(self, task: Task, *, timeout_s: float) -> None:
        """Start `task` on a worker with room; it is stopped after `timeout_s` seconds there."""
        attempt = self._attempts[task.id] = _Attempt(task=task, timeout_s=timeout_s)
        self._start(attempt)

    def poll(self) -> Iterator[Ended]:
        """Wait up to half a second and yield the tasks that ended."""
        for future in self._finished():
            attempt = next((a for a in self._attempts.values() if a.future is future), None)
            if attempt is not None:  # not one that was given up before
                yield from self._receive(attempt, future)
        self._look()
        for attempt in list(self._attempts.values()):
            if time.monotonic() - attempt.started > attempt.timeout_s + _FETCH_S:
                if attempt.future is not None:
                    attempt.future.cancel()  # type: ignore[no-untyped-call]
                reason = f"Stopped after {attempt.timeout_s:.0f} s without a worker that could finish it."
                yield self._end(attempt, reason, Status.TIMEOUT)
            elif attempt.address is not None and attempt.address not in self._workers:
                yield from self._lost(attempt)
            elif attempt.address is None:
                self._start(attempt)

    def close(self) -> None:
        """Cancel what is under way and end the processes on the workers; the client stays open."""
        futures = [attempt.future for attempt in self._attempts.values() if attempt.future is not None]
        self._attempts.clear()
        if self._client.status == "running":
            self._client.cancel(futures)
            self._client.unregister_worker_plugin(self._host)

    def _look(self) -> None:
        """Take note of the workers there are; a paused one takes no tasks but has not lost its own."""
        if self._client.status not in ("running", "connecting"):
            raise AutoOncoError(
                "The connection to the Dask scheduler is gone; start the cluster anew and continue in the same run_dir."
            )
        self._workers: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        self._has_gpus = any(_n_gpus(worker) for worker in self._workers.values())
        self._looked = time.monotonic()
        if self._workers:
            self._had_worker = self._looked
        elif self._looked - self._had_worker > _NO_WORKER_S:
            raise AutoOncoError(
                "All Dask workers have been gone for ten minutes; start some and continue in the same run_dir."
            )

    def _free(self, address: str, *, gpu: bool) -> int:
        """Return how many more tasks of a kind the worker at `address` can take."""
        worker = self._workers[address]
        if worker.get("status", "running") != "running":
            return 0
        used = Counter(a.task.gpu for a in self._attempts.values() if a.address == address)
        threads = int(worker["nthreads"])
        room = threads - used.total()
        if not self._has_gpus:
            return room
        if gpu:
            return min(room, _n_gpus(worker) - used[True])
        # Threads beyond the GPUs are for the rest; where no worker has such a thread, any will do.
        spare = any(_spare(other) for other in self._workers.values())
        return min(room, (_spare(worker) if spare else threads) - used[False])

    def _start(self, attempt: _Attempt) -> None:
        """Send a task to the worker with the most room; without room anywhere it waits for the next poll."""
        task = attempt.task
        room = {address: self._free(address, gpu=task.gpu) for address in self._workers}
        best = max(room, key=room.__getitem__, default=None)
        if best is None or room[best] < 1:
            return
        attempt.address = best
        attempt.kind = ("gpu" if task.gpu else "cpu") if self._has_gpus else "any"
        checkpoint = {} if task.checkpoint is None else read_files(Path(task.checkpoint))
        left_s = max(0.1, attempt.timeout_s - (time.monotonic() - attempt.started))
        job = Job(task=task, timeout_s=left_s, kind=attempt.kind, checkpoint=checkpoint)
        # a network's checkpoint is tens of megabytes: no reason for Dask to wonder
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "16GiB"}):
            attempt.future = self._client.submit(
                carry_out,
                self._host,
                job,
                key=f"{self._host}-{task.id}-{attempt.n_lost}",
                pure=False,
                workers=[best],
                resources={"GPU": 1} if attempt.kind == "gpu" else None,
            )
        attempt.future.add_done_callback(self._done.put)

    def _finished(self) -> list[Future[Any]]:
        found = []
        try:
            found.append(self._done.get(timeout=_POLL_S))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            return found

    def _receive(self, attempt: _Attempt, future: Future[Any]) -> Iterator[Ended]:
        try:
            done: Done = future.result(timeout=_FETCH_S)
        except Exception as error:  # whatever Dask or a worker's machine has to say of this task
            gone = future.status in ("cancelled", "lost", "pending") or isinstance(
                error, KilledWorker | ClosedError
            )
            if gone:
                yield from self._lost(attempt)
                return
            reason = self._setup.dataset.redact(f"{type(error).__name__}: {error}")
            yield self._end(attempt, reason)
            return
        del self._attempts[attempt.task.id]
        if attempt.task.checkpoint is not None:
            write_files(Path(attempt.task.checkpoint), done.checkpoint)
        if attempt.task.save_to is not None and done.ended.status is Status.SUCCESS:
            write_files(Path(attempt.task.save_to), done.model)
        yield done.ended

    def _lost(self, attempt: _Attempt) -> Iterator[Ended]:
        """Have a task whose worker is gone started once more; the second time it has failed.

        It is started by a later look at the workers: those known now may still hold the dead one.
        """
        if attempt.future is not None:
            attempt.future.cancel()  # type: ignore[no-untyped-call]
        attempt.n_lost += 1
        if attempt.n_lost >= _MAX_LOST:
            yield self._end(attempt, f"{DIED}: {_MAX_LOST} Dask workers were lost with this task.")
            return
        attempt.address = attempt.future = None

    def _end(self, attempt: _Attempt, reason: str, status: Status = Status.FAILED) -> Ended:
        task = self._attempts.pop(attempt.task.id).task
        seconds = time.monotonic() - attempt.started
        device = {"gpu": "cuda", "cpu": "cpu"}.get(attempt.kind, self._setup.device)
        return Ended(task_id=task.id, status=status, seconds=seconds, reason=reason, device=device)


def _n_gpus(worker: Mapping[str, Any]) -> int:
    return int(worker.get("resources", {}).get("GPU", 0))


def _spare(worker: Mapping[str, Any]) -> int:
    """Return the threads of a worker that no GPU needs."""
    return max(0, int(worker["nthreads"]) - _n_gpus(worker))
