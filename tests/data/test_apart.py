"""Frames are decoded in a process apart: what it decodes is right, and what ends it ends nothing else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autoonco.data import apart
from benchmarks.originals import volume, write

EXPECTED = volume()[3].astype(np.int64) + 1024


def damaged(folder: Path) -> bytes:
    """A lossless JPEG that says of itself to have 255 bits: GDCM's decoder then leaves its memory."""
    content = bytearray(write(folder, "lossless.dcm").read_bytes())
    content[content.index(b"\xff\xd8\xff") + 6] = 0xFF
    return bytes(content)


def test_a_process_serves_many_frames_and_threads(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(apart, "_idle", {})  # others' tests may have left some
    files = [write(tmp_path, kind).read_bytes() for kind in ("lossless.dcm", "j2k.dcm")] * 6
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(apart.decoded, files):
            assert np.array_equal(found[0], EXPECTED)
    assert 1 <= apart._idle[os.getpid()].qsize() <= 3
    apart._close_all()


def test_an_answer_out_of_step_is_the_last_of_its_process(monkeypatch) -> None:
    """What it still says would be taken for the pixels of the next frame."""
    monkeypatch.setattr(apart, "_idle", {})
    monkeypatch.setattr(
        apart, "_PROGRAM", "input(); print('\\0' * 7 + '\\2' + '??' + 'more', flush=True); input()"
    )
    with pytest.raises(ValueError, match="Expecting value"):
        apart.decoded(b"anything")
    assert apart._idle[os.getpid()].empty()


def test_what_ends_the_decoder_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(apart.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(apart, "_idle", {})
    good, bad = write(tmp_path / "a", "lossless.dcm").read_bytes(), damaged(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ended or hangs"):
            apart.decoded(bad)
        assert np.array_equal(apart.decoded(good)[0], EXPECTED)
    with pytest.raises(ValueError, match="ITK"):
        apart.decoded(b"no DICOM")
    assert not list(tmp_path.rglob("frame.dcm"))
    waiting = apart._idle[os.getpid()].get()
    waiting._process.kill()  # as a system short of memory does
    apart._idle[os.getpid()].put(waiting)
    assert np.array_equal(apart.decoded(good)[0], EXPECTED)
    assert apart._idle[os.getpid()].qsize() == 1  # one that said an error of itself goes on
    apart._close_all()
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_a_decoder_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(apart, "_idle", {})
    monkeypatch.setattr(apart, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(apart, "_SECONDS", 0.2)
    with pytest.raises(RuntimeError, match="ended or hangs"):
        apart.decoded(b"anything")
    assert apart._idle[os.getpid()].empty()
