"""How long extraction takes beside pyradiomics' plain `execute`, on the same scans and features.

    python -m benchmarks radiomics_speed [--cases lung1,...] [--workers-cases 16] [--no-memory]

CPU seconds of one thread, so that other work on the machine counts little. The first call of autoonco in a process
compiles; that is timed by itself. Then: the peak memory of a process that extracts one case, two workers against one,
and the second use from the cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np

from autoonco.data.cache import ArtefactCache
from autoonco.data.manifest import Dataset
from autoonco.features import blocks
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec
from benchmarks.memory import status_kb
from benchmarks.radiomics_cases import (
    PHANTOMS,
    REAL,
    SETS,
    TimedCase,
    largest_difference,
    ours,
    pyradiomics,
    timed_case,
)

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CASES = (*REAL, *PHANTOMS)
REPEATS = 3
"""Of those the fastest counts; slow extractions run once."""
SLOW_S = 5.0
Features = dict[str, float]


def main(arguments: Sequence[str]) -> None:
    """Print a table for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--workers-cases", type=int, default=16)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--alone", nargs=3, metavar=("WHO", "CASE", "IMAGES"), help="extract once, print kB")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if options.alone:
            who, name, images = options.alone
            _alone(who, name, images, Path(folder))
            return
        names = options.cases.split(",")
        print(f"compilation: {compile_seconds(Path(folder)):.1f} s CPU")
        speed(names, Path(folder))
        if not options.no_memory:
            memory([name for name in names if name in ("lung1", "sarcoma CT", "phantom 256³")])
        workers(options.workers_cases, Path(folder))


def cpu_seconds(job: Callable[[], Features]) -> tuple[float, Features]:
    """Return the CPU seconds of this process for `job`, and what it gave."""
    start = time.process_time()
    found = job()
    return time.process_time() - start, found


def fastest(job: Callable[[], Features]) -> tuple[float, Features]:
    """Return the fewest CPU seconds of `REPEATS` runs, of one where it is slow, and what it gave."""
    first, found = cpu_seconds(job)
    others = [] if first > SLOW_S else [cpu_seconds(job)[0] for _ in range(REPEATS - 1)]
    return min([first, *others]), found


def compile_seconds(folder: Path) -> float:
    """Return what the first extraction of a process takes more than the second."""
    item = timed_case("phantom 64³", SHARED, folder)
    first, _ = cpu_seconds(lambda: _fresh(item, "filtered", folder))
    return first - cpu_seconds(lambda: _fresh(item, "filtered", folder))[0]


def _fresh(item: TimedCase, images: str, folder: Path, *, outline: bool = False) -> Features:
    """Extract into an empty cache within `folder`, whose deletion is not timed."""
    blocks.forget()
    return ours(item, images, Path(tempfile.mkdtemp(dir=folder)), outline=outline)


def speed(names: Sequence[str], folder: Path) -> None:
    """Print seconds and their ratio for each case and set of images, and the geometric mean of the ratios.

    The last column is autoonco with its features of the outline, which pyradiomics doesn't compute.
    """
    heads = ("pyradiomics", "autoonco", "ratio", "features", "difference", "with outline")
    print(f"{'case':<14}{'images':<10}" + "".join(f"{head:>13}" for head in heads))
    ratios: dict[str, list[float]] = {images: [] for images in SETS}
    for name in names:
        item = timed_case(name, SHARED, folder)
        for images in SETS:
            theirs_s, theirs = fastest(partial(pyradiomics, item, images))
            ours_s, mine = fastest(partial(_fresh, item, images, folder))
            whole_s, _ = fastest(partial(_fresh, item, images, folder, outline=True))
            n, difference = largest_difference(mine, theirs)
            ratios[images].append(theirs_s / ours_s)
            cells = [f"{theirs_s:.3f}", f"{ours_s:.3f}", f"{ratios[images][-1]:.1f}", str(n)]
            cells += [f"{difference:.1e}", f"{whole_s:.3f}"]
            print(f"{name:<14}{images:<10}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    for images, found in ratios.items():
        print(f"geometric mean, {images}: {np.exp(np.mean(np.log(found))):.1f}")
    together = [ratio for found in ratios.values() for ratio in found]
    print(f"geometric mean, all: {np.exp(np.mean(np.log(together))):.1f}")


def memory(names: Sequence[str]) -> None:
    """Print the peak resident memory of a process that does one extraction, as a whole and above its imports."""
    print(f"{'case':<14}{'who':<14}{'imports MB':>12}{'peak MB':>10}")
    for name in names:
        for who in ("pyradiomics", "autoonco"):
            command = [
                sys.executable,
                "-m",
                "benchmarks",
                "radiomics_speed",
                "--alone",
                who,
                name,
                "filtered",
            ]
            found = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
            )
            before, peak = (int(word) / 1024 for word in found.stdout.split())
            print(f"{name:<14}{who:<14}{before:>12.0f}{peak:>10.0f}", flush=True)


def _alone(who: str, name: str, images: str, folder: Path) -> None:
    """Extract once in this process and print resident kB before, and at the peak."""
    small, item = timed_case("phantom 64³", SHARED, folder), timed_case(name, SHARED, folder)
    for case in (small, item):
        # The first brings imports and compilation; then the kernel's record of the peak starts anew.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = status_kb("VmRSS")
        if who == "pyradiomics":
            pyradiomics(case, images)
        else:
            _fresh(case, images, folder)
    print(before, status_kb("VmHWM"))


def workers(n_cases: int, folder: Path) -> None:
    """Print seconds of one and two workers on sarcoma CTs, and of the second use from the cache."""
    data = Dataset.from_csv(SHARED / "sarcoma3d" / "labels.csv", image="image_ct", mask="mask_ct")
    cases = [replace(case, row=row) for row, case in enumerate(data.cases[:n_cases], start=1)]
    channel = ChannelSpec(name=data.channels[0], binning=Binning(kind="width", value=25.0))
    spec = ExtractionSpec(ndim=3, channels=(channel,), log_sigmas_mm=(1.0, 2.0, 3.0), wavelet="coif1")
    seconds = {}
    for n_threads in (1, 2):
        blocks.forget()
        cache = ArtefactCache(folder / f"workers{n_threads}")
        start = time.monotonic()
        blocks.extract_table(cases, spec, artefacts=cache, n_threads=n_threads)
        seconds[n_threads] = time.monotonic() - start
    blocks.forget()
    start = time.monotonic()
    blocks.extract_table(cases, spec, artefacts=ArtefactCache(folder / "workers1"))
    again = time.monotonic() - start
    print(
        f"{len(cases)} sarcoma CTs, filtered, wall seconds: one worker {seconds[1]:.1f}, two {seconds[2]:.1f}",
        end="",
    )
    print(
        f" (ratio {seconds[1] / seconds[2]:.2f}), from the cache {again:.3f} (ratio {seconds[1] / again:.0f})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
