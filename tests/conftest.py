"""Fixtures shared by all tests: real scans, and a dataset and a family that need no pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families import all_families
from autoonco.metrics.scores import get_metric
from autoonco.search.problem import Problem
from autoonco.search.trial import FoldTask
from autoonco.search.worker import Setup

# What typer and rich make colours and widths of: tests read words. Typer reads it when it is imported, and any value of
# the first three, 0 too, is a wish for colours.
_LOOKS = (
    "PY_COLORS", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS", "TERMINAL_WIDTH", "TERM", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)  # fmt: skip
# What a user of autoonco may have set for runs of their own.
_OWN = (
    "AUTOONCO_ZOO", "AUTOONCO_WEIGHTS_DIR", "AUTOONCO_ALLOW_LICENCES", "AUTOONCO_NETWORKS", "AUTOONCO_CACHE_GB",
    "MEDMNIST_ROOT",
)  # fmt: skip
for name in (*_LOOKS, *_OWN):
    os.environ.pop(name, None)

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans for development; AUTOONCO_SHARED_DATA or ../shared/data beside the project."""
    here = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AUTOONCO_SHARED_DATA", here))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real scans at {folder}: set AUTOONCO_SHARED_DATA to run this test")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests' artefacts out of the user's cache."""
    os.environ["AUTOONCO_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def toy(monkeypatch):
    """Make the toy family known to this process and to workers."""
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(TOY), os.environ.get("PYTHONPATH", "")]))
    )
    all_families.cache_clear()
    yield monkeypatch
    all_families.cache_clear()
    sys.modules.pop("toy_family", None)


@pytest.fixture
def dataset() -> Dataset:
    y = np.tile([0, 1], 30)
    cases = tuple(
        Case(
            case=f"case-{i}",
            patient=f"Jane Doe {i}",
            images={},
            clinical={"signal": float(2 * y[i] - 1)},
            row=i + 1,
        )
        for i in range(60)
    )
    return Dataset(cases=cases, classes=("no", "yes"), y=y, clinical=("signal",))


@pytest.fixture
def problem(dataset) -> Problem:
    rows = np.arange(60)
    folds = tuple(
        FoldTask(
            index=k, train=tuple(rows[rows // 20 != k].tolist()), test=tuple(rows[rows // 20 == k].tolist())
        )
        for k in range(3)
    )
    fingerprint = Fingerprint(
        n_cases=60, n_patients=60, classes=dataset.classes, class_counts=(30, 30), ndim=2, channels=(),
        is_colour=False, has_mask=False, clinical=("signal",), has_site=False, spacing_mm=(1.0, 1.0),
        shape=(8, 8), lesion_mm=None, lesion_voxels=None, intensity={},
    )  # fmt: skip
    return Problem(
        scope="final",
        y=dataset.y,
        folds=folds,
        fingerprint=fingerprint,
        metric=get_metric("roc_auc"),
        families=("toy",),
    )


@pytest.fixture
def setup(dataset, tmp_path) -> Setup:
    return Setup(dataset=dataset, cache_dir=tmp_path / "cache", device="cpu", n_threads=1)
