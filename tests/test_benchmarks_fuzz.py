"""The fuzz damages the same bytes for the same seed, and sees a process that crashes."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks import fuzz
from benchmarks.originals import write


def test_damage_is_seeded_and_changes_nearly_every_file(tmp_path: Path) -> None:
    data = write(tmp_path, "png").read_bytes()
    found = [fuzz.damaged(data, random.Random(seed)) for seed in range(200)]
    assert found == [fuzz.damaged(data, random.Random(seed)) for seed in range(200)]
    assert sum(one != data for one in found) > 190
    assert len(set(found)) > 190


def test_whole_files_are_read_broken_ones_told_and_a_crash_is_a_failure(tmp_path: Path, monkeypatch) -> None:
    whole = write(tmp_path, "png")
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:60])
    found = fuzz.run([whole, cut])
    assert found[whole].startswith("read: ")
    assert found[cut] == "told: ImageReadError"
    monkeypatch.setattr(fuzz, "READER", "import os; os.abort()")
    assert fuzz.run([whole, cut]) == dict.fromkeys([whole, cut], "FAILURE: the process crashed or hung")
