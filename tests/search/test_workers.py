"""Workers that misbehave on the wire; those that misbehave in a trial are in test_runner."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from autoonco.families import get_family
from autoonco.families.contract import Fidelity, Runtime
from autoonco.search import workers
from autoonco.search.trial import FoldTask, Status, Task
from autoonco.search.worker import run_fold, stratified
from autoonco.search.workers import WorkerPool

pytestmark = pytest.mark.alone

HEAD = "import os, signal, sys\nfrom multiprocessing.connection import Connection\nc = Connection(int(sys.argv[1]))\n"


@pytest.fixture
def task(problem):
    fidelity = Fidelity(folds=1)
    fold = FoldTask(index=0, train=(0, 1), test=(2,))
    return Task(id=0, family="toy", config={}, fidelity=fidelity, fold=fold, fingerprint={}, seed=0)


def end_of(pool):
    """Return the next task that ends; each poll waits for half a second at most, so it is given up in the end."""
    return next((event for _ in range(240) for event in pool.poll()), None)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("c.recv(); c.recv(); os.write(c.fileno(), b'\\0\\0\\1\\0half'); os._exit(3)", "exit code 3"),
        ("sys.exit('no such library')", "no such library"),
        ("c.recv(); c.recv(); c.close(); signal.pause()", "fell silent"),
    ],
    ids=["dies in mid-message", "dies at once", "closes its pipe and lingers"],
)
def test_a_worker_that_dies_is_one_failed_task(toy, setup, task, monkeypatch, script, words):
    monkeypatch.setattr(workers, "_ENTRY", HEAD + script)
    monkeypatch.setattr(workers, "_EXIT_S", 1.0)
    with WorkerPool(setup) as pool:
        pool.submit(task, timeout_s=60.0)
        event = end_of(pool)
        assert event is not None
        assert event.status is Status.FAILED
        assert words in event.reason
        assert pool.n_idle(gpu=False) == pool.n_idle(gpu=True) == 1
        assert list(pool.poll()) == []


def test_a_worker_that_never_reads_does_not_hold_up_the_search(toy, setup, task, monkeypatch):
    monkeypatch.setattr(workers, "_ENTRY", HEAD + "signal.pause()")
    large = Task(**vars(task) | {"config": {"text": "x" * 10**7}})
    with WorkerPool(setup) as pool:
        pool.submit(large, timeout_s=1.0)
        (slot,) = pool._slots
        assert slot.worker.process.poll() is None  # it has read nothing yet, and submit is over
        assert end_of(pool).status is Status.TIMEOUT


REPORT = (
    HEAD
    + """
from autoonco.search.worker import Answer
setup = c.recv()
while True:
    task = c.recv()
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    c.send(Answer(task_id=task.id, seconds=0.25, reason=f"{setup.device} sees {seen}"))
"""
)


@pytest.mark.parametrize("visible", [None, "4,6", "GPU-aa,GPU-bb"])
def test_gpu_and_cpu_tasks_have_slots_of_their_own(toy, setup, task, monkeypatch, visible):
    """Each GPU's worker sees that GPU alone, numbered within what this process may see; the others see none."""
    monkeypatch.setattr(workers, "_ENTRY", REPORT)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    first, second = ("0", "1") if visible is None else visible.split(",")
    with WorkerPool(setup, n_workers=1, gpus=["cuda:0", "cuda:1"]) as pool:
        found = {}
        for _ in range(2):  # the second time in the same workers
            assert (pool.n_idle(gpu=True), pool.n_idle(gpu=False)) == (2, 1)
            for number, gpu in enumerate([True, False, True]):
                pool.submit(replace(task, id=number, gpu=gpu), timeout_s=30)
            assert (pool.n_idle(gpu=True), pool.n_idle(gpu=False)) == (0, 0)
            with pytest.raises(StopIteration):
                pool.submit(replace(task, id=9, gpu=True), timeout_s=30)
            ended = [end_of(pool) for _ in range(3)]
            found = {end.task_id: (end.device, end.reason) for end in ended}
            assert found == {
                0: ("cuda:0", f"cuda sees {first}"),
                1: ("cpu", "cpu sees "),
                2: ("cuda:1", f"cuda sees {second}"),
            }


def test_without_gpus_every_slot_takes_every_task(toy, setup, task, monkeypatch):
    monkeypatch.setattr(workers, "_ENTRY", REPORT)
    with WorkerPool(setup, n_workers=2) as pool:
        for number, gpu in enumerate([True, False]):
            pool.submit(replace(task, id=number, gpu=gpu), timeout_s=30)
        assert pool.n_idle(gpu=True) == pool.n_idle(gpu=False) == 0
        assert {end_of(pool).device for _ in range(2)} == {"cpu"}


