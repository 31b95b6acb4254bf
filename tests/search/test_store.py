from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoonco.errors import DiskFullError
from autoonco.families.contract import Fidelity
from autoonco.search.store import FoldKey, Store, read_trials
from autoonco.search.trial import Origin, Status, Trial

ROOT = Path(__file__).resolve().parents[2]
KEY = FoldKey(scope="final", config_key="abc", fold_key="full", fold="0")


def trial(number: int) -> Trial:
    return Trial(
        id=number,
        scope="final",
        family="toy",
        config={"C": 0.1, "kind": "rbf", "n": 3, "on": True},
        budget=1 / 3,
        fidelity=Fidelity(folds=2, epochs=4),
        status=Status.SUCCESS,
        seconds=1.5,
        elapsed_s=10.0 * number,
        origin=Origin.SEARCH,
        seed=7,
        loss=0.25,
        score=0.75,
    )


def test_everything_is_there_again(tmp_path):
    store, proba = Store(tmp_path), np.random.default_rng(0).random((5, 3))
    store.add_trial(trial(1))
    store.add_fold(KEY, proba, seconds=2.5, elapsed_s=3.0)
    again = Store(tmp_path)
    assert again.trials == [trial(1)]
    np.testing.assert_array_equal(again.fold_proba(KEY), proba)
    assert (again.fold_seconds(KEY), again.elapsed_s("final"), again.next_id()) == (2.5, 10.0, 2)
    assert not again.has_fold(FoldKey(scope="outer0", config_key="abc", fold_key="full", fold="0"))


@pytest.mark.parametrize("torn", [1, 40, -2, -1])
def test_a_line_that_a_kill_cut_off_is_forgotten_and_overwritten(tmp_path, torn):
    store = Store(tmp_path)
    store.add_trial(trial(0))
    whole = (tmp_path / "journal.jsonl").read_bytes()
    store.add_trial(trial(1))
    last = (tmp_path / "journal.jsonl").read_bytes()[len(whole) :]
    (tmp_path / "journal.jsonl").write_bytes(whole + last[:torn])
    again = Store(tmp_path)
    assert again.trials == [trial(0)]
    again.add_trial(trial(2))
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [0, 2]


def test_a_fold_without_its_array_has_to_be_fitted_again(tmp_path):
    store = Store(tmp_path)
    store.add_fold(KEY, np.ones((2, 2)), seconds=1.0, elapsed_s=1.0)
    for path in (tmp_path / "trials").iterdir():
        path.unlink()
    assert not Store(tmp_path).has_fold(KEY)


def test_a_trial_is_counted_once_however_often_it_is_written(tmp_path):
    store = Store(tmp_path)
    for number in (0, 1):
        store.add_trial(trial(number))
    journal = tmp_path / "journal.jsonl"
    first, second = journal.read_text().splitlines(keepends=True)
    again = json.dumps(json.loads(first) | {"loss": 0.0}) + "\n"
    journal.write_text(first + second + second + again)
    assert Store(tmp_path).trials == [trial(0), trial(1)]


def test_a_journal_of_before_there_were_devices_is_read(tmp_path):
    store = Store(tmp_path)
    store.add_trial(trial(0))
    journal = tmp_path / "journal.jsonl"
    plain = json.loads(journal.read_text())
    assert plain.pop("device") == "cpu"
    journal.write_text(json.dumps(plain) + "\n")
    assert Store(tmp_path).trials == [trial(0)]


class FullDisk:
    """A disk with room for so many more bytes; it takes what fits, as disks do, then says that it is full."""

    def __init__(self, room):
        self.room, self.write_ = room, os.write

    def write(self, handle, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self.write_(handle, bytes(data)[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 1, 100])
def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path, monkeypatch, room):
    store = Store(tmp_path)
    store.add_trial(trial(0))
    before = (tmp_path / "journal.jsonl").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", FullDisk(room).write)
        with pytest.raises(DiskFullError, match="free some space"):
            store.add_trial(trial(1))
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert store.trials == Store(tmp_path).trials == read_trials(tmp_path) == [trial(0)]
    store.add_trial(trial(1))  # space was freed: the same store goes on
    assert Store(tmp_path).trials == [trial(0), trial(1)]


def test_what_could_not_even_be_taken_back_is_overwritten(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.add_trial(trial(0))

    def broken(*arguments):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", FullDisk(340).write)
        patched.setattr(os, "ftruncate", broken)
        with pytest.raises(OSError, match="Input/output"):
            store.add_trial(trial(1))
    store.add_trial(trial(2))
    assert Store(tmp_path).trials == [trial(0), trial(2)]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fold_key(number):
    return FoldKey(scope="final", config_key=str(number), fold_key="full", fold="0")


def test_a_run_on_a_full_disk_stops_and_goes_on_when_there_is_space(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    folder, done = small_disk / "run", 0
    store, proba = Store(folder), np.random.default_rng(0).random((200, 2))
    with pytest.raises(DiskFullError, match="disk that holds the run folder is full"):  # noqa: PT012
        for number in range(200):
            store.add_fold(fold_key(number), proba, seconds=1.0, elapsed_s=1.0)
            store.add_trial(trial(number))
            done = number + 1
    assert 0 < done < 200
    again = Store(folder)
    assert again.trials == store.trials
    assert again.trials == [trial(number) for number in range(done)]
    ballast.unlink()
    for number in range(done, done + 3):
        again.add_fold(fold_key(number), proba, seconds=1.0, elapsed_s=1.0)
        again.add_trial(trial(number))
    last = Store(folder)
    assert last.trials == [trial(number) for number in range(done + 3)]
    for number in range(done + 3):
        np.testing.assert_array_equal(last.fold_proba(fold_key(number)), proba)
    assert not list(folder.rglob(".*"))  # nothing half-written stays


def test_a_file_that_may_not_grow_counts_as_a_full_disk(tmp_path):
    script = (
        "import resource, signal, sys; from pathlib import Path; from autoonco.search.store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = Store(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "key = FoldKey(scope='final', config_key='a', fold_key='full', fold='0')\n"
        "try: store.add_fold(key, np.ones((1000, 2)), seconds=1.0, elapsed_s=1.0)\n"
        "except DiskFullError: sys.exit(3 if not store.has_fold(key) else 4)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 3
    assert not [path for path in (tmp_path / "trials").iterdir() if path.is_file()]


@pytest.mark.alone
@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been():
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "6", "--trials", "12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
