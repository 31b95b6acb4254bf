"""A tree of DICOM studies and a table of labels, made a manifest: its series a case, its masks with their images."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from autoonco.data.dicom_index import Series, series_in, structures_of
from autoonco.data.label_tables import LabelTable, as_frame, read_labels
from autoonco.errors import DataError, UnknownNameError

KEYS = ("series", "study", "patient")
"""Columns by which a table of labels may name what it is about, the narrowest first."""

Channels = Mapping[str, str]
"""Channel → modality (``"CT"``), or description of the series or a part of it."""


def dicom_table(
    root: Path, labels: LabelTable | None, *, channels: Channels | str | None = None, rois: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the manifest of a tree of DICOM files.

    Parameters
    ----------
    root
        Folder; all DICOM files in it and below count, however they are named.
    labels
        Table with a column ``series`` (SeriesInstanceUID), ``study`` (StudyInstanceUID) or ``patient`` (PatientID),
        and the label; of several such columns the first counts, and ``patient`` says who belongs together. Where
        these name nothing of the tree, ``case`` may: a folder from `root`, or one of these identifiers. None makes a
        case of each study, or of each series where `channels` is None, to predict.
    channels
        Which series of a case are its images: a modality or (part of a) description, or several by channel,
        ``{"ct": "CT", "pet": "PT"}``. By default a case has to have a single series of images.
    rois
        Of several segmentations or structure sets on a series, those that have one of these segments or ROIs.

    Raises
    ------
    DataError
        If the table names what isn't there, or it isn't clear which series or mask is meant; the message names the
        row of the table.
    """
    every = series_in(root)
    wanted = {"image": channels} if isinstance(channels, str) else dict(channels or {})
    by_study = bool(wanted)
    table = None if labels is None else read_labels(labels)
    cases = _unlabelled(every, by_study=by_study) if table is None else _labelled(every, table, root)
    masks = [one for one in every if one.is_mask]
    rows = [
        _row(own, found, wanted, masks, root, rois, row=row)
        for row, (own, found) in enumerate(cases, start=1)
    ]
    return as_frame(rows)


Found = tuple[dict[str, str], Sequence[Series]]
"""Cells that a case brings from the table, and the series it may have."""


def _labelled(every: Sequence[Series], table: Mapping[str, list[str]], root: Path) -> list[Found]:
    key, each = _matched(every, table, root)
    cases: list[Found] = []
    for number, (value, found) in enumerate(zip(table[key], each, strict=True), start=1):
        if not _has_image(found):
            raise DataError(
                f"row {number} of the labels: the DICOM tree has no images of this {key}: correct the column "
                f"{key!r}, or drop the row."
            )
        own = {name: cells[number - 1] for name, cells in table.items() if name not in KEYS}
        patient = table["patient"][number - 1] if "patient" in table else found[0].patient
        cases.append(({"case": str(number), "patient": patient or value} | own, found))
    return cases


def _matched(
    every: Sequence[Series], table: Mapping[str, list[str]], root: Path
) -> tuple[str, list[list[Series]]]:
    """Return the column that says which series a row is about, and these for each row.

    A patient of several cases may be told apart by ``case``.
    """
    key = next((name for name in KEYS if name in table), None)
    each = [] if key is None else _under(every, partial(_identifiers_of, key=key), table[key])
    is_whole = key is not None and all(map(_has_image, each))
    ways = [partial(_folders_of, root=root), *(partial(_identifiers_of, key=name) for name in KEYS)]
    for way in ways if "case" in table and (not is_whole or key == "patient") else ():
        found = _under(every, way, table["case"])
        if is_whole:
            found = [[one for one in own if one in also] for own, also in zip(each, found, strict=True)]
        if all(map(_has_image, found)):
            return "case", found
    if key is None:
        raise DataError(
            f"{UnknownNameError('column', 'patient', table)} A table of labels for DICOM is keyed by series "
            "(SeriesInstanceUID), study (StudyInstanceUID) or patient (PatientID)."
        )
    return key, each


def _under(
    every: Sequence[Series], names: Callable[[Series], Iterable[str]], wanted: Sequence[str]
) -> list[list[Series]]:
    """Return the series that go by each of the `wanted` names."""
    by_name: dict[str, list[Series]] = defaultdict(list)
    for one in every:
        for name in names(one):
            by_name[name].append(one)
    return [by_name.get(value) or by_name.get(value.replace("\\", "/").strip("/"), []) for value in wanted]


