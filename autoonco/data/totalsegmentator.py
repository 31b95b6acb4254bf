"""Segmentations of TotalSegmentator as masks: a file a structure, or one file with the names in its extended header.

Of a case ``name`` TotalSegmentator leaves a folder ``name/`` with ``liver.nii.gz``, ``spleen.nii.gz`` ..., each a mask
of one structure, or with ``--ml`` a single NIfTI file whose label table (Caret XML in the extended header) says which
value is which structure (Wasserthal et al., Radiology: AI 2023;5:e230024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from autoonco.data.folders import is_image_file
from autoonco.data.formats import NIFTI_SUFFIXES, suffix_of
from autoonco.data.label_tables import LabelTable, as_frame, joined, read_labels
from autoonco.errors import DataError, ImageReadError, UnknownNameError

_LABEL = re.compile(
    r"<Label\b[^>]*\bKey=\"(\d+)\"[^>]*>\s*(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?\s*</Label>", re.DOTALL
)
_MULTILABEL = ("segmentation", "segmentations")
"""What a file with all structures is called in a case's folder, by ``totalseg_batch --ml``."""
_BETWEEN = re.compile(r"\s*[|,+]\s*")


def totalsegmentator_table(
    images: Path,
    segmentations: Path,
    structures: str | Sequence[str],
    labels: LabelTable | None = None,
) -> pd.DataFrame:
    """Return the manifest of scans with some structures of TotalSegmentator as masks.

    Parameters
    ----------
    images
        Folder with ``name.nii.gz`` of each case, or with a folder a case that holds a DICOM series or one image.
    segmentations
        Folder with, of each case, ``name/<structure>.nii.gz``, ``name/segmentations/<structure>.nii.gz`` or the file of
        all structures: ``name.nii.gz``, ``name/segmentation.nii.gz``. It may be `images`.
    structures
        Name(s) of what is lesion, as TotalSegmentator calls it; what lies in any of them is.
    labels
        Table with the columns ``case`` and label; cases it doesn't name are left out. None for cases to predict.

    Raises
    ------
    DataError
        If there is no scan, a case has no segmentation, or the table names a case that isn't there.
    UnknownNameError
        If a case's segmentation has no structure of a name.
    """
    wanted = names_of(structures)
    for folder in (images, segmentations):
        if not folder.is_dir():
            raise DataError(
                f"There is no folder {folder}: give that of the scans, and that of the segmentations."
            )
    found = _scans(images, segmentations)
    if not found:
        raise DataError(
            f"There is no scan in {images}: expected name.nii.gz of each case, or a folder a case that holds its scan."
        )
    named = found if labels is None else set(read_labels(labels).get("case", ()))
    rows = []
    for number, (name, path) in enumerate(found.items(), start=1):
        if name not in named:
            continue
        if (drawn := _mask(segmentations, name, wanted, scan=path)) is None:
            raise DataError(
                f"Scan {number} of {images}, in the order of names, has no segmentation: expected a folder or a file "
                f"of its name in {segmentations}."
            )
        mask, values = drawn
        row = {"case": name, "image": str(path.resolve()), "mask": mask}
        rows.append(row | ({"mask_label": values} if values else {}))
    return as_frame(rows) if labels is None else joined(rows, labels)


def is_totalsegmentator(root: Path) -> bool:
    """Return whether a folder holds a folder a case with a scan and, beside it, what TotalSegmentator wrote.

    That is a folder ``segmentations``, or a file ``segmentation`` that names its structures: other data sets call
    theirs so too, and have ``segmentations`` beside ``images``.
    """
    for item in root.iterdir():
        inside = sorted(item.iterdir()) if item.is_dir() else []
        if not any(is_image_file(file) and _stem(file) not in _MULTILABEL for file in inside):
            continue
        inner = item / "segmentations"
        if inner.is_dir() and any(_is_nifti(file) for file in inner.iterdir()):
            return True
        if any(_stem(file) == _MULTILABEL[0] and _is_nifti(file) and _says_names(file) for file in inside):
            return True
    return False


