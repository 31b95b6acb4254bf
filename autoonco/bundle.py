"""The model file: a zip of JSON, safetensors and skops that is safe to open, also from a stranger.

Nothing is unpacked to disk, every member's hash is checked before it is used, and nothing in the file can
name code to run: families are looked up by name among the installed ones.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.cache import write_atomically
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import (
    AutoOncoError,
    BundleVersionError,
    DataError,
    ExplanationError,
    UnsafeBundleError,
)
from autoonco.families import get_family
from autoonco.families.contract import Explains, Explanation, FittedModel, ModelState, Runtime
from autoonco.families.state import state_of

FORMAT = 1
_MANIFEST = "manifest.json"
_MEMBER = re.compile(r"members/\d{1,3}/(meta\.json|tensors\.safetensors|[a-z_]{1,40}\.skops)")
_MAX_BYTES = 8 * 2**30
# Deflate can't do better than about 1:1032; real members of ours stay under 1:50.
_MAX_RATIO = 200
_MAX_MANIFEST = 10 * 2**20


@dataclass(frozen=True, kw_only=True)
class Content:
    """What goes into a model file: members as (family, weight, folder of the state) and facts about them."""

    members: Sequence[tuple[str, float, Path]]
    classes: Sequence[str]
    fingerprint: Fingerprint
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model: the weighted mean of its members' probabilities."""

    classes: tuple[str, ...]
    fingerprint: Fingerprint
    members: tuple[tuple[float, FittedModel], ...]
    facts: Mapping[str, Any]

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `classes`."""
        if not cases:
            return np.empty((0, len(self.classes)))
        total = sum(
            weight * np.asarray(model.predict_proba(cases), dtype=np.float64)
            for weight, model in self.members
        )
        return np.asarray(total)

    def explain(self, case: Case, target: int) -> Explanation:
        """Return where the members that look at pixels see class `target`, their maps weighted as their votes.

        Raises
        ------
        ExplanationError
            If no member looks at pixels; the message gives each one's reason.
        """
        found: list[tuple[float, Explanation]] = []
        reasons: list[str] = []
        for weight, model in self.members:
            if not isinstance(model, Explains):
                reasons.append(getattr(model, "no_map", "A member of the model gives no map."))
                continue
            try:
                found.append((weight, model.explain([case], target)[0]))
            except ExplanationError as error:
                reasons.append(str(error))
        if not found:
            raise ExplanationError(f"Nothing to show for this case: {' '.join(dict.fromkeys(reasons))}")
        share = sum(weight for weight, _ in found)
        pooled = sum(weight / share * np.asarray(one.map) for weight, one in found)
        methods = dict.fromkeys(one.method for _, one in found)
        return Explanation(
            map=np.asarray(pooled), target=target, method=", ".join(methods), share=min(1.0, share)
        )


def write_bundle(path: Path, content: Content) -> None:
    """Write a model file, atomically."""
    write_atomically(path, lambda temporary: _write(temporary, content))


def _write(path: Path, content: Content) -> None:
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, (_, _, folder) in enumerate(content.members):
            for file in sorted(folder.iterdir()):
                name = f"members/{number}/{file.name}"
                if not _MEMBER.fullmatch(name):
                    continue  # half-written by a process that was killed
                data = file.read_bytes()
                hashes[name] = hashlib.sha256(data).hexdigest()
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=1)
        manifest = {
            "format": FORMAT,
            "classes": list(content.classes),
            "fingerprint": content.fingerprint.to_json(),
            "members": [{"family": family, "weight": weight} for family, weight, _ in content.members],
            "facts": dict(content.facts),
            "statement": "For research. Not a medical device.",
            "sha256": hashes,
        }
        archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(manifest, indent=1))


def read_bundle(path: Path, runtime: Runtime) -> Bundle:
    """Return the model in a file.

    Raises
    ------
    AutoOncoError
        If there is no such file or it is no model file.
    UnsafeBundleError
        If a member's name, size or hash is not as it must be, or a part holds a type that is not allowed.
    BundleVersionError
        If a newer autoonco wrote it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _checked_manifest(archive, path)
            files = {
                info.filename: _checked_member(archive, info, manifest, path) for info in _members(archive)
            }
    except FileNotFoundError:
        raise AutoOncoError(f"There is no model file {path}.") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
        raise AutoOncoError(f"{path} is not a whole model file of autoonco ({error}).") from None
    if missing := set(manifest["sha256"]) - set(files):
        raise UnsafeBundleError(
            f"{path} lacks {sorted(missing)[0]}, which its manifest lists. Get the file again."
        )
    try:
        return _restored(manifest, files, runtime)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, AutoOncoError):
            raise
        raise UnsafeBundleError(
            f"The content of {path} does not fit together ({type(error).__name__}: {error}). Get the file again."
        ) from None


