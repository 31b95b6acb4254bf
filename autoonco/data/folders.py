"""Folders that say what their files are: a folder a class, images beside their masks, a folder a case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from autoonco.data.files import is_dicom_source
from autoonco.data.formats import SUFFIXES, suffix_of
from autoonco.data.label_tables import LabelTable, as_frame, joined
from autoonco.data.numpy_files import SUFFIXES as ARRAY_SUFFIXES
from autoonco.errors import DataError

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""Names of folders that are splits and no classes."""
IMAGE_FOLDERS = ("image", "images", "img", "imgs", "scans")
MASK_FOLDERS = ("mask", "masks", "seg", "segmentations", "labels", "annotations")
_MASK_NAME = re.compile(
    r"(?:(?P<stem>.+?)[ _.\-])?(?:mask|seg|segmentation|roi)(?:[ _.\-]?\d+)?", re.IGNORECASE
)

Row = dict[str, str]


def class_folders(root: Path, *, channels: Sequence[str] = ()) -> pd.DataFrame:
    """Return the manifest of folders named by class: ``[split/]class/[patient/]file``, or ``class/split/...``.

    A folder with DICOM files is one case. A file named as an image with ``_mask`` (``_mask_1``, ``_seg``, ...) after
    it, or as an image in a folder ``masks`` beside ``images``, is its mask; several are joined.

    Parameters
    ----------
    root
        Folder with a folder for each class, or for each split and in it for each class.
    channels
        Where each case is a folder of several images: how they end, ``("t1", "flair")`` for ``x_t1.nii.gz``.

    Raises
    ------
    DataError
        If there is no such folder, fewer than two classes, a class beside a split, or a case lacks one of `channels`.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}: give the one with a folder for each class.")
    rows: list[Row] = []
    for part, split in _parts(root):
        if _pair_of(part) is not None:
            raise DataError(
                "The folder holds images and masks, and nothing that says their classes: give a table of labels "
                "with the column case (labels=, --labels)."
            )
        for folder in _folders(part):
            for inner, own in _parts(folder):
                told = {"label": folder.name} | ({"split": split or own} if split or own else {})
                rows += [row | told for row in _cases(inner, root, channels)]
    if len({row["label"] for row in rows}) < 2:
        raise DataError(
            "The folder holds no two folders with images, expected one for each class: give the folder above "
            "them, or a table of labels (labels=, --labels)."
        )
    return as_frame(rows)


def image_folder(root: Path, labels: LabelTable | None, *, channels: Sequence[str] = ()) -> pd.DataFrame:
    """Return the manifest of a folder of images, masks found as for `class_folders`, and a table of labels.

    Parameters
    ----------
    labels
        Table with a column ``case``, the name of the file without its end (with its folders, where there are any),
        and the label; or None for cases to predict.

    Raises
    ------
    DataError
        If there is no image, or the table names a case that isn't there.
    """
    rows = _cases(root, root, channels) if root.is_dir() else []
    if not rows:
        raise DataError(f"There is no image in {root}: give a folder with images, or the files.")
    return as_frame(rows) if labels is None else joined(rows, labels)


def _folders(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))


def _parts(folder: Path) -> list[tuple[Path, str]]:
    """Return the splits below a folder with what they stand for, or the folder itself, which is none.

    Raises
    ------
    DataError
        If there are images beside the splits.
    """
    inside = _folders(folder)
    splits = [(item, SPLITS[item.name.lower()]) for item in inside if item.name.lower() in SPLITS]
    if not splits:
        return [(folder, "")]
    others = [item for item in inside if item.name.lower() not in SPLITS]
    if beside := next((item for item in others if any(map(is_image_file, item.rglob("*")))), None):
        raise DataError(
            f"A folder holds {splits[0][0].name}, a split, beside {beside.name!r}, which has images too: put all of "
            "them into folders of splits, or give a manifest."
        )
    return splits


def is_image_file(path: Path) -> bool:
    """Return whether a file is of a kind that is read as an image."""
    if path.name.startswith(".") or path.name == "DICOMDIR" or not path.is_file():
        return False
    return suffix_of(path) in (*SUFFIXES, *ARRAY_SUFFIXES) or is_dicom_source(path)


def _cases(folder: Path, root: Path, channels: Sequence[str], patient: str = "") -> list[Row]:
    """Return a row for each case in a folder and all below; the first folder below it is their patient."""
    pair = _pair_of(folder)
    if pair is not None:
        return list(_pictures(pair[0], pair[1], root, patient=patient))
    rows = list(_pictures(folder, folder, root, patient=patient))
    for inner in _folders(folder):
        if channels:
            rows.append(_case_folder(inner, root, channels))
        elif _is_series(inner):
            name = _name(inner, root)
            rows.append({"case": name, "patient": patient or name, "image": _cell(inner, root)})
        else:
            rows += _cases(inner, root, channels, patient or inner.name)
    return rows


def _pair_of(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of images and masks where `folder` has these two."""
    names = {item.name.lower(): item for item in _folders(folder)}
    images = [names[name] for name in IMAGE_FOLDERS if name in names]
    masks = [names[name] for name in MASK_FOLDERS if name in names]
    return (images[0], masks[0]) if images and masks else None