def test_no_trace_of_a_gpu_no_torch():
    """In a process of its own, where torch has not been imported by others."""
    code = (
        "import shutil, sys; from autoonco.search import devices; shutil.which = lambda _: None; devices._TRACES = ();"
        "assert devices.visible_gpus('auto') == devices.visible_gpus('cuda') == []; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


BOAST = (
    HEAD
    + """
import numpy as np
from autoonco.search.worker import Answer
setup = c.recv()
task = c.recv()
works = task.config["act"] == "work"
c.send(Answer(task_id=task.id, seconds=1e9, **({"proba": np.ones((1, 2))} if works else {"reason": "no"})))
c.recv()
"""
)


@pytest.mark.parametrize("act", ["work", "raise"])
def test_seconds_are_the_worker_s_where_it_succeeds_and_the_wall_s_elsewhere(
    toy, setup, task, monkeypatch, act
):
    """A worker's start takes a second or more; a fit that worked is not charged for it."""
    monkeypatch.setattr(workers, "_ENTRY", BOAST)
    with WorkerPool(setup) as pool:
        pool.submit(replace(task, config={"act": act}), timeout_s=60)
        ended = end_of(pool)
    assert (ended.proba is not None) == (ended.status is Status.SUCCESS) == (act == "work")
    assert (ended.seconds == 1e9) == (act == "work")


@pytest.mark.parametrize("act", ["work", "raise"])
def test_what_a_worker_answers_names_a_case_by_its_row(toy, setup, task, problem, act):
    real = replace(
        task,
        config={"act": act, "strength": 0.3},
        fingerprint=problem.fingerprint.to_json(),
        fold=problem.folds[0],
    )
    with WorkerPool(setup) as pool:
        pool.submit(real, timeout_s=60)
        ended = end_of(pool)
    if act == "work":
        assert ended.proba.shape == (20, 2)
    else:
        assert "row 21" in ended.reason
        assert "Jane" not in ended.reason


@pytest.mark.parametrize("n", [3, 10, 30, 59, 60, 100])
def test_a_part_of_the_training_cases_has_the_classes_in_proportion(n):
    y, ids = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 16, 4])), np.arange(60)
    rows = stratified(y, ids, n, seed=5)
    assert len(set(rows.tolist())) == len(rows) == min(n, 60)
    counts = np.bincount(y[rows], minlength=3)
    exact = min(n, 60) * np.array([40, 16, 4]) / 60
    assert (counts >= 1).all()
    assert (np.abs(counts - exact) <= 1).all()
    assert set(rows) >= set(stratified(y, ids, max(1, n // 2), seed=5))
    np.testing.assert_array_equal(rows, stratified(y, ids, n, seed=5))
    assert n >= 60 or set(rows) != set(stratified(y, ids, n, seed=6))


@pytest.mark.parametrize("n", [4, 20, 60, 150])
def test_a_part_of_the_training_cases_is_of_whole_patients(n):
    rng = np.random.default_rng(1)
    patients = np.sort(rng.integers(0, 40, 120))
    y = (patients % 4 == 0).astype(int)  # a quarter of them
    order = rng.permutation(120)
    patients, y = patients[order], y[order]
    rows = stratified(y, patients, n, seed=0)
    assert not set(patients[rows]) & set(np.delete(patients, rows))
    assert set(y[rows]) == {0, 1}
    largest = np.bincount(patients).max()
    assert min(n, 120) - largest < len(rows) <= max(n, 2 * largest)
    assert abs(y[rows].sum() - len(rows) * y.mean()) <= largest
    assert set(rows) >= set(stratified(y, patients, n // 2, seed=0))


@pytest.mark.parametrize("cases", [None, 10, 40, 100])
def test_a_task_of_few_cases_is_fitted_on_so_many_and_predicts_all(
    toy, dataset, problem, task, monkeypatch, cases
):
    seen = {}
    family = get_family("toy")
    original = type(family).fit

    def fit(self, config, train, y, **how):
        seen["rows"], seen["y"] = [case.row - 1 for case in train], y
        return original(self, config, train, y, **how)

    monkeypatch.setattr(type(family), "fit", fit)
    fold = problem.folds[1]
    real = replace(
        task,
        config={"act": "work", "strength": 0.3},
        fidelity=Fidelity(folds=1, cases=cases),
        fold=fold,
        fingerprint=problem.fingerprint.to_json(),
    )
    proba = run_fold(real, dataset, Runtime(artefacts=None))
    assert len(seen["rows"]) == min(cases or 40, 40)
    assert set(seen["rows"]) <= set(fold.train)
    np.testing.assert_array_equal(seen["y"], dataset.y[seen["rows"]])
    assert seen["y"].mean() == 0.5
    assert len(proba) == len(fold.test)


def test_a_module_of_the_user_s_folder_does_not_stand_in_for_a_library(
    toy, setup, task, tmp_path, monkeypatch
):
    (tmp_path / "numpy.py").write_text("raise ImportError('not numpy')")
    monkeypatch.chdir(tmp_path)
    with WorkerPool(setup) as pool:
        pool.submit(task, timeout_s=30.0)
        assert "not numpy" not in end_of(pool).reason