def _restored(manifest: Mapping[str, Any], files: Mapping[str, bytes], runtime: Runtime) -> Bundle:
    return Bundle(
        classes=tuple(manifest["classes"]),
        fingerprint=Fingerprint.from_json(manifest["fingerprint"]),
        members=tuple(
            (float(member["weight"]), get_family(member["family"]).restore(_state(files, number), runtime))
            for number, member in enumerate(manifest["members"])
        ),
        facts=manifest["facts"],
    )


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [info for info in archive.infolist() if info.filename != _MANIFEST]


def _checked_manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    names = archive.namelist()
    if names.count(_MANIFEST) != 1 or len(names) != len(set(names)):
        raise UnsafeBundleError(
            f"{path} is not a model file of autoonco: no manifest, or a name twice in it."
        )
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST:
        raise UnsafeBundleError(f"The manifest of {path} is too large to be one.")
    if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
        raise UnsafeBundleError(f"{path} unpacks to more than {_MAX_BYTES // 2**30} GB: not opened.")
    try:
        manifest = json.loads(archive.read(_MANIFEST))
        version = int(manifest["format"])
        lacking = {"classes", "fingerprint", "members", "facts", "sha256"} - set(manifest)
    except (ValueError, TypeError, KeyError):
        raise UnsafeBundleError(f"The manifest of {path} is not one of autoonco's.") from None
    if version > FORMAT:
        raise BundleVersionError(
            f"{path} has format {version}; this autoonco reads up to {FORMAT}. Update autoonco."
        )
    if lacking:
        raise UnsafeBundleError(f"The manifest of {path} lacks {sorted(lacking)[0]!r}.")
    if not isinstance(manifest["sha256"], dict) or not isinstance(manifest["members"], list):
        raise UnsafeBundleError(f"The manifest of {path} is not one of autoonco's.")
    return dict(manifest)


def _checked_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, manifest: Mapping[str, Any], path: Path
) -> bytes:
    name = info.filename
    if not _MEMBER.fullmatch(name):
        raise UnsafeBundleError(f"{path} holds {name!r}, which has no place in a model file. Don't trust it.")
    if info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        raise UnsafeBundleError(f"{name!r} in {path} is compressed more than any real model: not opened.")
    data = archive.read(info)
    if hashlib.sha256(data).hexdigest() != manifest["sha256"].get(name):
        raise UnsafeBundleError(
            f"{name!r} in {path} is not what was written (its hash differs). Get the file again."
        )
    return data


def _state(files: Mapping[str, bytes], number: int) -> ModelState:
    prefix = f"members/{number}/"
    return state_of(
        {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    )


def prediction_table(
    cases: Sequence[Case], classes: Sequence[str], predict_proba: Callable[[Sequence[Case]], NDArray[Any]]
) -> pd.DataFrame:
    """Return a row a case: case, prediction, ``probability_<class>``, status, message.

    A case that can't be predicted has the status ``"error"`` and the reason; the others are not lost.
    """

    def proba_or_reason(case: Case) -> NDArray[Any] | str:
        try:
            return np.asarray(predict_proba([case])[0])
        except DataError as error:
            return str(error)

    def row(case: Case, outcome: NDArray[Any] | str) -> dict[str, Any]:
        failed = isinstance(outcome, str)
        proba = np.full(len(classes), np.nan) if isinstance(outcome, str) else outcome
        return {
            "case": case.case,
            "prediction": None if failed else classes[int(proba.argmax())],
            **{f"probability_{name}": value for name, value in zip(classes, proba, strict=True)},
            "status": "error" if failed else "ok",
            "message": outcome if failed else "",
        }

    try:
        outcomes: list[NDArray[Any] | str] = list(predict_proba(cases))
    except DataError:
        outcomes = [proba_or_reason(case) for case in cases]
    return pd.DataFrame([row(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)])