def _says_names(path: Path) -> bool:
    try:
        return bool(structures_in(path))
    except DataError:
        return False


def names_of(structures: str | Sequence[str]) -> tuple[str, ...]:
    """Return the structures in a text or list.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> names_of("liver_tumor | liver_cyst"), names_of(["kidney_left"])
    (('liver_tumor', 'liver_cyst'), ('kidney_left',))
    """
    parts = _BETWEEN.split(structures.strip()) if isinstance(structures, str) else structures
    found = tuple(part for part in parts if part)
    if not found:
        raise DataError("No structure is named, expected one of TotalSegmentator's, such as 'liver_tumor'.")
    return found


def structures_in(path: Path) -> dict[str, int]:
    """Return name → value of the structures of a file with all of them, from its extended header.

    Raises
    ------
    ImageReadError
        If it is no NIfTI file.
    DataError
        If its header holds no label table.
    """
    import nibabel

    try:
        header = nibabel.load(path).header
    except Exception as error:
        raise ImageReadError(
            f"A segmentation can't be read as NIfTI ({type(error).__name__}): export it again."
        ) from error
    for extension in getattr(header, "extensions", ()):
        content = extension.get_content()
        text = content.decode("utf-8", errors="replace") if isinstance(content, bytes) else str(content)
        if found := {name.strip(): int(value) for value, name in _LABEL.findall(text)}:
            return found
    raise DataError(
        "A segmentation says in its header no name of a structure: name the value with mask_label (--mask-label), or "
        "have TotalSegmentator write a file a structure."
    )


def _is_nifti(path: Path) -> bool:
    return path.is_file() and suffix_of(path) in NIFTI_SUFFIXES


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _scans(images: Path, segmentations: Path) -> dict[str, Path]:
    """Return the scan of each case by name, whatever else lies beside them."""
    found: dict[str, Path] = {}
    for item in sorted(images.iterdir()):
        if _is_nifti(item):
            found[_stem(item)] = item
        elif item.is_dir() and not item.name.startswith(".") and item != segmentations:
            own = [file for file in sorted(item.iterdir()) if _is_nifti(file)]
            own = [file for file in own if _stem(file) not in _MULTILABEL]
            scans = own
            if images == segmentations and len(own) > 1:  # a scan among the files of structures
                scans = [file for file in own if _stem(file) in ("ct", "mri", "mr", "image", item.name)]
            if len(scans) == 1:
                found[item.name] = scans[0]
            elif any(is_image_file(file) and not _is_nifti(file) for file in sorted(item.iterdir())):
                found[item.name] = item  # DICOM
            elif own:
                raise DataError(
                    f"A folder of {images} holds {len(own)} images, expected one a case: name the scan ct.nii.gz or "
                    "image.nii.gz, or put it into a folder of its own."
                )
    return found


def _mask(segmentations: Path, name: str, wanted: Sequence[str], *, scan: Path) -> tuple[str, str] | None:
    """Return the cell of a case's mask, and of its values where all structures are in one file; None without any."""
    folder = segmentations / name
    inner = folder / "segmentations"
    homes = [home for home in (inner, folder) if home.is_dir()]
    valid: list[str] = []
    for home in homes:
        files = {_stem(file): file for file in sorted(home.iterdir()) if _is_nifti(file) and file != scan}
        valid += files
        if all(one in files for one in wanted):
            return " | ".join(str(files[one].resolve()) for one in wanted), ""
    together = [home / f"{stem}{end}" for home in homes for stem in _MULTILABEL for end in NIFTI_SUFFIXES]
    together += [segmentations / f"{name}{end}" for end in NIFTI_SUFFIXES]
    for file in together:
        if file.is_file() and file != scan:
            known = structures_in(file)
            return str(file.resolve()), ",".join(str(_value(known, one)) for one in wanted)
    if not valid:
        return None
    missing = next(one for one in wanted if one not in valid)
    raise UnknownNameError("structure", missing, valid)


def _value(known: Mapping[str, int], name: str) -> int:
    if name not in known:
        raise UnknownNameError("structure", name, known)
    return known[name]
