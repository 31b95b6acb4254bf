"""Workers of a Dask cluster as separate processes of this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

from autoonco.families import all_families
from autoonco.families.contract import Fidelity
from autoonco.search.dask_pool import DaskPool
from autoonco.search.trial import FoldTask, Status, Task

pytestmark = pytest.mark.alone

PROBE = '''
"""A family that counts its visits to a checkpoint and says in its probabilities where it is."""
import os, time, uuid
from pathlib import Path
import numpy as np
from autoonco.families.contract import ModelState


class Model:
    def __init__(self, number, n_gpus):
        self.number, self.n_gpus = number, n_gpus

    def predict_proba(self, cases):
        return np.tile([self.number, self.n_gpus], (len(cases), 1)).astype(float)

    def state(self):
        return ModelState(meta={"number": self.number}, tensors={"ones": np.ones(3)}, parts={"more": b"part"})


class Probe:
    name = "probe"

    def fit(self, config, cases, y, *, fidelity, context):
        if config["place"]:  # wait until so many tasks have been here at the same time, or one of the past
            place = Path(config["place"])
            place.mkdir(parents=True, exist_ok=True)
            (place / str(uuid.uuid4())).touch()
            while len(list(place.iterdir())) < config["n"]:
                time.sleep(0.01)
        if config.get("act") == "crash":
            os.abort()
        if config.get("act") == "hang":
            time.sleep(3600)
        if config.get("act") == "eat":
            hoard = []
            while True:
                hoard.append(np.ones(2**22))
                time.sleep(0.01)
        number = 0
        if context.checkpoint is not None:
            kept = context.checkpoint / "deep" / "visits"
            number = 1 + (int(kept.read_text()) if kept.exists() else 0)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(str(number))
            where = context.checkpoint / "where"
            if not where.exists():
                where.write_text(str(context.checkpoint))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        return Model(number, {"none": -1, "": 0}.get(visible, len(visible.split(","))))


family = Probe()
'''


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """Make the family known to this process, to Dask workers and to theirs."""
    folder = tmp_path / "families"
    (folder / "probe-0.0.dist-info").mkdir(parents=True)
    (folder / "probe_family.py").write_text(PROBE)
    (folder / "probe-0.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: probe\nVersion: 0.0\n"
    )
    points = "[autoonco.families]\nprobe = probe_family:family\n"
    (folder / "probe-0.0.dist-info" / "entry_points.txt").write_text(points)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    all_families.cache_clear()
    yield
    all_families.cache_clear()


@pytest.fixture
def task(problem):
    fold = FoldTask(index=0, train=tuple(range(20)), test=(20, 21, 22))
    fingerprint = problem.fingerprint.to_json()

    def make(number: int, **more) -> Task:
        place, n = more.pop("meet", ("", 0))
        config = {"place": str(place), "n": n, "act": more.pop("act", "work")}
        given = {"fidelity": Fidelity(folds=1), "fold": fold, "fingerprint": fingerprint, "seed": 0}
        return Task(**given | {"id": number, "family": "probe", "config": config} | more)

    return make


@pytest.fixture
def cluster(probe, tmp_path):
    """Start a cluster of separate processes; the resources are those of each worker."""
    opened = []

    def start(*resources: dict[str, float], threads: int = 1) -> Client:
        scheduler = LocalCluster(n_workers=0, processes=True, dashboard_address=None, silence_logs=50)
        opened.append(scheduler)
        client = Client(scheduler)
        opened.append(client)
        for number, own in enumerate(resources):
            options = {
                "nthreads": threads,
                "resources": own,
                "local_directory": str(tmp_path / f"scratch{number}"),
            }
            scheduler.new_spec = scheduler.new_spec | {"options": scheduler.new_spec["options"] | options}
            scheduler.scale(number + 1)
            client.wait_for_workers(number + 1, timeout=60)
        return client

    yield start
    for item in reversed(opened):
        item.close()


def finish(pool, n):
    """Return the next `n` tasks to end; each poll waits for half a second at most, so they are given up in the end."""
    found = {}
    for _ in range(400):
        for ended in pool.poll():
            assert ended.task_id not in found
            found[ended.task_id] = ended
        if len(found) == n:
            break
    return found


def until(pool, met):
    """Poll until something has happened; no task may end before."""
    for _ in range(400):
        assert not list(pool.poll())
        if met():
            return
    pytest.fail("it never happened")


def n_at(place):
    """Return how many tasks have come to a meeting place."""
    return len(list(place.iterdir())) if place.exists() else 0


def run_all(pool, tasks, *, timeout_s=600.0):
    found, pending = {}, list(tasks)
    while len(found) < len(tasks):
        while pending and pool.n_idle(gpu=pending[0].gpu):
            pool.submit(pending.pop(0), timeout_s=timeout_s)
        found |= {ended.task_id: ended for ended in pool.poll()}
    return found


@pytest.mark.slow
def test_tasks_checkpoints_and_models_come_back_and_a_killed_worker_costs_nothing(
    cluster, setup, task, tmp_path
):
    client = cluster({}, {})
    with DaskPool(client, setup) as pool:
        assert pool.n_idle(gpu=False) == pool.n_idle(gpu=True) == 2
        checkpoints = [str(tmp_path / "kept" / str(i)) for i in range(4)]
        for visits in (1, 2):
            meet = tmp_path / f"meet{visits}", 2  # the first two wait for each other: each worker has one
            tasks = [task(10 * visits + i, checkpoint=checkpoints[i], meet=meet) for i in range(4)]
            found = run_all(pool, tasks)
            assert {ended.status for ended in found.values()} == {Status.SUCCESS}, found
            for ended in found.values():
                np.testing.assert_array_equal(ended.proba[:, 0], np.full(3, visits))
                assert ended.seconds > 0
            assert {Path(c, "deep", "visits").read_text() for c in checkpoints} == {str(visits)}
        used = {Path(c, "where").read_text() for c in checkpoints}
        assert {"scratch0" in where for where in used} == {
            True,
            False,
        }  # both workers, each in its own folder
        assert not any(Path(where).exists() for where in used)

        model = tmp_path / "model"
        run_all(pool, [task(50, save_to=str(model))])
        assert {path.name for path in model.iterdir()} == {"meta.json", "tensors.safetensors", "more.skops"}

        gate = tmp_path / "gate"
        long = [task(100 + i, meet=(gate, 4)) for i in range(2)]
        for one in long:
            pool.submit(one, timeout_s=120)
        assert pool.n_idle(gpu=False) == 0
        until(pool, lambda: n_at(gate) == 2)
        pids = client.run(os.getpid)
        for pid in pids.values():  # Ctrl-C at the terminal that they share with the run
            os.kill(pid, signal.SIGINT)
        assert client.run(os.getpid) == pids
        assert n_at(gate) == 2  # nothing has begun anew
        address, pid = next(iter(pids.items()))
        own = psutil.Process(pid).children(recursive=True)
        assert own
        os.kill(pid, signal.SIGKILL)
        until(pool, lambda: n_at(gate) == 3)  # it has begun once more
        (gate / "open").touch()
        rest = [task(200 + i) for i in range(4)]
        found = finish(pool, 2) | run_all(pool, rest)
        assert {ended.status for ended in found.values()} == {Status.SUCCESS}, found
        assert set(found) == {100, 101, 200, 201, 202, 203}
        assert address not in pool._workers
        _, alive = psutil.wait_procs(own, timeout=60)
        assert not alive  # what the dead worker had started died with it
    assert client.status == "running"
    client.run(lambda: None)
    children = [p for pid in client.run(os.getpid).values() for p in psutil.Process(pid).children()]
    assert not [p for p in children if "autoonco" in " ".join(p.cmdline())]


@pytest.mark.slow
def test_gpu_tasks_go_where_gpus_are_and_limits_hold_there_too(cluster, setup, task, tmp_path):
    """A worker that offers two GPUs and two more threads, beside one without."""
    client = cluster({"GPU": 2}, {}, threads=3)
    with DaskPool(client, setup, memory_limit_gb=1.0) as pool:
        assert (pool.n_idle(gpu=True), pool.n_idle(gpu=False)) == (2, 4)
        # none ends before all six have begun
        tasks = [task(i, gpu=i < 2, meet=(tmp_path / "six", 6)) for i in range(6)]
        for one in tasks:
            pool.submit(one, timeout_s=120)
        assert (pool.n_idle(gpu=True), pool.n_idle(gpu=False)) == (0, 0)
        found = finish(pool, 6)
        assert sorted(found[i].device for i in range(2)) == ["cuda:0", "cuda:1"]
        assert {found[i].device for i in range(2, 6)} == {"cpu"}
        for i in range(6):  # each sees the GPU it was given and no other
            assert (found[i].proba[:, 1] == (1 if i < 2 else 0)).all()

        bad = {10: "crash", 11: "hang", 12: "eat"}
        for number, act in bad.items():
            pool.submit(task(number, act=act), timeout_s=2.0 if act == "hang" else 120.0)
        ends = finish(pool, 3)
        statuses = {number: ended.status for number, ended in ends.items()}
        assert statuses == {10: Status.FAILED, 11: Status.TIMEOUT, 12: Status.MEMORY}
        assert "SIGABRT" in ends[10].reason
        assert run_all(pool, [task(20)])[20].status is Status.SUCCESS
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2


@pytest.mark.slow
def test_a_task_that_loses_two_workers_has_failed_and_new_workers_are_used(cluster, setup, task, tmp_path):
    client = cluster({})
    place = tmp_path / "nobody else comes"
    with DaskPool(client, setup, n_workers=1) as pool:
        pool.submit(task(0, meet=(place, 99)), timeout_s=600)
        for n_begun in (1, 2):
            until(pool, lambda n=n_begun: n_at(place) == n)
            (pid,) = client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)  # its nanny starts another, which joins as a new worker
        ended = finish(pool, 1)[0]
        assert ended.status is Status.FAILED
        assert "2 Dask workers were lost" in ended.reason
        assert run_all(pool, [task(1)])[1].status is Status.SUCCESS
