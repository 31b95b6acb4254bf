"""What the pool makes of a worker's death, by a client that says what it is told to say."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed")

from distributed.scheduler import KilledWorker

from autoonco.errors import AutoOncoError
from autoonco.families.contract import Fidelity
from autoonco.search import dask_pool
from autoonco.search.dask_pool import DaskPool
from autoonco.search.trial import FoldTask, Task


class Lost:
    """A future whose worker died."""

    status = "error"

    def __init__(self):
        self.tell = None

    def add_done_callback(self, tell):
        self.tell = tell

    def result(self, timeout):
        raise KilledWorker("a task", None, 0)

    def cancel(self):
        pass


class Scripted:
    """A cluster's client: its workers are a dict, its futures end when the test says so."""

    status = "running"

    def __init__(self, *addresses):
        self.workers = {address: {"nthreads": 1} for address in addresses}
        self.sent = []

    def wait_for_workers(self, n, timeout):
        pass

    def register_plugin(self, plugin, name):
        pass

    def unregister_worker_plugin(self, name):
        pass

    def cancel(self, futures):
        pass

    def scheduler_info(self, n_workers):
        return {"workers": dict(self.workers)}

    def submit(self, call, host, job, *, workers, **rest):
        self.sent.append((workers[0], Lost()))
        return self.sent[-1][1]


def test_one_death_counts_once_though_the_dead_worker_is_still_on_the_list(problem, setup):
    client = Scripted("first", "second")
    fold = FoldTask(index=0, train=(0, 1), test=(2, 3))
    task = Task(
        id=0, family="toy", config={}, fidelity=Fidelity(folds=1), fold=fold,
        fingerprint=problem.fingerprint.to_json(), seed=0,
    )  # fmt: skip
    with DaskPool(client, setup) as pool:
        pool.submit(task, timeout_s=60.0)
        ((address, future),) = client.sent
        del client.workers[address]
        future.tell(future)
        assert not list(pool.poll())
        assert [where for where, _ in client.sent] == ["first", "second"]

        del client.workers["second"]
        (ended,) = pool.poll()  # the second loss of this task
        assert "2 Dask workers were lost" in ended.reason


def test_a_cluster_that_stays_empty_ends_the_run_and_one_that_comes_back_does_not(setup, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(dask_pool.time, "monotonic", lambda: now[0])
    client = Scripted("first")
    with DaskPool(client, setup) as pool:
        client.workers.clear()
        now[0] = 590.0
        assert not list(pool.poll())
        client.workers["second"] = {"nthreads": 1}
        now[0] = 1200.0
        assert not list(pool.poll())
        client.workers.clear()
        now[0] = 1790.0
        assert not list(pool.poll())
        now[0] = 1801.0
        with pytest.raises(AutoOncoError, match="continue in the same run_dir"):
            list(pool.poll())
