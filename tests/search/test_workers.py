"""Workers that misbehave on the wire; those that misbehave in a trial are in test_runner."""

from __future__ import annotations

import time

import pytest

from autoonco.families.contract import Fidelity
from autoonco.search import workers
from autoonco.search.trial import FoldTask, Status, Task
from autoonco.search.workers import WorkerPool

HEAD = "import os, sys, time\nfrom multiprocessing.connection import Connection\nc = Connection(int(sys.argv[1]))\n"


@pytest.fixture
def task(problem):
    fidelity = Fidelity(folds=1)
    fold = FoldTask(index=0, train=(0, 1), test=(2,))
    return Task(id=0, family="toy", config={}, fidelity=fidelity, fold=fold, fingerprint={}, seed=0)


def end_of(pool, *, within_s):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for event in pool.poll():
            return event
    return None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("c.recv(); c.recv(); os.write(c.fileno(), b'\\0\\0\\1\\0half'); os._exit(3)", "exit code 3"),
        ("sys.exit('no such library')", "no such library"),
        ("c.recv(); c.recv(); c.close(); time.sleep(60)", "fell silent"),
    ],
    ids=["dies in mid-message", "dies at once", "closes its pipe and lingers"],
)
def test_a_worker_that_dies_is_one_failed_task(toy, setup, task, monkeypatch, script, words):
    monkeypatch.setattr(workers, "_ENTRY", HEAD + script)
    monkeypatch.setattr(workers, "_EXIT_S", 1.0)
    with WorkerPool(setup) as pool:
        pool.submit(task, timeout_s=2.0)
        event = end_of(pool, within_s=10)
        assert event is not None
        assert event.status is Status.FAILED
        assert words in event.reason
        assert pool.n_idle(gpu=False) == pool.n_idle(gpu=True) == 1
        assert list(pool.poll()) == []


def test_a_worker_that_never_reads_does_not_hold_up_the_search(toy, setup, task, monkeypatch):
    monkeypatch.setattr(workers, "_ENTRY", HEAD + "time.sleep(60)")
    large = Task(**vars(task) | {"config": {"text": "x" * 10**7}})
    with WorkerPool(setup) as pool:
        start = time.monotonic()
        pool.submit(large, timeout_s=1.0)
        assert time.monotonic() - start < 1.0
        assert end_of(pool, within_s=10).status is Status.TIMEOUT


def test_a_module_of_the_user_s_folder_does_not_stand_in_for_a_library(
    toy, setup, task, tmp_path, monkeypatch
):
    (tmp_path / "numpy.py").write_text("raise ImportError('not numpy')")
    monkeypatch.chdir(tmp_path)
    with WorkerPool(setup) as pool:
        pool.submit(task, timeout_s=30.0)
        assert "not numpy" not in end_of(pool, within_s=40).reason