def _is_series(folder: Path) -> bool:
    """Return whether the files of a folder are DICOM."""
    first = next((item for item in sorted(folder.iterdir()) if is_image_file(item)), None)
    return first is not None and is_dicom_source(first)


def _pictures(images: Path, masks: Path, root: Path, *, patient: str) -> Iterator[Row]:
    """Yield a row for each image file of a folder, with its masks from there or another folder."""
    files = [item for item in sorted(images.iterdir()) if is_image_file(item)]
    stems = _by_stem(files, root)
    drawn: dict[str, list[Path]] = {}
    lonely: list[Path] = []
    others = files if masks == images else [item for item in sorted(masks.iterdir()) if is_image_file(item)]
    for file in others:
        name = _MASK_NAME.fullmatch(_stem(file))
        owner = name["stem"] if name is not None else None
        if owner in stems:
            drawn.setdefault(str(owner), []).append(file)
        elif masks != images and _stem(file) in stems:
            drawn.setdefault(_stem(file), []).append(file)
        elif owner is not None and masks == images:
            lonely.append(file)
    if drawn and lonely:
        raise DataError(
            f"{lonely[0].name!r} is called as a mask, and there is no image of its name beside it "
            f"({_cell(images, root)!r}): add its image, or remove it."
        )
    taken = {file for parts in drawn.values() for file in parts}
    for stem, file in stems.items():
        if file in taken:
            continue
        name_of = _name(file, root)
        row = {"case": name_of, "patient": patient or name_of, "image": _cell(file, root)}
        if stem in drawn:
            row["mask"] = " | ".join(_cell(part, root) for part in drawn[stem])
        yield row


def _case_folder(folder: Path, root: Path, channels: Sequence[str]) -> Row:
    """Return the row of a folder with the images of one case."""
    files = _by_stem([item for item in sorted(folder.iterdir()) if is_image_file(item)], root)
    row = {"case": _name(folder, root), "patient": _name(folder, root)}
    for channel in channels:
        fits = [file for stem, file in files.items() if _ends_in(stem, channel)]
        if len(fits) != 1:
            raise DataError(
                f"A folder of a case has {len(fits)} files that end in {channel!r}, expected one "
                f"({_cell(folder, root)!r}): correct channels= (--channels), or the folder."
            )
        row[f"image_{channel}"] = _cell(fits[0], root)
    masks = [file for stem, file in files.items() if _MASK_NAME.fullmatch(stem)]
    if masks:
        row["mask"] = " | ".join(_cell(file, root) for file in masks)
    return row


def _by_stem(files: Sequence[Path], root: Path) -> dict[str, Path]:
    """Return the files of a folder by their names without ends; `DataError` where two are one name."""
    found: dict[str, Path] = {}
    for file in files:
        other = found.setdefault(_stem(file), file)
        if other is not file:
            raise DataError(
                f"A folder holds {other.name!r} and {file.name!r}, and a case is called by its file's name without the "
                f"end ({_cell(file.parent, root)!r}): keep one of them, or rename one; a mask's name ends in _mask."
            )
    return found


def _ends_in(stem: str, channel: str) -> bool:
    return re.fullmatch(rf"(?:.*[ _.\-])?{re.escape(channel)}", stem, re.IGNORECASE) is not None


def _stem(file: Path) -> str:
    suffix = suffix_of(file)
    known = (*SUFFIXES, *ARRAY_SUFFIXES, ".dcm", ".dicom", ".ima")
    return file.name[: -len(suffix)] if suffix in known else file.name


def _name(item: Path, root: Path) -> str:
    path = item.relative_to(root)
    return (path.parent / (path.name if item.is_dir() else _stem(item))).as_posix()


def _cell(item: Path, root: Path) -> str:
    return item.relative_to(root).as_posix()
