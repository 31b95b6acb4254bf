"""Feature tables for users: a row a case, with the settings, versions and IBSI codes beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, write_atomically
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import AutoOncoError, DataError, UnknownNameError
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.choices import FILTER_CHOICES
from autoonco.features.choices import spec_of as chosen
from autoonco.features.nomenclature import nomenclature_table
from autoonco.features.spec import ExtractionSpec
from autoonco.features.units import unit_of
from autoonco.resources import load_space

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "original": {"log_filter": "none", "wavelet": "none"} | dict.fromkeys(FILTER_CHOICES, "off"),
    "full": {"log_filter": "multiscale", "wavelet": "coif1", "location": "on"}
    | dict.fromkeys(FILTER_CHOICES, "on"),
}
"""What each preset changes in the default config, as far as the space has it."""
SUFFIXES = (".csv", ".parquet")
_FILES = (".json", ".yaml", ".yml")


def settings_of(settings: str, fingerprint: Fingerprint, *, default: Mapping[str, Any]) -> ExtractionSpec:
    """Return the extraction settings that `settings` names: a preset, or a JSON or YAML file of them.

    Parameters
    ----------
    settings
        One of `PRESETS`, or the path of what `ExtractionSpec.to_json` gave, alone or under ``settings`` as in
        the file that `write_features` leaves beside a table.
    default
        The radiomics config that presets start from.

    Raises
    ------
    AutoOncoError
        If there is no such preset or file, or the file holds no settings of an extraction.
    """
    if settings in PRESETS:
        known = load_space("radiomics")
        changes = {name: value for name, value in PRESETS[settings].items() if name in known}
        return chosen({**default, **changes}, fingerprint)
    path = Path(settings)
    if path.suffix.lower() not in _FILES:
        raise UnknownNameError("preset of settings", settings, PRESETS)
    if not path.is_file():
        raise AutoOncoError(f"There is no file {path}: give a preset ({', '.join(PRESETS)}) or such a file.")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
        return ExtractionSpec.from_json(plain.get("settings", plain))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AutoOncoError(
            f"{path} holds no extraction settings ({type(error).__name__}: {error}): start from the .json that "
            "`autoonco features` writes beside a table."
        ) from error


def feature_frame(
    cases: Sequence[Case],
    spec: ExtractionSpec,
    *,
    artefacts: ArtefactCache,
    n_threads: int = 1,
    known_bad: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Return a row a case: case, status, message, and its features.

    A case that can't be used has the status ``"error"``, the reason, and no values; the others are not lost.

    Parameters
    ----------
    known_bad
        Row of the manifest → reason, for cases that are known to be unreadable: they aren't tried.
    """
    columns = column_names(spec)
    reasons = {case.row: known_bad[case.row] for case in cases if known_bad and case.row in known_bad}
    good = [case for case in cases if case.row not in reasons]
    values: dict[int, NDArray[np.float64]] = {}
    try:
        if good:
            table, _ = extract_table(good, spec, artefacts=artefacts, n_threads=n_threads)
            values = dict(zip((case.row for case in good), table, strict=True))
    except DataError:
        # What was computed before the bad case is in the cache.
        for case in good:
            try:
                values[case.row] = extract_table([case], spec, artefacts=artefacts)[0][0]
            except DataError as error:
                reasons[case.row] = str(error)
    undefined = np.full(len(columns), np.nan)
    about = pd.DataFrame(
        {
            "case": [case.case for case in cases],
            "status": ["error" if case.row in reasons else "ok" for case in cases],
            "message": [reasons.get(case.row, "") for case in cases],
        }
    )
    numbers = np.array([values.get(case.row, undefined) for case in cases]).reshape(len(cases), len(columns))
    return pd.concat([about, pd.DataFrame(numbers, columns=list(columns))], axis=1)


def check_output(path: Path) -> None:
    """Raise `AutoOncoError` where no table can be written under this name: before an hour of extraction."""
    if path.suffix.lower() not in SUFFIXES:
        raise AutoOncoError(
            f"A feature table can be written as {' or '.join(SUFFIXES)}, got {path.name!r}: change -o."
        )


def write_features(
    frame: pd.DataFrame, spec: ExtractionSpec, path: Path, *, versions: Mapping[str, str]
) -> Path:
    """Write the table to `path` (.csv or .parquet) and what made it to a .json beside it; return the latter.

    The second file names no case; each feature has its IBSI name and code and its unit. A Parquet file holds the same
    text in its own metadata, under ``autoonco``.

    Raises
    ------
    AutoOncoError
        If `path` ends otherwise.
    """
    check_output(path)
    described = nomenclature_table(column_names(spec))
    described["unit"] = [unit_of(name) for name in described["column"]]
    about = {
        "settings": spec.to_json(),
        "versions": dict(versions),
        "cases": len(frame),
        "failed": int((frame["status"] != "ok").sum()),
        "features": described.astype(object).where(described.notna(), None).to_dict("records"),
    }
    text = json.dumps(about, indent=1) + "\n"
    is_csv = path.suffix.lower() == ".csv"
    write_atomically(
        path, lambda new: frame.to_csv(new, index=False) if is_csv else _write_parquet(frame, new, text)
    )
    beside = path.with_suffix(".json")
    write_atomically(beside, lambda new: new.write_text(text, encoding="utf-8"))
    return beside


def _write_parquet(frame: pd.DataFrame, path: Path, about: str) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    known = table.schema.metadata or {}
    parquet.write_table(table.replace_schema_metadata({**known, b"autoonco": about.encode()}), path)
