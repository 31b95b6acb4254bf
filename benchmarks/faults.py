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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from PIL import Image

TOY = Path(__file__).resolve().parents[1] / "tests" / "toy"
FAMILY = """
import os, toy_family
class Counted(toy_family.ToyFamily):
    def fit(self, *arguments, **named):
        model = super().fit(*arguments, **named)
        handle = os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, b"fit\\n")
        os.close(handle)
        return model
    name = "counted"
family = Counted()
"""
# A kill comes at a random time of a session up to this multiple of an undisturbed run's, so that all of it is met.
REACH = 1.1
# Every so many runs, the kills hit workers in place of the run.
WORKERS_EVERY = 4
MOST_WORKER_KILLS = 4


@dataclass(kw_only=True)
class Counts:
    """What the kills did."""

    runs: int = 0
    run_kills: int = 0
    worker_kills: int = 0
    lost_fits: int = 0
    over_allowance: int = 0
    vanished: int = 0
    counted_twice: int = 0
    other_incumbents: int = 0
    other_trials: int = 0
    other_predictions: int = 0
    other_failures: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        """All kills."""
        return self.run_kills + self.worker_kills

    @property
    def is_good(self) -> bool:
        """Whether nothing happened that may not happen."""
        return not (
            self.over_allowance
            + self.vanished
            + self.counted_twice
            + self.other_incumbents
            + self.other_trials
            + self.other_predictions
            + self.other_failures
        )


def prepare(folder: Path) -> Path:
    """Write the task and the family that logs its fits, make them known, and return the manifest."""
    rng = np.random.default_rng(0)
    plugin = folder / "plugin"
    info = plugin / "counted_family-0.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "counted_family.py").write_text(FAMILY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counted-family\nVersion: 0.0\n")
    (info / "entry_points.txt").write_text("[autoonco.families]\ncounted = counted_family:family\n")
    paths = [str(plugin), str(TOY), str(TOY.parents[1])]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    rows = []
    for i in range(40):
        label = (i // 2) % 2
        Image.fromarray(rng.integers(0, 255, (12, 12)).astype(np.uint8)).save(folder / f"{i}.png")
        value = 2 * label - 1 + rng.normal()
        rows.append(
            {
                "case": i,
                "patient": i // 2,
                "image": f"{i}.png",
                "label": ["no", "yes"][label],
                "signal": value,
                "split": "train" if i < 28 else "test",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def fit(manifest: Path, run: Path, options: argparse.Namespace) -> None:
    """Do what is to be killed: a whole run."""
    import autoonco

    settings = autoonco.Settings(
        inner_folds=3, max_trials=options.trials, ensemble_rounds=5, portfolio="none", seconds="prior"
    )
    autoonco.fit(
        manifest,
        families=["counted"],
        clinical=["signal"],
        run_dir=run,
        time_limit=3600,
        n_jobs=options.jobs,
        device="cpu",
        settings=settings,
    )


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


def journal(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's journal."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def phase(run: Path) -> str:
    """Return how far a run has come."""
    if (run / "model.onco").exists():
        return "save"
    if (run / "models").exists():
        return "refit"
    return "search" if journal(run) else "start"


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


def trials_of(run: Path) -> list[tuple[Any, ...]]:
    """Return what the trials of a run were and found, without times."""
    return [
        (event["origin"], json.dumps(event["config"], sort_keys=True), event["budget"], event["loss"])
        for event in journal(run)
        if event["event"] == "trial"
    ]


def incumbent(run: Path) -> tuple[Any, ...]:
    """Return the best fully trained trial of a run."""
    full = [trial for trial in trials_of(run) if trial[2] == 1.0 and trial[3] is not None]
    return min(full, key=lambda trial: trial[3])


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


def judge(run: Path, counts: Counts, *, n_kills: int, n_jobs: int, hit_worker: bool) -> None:
    """Count what went wrong in an ended run."""
    events = journal(run)
    names = [event["name"] for event in events if event["event"] == "fold"]
    trials = [event for event in events if event["event"] == "trial"]
    ids = [trial["id"] for trial in trials]
    log = run.with_suffix(".log")
    lost = len(log.read_text().splitlines()) - len(set(names))
    counts.lost_fits += lost
    counts.over_allowance += max(0, lost - n_kills * n_jobs)
    counts.counted_twice += len(names) - len(set(names)) + len(ids) - len(set(ids))
    n_failed = sum(trial["status"] == "failed" for trial in trials)
    counts.other_failures += max(0, n_failed - (n_kills if hit_worker else 0))


def compare(run: Path, reference: Path, counts: Counts) -> None:
    """Count how an ended run differs from the undisturbed one."""
    counts.other_incumbents += incumbent(run) != incumbent(reference)
    got, wanted = trials_of(run), trials_of(reference)
    counts.other_trials += got != wanted
    for place, pair in enumerate(zip_longest(got, wanted)):
        if pair[0] != pair[1]:
            print(f"{run.name}: trial {place} is {pair[0]}, undisturbed it is {pair[1]}", flush=True)
            break
    table = "evaluation/predictions.csv"
    counts.other_predictions += (run / table).read_bytes() != (reference / table).read_bytes()


def report(counts: Counts, seconds: float) -> None:
    """Print the counts."""
    rows = {
        "runs ended": counts.runs,
        "kills of the run / of a worker": f"{counts.run_kills} / {counts.worker_kills}",
        "killed during": ", ".join(f"{name} {n}" for name, n in counts.phases.most_common()),
        "completed fits lost (done again)": counts.lost_fits,
        "  more than one a worker and kill": counts.over_allowance,
        "recorded lines that vanished": counts.vanished,
        "folds or trials counted twice": counts.counted_twice,
        "runs with another incumbent": counts.other_incumbents,
        "runs with other trials or losses": counts.other_trials,
        "runs with other predictions": counts.other_predictions,
        "failed trials beyond worker kills": counts.other_failures,
        "seconds": round(seconds),
        "verdict": "good" if counts.is_good else "NOT GOOD",
    }
    for name, value in rows.items():
        print(f"{name:36s}{value}", flush=True)


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