def _folders_of(one: Series, *, root: Path) -> list[str]:
    """Return the place of a series and the folders that it is in, from `root`."""
    place = Path(_place(one, root))
    return [place.as_posix(), *(folder.as_posix() for folder in place.parents if folder.name)]


def _has_image(found: Iterable[Series]) -> bool:
    return any(one.is_image for one in found)


def _identifiers_of(one: Series, *, key: str) -> list[str]:
    return [{"series": one.uid, "study": one.study, "patient": one.patient}[key]]


def _unlabelled(every: Sequence[Series], *, by_study: bool) -> list[Found]:
    """Return a case for each study, or for each series of images, named by patient and number."""
    groups: dict[str, list[Series]] = defaultdict(list)
    for one in every:
        if one.is_image:
            groups[one.study if by_study else one.uid].append(one)
    patients = Counter(group[0].patient for group in groups.values())
    used: Counter[str] = Counter()
    cases: list[Found] = []
    for group in groups.values():
        patient = group[0].patient
        used[patient] += 1
        name = patient if patient and patients[patient] == 1 else f"{patient or 'unknown'} ({used[patient]})"
        cases.append(({"case": name, "patient": patient or name}, group))
    return cases


def _row(
    own: dict[str, str],
    found: Sequence[Series],
    wanted: Channels,
    masks: Sequence[Series],
    root: Path,
    rois: Sequence[str],
    *,
    row: int,
) -> dict[str, str]:
    """Return the row of a case: its images, the masks that refer to them, and its cells."""
    images = [one for one in found if one.is_image]
    where = f"row {row}"
    chosen = {name: _one(images, what, where) for name, what in (wanted or {"image": ""}).items()}
    cells = dict(own)
    for name, series in chosen.items():
        end = "" if name == "image" else f"_{name}"
        cells[f"image{end}"], cells[f"series{end}"] = _place(series, root), series.uid
        mask = _mask_of(series, masks, rois, where)
        if mask is not None:
            cells[f"mask{end}"] = mask.relative_to(root).as_posix()
    drawn = [name for name in cells if name.startswith("mask_") and name.removeprefix("mask_") in chosen]
    if len(drawn) == 1 and len(chosen) > 1:  # drawn on one image of the case: it serves the others
        cells["mask"] = cells.pop(drawn[0])
    return cells


def _one(images: Sequence[Series], what: str, where: str) -> Series:
    """Return the series that a channel asks for."""
    fits = list(images)
    if what:
        fits = [one for one in images if one.modality.casefold() == what.casefold()] or [
            one for one in images if what.casefold() in one.description.casefold()
        ]
    if len(fits) != 1:
        listing = ", ".join(map(str, images[:8]))
        asked = f" that {what!r} names" if what else ""
        raise DataError(
            f"{where}: there are {len(fits)} series of images{asked}, expected one (the case has {listing}): "
            "say which with channels= (--channels) by modality or description, or key the labels by series."
        )
    return fits[0]


def _mask_of(series: Series, masks: Sequence[Series], rois: Sequence[str], where: str) -> Path | None:
    """Return the file of the segmentation or structure set that was drawn on a series, None without one."""
    files = [file for one in masks if series.uid in one.references for file in one.files]
    if len(files) > 1 and rois:
        names = {name.casefold() for name in rois}
        files = [file for file in files if names & {name.casefold() for _, name in structures_of(file)}]
    if len(files) > 1:
        raise DataError(
            f"{where}: {len(files)} segmentations or structure sets were drawn on one series, expected one: "
            "name the lesion's ROI with mask_roi= (--mask-roi), or keep one of them."
        )
    return files[0] if files else None


def _place(series: Series, root: Path) -> str:
    """Return the folder that holds all files of a series, or its file, from `root`."""
    if len(series.files) == 1:
        return series.files[0].relative_to(root).as_posix()
    shared = os.path.commonpath([file.parent for file in series.files])
    return Path(shared).relative_to(root).as_posix()


def contents(root: Path) -> pd.DataFrame:
    """Return what lies in a folder of DICOM, or in one file: a row a series, for its owner to choose from.

    The table names descriptions, UIDs, segments and ROIs as the files do: it is for the screen.
    """
    rows = []
    for one in series_in(root):
        names = "; ".join(name for _, name in structures_of(one.files[0])) if one.is_mask else ""
        rows.append(
            {
                "number": one.number,
                "modality": one.modality,
                "images": one.n_frames,
                "files": len(one.files),
                "description": one.description,
                "segments": names,
                "series": one.uid,
            }
        )
    return pd.DataFrame(rows)
