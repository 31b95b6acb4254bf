"""The tasks that methods are compared on, and the patients that judge them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from autoonco.data.folds import holdout
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TASKS = Path(__file__).with_name("tasks.yaml")
TEST_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task by name: its manifest, or the phantoms to make, and how the manifest is read."""

    name: str
    title: str
    manifest: Path | None = None
    phantoms: Mapping[str, Any] | None = None
    read: Mapping[str, Any]

    def load(self, folder: Path) -> Dataset:
        """Return the dataset; phantoms are made in `folder` once."""
        path = self.manifest
        if self.phantoms is not None:
            path = folder / "phantoms" / self.name / "manifest.csv"
            if not path.exists():
                make_phantoms(path.parent, **self.phantoms)
        assert path is not None
        return Dataset.from_csv(path, **self.read)


def task_specs() -> dict[str, TaskSpec]:
    """Return the tasks of ``tasks.yaml``."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(TASKS.read_text(encoding="utf-8"))
    return {
        name: TaskSpec(
            name=name,
            title=entry["title"],
            manifest=SHARED / entry["manifest"] if "manifest" in entry else None,
            phantoms=entry.get("phantoms"),
            read=entry.get("read", {}),
        )
        for name, entry in found.items()
    }


def task_of(name: str) -> TaskSpec:
    """Return the task of that name, or the one that a manifest of one's own is.

    A manifest may be followed by options of `Dataset.from_csv`: ``scans.csv:label=grade:classes=low,high``.
    """
    known = task_specs()
    if name in known:
        return known[name]
    path, *options = name.split(":")
    if not Path(path).is_file():
        raise SystemExit(f"{path!r} is no manifest, and no task: {', '.join(known)}.")
    read: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        read[key] = value.split(",") if key in ("classes", "image", "mask", "clinical") else value
    stem = Path(path).stem
    return TaskSpec(name=stem, title=stem, manifest=Path(path).resolve(), read=read)


def outer_split(data: Dataset, *, repeat: int, development: bool) -> tuple[Dataset, Dataset]:
    """Return training and test cases of a repeat; all methods get the same.

    With `development`, cases marked ``test`` are put aside before anything else, and a quarter of the other patients
    judges: for work on autoonco itself, which must not look at them.
    """
    if data.split is not None:
        is_test = np.asarray(data.split) == "test"
        if not development and is_test.any():
            return _plain(data.subset(~is_test)), _plain(data.subset(is_test))
        data = data.subset(~is_test)
    assert data.y is not None
    train, test = holdout(data.y, data.groups, share=TEST_SHARE, seed=repeat)
    return _plain(data.subset(train)), _plain(data.subset(test))


def _plain(data: Dataset) -> Dataset:
    return replace(data, split=None, is_clean=None)
