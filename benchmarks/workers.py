"""Whether more workers mean more trials.

    python -m benchmarks.workers [--seconds 20] [--trials 2000] [--seed 0]

(a) Trials that sleep half a second, on two Dask workers against one: separate processes with scratch folders of their
own. The bar: 1.8 times as many.
(b) 64 simulated workers on trials of five seconds, asked of the real optimiser: time is simulated but for the
optimiser's own CPU time, during which everyone who waits for it is idle. The bar: 90 % busy.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families.contract import Fidelity
from autoonco.search.costs import SecondsModel
from autoonco.search.optimizer import Optimizer, OptimizerSettings, Proposal
from autoonco.search.trial import Executor, FoldTask, Status, Task
from autoonco.search.worker import Setup
from benchmarks.overhead import conditional_space, full_seconds, loss_of

TOY = Path(__file__).resolve().parents[1] / "tests" / "toy"
TRIAL_S = 0.5
BAR_RATIO = 1.8
N_SIMULATED, SIMULATED_S, BAR_BUSY = 64, 5.0, 0.9


def _setup(folder: Path) -> tuple[Setup, Fingerprint]:
    y = np.tile([0, 1], 30)
    cases = tuple(
        Case(case=f"c{i}", patient=f"p{i}", images={}, clinical={"signal": float(2 * y[i] - 1)}, row=i + 1)
        for i in range(60)
    )
    dataset = Dataset(cases=cases, classes=("no", "yes"), y=y, clinical=("signal",))
    fingerprint = Fingerprint(
        n_cases=60, n_patients=60, classes=dataset.classes, class_counts=(30, 30), ndim=2, channels=(),
        is_colour=False, has_mask=False, clinical=("signal",), has_site=False, spacing_mm=(1.0, 1.0),
        shape=(8, 8), lesion_mm=None, lesion_voxels=None, intensity={},
    )  # fmt: skip
    return Setup(dataset=dataset, cache_dir=folder / "cache", device="cpu", n_threads=1), fingerprint


def dask_trials(n_workers: int, *, seconds: float) -> int:
    """Return how many sleeping trials `n_workers` Dask workers finish in `seconds`, their start not counted."""
    from distributed import Client, LocalCluster

    from autoonco.search.dask_pool import DaskPool

    with tempfile.TemporaryDirectory() as folder:
        setup, fingerprint = _setup(Path(folder))
        template = Task(
            id=0,
            family="toy",
            config={"act": "work", "strength": 0.3},
            fidelity=Fidelity(folds=1),
            fold=FoldTask(index=0, train=tuple(range(40)), test=tuple(range(40, 60))),
            fingerprint=fingerprint.to_json(),
            seed=0,
        )
        with (
            LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=50,  # that a cluster is closed with a trial under way is no news
                local_directory=folder,
            ) as cluster,
            Client(cluster) as client,
            DaskPool(client, setup) as pool,
        ):
            _run(pool, template, first=0, n=n_workers, until=np.inf)  # every worker has its process now
            return _run(pool, template, first=n_workers, n=10**6, until=time.monotonic() + seconds)


def _run(pool: Executor, template: Task, *, first: int, n: int, until: float) -> int:
    """Keep the pool busy with up to `n` tasks and return how many ended by `until`."""
    started = done = 0
    while done < n and time.monotonic() < until:
        while started < n and pool.n_idle(gpu=False):
            pool.submit(Task(**vars(template) | {"id": first + started}), timeout_s=60)
            started += 1
        for ended in pool.poll():
            if ended.status is not Status.SUCCESS:
                raise RuntimeError(f"A trial ended as {ended.status}: {ended.reason}")
            done += time.monotonic() < until
    return done


def simulated_share_busy(n_trials: int, *, seed: int) -> tuple[float, float]:
    """Return the share of time that the simulated workers are busy, and the optimiser's CPU ms a trial.

    One owner serves one event after the other; its clock advances by the CPU time that asking and telling really take.
    """
    noise = np.random.default_rng(seed)
    space = conditional_space(seed)
    seconds = SecondsModel(prior=full_seconds)
    n_told = 0
    optimizer = Optimizer(
        space,
        settings=OptimizerSettings(),
        seed=seed,
        starts=[space.get_default_configuration()],
        seconds=seconds,
        spent=lambda: n_told / n_trials,
    )
    running: list[tuple[float, int, Proposal]] = []  # when each ends
    idle, now, n_asked, cpu, worked = N_SIMULATED, 0.0, 0, 0.0, 0.0
    while n_told < n_trials:
        start = time.process_time()
        proposal = optimizer.ask() if idle else None
        if proposal is not None:
            n_asked, idle = n_asked + 1, idle - 1
        elif running:
            end, _, ended = heapq.heappop(running)
            now, idle = max(now, end), idle + 1
            loss = loss_of(ended, noise)
            optimizer.tell(ended, loss=loss, seconds=SIMULATED_S)
            n_told, worked = n_told + 1, worked + SIMULATED_S
        else:
            raise RuntimeError("The optimiser waits though nothing runs.")
        used = time.process_time() - start
        now, cpu = now + used, cpu + used
        if proposal is not None:
            heapq.heappush(running, (now + SIMULATED_S, n_asked, proposal))
    worked += sum(min(now, end) - (end - SIMULATED_S) for end, *_ in running)
    return worked / (N_SIMULATED * now), 1000 * cpu / n_trials


def main(arguments: list[str] | None = None) -> None:
    """Print both and whether the bars are met; exit with 1 where one is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    busy, cpu_ms = simulated_share_busy(options.trials, seed=options.seed)
    print(
        f"{N_SIMULATED} simulated workers, {options.trials} trials of {SIMULATED_S:.0f} s: {100 * busy:.1f} % busy "
        f"(bar {100 * BAR_BUSY:.0f} %), optimiser {cpu_ms:.1f} ms CPU a trial"
    )
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TOY), os.environ.get("PYTHONPATH", "")]))
    os.environ["TOY_SECONDS"] = str(TRIAL_S)
    one, two = (dask_trials(n, seconds=options.seconds) for n in (1, 2))
    print(
        f"Dask workers, sleeping trials of {TRIAL_S} s, {options.seconds:.0f} s: {one} on one, {two} on two, "
        f"ratio {two / one:.2f} (bar {BAR_RATIO})"
    )
    met = busy >= BAR_BUSY and two >= BAR_RATIO * one
    print("met" if met else "missed")
    sys.exit(int(not met))


if __name__ == "__main__":
    main()
