"""A disk that is full at any point of a whole run: one sentence, and the same command goes on where it was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from autoonco.errors import DiskFullError
from tests.test_classifier import SETTINGS, fit, manifest, with_test_split  # noqa: F401

pytestmark = pytest.mark.alone

SIZE_KB = 4096


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk in memory, which only root may do."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def trials(run: Path) -> list[dict]:
    lines = (run / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "trial"]


@pytest.mark.slow
def test_a_full_disk_at_any_point_of_a_run_is_one_sentence_and_loses_nothing(disk, manifest):  # noqa: F811
    with_test_split(manifest)
    settings = SETTINGS.model_copy(update={"max_trials": 6})
    run, ballast = disk / "run", disk / "ballast"
    seen: list[dict] = []
    stopped = 0
    for free_kb in (8, 40, 80, 120, 160, 240, 400, 800):
        used_kb = (
            sum(path.stat().st_blocks for path in run.rglob("*") if path.is_file()) // 2
            if run.exists()
            else 0
        )
        ballast.write_bytes(b"\0" * 1024 * max(0, SIZE_KB - used_kb - free_kb))
        try:
            fit(manifest, run, settings=settings, time_limit=300)
        except DiskFullError:
            stopped += 1
        if (run / "journal.jsonl").exists():
            now = trials(run)
            assert now[: len(seen)] == seen
            seen = now
        ballast.unlink()
    assert stopped >= 2
    model = fit(manifest, run, settings=settings, time_limit=300)
    assert trials(run)[: len(seen)] == seen
    assert len([t for t in trials(run) if t["origin"] != "finalist"]) == 6
    assert len({t["id"] for t in trials(run)}) == len(trials(run))
    assert (run / "model.onco").exists()
    assert model is not None
