"""What a column of a feature table is called in the literature: class, name, and code of the IBSI manual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from autoonco.resources import load_meanings, load_nomenclature

NOT_FILTERED = "none"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A column of a feature table in the words of the Image Biomarker Standardisation Initiative.

    Parameters
    ----------
    column
        Name of the column, as pyradiomics writes it.
    channel
        Image channel, empty where the table has one only.
    filter
        Name of the filtered image, ``"none"`` for the original and for shapes.
    feature_class, class_code
        Class of the feature and its four-character code.
    name, code
        The feature itself; `code` is None where the manual has none.
    note
        How the value differs from the manual's, where it does.
    """

    column: str
    channel: str = ""
    filter: str = NOT_FILTERED
    feature_class: str = ""
    class_code: str | None = None
    name: str = ""
    code: str | None = None
    note: str = ""


def describe(column: str) -> Described:
    """Return what is known of a column; one that no extraction of autoonco makes keeps its own name.

    Examples
    --------
    >>> found = describe("ct:wavelet-LLH_glcm_Contrast")
    >>> found.channel, found.filter, found.feature_class, found.name, found.code
    ('ct', 'wavelet-LLH', 'Grey level co-occurrence matrix', 'Contrast', 'ACUI')
    >>> describe("age").name, describe("age").code
    ('age', None)
    """
    channel, _, rest = column.rpartition(":")
    image, class_key, feature = _parts(rest)
    known = load_nomenclature()
    entry = known["features"].get(f"{class_key}_{feature}")
    if entry is None or class_key not in known["classes"]:
        return Described(column=column, name=column)
    class_code, class_name = known["classes"][class_key]
    code, name, *note = entry
    return Described(
        column=column,
        channel=channel,
        filter=NOT_FILTERED if image == "original" else image,
        feature_class=class_name,
        class_code=class_code,
        name=name,
        code=code,
        note=note[0] if note else "",
    )


def _parts(name: str) -> tuple[str, str, str]:
    """Return filtered image, class and feature; an outline's column names no image."""
    image, _, feature = name.rpartition("_")
    image, _, class_key = image.rpartition("_")
    return image or "original", class_key, feature


def meaning(column: str) -> str:
    """Return what a high value of a column means, in a line; empty for one that no extraction of autoonco makes.

    Examples
    --------
    >>> meaning("original_shape_Sphericity")
    'near to a ball: a smooth, compact lesion (low: lobed or spiculated)'
    >>> meaning("logarithm_glszm_LowGrayLevelZoneEmphasis")
    'most zones (neighbouring pixels of one grey level) are dark, of the logarithm of grey values, which weighs dark pixels'
    """  # noqa: E501 - the answer of a doctest
    image, class_key, feature = _parts(column.rpartition(":")[2])
    known = load_meanings()
    text = known["features"].get(f"{class_key}_{feature}") or known["shared"].get(feature)
    if text is None:
        return ""
    text = text.format(unit=known["units"].get(class_key, "parts"))
    how = known["filters"].get(image.partition("-")[0])
    return f"{text}, {how}" if how else text


def is_known(column: str) -> bool:
    """Return whether the nomenclature has an entry for `column`."""
    return bool(describe(column).feature_class)


def nomenclature_table(columns: Sequence[str]) -> pd.DataFrame:
    """Return a row for each of `columns`, with the fields of `Described` as columns."""
    rows: list[dict[str, Any]] = [asdict(describe(column)) for column in columns]
    return pd.DataFrame(rows, columns=list(Described.__dataclass_fields__))
