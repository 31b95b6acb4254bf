"""What fails beside a finished model: it is told, names nobody, and only a full disk ends the run."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, DiskFullError
from autoonco.evaluation.extras import tried

DATA = Dataset(
    cases=(Case(case="Doe_Jane", patient="Doe", images={"image": Path("/scans/Doe_Jane.nii")}, row=7),),
    classes=("a", "b"),
    y=None,
)


def failing(error):
    def make():
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("row 7 is odd."), "Maps could not be made: row 7 is odd."),
        (ZeroDivisionError("by Doe_Jane"), "Maps could not be made: ZeroDivisionError: by row 7"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/nowhere/me/run"),
            "Maps could not be made: PermissionError: Permission denied",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_a_note_without_names_or_places(error, told):
    notes = []
    assert tried("Maps", failing(error), dataset=DATA, notes=notes) is None
    assert notes == [told]


def test_what_succeeds_is_returned_and_a_full_disk_is_no_note():
    notes = []
    assert tried("Maps", lambda: 3, dataset=DATA, notes=notes) == 3
    with pytest.raises(DiskFullError):
        tried("Maps", failing(OSError(errno.ENOSPC, "No space left")), dataset=DATA, notes=notes)
    assert notes == []
