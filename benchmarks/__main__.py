"""Runs a benchmark by its name: ``python -m benchmarks replay --seeds 20``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

NAMES = sorted(
    info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]) if info.name != "__main__"
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"Usage: python -m benchmarks NAME [options], where NAME is one of: {', '.join(NAMES)}.")
    importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
