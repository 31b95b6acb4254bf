"""Keeping what names a patient out of logs and files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoonco.data.case import Case
from autoonco.data.formats import SUFFIXES

MIN_LENGTH = 3

_QUOTED_PATH = re.compile(r"""(['"`])(?:[A-Za-z]:)?[\\/](?:(?!\1).)*\1""")
_PATH = re.compile(
    r"(?<![\w.\\/<])(?:[A-Za-z]:[\\/]|\\\\|\.{0,2}/+)(?:[^\s'\"`:;,()\\/]+[\\/])*[^\s'\"`:;,()\\/]+"
)
_MORE_SUFFIXES = (".npy", ".npz", ".dcm", ".dicom", ".ima", ".csv", ".parquet", ".onco")
_FILE_SUFFIXES = sorted((*SUFFIXES, *_MORE_SUFFIXES), key=len, reverse=True)
_FILE = re.compile(  # tried where a word begins alone: from each letter of a long one it would take minutes
    rf"(?<![^\s'\"`])[^\s'\"`]+(?:{'|'.join(map(re.escape, _FILE_SUFFIXES))})(?![^\W_])", re.IGNORECASE
)


def identifiers(cases: Sequence[Case]) -> dict[str, int]:
    """Return name → row of all that could tell who a case is: paths, file names, case, patient.

    Left out are names shorter than three characters, those that are the row's own number, and file names that
    several rows share (``ct.nii.gz`` in each patient's folder): they name nobody.
    """
    rows: dict[str, int] = {}
    files = [(file, case.row) for case in cases for file in _files(case)]
    owners = Counter(name for name, _ in {(file.name, row) for file, row in files})
    for file, row in files:
        own = [file.name] if owners[file.name] == 1 else []
        for name in (str(file), str(file.absolute()), *own):
            rows.setdefault(name, row)
    for case in cases:
        for name in (case.case, case.patient):
            if len(name) >= MIN_LENGTH and name != str(case.row):
                rows.setdefault(name, case.row)
    return rows


def _files(case: Case) -> Iterator[Path]:
    yield from (*case.images.values(), *case.masks.values())
    for pick in case.mask_picks.values():
        yield from pick.also


def redact(text: str, names: Mapping[str, int]) -> str:
    """Return `text` with each of `names` replaced by ``row N``, the longest first.

    A name is replaced where it is no part of a longer word (an underscore ends a word), and its digits no part
    of a decimal number.

    Examples
    --------
    >>> redact("STS_1: loss 0.123 on /d/STS_1.png, STS_1_CT, STS_10", {"STS_1": 4, "/d/STS_1.png": 4, "123": 9})
    'row 4: loss 0.123 on row 4, row 4_CT, STS_10'
    """
    found = sorted((name for name in names if name in text), key=len, reverse=True)
    if not found:
        return text
    choices = "|".join(re.escape(name) for name in found)
    pattern = re.compile(rf"(?<![^\W_])(?<!\d\.)(?:{choices})(?![^\W_])(?!\.\d)")
    return pattern.sub(lambda match: f"row {names[match.group()]}", text)


def without_paths(text: str) -> str:
    r"""Return `text` with anything that looks like a file put out: folders and files often name patients.

    Examples
    --------
    >>> without_paths("row 3: can't read '/data/Jane Doe/scan.nii' and/or C:\\x\\y.png")
    "row 3: can't read [path] and/or [path]"
    """
    return _FILE.sub("[path]", _PATH.sub("[path]", _QUOTED_PATH.sub("[path]", text)))
