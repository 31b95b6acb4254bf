"""Kills a whole run at random times, again and again, and counts what was lost and what was counted twice.

A task of pictures whose clinical value half tells the label is fitted from search over refit to the model file, in the
reproducible mode. Killed with SIGKILL is the run itself or one of its workers; the same command is then given again
until it ends, and a new run is begun until there were enough kills. Every fit that a worker completes is written to a
log of its own, so that work done twice is seen. A fit whose worker was killed is a failure of its trial, as a crash
would be, so only runs whose workers were left alone are compared with the undisturbed one: every fourth run is not.

With `--folder` it can be done in parts: given again, the command goes on after the last run that had ended, with its
counts, until there were `--kills` kills in all or `--minutes` have passed.

    python -m benchmarks faults --kills 60 --folder faults-run --minutes 10
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from autoonco.data.cache import write_atomically
from benchmarks.fault_counts import Counts, compare, journal, judge, phase, report, trials_of
from benchmarks.fault_task import fit, prepare

# A kill comes at a random time of a session up to this multiple of an undisturbed run's, so that all of it is met.
REACH = 1.1
# Every so many runs, the kills hit workers in place of the run.
WORKERS_EVERY = 4
MOST_WORKER_KILLS = 4
STATE = "counts.json"


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
    counts.kill(phase(run))
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
            counts.kill("a worker's work", of_worker=True)
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


def reference_runs(manifest: Path, folder: Path, options: argparse.Namespace) -> float:
    """Make two undisturbed runs and return the seconds of the second; the first one also fills the caches."""
    for name in ("reference", "warm"):
        shutil.rmtree(folder / name, ignore_errors=True)
        begun = time.monotonic()
        ended_well(os.waitpid(begin(manifest, folder / name, options), 0)[1])
    whole_s = time.monotonic() - begun
    one, two = trials_of(folder / "reference"), trials_of(folder / "warm")
    print(f"undisturbed: {whole_s:.1f} s, {len(one)} trials", flush=True)
    if one != two and options.jobs == 1:
        print("two undisturbed runs differ: the reproducible mode is not reproducible", flush=True)
    return whole_s


def resumed(path: Path, asked: dict[str, Any]) -> tuple[Counts, float, float]:
    """Return counts, seconds of an undisturbed run and seconds so far; nothing counted where there is no such file."""
    if not path.exists():
        return Counts(), 0.0, 0.0
    state = json.loads(path.read_text())
    if state["asked"] != asked:
        raise SystemExit(
            f"The folder holds counts of {state['asked']}, not of {asked}: choose another folder."
        )
    return Counts.from_json(state["counts"]), state["whole_s"], state["seconds"]


def kill_all(folder: Path, options: argparse.Namespace) -> None:
    """Kill until there were enough kills or the time is over, and report."""
    end = time.monotonic() + 60 * options.minutes
    os.environ |= {"TOY_SECONDS": "0.03", "AUTOONCO_CACHE_DIR": str(folder / "cache")}
    manifest = prepare(folder)
    import autoonco.classifier  # noqa: F401 - sessions are forked from here and need not import it

    asked = {name: getattr(options, name) for name in ("trials", "jobs", "seed")}
    counts, whole_s, before_s = resumed(folder / STATE, asked)
    started = time.monotonic() - before_s
    whole_s = whole_s or reference_runs(manifest, folder, options)
    while counts.kills < options.kills and time.monotonic() < end:
        run = folder / f"run{counts.runs}"
        shutil.rmtree(run, ignore_errors=True)  # of a part that was broken off
        run.with_suffix(".log").unlink(missing_ok=True)
        torment(manifest, run, folder / "reference", options, counts, whole_s)
        seconds = time.monotonic() - started
        state = {"asked": asked, "counts": counts.to_json(), "whole_s": whole_s, "seconds": seconds}
        write_atomically(folder / STATE, lambda path, state=state: path.write_text(json.dumps(state)))
        if counts.is_good:  # else it may be looked at
            shutil.rmtree(run)
        print(f"{counts.runs} runs, {counts.kills} kills, {seconds:.0f} s", flush=True)
    report(counts, time.monotonic() - started)
    if not counts.is_good:
        sys.exit(1)
    if counts.kills < options.kills:
        print(f"{options.kills - counts.kills} kills to go: give the same command again.", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run undisturbed once, then kill."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after so many minutes")
    parser.add_argument("--folder", type=Path, help="keep the runs and counts here, to go on later")
    options = parser.parse_args(argv)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        kill_all(options.folder.resolve(), options)
        return
    with tempfile.TemporaryDirectory() as place:
        kill_all(Path(place), options)


if __name__ == "__main__":
    main()
