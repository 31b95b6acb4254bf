"""The artefact cache under damage, under a limit, and under several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from autoonco.data.bounds import KEPT_SHARE, evict, limit_bytes
from autoonco.data.cache import ArtefactCache

KB = 1000


def fill(cache: ArtefactCache, n: int, size: int = 10 * KB) -> None:
    for i in range(n):
        cache.put("crops", f"{i:03d}", {"x": np.full(size, i, np.uint8)})


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path, limit=0)
    fill(cache, 20)
    for i, path in enumerate(sorted(tmp_path.rglob("*.safetensors"))):
        os.utime(path, (time.time() - 10_000 + i, time.time() - 10_000 + i))
    assert cache.get("crops", "003") is not None  # a use, long after the last one
    removed = evict(tmp_path, 110 * KB)
    assert removed > 0
    assert used(tmp_path) <= KEPT_SHARE * 110 * KB
    left = {path.stem for path in tmp_path.rglob("*.safetensors")}
    assert "003" in left
    assert left - {"003"} == {f"{i:03d}" for i in range(20 - len(left) + 1, 20)}


def test_a_cache_stays_within_its_limit_whoever_writes(tmp_path: Path) -> None:
    for _ in range(3):  # another process knows nothing of what the first one wrote
        fill(ArtefactCache(tmp_path, limit=150 * KB), 40)
        assert used(tmp_path) <= 1.1 * 150 * KB
    unbounded = ArtefactCache(tmp_path / "all", limit=0)
    fill(unbounded, 40)
    assert used(tmp_path / "all") > 400 * KB


def test_the_limit_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("1.5", 1_500_000_000), ("0", 0), ("much", 20_000_000_000), ("", 20_000_000_000)):
        monkeypatch.setenv("AUTOONCO_CACHE_GB", text)
        assert limit_bytes() == expected


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_half_written_file_is_made_anew(tmp_path: Path, share: float) -> None:
    cache = ArtefactCache(tmp_path)
    fill(cache, 1)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert cache.get("crops", "000") is None
    made = cache.get_or_make("crops", "000", lambda: {"x": np.arange(5)})
    np.testing.assert_array_equal(made["x"], np.arange(5))
    np.testing.assert_array_equal(cache.get("crops", "000")["x"], np.arange(5))


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path)
    cache.put("crops", "000", {"x": np.arange(20, dtype=np.float32), "y": np.ones((2, 3), bool)})
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    expected = {name: array.copy() for name, array in cache.get("crops", "000").items()}
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(damaged))
        found = cache.get("crops", "000")
        # a change of the header's blanks leaves the arrays as they were
        assert found is None or all(np.array_equal(found[name], expected[name]) for name in expected)


def test_arrays_without_an_element_or_an_axis_are_kept(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path)
    cache.put("odd", "k1", {"none": np.empty((0, 3)), "one": np.array(7.5)})
    found = cache.get("odd", "k1")
    assert found["none"].shape == (0, 3)
    assert found["one"] == 7.5


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path, limit=0)
    fill(cache, 3)
    folder = next(tmp_path.rglob("*.safetensors")).parent
    for name, age_s in ((".000.safetensors.old", 100_000), (".000.safetensors.new", 10)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s, time.time() - age_s))
    evict(tmp_path, 10**9)
    assert not (folder / ".000.safetensors.old").exists()
    assert (folder / ".000.safetensors.new").exists()


def _work(folder: Path, seed: int, failed: multiprocessing.Queue) -> None:
    """Ask for random artefacts of a cache too small for all of them; each has to be the one asked for."""
    cache, rng = ArtefactCache(folder, limit=60 * KB), np.random.default_rng(seed)
    try:
        for _ in range(150):
            i = int(rng.integers(0, 20))
            found = cache.get_or_make("crops", f"{i:03d}", lambda i=i: {"x": np.full(10 * KB, i, np.uint8)})
            if not (found["x"] == i).all():
                failed.put(f"asked for {i}, got {found['x'][0]}")
    except Exception as error:
        failed.put(repr(error))


def test_processes_share_a_small_cache_without_a_wrong_or_a_lost_answer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    failed = context.Queue()
    processes = [context.Process(target=_work, args=(tmp_path, seed, failed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert failed.empty(), failed.get()
    assert used(tmp_path) <= 2 * 60 * KB
