"""Every exception that autoonco raises on purpose; all of them are an `AutoOncoError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutoOncoError(Exception):
    """Base of all errors of autoonco: one sentence that says what happened and what to do."""


class DataError(AutoOncoError):
    """The manifest or its labels can't be used as they are; the message names the row or column and the remedy."""


class ImageReadError(DataError):
    """A file could not be read as an image, or is damaged (truncated, empty, not an image)."""


class DimensionError(ImageReadError):
    """An image has another number of axes than two or three, as a 4D series has."""


class AbsentLabelError(ImageReadError):
    """The value that stands for the lesion is nowhere in the mask."""


class GeometryError(DataError):
    """An image and its mask don't lie on the same grid."""


class OutlineNeededError(DataError):
    """A lesion's outline is needed, and only its place is known: a point or a box can't stand in for a mask here."""


class UnknownNameError(AutoOncoError, ValueError):
    """A name that isn't one of the valid ones; the message gives the nearest and all valid names."""

    def __init__(self, kind: str, got: str, valid: Iterable[str]) -> None:
        names = sorted(valid)
        near = difflib.get_close_matches(got, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {got!r}.{hint} Valid: {', '.join(names) or 'none'}.")
        self._arguments = kind, got, tuple(names)

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, tuple[str, ...]]]:
        """Let the error cross from a worker process, which rebuilds it from its arguments."""
        return type(self), self._arguments


class NothingToFitError(AutoOncoError):
    """No family applies to this data, or none finished a single trial; the message gives each reason."""


class RunMismatchError(AutoOncoError):
    """The run folder belongs to other data, another space or another evaluation."""


class DiskFullError(AutoOncoError):
    """The disk of the run folder is full; what was finished is kept, and the same command continues."""


class WeightsError(AutoOncoError):
    """Pretrained weights are missing, damaged, of another hash, or carry more than tensors."""


class OfflineWeightsError(WeightsError):
    """The weights asked for are not on this machine; the message names the command that brings them."""


class TrainingDivergedError(AutoOncoError):
    """A network's loss is no longer a finite number."""


class TrainingMemoryError(AutoOncoError):
    """A network and an eighth of its batch do not fit into the GPU's memory."""


class ExplanationError(AutoOncoError):
    """No part of the model can show where it looked; the message gives each one's reason."""


class UnsafeBundleError(AutoOncoError):
    """A model file with a wrong hash, an unsafe member name, an unknown type or an absurd size."""


class BundleVersionError(AutoOncoError):
    """A model file written by a newer autoonco than this one."""


class MissingDependencyError(AutoOncoError):
    """An optional package is needed; the message names the extra that installs it."""


class ExportError(AutoOncoError):
    """A network can't be written in the form asked for, or what was written gives other numbers."""
