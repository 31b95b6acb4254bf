"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
