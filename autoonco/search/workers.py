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
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import IO

import psutil

from autoonco.search.devices import only, visible_gpus
from autoonco.search.trial import Closing, Ended, Status, Task
from autoonco.search.worker import Answer, Setup

_POLL_S = 0.5
# Not `-m`: as `__main__` the module's classes would be others than those that come back over the wire.
# And `-P`, for a numpy.py in the folder where the user happens to be is not ours.
# A batch system's SIGTERM reaches all processes of a job, also one that is still importing: the parent decides what
# becomes of its workers. It is not ignored but handled: what is ignored stays so in processes of a fit.
_ENTRY = (
    "import signal; signal.signal(signal.SIGTERM, lambda *_: None); "
    "from autoonco.search.worker import main; main()"
)
_EXIT_S = 5.0


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


@dataclass(kw_only=True)
class _Slot:
    """A place for one worker at a time; `gpu` says which tasks it takes, None that it takes any."""

    setup: Setup
    device: str
    gpu: bool | None = None
    worker: _Worker | None = None

    def is_free(self, *, gpu: bool) -> bool:
        return self.gpu in (None, gpu) and (self.worker is None or self.worker.task is None)

    def start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        # Freed blocks go back to the allocator, not to the system: the page faults of doing otherwise can
        # halve the speed of network training on a CPU.
        tuning = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
        threads = {name: str(self.setup.n_threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-c", _ENTRY, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | tuning | threads | only(self.device),
        )
        theirs.close()
        self.worker = _Worker(process=process, connection=ours, stderr=stderr)
        return self.worker

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


def _slots(setup: Setup, n_workers: int, gpus: Sequence[str]) -> list[_Slot]:
    if not gpus:
        device = setup.device if setup.device != "auto" else (*visible_gpus("auto"), "cpu")[0]
        # a process that sees one GPU only knows it as its first
        seen = replace(setup, device=device.partition(":")[0])
        return [_Slot(setup=seen, device=device) for _ in range(n_workers)]
    on_gpu = [_Slot(setup=replace(setup, device="cuda"), device=gpu, gpu=True) for gpu in gpus]
    on_cpu = [_Slot(setup=replace(setup, device="cpu"), device="cpu", gpu=False) for _ in range(n_workers)]
    return on_gpu + on_cpu


class WorkerPool(Closing):
    """Long-lived processes that fit configs, each started when first needed.

    Without `gpus` there are `n_workers` of them, on `setup.device`, that take any task. With `gpus`, as
    ``["cuda:0", "cuda:1"]``, there is one a GPU, which sees that GPU alone and takes the tasks that want one,
    beside `n_workers` for all others, which see none. A worker whose processes hold more than `memory_limit_gb`
    together is stopped.

    Plain subprocesses rather than `multiprocessing`: a user's script needs no ``if __name__ == "__main__"``,
    and each worker leads a process group that can be killed with all it started.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        n_workers: int = 1,
        gpus: Sequence[str] = (),
        memory_limit_gb: float | None = None,
    ) -> None:
        self._slots = _slots(setup, n_workers, gpus)
        self._memory_limit = None if memory_limit_gb is None else memory_limit_gb * 2**30

    def n_idle(self, *, gpu: bool) -> int:
        """Return how many tasks that want a GPU, or that want none, can be submitted now."""
        return sum(slot.is_free(gpu=gpu) for slot in self._slots)

    def submit(self, task: Task, *, timeout_s: float) -> None:
        """Give `task` to an idle worker of its kind; it is stopped after `timeout_s` seconds."""
        slot = next(slot for slot in self._slots if slot.is_free(gpu=task.gpu))
        worker = slot.worker
        messages: list[object] = [task]
        if worker is None:
            worker = slot.start()
            messages.insert(0, slot.setup)
        worker.task, worker.started, worker.timeout_s = task, time.monotonic(), timeout_s
        # A pipe holds little: were the worker slow to read, sending from here would hold up the whole search.
        threading.Thread(target=_send, args=(worker.connection, messages), daemon=True).start()

    def poll(self) -> Iterator[Ended]:
        """Wait up to half a second and yield the tasks that ended, by themselves or by a limit."""
        busy = [(slot, slot.worker) for slot in self._slots if slot.worker and slot.worker.task]
        ready = wait([worker.connection for _, worker in busy], timeout=_POLL_S)
        for slot, worker in busy:
            # What a worker has to say goes before its limits: a task that is done has not run out of time.
            if worker.connection in ready:
                yield self._receive(slot, worker)
            elif (ended := self._overstepped(slot, worker)) is not None:
                yield ended

    def _receive(self, slot: _Slot, worker: _Worker) -> Ended:
        try:
            answer: Answer = worker.connection.recv()
        except (EOFError, OSError):  # it died, perhaps in the middle of a message
            words = slot.setup.dataset.redact(worker.last_words())
            return _replace(slot, worker, Status.FAILED, f"{DIED} ({worker.exit_code()}): {words}")
        worker.task = None
        return Ended(
            task_id=answer.task_id,
            status=Status.SUCCESS if answer.reason is None else Status.FAILED,
            seconds=answer.seconds if answer.reason is None else time.monotonic() - worker.started,
            proba=answer.proba,
            reason=answer.reason,
            device=slot.device,
            notes=answer.notes,
        )

    def _overstepped(self, slot: _Slot, worker: _Worker) -> Ended | None:
        if time.monotonic() - worker.started > worker.timeout_s:
            reason = f"Stopped after {worker.timeout_s:.0f} s, its time limit."
            return _replace(slot, worker, Status.TIMEOUT, reason)
        if self._memory_limit is not None and (used := worker.group_memory()) > self._memory_limit:
            reason = f"Stopped at {used / 2**30:.1f} GB of memory; the limit is {self._memory_limit / 2**30:.1f} GB."
            return _replace(slot, worker, Status.MEMORY, reason)
        return None

    def close(self) -> None:
        """Kill every worker with all it started."""
        for slot in self._slots:
            slot.stop()


def _replace(slot: _Slot, worker: _Worker, status: Status, reason: str) -> Ended:
    """Kill a worker; the next submit starts a new one."""
    assert worker.task is not None
    seconds = time.monotonic() - worker.started
    slot.stop()
    return Ended(task_id=worker.task.id, status=status, seconds=seconds, reason=reason, device=slot.device)
