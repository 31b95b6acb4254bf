"""What a run tells beside its model: where one part of it fails the model is not lost, and a note says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, DiskFullError
from autoonco.search.store import stops_on_full_disk

Made = TypeVar("Made")


def tried(what: str, make: Callable[[], Made], *, dataset: Dataset, notes: list[str]) -> Made | None:
    """Return what `make` gives; None where it fails, and `notes` then says that `what` could not be made.

    Raises
    ------
    DiskFullError
        For a full disk: there is no space for the model either.
    """
    try:
        with stops_on_full_disk():
            return make()
    except DiskFullError:
        raise
    except Exception as error:
        why = (error.strerror or "") if isinstance(error, OSError) else error  # its text names a file
        reason = f"{why}" if isinstance(error, AutoOncoError) else f"{type(error).__name__}: {why}"
        notes.append(dataset.redact(f"{what} could not be made: {reason}"))
        return None
