"""Data sets in the folders of nnU-Net (``imagesTr``, ``labelsTr``, ``dataset.json``) with a table of labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from autoonco.data.label_tables import LabelTable, as_frame, joined
from autoonco.data.pick import parse_labels
from autoonco.errors import DataError, UnknownNameError

DESCRIPTION = "dataset.json"
PARTS = ("Tr", "Ts")


def nnunet_table(root: Path, labels: LabelTable | None, *, part: str = "Tr") -> pd.DataFrame:
    """Return the manifest of ``images<part>`` with the segmentations of ``labels<part>`` as masks.

    Parameters
    ----------
    root
        Folder with ``dataset.json`` (nnU-Net 1 or 2).
    labels
        Table with the columns ``case`` (the name before ``_0000``) and label; cases it doesn't name are left out. None
        for cases to predict.
    part
        ``"Tr"`` or ``"Ts"``.

    Raises
    ------
    DataError
        If ``dataset.json`` or the images are missing, or the table names a case that isn't there.
    """
    description = read_description(root)
    if part not in PARTS:
        raise UnknownNameError("part", part, PARTS)
    names = channel_names(description)
    ending = str(description.get("file_ending", ".nii.gz"))
    images, masks = root / f"images{part}", root / f"labels{part}"
    if not images.is_dir():
        raise DataError(f"There is no folder {images}: give the folder of a data set of nnU-Net.")
    pattern = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(ending)}")
    cases: dict[str, dict[str, str]] = {}
    for file in sorted(images.iterdir()):
        found = pattern.fullmatch(file.name)
        if found is None:
            continue
        number = int(found["channel"])
        if number >= len(names):
            raise DataError(
                f"Channel {number} of {images.name} isn't in {DESCRIPTION}: add it to channel_names."
            )
        row = cases.setdefault(found["case"], {"case": found["case"]})
        row[names[number]] = f"{images.name}/{file.name}"
        if (masks / f"{found['case']}{ending}").is_file():
            row["mask"] = f"{masks.name}/{found['case']}{ending}"
    if not cases:
        raise DataError(f"No file of {images} is named as nnU-Net does: case_0000{ending}.")
    rows = list(cases.values())
    return as_frame(rows) if labels is None else joined(rows, labels)


def read_description(root: Path) -> Mapping[str, Any]:
    """Return what ``dataset.json`` says.

    Raises
    ------
    DataError
        If it is missing or no JSON object.
    """
    try:
        plain = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"There is no {DESCRIPTION} in {root}: give the folder of a data set of nnU-Net."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise DataError(f"{DESCRIPTION} of nnU-Net is no JSON: write it again.") from None
    if not isinstance(plain, dict):
        raise DataError(f"{DESCRIPTION} of nnU-Net is no JSON object: write it again.")
    return plain


def channel_names(description: Mapping[str, Any]) -> list[str]:
    """Return the column of each channel, in order: ``image`` for a single one, else ``image_<name>``.

    Raises
    ------
    DataError
        If the description names none, or calls one by anything but its number.

    Examples
    --------
    >>> channel_names({"channel_names": {"0": "T2 FLAIR", "1": "ADC"}})
    ['image_t2_flair', 'image_adc']
    >>> channel_names({"modality": {"0": "CT"}})
    ['image']
    """
    named = description.get("channel_names") or description.get("modality")
    if not isinstance(named, dict) or not named:
        raise DataError(f"{DESCRIPTION} names no channels: add channel_names.")
    if not all(str(key).isdecimal() for key in named):
        raise DataError(
            f"The channels of {DESCRIPTION} are called {', '.join(map(repr, named))}, expected numbers from 0: write "
            'them as {"0": "CT"}.'
        )
    ordered = [str(named[key]) for key in sorted(named, key=int)]
    if len(ordered) == 1:
        return ["image"]
    plain = [re.sub(r"\W+", "_", name.strip().lower()) or "channel" for name in ordered]
    return [
        f"image_{name}" if plain.count(name) == 1 else f"image_{name}_{position}"
        for position, name in enumerate(plain)
    ]


def label_values(description: Mapping[str, Any], wanted: str | int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the values of a mask that are meant by the name of a structure, or as they are.

    Raises
    ------
    DataError
        If the structures are written in no way of nnU-Net.
    UnknownNameError
        If no structure has this name.

    Examples
    --------
    >>> label_values({"labels": {"background": 0, "tumour": [1, 2]}}, "tumour")
    (1, 2)
    >>> label_values({"labels": {"0": "background", "1": "tumour"}}, "tumour")
    (1,)
    """
    if wanted is None:
        return ()
    if not isinstance(wanted, str):
        return (wanted,) if isinstance(wanted, int) else tuple(wanted)
    named = _structures(description.get("labels") or {})
    if wanted in named:
        return named[wanted]
    if wanted.replace(",", "").replace(" ", "").isdecimal():
        return parse_labels(wanted)
    raise UnknownNameError("structure", wanted, named)


def _structures(labels: Any) -> dict[str, tuple[int, ...]]:
    """Return name → values of the structures; `DataError` where they are written in no way of nnU-Net."""
    try:
        if all(isinstance(value, str) for value in labels.values()):  # nnU-Net 1: number → name
            return {name: (int(number),) for number, name in labels.items()}
        every = {str(name): value if isinstance(value, list) else [value] for name, value in labels.items()}
        return {name: tuple(map(int, values)) for name, values in every.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(
            f'The labels of {DESCRIPTION} are of no kind of nnU-Net, expected {{"background": 0, "tumour": 1}}: write '
            "them again."
        ) from None
