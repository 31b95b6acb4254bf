"""Measures what `import autoonco` costs beside `import numpy`: CPU milliseconds of a fresh Python, without its start.

    python -m benchmarks import_time --repeats 30

Each import is timed in processes of its own, in turns with the other, and the least is told: what else the machine does
only adds. The bar is 1.2 times numpy's, for nobody waits for a library that he only looks at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

BAR = 1.2
PROBE = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and fail above the bar."""
    parser = argparse.ArgumentParser(prog="benchmarks import_time")
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args(argv).repeats
    seconds: dict[str, float] = {"numpy": float("inf"), "autoonco": float("inf")}
    for _ in range(repeats):
        for name, least in seconds.items():
            seconds[name] = min(least, imported(name))
    share = seconds["autoonco"] / seconds["numpy"]
    told = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
    print(f"{told}: {share:.2f} times (bar {BAR})")
    sys.exit(share > BAR)


def imported(name: str) -> float:
    """Return the CPU seconds that a fresh Python takes to import a package."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(name)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
