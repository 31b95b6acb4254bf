"""Which files on disk hold what a case names: their bytes are what its results depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoonco.data.formats import companion
from autoonco.data.pick import WHOLE, Pick


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Files: those whose order means something (an image, the voxels beside its header), and the slices of a series."""

    ordered: tuple[Path, ...]
    unordered: tuple[Path, ...] = ()


def files_of(path: Path, pick: Pick = WHOLE, *, of_masks: bool = False) -> Holdings:
    """Return the files that hold what `pick` takes of `path`; of a folder a mask, where `of_masks` and it has one.

    Raises
    ------
    ImageReadError
        If a header names voxels that aren't there, or a folder holds no single series that is meant.
    """
    if path.is_dir():
        from autoonco.data.dicom_index import one_series  # pydicom, which other formats need not

        return Holdings(ordered=(), unordered=one_series(path, pick.series, of_masks=of_masks).files)
    found = [path]
    if (voxels := companion(path)) is not None:
        found.append(voxels)
    # the parts of a mask are joined: any order gives the same
    return Holdings(ordered=tuple(found), unordered=pick.also)
