"""The fault matrix: files that are truncated, flipped, empty or broken in ways with a name.

None may crash or stop the process that reads it, none may run what is in it, and none may be used without a word:
each is ruled out by its finding, or gives exactly the pixels of the whole file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.originals import FORMATS, write
from tests.faults.broken import FAULTS

HERE = Path(__file__).resolve()
SHARES = [k / 10 for k in range(1, 10)]
CHECKED = {"png", "nii.gz", "npz", "gzip.nrrd", "zlib.mha"}
"""Formats with a check sum over their pixels: there no flipped bit may pass."""
TEXT_ENDS = 3  # the first flips of these small files hit the headers' text, which nothing checks
SECONDS, PEAK_MB = 20.0, 1500.0


def flipped(data: bytes, position: int) -> bytes:
    found = bytearray(data)
    found[position] ^= 1 << (position % 8)
    return bytes(found)


def damaged(root: Path) -> dict[str, tuple[Path, str]]:
    """Write every file of the matrix; return name → (file, codes that may rule it out, or 'same' for its pixels)."""
    files: dict[str, tuple[Path, str]] = {}

    def put(name: str, kind: str, data: bytes, expected: str) -> None:
        folder = root / str(len(files))
        write(folder, kind)  # the voxels beside an mhd
        (folder / f"broken.{kind}").write_bytes(data)
        files[name] = (folder / f"broken.{kind}", expected)

    for kind in FORMATS:
        whole = write(root / "whole", kind)
        data = whole.read_bytes()
        files[f"{kind} whole"] = (whole, "same")
        put(f"{kind} of no byte", kind, b"", "AO101")
        for share in SHARES:
            put(f"{kind} cut at {share:.0%}", kind, data[: int(share * len(data))], "AO101 AO109 same")
        for k in range(8):
            expected = "AO101 same" if kind in CHECKED and k >= TEXT_ENDS else "any"
            put(f"{kind} flipped {k}", kind, flipped(data, len(data) * (2 * k + 1) // 16), expected)
    for name, (make, expected) in FAULTS.items():
        folder = root / str(len(files))
        folder.mkdir()
        files[name] = (make(folder), expected)
    return files


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    return damaged(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def outcomes(matrix: Mapping[str, tuple[Path, str]]) -> dict[str, dict[str, Any]]:
    """What became of each file, by its path; a file at which the process died or hung is not in it."""
    names = "\n".join(path.as_posix() for path, _ in matrix.values())
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])}
    found = subprocess.run(
        [sys.executable, str(HERE.with_name("read_all.py"))],
        input=names,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=False,
    )
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.returncode == 0, (lines[-1:], found.stderr[-2000:])
    return {line["path"]: line for line in lines if "path" in line}


NAMES = [
    *(f"{kind} {what}" for kind in FORMATS for what in ("whole", "of no byte")),
    *(f"{kind} cut at {share:.0%}" for kind in FORMATS for share in SHARES),
    *(f"{kind} flipped {k}" for kind in FORMATS for k in range(8)),
    *FAULTS,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_told_and_not_used(
    name: str, matrix: Mapping[str, tuple[Path, str]], outcomes: Mapping[str, Mapping[str, Any]]
) -> None:
    path, expected = matrix[name]
    told = outcomes[path.as_posix()]
    whole = (
        outcomes[matrix[f"{path.name.partition('.')[2]} whole"][0].as_posix()] if "same" in expected else None
    )
    if told["code"] is None:
        assert expected == "any" or (whole is not None and told["content"] == whole["content"]), told
    elif expected != "any":
        assert told["code"] in expected.split(), told
    assert told["seconds"] < SECONDS
    if told["code"] is not None:
        assert told["message"].startswith("row 1")
        assert str(path.parent) not in told["message"]
        assert len(told["message"]) < 500


def test_the_matrix_is_as_large_as_it_has_to_be(matrix: Mapping[str, tuple[Path, str]]) -> None:
    assert set(NAMES) == set(matrix)
    assert len(FAULTS) >= 60


def test_no_payload_ran_and_no_bomb_went_off(
    matrix: Mapping[str, tuple[Path, str]], outcomes: Mapping[str, Mapping[str, Any]]
) -> None:
    root = matrix["npy with a pickle"][0].parents[1]
    assert list(root.rglob("ran")) == []
    assert list(root.rglob("evil*")) == []
    assert max(told["peak_mb"] for told in outcomes.values()) < PEAK_MB
