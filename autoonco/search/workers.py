"""Worker processes: start, feed, watch, kill whole, replace."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import IO, Self

import psutil

from autoonco.search.trial import Status, Task
from autoonco.search.worker import FoldDone, Message, Setup, TaskEnded

_POLL_S = 0.5
# Not `-m`: as `__main__` the module's classes would be others than those that come back over the wire.
# And `-P`, for a numpy.py in the folder where the user happens to be is not ours.
_ENTRY = "from autoonco.search.worker import main; main()"
_EXIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a task as the pool saw it: by itself, by a limit, or with its process."""

    task_id: int
    status: Status
    reason: str | None = None


Event = FoldDone | Ended

DIED = "The worker process died"


def _send(connection: Connection, messages: Sequence[object]) -> None:
    with contextlib.suppress(OSError):  # a worker that died is noticed and reported by `poll`
        for message in messages:
            connection.send(message)


@dataclass(kw_only=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    stderr: IO[bytes]
    task: Task | None = None
    started: float = 0.0
    timeout_s: float = field(default=float("inf"))

    def group_memory(self) -> int:
        """Resident bytes of the worker and everything it started."""
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.process.pid)
            for process in [leader, *leader.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
        return total

    def last_words(self) -> str:
        """Return the end of what the process wrote to its error stream, where it says why it died."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no message"

    def exit_code(self) -> str:
        """Return how the process ended; one that closed its pipe and lingers has not ended."""
        try:
            code = self.process.wait(timeout=_EXIT_S)
        except subprocess.TimeoutExpired:
            return "it fell silent"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
        self.stderr.close()


class WorkerPool:
    """`n_workers` long-lived processes that fit configs, each started when first needed.

    Plain subprocesses rather than `multiprocessing`: a user's script needs no ``if __name__ == "__main__"``,
    and each worker leads a process group that can be killed with all it started.
    """

    def __init__(self, setup: Setup, *, n_workers: int = 1, memory_limit_gb: float | None = None) -> None:
        self._setup = setup
        self._workers: list[_Worker | None] = [None] * n_workers
        self._memory_limit = None if memory_limit_gb is None else memory_limit_gb * 2**30

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def n_idle(self) -> int:
        """How many tasks can be submitted now."""
        return sum(worker is None or worker.task is None for worker in self._workers)

    def submit(self, task: Task, *, timeout_s: float) -> None:
        """Give `task` to an idle worker; it is stopped after `timeout_s` seconds."""
        slot = next(i for i, worker in enumerate(self._workers) if worker is None or worker.task is None)
        worker = self._workers[slot]
        messages: list[object] = [task]
        if worker is None:
            worker = self._workers[slot] = self._start()
            messages.insert(0, self._setup)
        worker.task, worker.started, worker.timeout_s = task, time.monotonic(), timeout_s
        # A pipe holds little: were the worker slow to read, sending from here would hold up the whole search.
        threading.Thread(target=_send, args=(worker.connection, messages), daemon=True).start()

    def poll(self) -> Iterator[Event]:
        """Wait up to half a second and yield what happened: folds done, tasks ended, limits overstepped."""
        busy = [worker for worker in self._workers if worker is not None and worker.task is not None]
        ready = wait([worker.connection for worker in busy], timeout=_POLL_S)
        for worker in busy:
            # What a worker has to say goes before its limits: a task that is done has not run out of time.
            if worker.connection in ready:
                yield from self._receive(worker)
            else:
                yield from self._check_limits(worker)

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        # Freed blocks go back to the allocator, not to the system: the page faults of doing otherwise can
        # halve the speed of network training on a CPU.
        tuning = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
        threads = {name: str(self._setup.n_threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-c", _ENTRY, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | tuning | threads,
        )
        theirs.close()
        return _Worker(process=process, connection=ours, stderr=stderr)

    def _receive(self, worker: _Worker) -> Iterator[Event]:
        assert worker.task is not None
        try:
            message: Message = worker.connection.recv()
        except (EOFError, OSError):  # it died, perhaps in the middle of a message
            words = self._setup.dataset.redact(worker.last_words())
            yield self._replace(worker, Status.FAILED, f"{DIED} ({worker.exit_code()}): {words}")
            return
        if isinstance(message, TaskEnded):
            worker.task = None
            status = Status.SUCCESS if message.reason is None else Status.FAILED
            yield Ended(task_id=message.task_id, status=status, reason=message.reason)
        else:
            yield message

    def _check_limits(self, worker: _Worker) -> Iterator[Event]:
        if time.monotonic() - worker.started > worker.timeout_s:
            yield self._replace(
                worker, Status.TIMEOUT, f"Stopped after {worker.timeout_s:.0f} s, its time limit."
            )
        elif self._memory_limit is not None and (used := worker.group_memory()) > self._memory_limit:
            reason = f"Stopped at {used / 2**30:.1f} GB of memory; the limit is {self._memory_limit / 2**30:.1f} GB."
            yield self._replace(worker, Status.MEMORY, reason)

    def _replace(self, worker: _Worker, status: Status, reason: str) -> Ended:
        assert worker.task is not None
        task, worker.task = worker.task, None
        worker.kill()
        self._workers[self._workers.index(worker)] = None  # a new one is started by the next submit
        return Ended(task_id=task.id, status=status, reason=reason)

    def close(self) -> None:
        """Kill every worker with all it started."""
        for slot, worker in enumerate(self._workers):
            if worker is not None:
                worker.kill()
                self._workers[slot] = None
