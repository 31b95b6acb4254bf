"""What runs in a worker process.

A worker lives long, for importing the networks' stack takes seconds. It gets the dataset once, then tasks of
one fit each, and answers each with one message. It leads a process group of its own, which is killed whole on a
limit, and it dies with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError
from autoonco.families import all_families, get_family
from autoonco.families.contract import FitContext, Runtime
from autoonco.families.state import write_state
from autoonco.search.trial import Task


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker needs once; `environment` holds variables that it sets for itself, see `nets.access`."""

    dataset: Dataset
    cache_dir: Path
    device: str
    n_threads: int
    probe: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a task: probabilities ``(n_test, n_classes)``, or the reason why there are none."""

    task_id: int
    seconds: float
    proba: NDArray[Any] | None = None
    reason: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def run_fold(
    task: Task, dataset: Dataset, runtime: Runtime, notes: dict[str, Any] | None = None
) -> NDArray[Any]:
    """Fit `task`'s config on its fold's training cases and return the probabilities of its test cases.

    The labels of the test cases are not even taken out of the dataset. `notes` is what `FitContext` says of them.

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
        notes={} if notes is None else notes,
    )
    assert dataset.y is not None  # the run checked the labels
    train = np.array(task.fold.train, dtype=int)
    if task.fidelity.cases is not None:
        rows = stratified(dataset.y[train], dataset.groups[train], task.fidelity.cases, seed=task.seed)
        train = train[rows]
    cases = [dataset.cases[row] for row in train]
    model = family.fit(task.config, cases, dataset.y[train], fidelity=task.fidelity, context=context)
    if task.save_to:
        write_state(Path(task.save_to), model.state())
    test = task.fold.test
    if not test:
        return np.empty((0, fingerprint.n_classes))
    proba = np.asarray(model.predict_proba([dataset.cases[row] for row in test]), dtype=np.float64)
    if proba.shape != (len(test), fingerprint.n_classes) or not np.isfinite(proba).all():
        raise AutoOncoError(
            f"The {task.family} model gave probabilities that are not finite or of shape {proba.shape}; "
            f"expected ({len(test)}, {fingerprint.n_classes})."
        )
    return proba


def stratified(y: NDArray[Any], groups: NDArray[Any], n: int, *, seed: int) -> NDArray[np.intp]:
    """Return the positions, ascending, of about `n` cases of whole patients, each class in proportion.

    A patient belongs to the class of most of its cases. As many patients are taken as have `n` cases at most, but one
    of each class that is there; a larger `n` adds patients to those of a smaller one.

    Parameters
    ----------
    y, groups
        Labels and patients ``(n_cases,)``.

    Examples
    --------
    >>> y = np.array([0] * 8 + [1] * 2)
    >>> np.bincount(y[stratified(y, np.arange(10), 5, seed=0)]).tolist()
    [4, 1]
    """
    rng = np.random.default_rng(seed)
    _, first, patient, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), int(y.max()) + 1), dtype=int)
    np.add.at(counts, (patient, y), 1)
    label = counts.argmax(axis=1)
    turn = np.empty(len(sizes))
    for own in np.unique(label):
        members = np.flatnonzero(label == own)
        mixed = rng.permutation(members[np.argsort(first[members])])
        # whoever has k/m of a class's cases before him comes when k/m of everything is taken: so one of each class is
        # there before a second of any
        turn[mixed] = (np.cumsum(sizes[mixed]) - sizes[mixed]) / sizes[mixed].sum()
    order = np.lexsort((first, turn))
    n_patients = max(int((np.cumsum(sizes[order]) <= n).sum()), min(n, len(np.unique(label))))
    return np.flatnonzero(np.isin(patient, order[:n_patients]))


def serve(connection: Connection) -> None:
    """Answer tasks until the connection closes."""
    setup: Setup = connection.recv()
    os.environ.update(setup.environment)
    all_families()  # their imports are no trial's cost
    runtime = Runtime(
        artefacts=ArtefactCache(setup.cache_dir, files_rest=True),
        device=setup.device,
        n_threads=setup.n_threads,
        probe=setup.probe,
    )
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        connection.send(_answer(task, setup.dataset, runtime))


def _answer(task: Task, dataset: Dataset, runtime: Runtime) -> Answer:
    start = time.perf_counter()
    notes: dict[str, Any] = {}
    try:
        proba = run_fold(task, dataset, runtime, notes)
    except AutoOncoError as error:
        reason = str(error)
    except Exception as error:  # any failure of a trial is a result: it is recorded and the search goes on
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    else:
        return Answer(task_id=task.id, seconds=time.perf_counter() - start, proba=proba, notes=notes)
    seconds = time.perf_counter() - start
    return Answer(task_id=task.id, seconds=seconds, reason=dataset.redact(reason))


def _die_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serve the connection whose file descriptor and parent process are on the command line."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C reaches the whole terminal; the parent decides what becomes of its workers. Of SIGTERM see `workers`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(parent,), daemon=True).start()
    with Connection(descriptor) as connection:
        serve(connection)
