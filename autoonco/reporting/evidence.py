"""What a run writes besides models and predictions: explanations, decisions, subgroups, shortcuts, power."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.errors import DataError
from autoonco.evaluation.explained import CASES_FILE, FILE, FOLDER, SHAP_FILE
from autoonco.evaluation.shown_cases import CASE_COLUMNS

SUBGROUP_COLUMNS = ("attribute", "group", "metric", "n", "value", "lower", "upper")
SHORTCUT_COLUMNS = ("probe", "n", "value", "lower", "upper")
_PICTURE = re.compile(r"[\w-]{1,80}\.png")
MOST_PICTURE_BYTES = 200_000

T = TypeVar("T")


class Tolerant(Protocol):
    """Reads a file of a run folder; what is missing or damaged becomes a default and a sentence."""

    def __call__(self, name: str, read: Callable[[Path], T], default: T, *, expected: bool) -> T:
        """Return what `read` makes of the file `name`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shap:
    """Shapley values of the best radiomics model: ``(n_cases, n_columns, n_outputs)`` and ``(n_cases, n_columns)``."""

    values: NDArray[np.float32]
    data: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is there of it; `explained` and `decisions` are the content of their files, `pictures` PNGs by name."""

    explained: Mapping[str, Any] = field(default_factory=dict)
    shap: Shap | None = None
    cases: pd.DataFrame | None = None
    decisions: Mapping[str, Any] = field(default_factory=dict)
    subgroups: pd.DataFrame | None = None
    shortcuts: pd.DataFrame | None = None
    power: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def read_evidence(run_dir: Path, tolerant: Tolerant) -> Evidence:
    """Return what the run folder holds of it."""
    nothing: Mapping[str, Any] = {}
    explained = tolerant(FILE, _read_mapping, nothing, expected=False)
    return Evidence(
        explained=explained,
        shap=tolerant(SHAP_FILE, lambda path: _read_shap(path, explained), None, expected=False),
        cases=tolerant(CASES_FILE, lambda path: pd.read_csv(path)[list(CASE_COLUMNS)], None, expected=False),
        decisions=tolerant("evaluation/decisions.json", _read_record, nothing, expected=False),
        subgroups=tolerant(
            "evaluation/subgroups.csv", lambda path: _read_table(path, SUBGROUP_COLUMNS), None, expected=False
        ),
        shortcuts=tolerant(
            "evaluation/shortcuts.csv", lambda path: _read_table(path, SHORTCUT_COLUMNS), None, expected=False
        ),
        power=tolerant("evaluation/power.json", _read_mapping, nothing, expected=False),
        pictures=_pictures(run_dir / FOLDER, explained),
    )


def _read_mapping(path: Path) -> Mapping[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise DataError("A JSON object was expected.")
    return found


def _read_record(path: Path) -> Mapping[str, Any]:
    found = _read_mapping(path)
    record = found.get("record", found)
    return record if isinstance(record, dict) else {}


def _read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path)
    return table[[*needed, *(name for name in table if name not in needed)]]


def _read_shap(path: Path, explained: Mapping[str, Any]) -> Shap | None:
    with np.load(path, allow_pickle=False) as arrays:
        found = Shap(values=arrays["values"], data=arrays["data"])
    told = explained.get("radiomics") or {}
    shape = (len(told.get("rows", ())), len(told.get("names", ())))
    if found.values.ndim != 3 or found.values.shape[:2] != shape or found.data.shape != shape:
        raise DataError("Shapley values without the cases and columns they belong to.")
    return found


def _pictures(folder: Path, explained: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the PNGs that the explanations name, by name: nothing but files of that folder, and small ones."""
    names = [
        item.get("picture")
        for part in ("gallery", "typical", "networks")
        for item in explained.get(part) or ()
        if isinstance(item, Mapping)
    ]
    found = {}
    for name in dict.fromkeys(names):
        if not isinstance(name, str) or not _PICTURE.fullmatch(name) or not (folder / name).is_file():
            continue
        content = (folder / name).read_bytes()
        if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) <= MOST_PICTURE_BYTES:
            found[name] = content
    return found
