"""Kills a whole run at random times, again and again, and counts what was lost and what was counted twice.

A task of pictures whose clinical value half tells the label is fitted from search over refit to the model file, in the
reproducible mode. Killed with SIGKILL is the run itself or one of its workers; the same command is then given again
until it ends, and a new run is begun until there were enough kills. Every fit that a worker completes is written to a
log of its own, so that work done twice is seen. A fit whose worker was killed is a failure of its trial, as a crash
would be, so only runs whose workers were left alone are compared with the undisturbed one: every fourth run is not.

    python -m benchmarks faults --kills 60
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fault_counts import Counts, compare, journal, judge, phase, report, trials_of
from benchmarks.fault_task import fit, prepare

# A kill comes at a random time of a session up to this multiple of an undisturbed run's, so that all of it is met.
REACH = 1.1
# Every so many runs, the kills hit workers in place of the run.
WORKERS_EVERY = 4
MOST_WORKER_KILLS = 4


def begin(manifest: Path, run: Path, options: argparse.Namespace) -> int:
    """Start a session in a forked process, which has everything imported, and return its id."""
    os.environ["FAULTS_LOG"] = str(run.with_suffix(".log"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            fit(manifest, run, options)
            status = 0
        except Exception:  # said here, for the process ends without unwinding
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def wait(pid: int, delay_s: float) -> int | None:
    """Return the status of a session that ended within a delay, or None."""
    end = time.monotonic() + delay_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    return None


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the worker processes of a session."""
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if "autoonco.search" in " ".join(command(child))]


def kill_run(pid: int, delay_s: float, run: Path, counts: Counts) -> bool:
    """Kill the session after a delay; return whether the run ended before, by itself."""
    status = wait(pid, delay_s)
    if status is not None:
        return ended_well(status)
    workers = workers_of(pid)
    counts.phases[phase(run)] += 1
    counts.run_kills += 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    psutil.wait_procs(workers, timeout=10)
    return False


def kill_workers(pid: int, whole_s: float, counts: Counts, chance: random.Random) -> bool:
    """Kill workers of the session at random times, few enough for it to go on; return True when the run ended."""
    for _ in range(MOST_WORKER_KILLS):
        status = wait(pid, chance.uniform(0.2, 0.6) * whole_s)
        if status is not None:
            return ended_well(status)
        for worker in workers_of(pid)[:1]:
            counts.worker_kills += 1
            counts.phases["worker"] += 1
            worker.kill()
    return ended_well(os.waitpid(pid, 0)[1])


def ended_well(status: int) -> bool:
    """Return True for a session that ended by itself; anything but success is a defect."""
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"A session failed with status {os.waitstatus_to_exitcode(status)}.")
    return True


def command(process: psutil.Process) -> list[str]:
    """Return a process's command line, nothing where it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def torment(manifest: Path, run: Path, reference: Path, options: Any, counts: Counts, whole_s: float) -> None:
    """Kill one run until it has ended or there were enough kills, then compare it with the undisturbed one."""
    chance = random.Random(f"{options.seed} {counts.runs}")
    before, seen = counts.kills, set()
    hit_worker = counts.runs % WORKERS_EVERY == WORKERS_EVERY - 1
    while True:
        pid = begin(manifest, run, options)
        if counts.kills >= options.kills:
            ended_well(os.waitpid(pid, 0)[1])
            break
        if hit_worker:
            kill_workers(pid, whole_s, counts, chance)
            break
        if kill_run(pid, chance.uniform(0, REACH * whole_s), run, counts):
            break
        now = {json.dumps(event, sort_keys=True) for event in journal(run)}
        counts.vanished += len(seen - now)
        seen = now
    counts.runs += 1
    n_kills = counts.kills - before
    judge(run, counts, n_kills=n_kills, n_jobs=options.jobs, hit_worker=hit_worker)
    if options.jobs == 1 and not hit_worker:  # with several workers the search depends on timing
        compare(run, reference, counts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run undisturbed once, then kill."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"TOY_SECONDS": "0.03", "AUTOONCO_CACHE_DIR": str(folder / "cache")}
        manifest = prepare(folder)
        import autoonco.classifier  # noqa: F401 - sessions are forked from here and need not import it

        reference = folder / "reference"
        for name in (reference, folder / "warm"):  # the first one also fills the caches
            begun = time.monotonic()
            ended_well(os.waitpid(begin(manifest, name, options), 0)[1])
        whole_s = time.monotonic() - begun
        print(f"undisturbed: {whole_s:.1f} s, {len(trials_of(reference))} trials", flush=True)
        counts = Counts()
        if trials_of(reference) != trials_of(folder / "warm") and options.jobs == 1:
            print("two undisturbed runs differ: the reproducible mode is not reproducible", flush=True)
        while counts.kills < options.kills:
            run = folder / f"run{counts.runs}"
            torment(manifest, run, reference, options, counts, whole_s)
            print(f"{counts.runs} runs, {counts.kills} kills, {time.monotonic() - started:.0f} s", flush=True)
    report(counts, time.monotonic() - started)
    if not counts.is_good:
        sys.exit(1)


if __name__ == "__main__":
    main()
