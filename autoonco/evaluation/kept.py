"""What a scope gave, kept in the run folder, so that a run that goes on does not choose anew where it had finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import write_atomically
from autoonco.data.fingerprint import Fingerprint
from autoonco.evaluation.decisions import Decided
from autoonco.evaluation.outcome import Delivered, Judged, Probed, ScopeResult
from autoonco.evaluation.run_folder import read_json
from autoonco.search.store import stops_on_full_disk


def keep(
    folder: Path, scope: str, result: ScopeResult, *, asked: Mapping[str, Any], notes: Sequence[str]
) -> None:
    """Write what a scope gave, whole or not at all, with what was `asked` of it (plain JSON).

    Raises
    ------
    DiskFullError
        If there is no space for it.
    """
    content = {
        "asked": dict(asked),
        "notes": list(notes),
        "fingerprint": result.fingerprint.to_json(),
        "judged": [_judged_json(judged) for judged in result.judged],
        "delivered": [
            {
                "family": item.family,
                "weight": item.weight,
                "folder": item.folder.relative_to(folder).as_posix(),
            }
            for item in result.delivered
        ],
        "decided": None if result.decided is None else result.decided.to_json(),
        "probes": [
            {
                "name": item.name,
                "positions": list(item.positions),
                "proba": _array_json(item.proba),
                "reason": item.reason,
            }
            for item in result.probes
        ],
    }
    text = json.dumps(content)
    with stops_on_full_disk():
        write_atomically(
            scope_path(folder, scope), lambda path: path.write_text(text + "\n", encoding="utf-8")
        )


def kept_result(
    folder: Path, scope: str, *, asked: Mapping[str, Any]
) -> tuple[ScopeResult, list[str]] | None:
    """Return what a scope gave and the notes on it; None where it has not ended, or something else was asked of it.

    What `asked` does not name may have been anything.

    Raises
    ------
    AutoOncoError
        If the file is damaged.
    """
    path = scope_path(folder, scope)
    content = read_json(path) if path.exists() else None
    # compared as JSON, for a tuple comes back as a list
    wanted = json.loads(json.dumps(asked))
    if content is None or any(content["asked"].get(name) != value for name, value in wanted.items()):
        return None
    delivered = tuple(
        Delivered(family=item["family"], weight=item["weight"], folder=folder / item["folder"])
        for item in content["delivered"]
    )
    if not all((item.folder / "meta.json").exists() for item in delivered):
        return None
    result = ScopeResult(
        judged=tuple(_judged(item) for item in content["judged"]),
        delivered=delivered,
        fingerprint=Fingerprint.from_json(content["fingerprint"]),
        decided=None if content.get("decided") is None else Decided.from_json(content["decided"]),
        probes=tuple(
            Probed(
                name=item["name"],
                positions=tuple(item["positions"]),
                proba=_array(item["proba"]),
                reason=item["reason"],
            )
            for item in content.get("probes", ())
        ),
    )
    return result, content["notes"]


def scope_path(folder: Path, scope: str) -> Path:
    """Return the file of what a scope gave, there once it has ended."""
    return folder / "scopes" / f"{scope}.json"


def _judged_json(judged: Judged) -> dict[str, Any]:
    return judged.to_json() | {"proba": _array_json(judged.proba)}


def _array_json(values: NDArray[Any]) -> dict[str, Any]:
    # Python writes a float so that the same one is read back; type and shape are not told by the numbers.
    array: NDArray[Any] = np.asarray(values)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.ravel().tolist()}


def _array(plain: Mapping[str, Any]) -> NDArray[Any]:
    return np.array(plain["values"], dtype=plain["dtype"]).reshape(plain["shape"])


def _judged(plain: Mapping[str, Any]) -> Judged:
    return Judged(
        name=plain["name"],
        kind=plain["kind"],
        proba=_array(plain["proba"]),
        inner_score=plain["inner_score"],
        members=plain["members"],
        refit_s=plain["refit_seconds"],
        search_s=plain["search_seconds"],
    )
