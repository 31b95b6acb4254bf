"""Runs a benchmark by its name: ``python -m benchmarks replay --seeds 20``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8"))

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"Usage: python -m benchmarks NAME [options], where NAME is one of: {', '.join(NAMES)}.")
    importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
