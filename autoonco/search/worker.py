"""What runs in a worker process.

A worker lives long, for importing the networks' stack takes seconds. It gets the dataset once, then tasks,
and answers with one message a fold, so that a kill loses one fit at most. It leads a process group of its
own, which is killed whole on a limit, and it dies with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError
from autoonco.families import get_family
from autoonco.families.contract import FitContext, Runtime
from autoonco.families.state import write_state
from autoonco.search.trial import FoldTask, Task


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker needs once."""

    dataset: Dataset
    cache_dir: Path
    device: str
    n_threads: int


@dataclass(frozen=True, kw_only=True)
class FoldDone:
    """Probabilities ``(n_test, n_classes)`` of one fold of a task."""

    task_id: int
    index: int
    proba: NDArray[Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TaskEnded:
    """The end of a task; `reason` is None where it succeeded."""

    task_id: int
    reason: str | None = None


Message = FoldDone | TaskEnded


def run_fold(task: Task, fold: FoldTask, dataset: Dataset, runtime: Runtime) -> NDArray[Any]:
    """Fit `task`'s config on the fold's training cases and return the probabilities of its test cases.

    The labels of the test cases are not even taken out of the dataset.

    Raises
    ------
    AutoOncoError
        If the probabilities are not finite numbers of the expected shape.
    """
    family = get_family(task.family)
    fingerprint = Fingerprint.from_json(task.fingerprint)
    context = FitContext(
        runtime=runtime,
        fingerprint=fingerprint,
        seed=task.seed,
        checkpoint=Path(task.checkpoint) if task.checkpoint else None,
    )
    assert dataset.y is not None  # the run checked the labels
    train = [dataset.cases[row] for row in fold.train]
    model = family.fit(
        task.config, train, dataset.y[list(fold.train)], fidelity=task.fidelity, context=context
    )
    if task.save_to:
        write_state(Path(task.save_to), model.state())
    if not fold.test:
        return np.empty((0, fingerprint.n_classes))
    proba = np.asarray(model.predict_proba([dataset.cases[row] for row in fold.test]), dtype=np.float64)
    if proba.shape != (len(fold.test), fingerprint.n_classes) or not np.isfinite(proba).all():
        raise AutoOncoError(
            f"The {task.family} model gave probabilities that are not finite or of shape {proba.shape}; "
            f"expected ({len(fold.test)}, {fingerprint.n_classes})."
        )
    return proba


def serve(connection: Connection) -> None:
    """Answer tasks until the connection closes."""
    setup: Setup = connection.recv()
    runtime = Runtime(
        artefacts=ArtefactCache(setup.cache_dir), device=setup.device, n_threads=setup.n_threads
    )
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        connection.send(_run_task(task, setup.dataset, runtime, connection))


def _run_task(task: Task, dataset: Dataset, runtime: Runtime, connection: Connection) -> TaskEnded:
    try:
        for fold in task.folds:
            start = time.perf_counter()
            proba = run_fold(task, fold, dataset, runtime)
            seconds = time.perf_counter() - start
            connection.send(FoldDone(task_id=task.id, index=fold.index, proba=proba, seconds=seconds))
    except AutoOncoError as error:
        return TaskEnded(task_id=task.id, reason=dataset.redact(str(error)))
    except Exception as error:  # any failure of a trial is a result: it is recorded and the search goes on
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return TaskEnded(task_id=task.id, reason=dataset.redact(reason))
    return TaskEnded(task_id=task.id)


def _die_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serve the connection whose file descriptor and parent process are on the command line."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C reaches the whole terminal; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(parent,), daemon=True).start()
    with Connection(descriptor) as connection:
        serve(connection)
