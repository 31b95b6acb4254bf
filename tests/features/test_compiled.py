"""Machine code is kept between processes, and a machine that can keep nothing still computes."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import pytest

from autoonco.features.compiled import compiled

PROGRAM = """
import numpy as np
from autoonco.features.texture_features import texture_values
levels = np.random.default_rng(0).integers(1, 9, (6, 7, 8))
print(sorted(texture_values(levels)["glszm"].items()))
"""


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    def run() -> tuple[str, set[str]]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, {(str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nb?")}

    first, kept = run()
    second, after = run()
    assert kept
    assert after == kept  # nothing was compiled and written anew
    assert second == first


def test_without_a_place_for_it_each_process_compiles(monkeypatch):
    whole = numba.njit

    def nowhere(*args, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return whole(*args, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @compiled
    def double(number: int) -> int:
        return 2 * number

    assert double(21) == 42
