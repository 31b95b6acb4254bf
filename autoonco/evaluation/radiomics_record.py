"""What reviewers ask about the best radiomics model, measured once at the end of a run and kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.errors import AutoOncoError
from autoonco.evaluation.outcome import ScopeResult
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.methods import settings_rows, settings_sentence
from autoonco.features.perturbation import PERTURBATIONS
from autoonco.features.spec import ExtractionSpec
from autoonco.search.interrupt import Allowance
from autoonco.search.space import config_key
from autoonco.tabular.robustness import icc
from autoonco.tabular.univariate import univariate_tests

FAMILY = "radiomics"
SETTINGS_FILE, TABLE_FILE = "evaluation/radiomics.json", "evaluation/radiomics_features.csv"
ICC_CASES = 30
"""Enough for an intraclass correlation of 0.75 to be told from 0.5 (Walter et al., Stat Med 1998;17:101)."""
FEWEST_ICC_CASES = 10
CASES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Record:
    """Settings and pipeline of the model as JSON, and a table with a row a feature."""

    settings: Mapping[str, Any]
    features: pd.DataFrame


def radiomics_record(
    result: ScopeResult,
    run_dir: Path,
    cases: Sequence[Case],
    y: NDArray[np.integer[Any]],
    *,
    artefacts: ArtefactCache,
    n_threads: int,
    icc_limit_s: float,
    limit_s: float = np.inf,
) -> Record | None:
    """Return the record of the best radiomics model, or None where there is none.

    Parameters
    ----------
    result
        The final scope's result.
    run_dir
        Folder of the run, which holds the state of the refitted model.
    cases, y
        Development cases and their classes: univariate tests see no test case.
    icc_limit_s
        Seconds for features of perturbed masks; with fewer than `FEWEST_ICC_CASES` done there is no ICC.
    limit_s
        Seconds for the features themselves, which come from the cache but where other machines made them.

    Raises
    ------
    AutoOncoError
        If features can't be extracted, or not in time.
    """
    best = next((model for model in result.judged if model.name == FAMILY and model.members), None)
    if best is None:
        return None
    config = best.members[0]["config"]
    state = run_dir / "models" / config_key(FAMILY, config) / "meta.json"
    if not state.is_file():
        return None
    meta = json.loads(state.read_text(encoding="utf-8"))["meta"]
    spec = ExtractionSpec.from_json(meta["spec"])
    table = _table(cases, spec, artefacts=artefacts, n_threads=n_threads, limit_s=limit_s)
    names = column_names(spec)
    found = univariate_tests(table, y, names)
    kept = meta.get("kept") or {}
    agreement, n_agreement = _agreement(table, cases, spec, artefacts=artefacts, limit_s=icc_limit_s)
    software = f"autoonco ({meta['backend']})"
    settings = {
        "sentence": settings_sentence(spec, software=software),
        "rows": settings_rows(spec, software=software),
        "settings": spec.to_json(),
        "config": dict(config),
        "n_cases": len(cases),
        "n_kept": len(kept),
        "icc_cases": n_agreement,
        "icc_masks": [str(how.kind) for how in PERTURBATIONS],
    }
    features = found.assign(
        kept=[int(name in kept) for name in names],
        weight=np.array([kept.get(name) for name in names], dtype=np.float64),
        icc=agreement,
    )
    return Record(settings=settings, features=features)


def _table(
    cases: Sequence[Case],
    spec: ExtractionSpec,
    *,
    artefacts: ArtefactCache,
    n_threads: int,
    limit_s: float,
) -> NDArray[np.float64]:
    """Return the features of `cases`, a few at a time."""
    allowance = Allowance(limit_s)
    parts = []
    for first in range(0, len(cases), CASES_AT_ONCE):
        if allowance.is_over():
            raise AutoOncoError(
                f"after {limit_s:.0f} s those of {first} of {len(cases)} cases were extracted; "
                "a longer time limit leaves more for them."
            )
        some = cases[first : first + CASES_AT_ONCE]
        parts.append(extract_table(some, spec, artefacts=artefacts, n_threads=n_threads)[0])
    return np.vstack(parts)


def _agreement(
    table: NDArray[np.float64],
    cases: Sequence[Case],
    spec: ExtractionSpec,
    *,
    artefacts: ArtefactCache,
    limit_s: float,
) -> tuple[NDArray[np.float64], int]:
    """Return ICC(2,1) of each feature over the masks as drawn and perturbed, and on how many cases."""
    allowance = Allowance(limit_s)
    order = np.random.default_rng(0).permutation(len(cases))[:ICC_CASES]
    ratings: list[NDArray[np.float64]] = []
    for row in order:
        if allowance.is_over():
            break
        others = [
            extract_table([cases[row]], spec, artefacts=artefacts, perturbation=how)[0][0]
            for how in PERTURBATIONS
        ]
        ratings.append(np.stack([table[row], *others]))
    if len(ratings) < FEWEST_ICC_CASES:
        return np.full(table.shape[1], np.nan), 0
    return icc(np.stack(ratings, axis=1)), len(ratings)
