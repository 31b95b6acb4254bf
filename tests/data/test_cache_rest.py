"""Where files rest, a case's hash is computed once; elsewhere a changed file is always seen."""

from __future__ import annotations

import os
from dataclasses import replace

from autoonco.data.cache import ArtefactCache, content_hash
from autoonco.data.case import Case


def test_a_changed_file_is_seen_but_by_a_cache_that_was_told_that_files_rest(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    case = Case(case="a", patient="a", images={"image": path}, row=1)
    resting, other = ArtefactCache(tmp_path / "c", files_rest=True), ArtefactCache(tmp_path / "c")
    first = content_hash(case)
    assert resting.hash_of(case) == other.hash_of(case) == first
    path.write_bytes(b"three")
    os.utime(path, ns=(1, 1))
    assert other.hash_of(case) == content_hash(case) != first
    assert resting.hash_of(case) == first
    assert resting.hash_of(replace(case)) == content_hash(case)  # another object is looked at anew
