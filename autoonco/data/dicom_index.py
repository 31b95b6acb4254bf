"""What lies in a DICOM folder: its series, found by their headers; no pixel is read here.

Only what `Series` holds leaves this module. Of that, patient, study and series identifiers and descriptions are
there to match tables and choices of the user; no message and no file repeats them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pydicom

from autoonco.data.formats import decoding
from autoonco.errors import ImageReadError

SUFFIXES = (".dcm", ".dicom", ".ima")
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM SEG: Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5)."""
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of RT Structure Set Storage."""
MASK_CLASSES = (*SEGMENTATION, STRUCTURES)

_MAGIC_AT, _MAGIC = 128, b"DICM"
_TAGS = (
    "SOPClassUID", "Modality", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesNumber",
    "SeriesDescription", "FrameOfReferenceUID", "Rows", "NumberOfFrames", "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
)  # fmt: skip
_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Series:
    """One DICOM series: who and what it is, and its files.

    `references` are the series that a segmentation or a structure set was drawn on, `n_frames` counts all images of
    its files, 0 where it holds none (reports, structure sets).
    """

    uid: str
    study: str
    patient: str
    modality: str
    number: str
    description: str
    sop_class: str
    frame_of_reference: str
    references: tuple[str, ...]
    n_frames: int
    files: tuple[Path, ...]

    @property
    def is_mask(self) -> bool:
        """Whether it is a DICOM SEG or an RTSTRUCT."""
        return self.sop_class in MASK_CLASSES

    @property
    def is_image(self) -> bool:
        """Whether it holds pictures of a patient."""
        return self.n_frames > 0 and not self.is_mask

    def answers_to(self, name: str) -> bool:
        """Return whether `name` is its UID, number or description."""
        wanted = name.strip().casefold()
        return wanted in {self.uid, self.number, self.description.casefold()}

    def __str__(self) -> str:
        """Name it by what tells nothing of the patient."""
        return f"number {self.number or 'unknown'} ({self.modality or 'unknown'}, {self.n_frames} images)"


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM: by its suffix, or by its first bytes where it has no other that is known."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            stream.seek(_MAGIC_AT)
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_header(path: Path, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """Return the header of a DICOM file without its pixels.

    Raises
    ------
    ImageReadError
        If it is none.
    """
    try:
        return pydicom.dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=None if tags is None else list(tags)
        )
    except OSError:
        raise
    except Exception as error:
        raise ImageReadError(
            f"The file can't be decoded as DICOM ({type(error).__name__}): it is truncated or damaged; export it "
            "again."
        ) from error


def text_of(header: pydicom.Dataset, name: str) -> str:
    """Return an element as text, empty where it is missing."""
    value = header.get(name)
    return "" if value is None else str(value).strip()


def series_in(folder: Path) -> tuple[Series, ...]:
    """Return the series of a folder and all folders below it, in order of study, number and UID.

    Raises
    ------
    ImageReadError
        If there is no DICOM file.
    """
    files = tuple(_files_below(folder))
    found = _series_of(files)
    if not found:
        raise ImageReadError("The folder holds no DICOM file: name a file, or the folder of a DICOM series.")
    return found


def _files_below(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield each regular file with its size and time of change, in a fixed order; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not name.startswith("."):
                stat = path.stat()
                yield path, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=256)
def _series_of(files: tuple[tuple[Path, int, int], ...]) -> tuple[Series, ...]:
    """Return the series that are made of these files; size and time of change are there to notice new ones."""
    members: dict[str, list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
    for path, _, _ in files:
        header = _header_or_none(path)
        if header is not None:
            # objects of a class of their own may share a series with images, by mistake of an exporter
            key = text_of(header, "SeriesInstanceUID")
            members[f"{key} {header.SOPClassUID in MASK_CLASSES}"].append((path, header))
    with decoding("DICOM"):  # values of a header are understood when they are asked for
        found = [_series(group) for group in members.values()]
    return tuple(sorted(found, key=lambda one: (one.study, one.number.zfill(8), one.uid, one.is_mask)))


def _header_or_none(path: Path) -> pydicom.Dataset | None:
    """Return a header, None where the file is no DICOM object of a series (text, DICOMDIR)."""
    if not is_dicom(path) or path.stat().st_size == 0:
        return None
    try:
        header = read_header(path, _TAGS)
    except ImageReadError:
        return None
    return header if "SOPClassUID" in header and "SeriesInstanceUID" in header else None


def _series(members: Sequence[tuple[Path, pydicom.Dataset]]) -> Series:
    first = members[0][1]
    return Series(
        uid=text_of(first, "SeriesInstanceUID"),
        study=text_of(first, "StudyInstanceUID"),
        patient=text_of(first, "PatientID"),
        modality=text_of(first, "Modality"),
        number=text_of(first, "SeriesNumber"),
        description=text_of(first, "SeriesDescription"),
        sop_class=text_of(first, "SOPClassUID"),
        frame_of_reference=text_of(first, "FrameOfReferenceUID"),
        references=tuple(dict.fromkeys(uid for _, header in members for uid in references_of(header))),
        n_frames=sum(int(header.get("NumberOfFrames") or 1) for _, header in members if "Rows" in header),
        files=tuple(path for path, _ in members),
    )


def references_of(header: pydicom.Dataset) -> Iterator[str]:
    """Yield the series that a segmentation (PS3.3 C.8.20.2) or structure set (C.8.8.5) was drawn on."""
    items = list(header.get("ReferencedSeriesSequence") or ())
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            items += study.get("RTReferencedSeriesSequence") or ()
    yield from filter(None, (text_of(item, "SeriesInstanceUID") for item in items))


def one_series(folder: Path, wanted: str | None, *, of_masks: bool = False) -> Series:
    """Return the series of a folder that is meant.

    Parameters
    ----------
    wanted
        Its SeriesInstanceUID, number, description or a part of the description that no other series has.
    of_masks
        Whether a segmentation or structure set is preferred to images.

    Raises
    ------
    ImageReadError
        If none or several fit; the message names them by number and modality.
    """
    every = series_in(folder)
    kind = [one for one in every if one.is_mask] if of_masks else []
    candidates = kind or [one for one in every if one.is_image]
    if wanted is not None:
        exact = [one for one in candidates if one.answers_to(wanted)]
        part = wanted.strip().casefold()
        candidates = exact or [one for one in candidates if part in one.description.casefold()]
        if not candidates:
            raise ImageReadError(
                f"No series of the folder has this UID, number or description; there are {_listing(every)}: correct "
                "the column 'series'."
            )
    if not candidates:
        raise ImageReadError("The folder holds DICOM files but no image: name the folder of the images.")
    if len(candidates) > 1:
        raise ImageReadError(
            f"The folder holds {len(candidates)} series, expected one: {_listing(candidates)}; say which in a column "
            "'series', by number, UID or description (autoonco look lists them), or name its own folder."
        )
    return candidates[0]


def _listing(series: Iterable[Series]) -> str:
    names = [str(one) for one in series]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def structures_of(path: Path) -> list[tuple[str, str]]:
    """Return number and name of each segment or ROI of a DICOM mask.

    Raises
    ------
    ImageReadError
        If it is damaged.
    """
    header: Any = read_header(path)
    with decoding("a DICOM mask"):
        if segments := header.get("SegmentSequence"):
            return [(text_of(one, "SegmentNumber"), text_of(one, "SegmentLabel")) for one in segments]
        rois = header.get("StructureSetROISequence") or ()
        return [(text_of(one, "ROINumber"), text_of(one, "ROIName")) for one in rois]
