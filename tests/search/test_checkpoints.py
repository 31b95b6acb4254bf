"""Which half-trained networks make room for others."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from autoonco.search.checkpoints import CheckpointFolder


@pytest.fixture
def folder(tmp_path):
    """Five checkpoints of 100 bytes, `a` the oldest."""
    folder = CheckpointFolder(tmp_path, max_bytes=500)
    for number, name in enumerate("abcde"):
        slot = folder.slot(name)
        (slot / "state").write_bytes(bytes(100))
        os.utime(slot, (number, number))
    return folder


def kept(folder, tmp_path, *, room_for, **how):
    CheckpointFolder(tmp_path, max_bytes=100 * room_for).slot("next", **how)
    return "".join(sorted(path.name for path in tmp_path.iterdir() if path.name != "next"))


@pytest.mark.parametrize("room_for", range(6))
def test_the_oldest_make_room(folder, tmp_path, room_for):
    assert kept(folder, tmp_path, room_for=room_for) == "abcde"[5 - room_for :]


@pytest.mark.parametrize(
    ("room_for", "expected"), [(5, "abcde"), (4, "abde"), (3, "abd"), (2, "ab"), (1, "b"), (0, "")]
)
def test_what_may_be_promoted_goes_last_and_the_best_of_it_at_the_very_end(
    folder, tmp_path, room_for, expected
):
    """c and e are of no use any more; b is better than a, and a than d."""
    assert kept(folder, tmp_path, room_for=room_for, promotable=["b", "a", "d"]) == expected


@pytest.mark.parametrize("room_for", [0, 1, 2])
def test_what_is_in_use_is_never_removed(folder, tmp_path, room_for):
    assert "ac" in kept(folder, tmp_path, room_for=room_for, in_use={"a", "c"}, promotable=["e", "b"])
    assert (tmp_path / "a" / "state").stat().st_size == 100


def test_asking_for_one_again_neither_removes_nor_empties_it(folder, tmp_path):
    slot = CheckpointFolder(tmp_path, max_bytes=0).slot("b", in_use={"d"})
    assert (slot / "state").stat().st_size == 100
    assert {path.name for path in tmp_path.iterdir()} == {"b", "d"}


def test_never_more_bytes_than_allowed_however_sizes_fall(tmp_path):
    """Property over random sizes, use and ranks: the bound holds but for what is in use; nothing goes needlessly."""
    rng = np.random.default_rng(0)
    for round_ in range(30):
        root = tmp_path / str(round_)
        names = [f"n{i}" for i in range(8)]
        sizes = {name: int(rng.integers(0, 100)) for name in names}
        for name in names:
            (CheckpointFolder(root).slot(name) / "state").write_bytes(bytes(sizes[name]))
        in_use = set(rng.choice(names, 2, replace=False).tolist())
        promotable = rng.permutation(names)[:4].tolist()
        limit = int(rng.integers(0, 400))
        CheckpointFolder(root, max_bytes=limit).slot("next", in_use=in_use, promotable=promotable)
        left = {path.name for path in root.iterdir()} - {"next"}
        assert in_use <= left
        assert sum(sizes[name] for name in left) <= limit or left == in_use
        gone = [name for name in names if name not in left]
        if gone:  # the last to go was needed
            last = max(gone, key=lambda n: (n in promotable, -promotable.index(n) if n in promotable else 0))
            if last in promotable:
                assert sum(sizes[name] for name in left) + sizes[last] > limit
        ranks = [promotable.index(n) for n in gone if n in promotable]
        stay = [promotable.index(n) for n in left - in_use if n in promotable]
        assert all(worse > better for worse, better in itertools.product(ranks, stay))


def test_nothing_is_left_in_the_end(folder, tmp_path):
    folder.clear()
    assert not tmp_path.exists()
