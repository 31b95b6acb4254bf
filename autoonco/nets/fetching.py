"""Bringing weights into a folder, at the user's command only, and checking what is there.

What a folder holds can be carried to a machine without the internet: a safetensors file a network, and ``weights.json``
with the sha256, source and licence of each.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from autoonco.data.cache import write_atomically
from autoonco.errors import AutoOncoError, OfflineWeightsError, WeightsError
from autoonco.nets.access import Access
from autoonco.nets.builders import build_3d, filled, read_pretrained
from autoonco.nets.volume_builders import fill_volume
from autoonco.nets.weight_files import (
    RECORD,
    Entry,
    Source,
    WeightFile,
    cure,
    file_sha256,
    locate,
    read_record,
    write_record,
)
from autoonco.nets.weights import Tensors, check_hash, file_tensors, in_our_terms, read_checked
from autoonco.nets.zoo import all_networks, entry_of

SAFETENSORS = ".safetensors"


def fetch(name: str, folder: Path, *, given: Path | None = None) -> Path:
    """Put the weights of zoo entry `name` into `folder`, from the hub or from a file that the user has.

    The file is taken only if it fits the network and, where the zoo knows its sha256, has that. A torch file is read
    with ``weights_only=True`` (tensors, no code) and kept as safetensors.

    Parameters
    ----------
    given
        The user's own file; None downloads it with the hub's client, which knows the user's token and proxies.

    Returns
    -------
    pathlib.Path
        The file in the folder.

    Raises
    ------
    WeightsError
        If the file is of another hash, damaged, holds more than tensors, or doesn't fit the network.
    OfflineWeightsError
        If the hub can't be reached, or asks for an access that the user does not have.
    AutoOncoError
        If the weights come with a package.
    """
    entry = entry_of(name)
    if entry["weights"] is None or "package" in entry["weights"]:
        raise AutoOncoError(f"There is nothing to fetch for {name}: {_why_nothing(entry)}.")
    if given is None and "hub" not in entry["weights"]:
        raise AutoOncoError(f"The weights of {name} are on no hub: {cure(name, entry)}.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        original, revision = (given, None) if given is not None else _download(name, entry, Path(temporary))
        return _take(name, entry, original, folder, revision=revision)


def verify(folder: Path | None, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, str | None]:
    """Check the weights of every network that are on this machine: hash, form, and whether they fit.

    `tell` is called with each name before its check. What ``weights.json`` of the folder names is checked there.

    Returns
    -------
    dict[str, str | None]
        What is wrong, by network or file, or None where nothing is.
    """
    access = Access.of(weights_dir=folder)
    found: dict[str, str | None] = {}
    for name, entry in all_networks().items():
        if entry["weights"] and (file := locate(name, entry, access)) is not None:
            tell(name)
            found[name] = _problem(partial(_check, name, entry, file))
    if access.folder is not None:
        found |= dict(_strays(access.folder, found))
    return found


def _check(name: str, entry: Entry, file: WeightFile) -> None:
    check_hash(name, file)
    if entry["dimensions"] == 2 or "inflates" in entry:
        flat = str(entry.get("inflates", name))
        read_pretrained(flat, entry_of(flat), file)
    else:
        _fits(name, entry, file_tensors(name, entry, file))


def _fits(name: str, entry: Entry, tensors: Tensors) -> None:
    """Check that tensors are those of an entry's network."""
    if entry["dimensions"] == 2:
        filled(name, entry, dict(tensors), dict(entry.get("options", {})))
        return
    size, channels = int(entry["input_size"]), int(entry["in_channels"])
    empty = build_3d(name, n_classes=0, in_channels=channels, size=size)
    fill_volume(name, empty.backbone, tensors)


def _problem(check: Callable[[], object]) -> str | None:
    try:
        check()
    except AutoOncoError as error:
        return str(error)
    return None


def _strays(folder: Path, seen: dict[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a folder beyond the files that were checked: lost ones, and ones without a record."""
    files = read_record(folder)
    for name, fact in files.items():
        if name not in seen:
            known = name in all_networks()
            lost = f"{fact['file']} is named in {RECORD} but is not in the folder"
            yield name, lost if known else f"{RECORD} names a network that this version does not know"
    named = {str(fact["file"]) for fact in files.values()}
    for path in sorted(folder.glob(f"*{SAFETENSORS}")):
        if path.name not in named:
            yield (
                path.name,
                (
                    f"it is not in {RECORD}, so it is not used; "
                    f"`autoonco weights fetch NAME --from {path.name}` takes it up"
                ),
            )


def _why_nothing(entry: Entry) -> str:
    if entry["weights"] is None:
        return "it has no pretrained weights"
    return f"its weights come with the package {entry['weights']['package']}"


def _take(name: str, entry: Entry, original: Path, folder: Path, *, revision: str | None) -> Path:
    """Check a file, write its tensors into the folder as safetensors, and record them."""
    weights = entry["weights"]
    if not original.is_file():
        raise WeightsError(f"There is no file {original.name} to take the weights of {name} from.")
    sha256 = file_sha256(original)
    if weights["sha256"] not in (None, sha256):
        raise WeightsError(
            f"The file for {name} has sha256 {sha256}, expected {weights['sha256']}: it is damaged or another release."
        )
    tensors = _tensors(name, entry, original, sha256)
    _fits(name, entry, tensors)
    as_it_is = original.suffix == SAFETENSORS and not weights.get("rename")
    target = folder / f"{name}{SAFETENSORS}"
    if as_it_is:
        write_atomically(target, lambda temporary: shutil.copyfile(original, temporary))
    else:
        write_atomically(target, lambda temporary: save_file(_contiguous(tensors), temporary))
    fact: dict[str, Any] = {
        "file": target.name,
        "sha256": file_sha256(target),
        "bytes": target.stat().st_size,
        "converted": not as_it_is,
        "sha256_of_original": sha256,
        "source": weights["source"] if revision else "a file of the user's",
        "revision": revision,
        "licence": weights["licence"],
        "taken": datetime.now(UTC).date().isoformat(),
    }
    write_record(folder, name, fact)
    return target


def _contiguous(tensors: Tensors) -> Tensors:
    return {
        name: value.contiguous().clone() for name, value in tensors.items()
    }  # none shares memory with another


def _tensors(name: str, entry: Entry, original: Path, sha256: str) -> Tensors:
    if original.suffix == SAFETENSORS:
        return file_tensors(name, entry, WeightFile(source=Source.HUB_CACHE, path=original, sha256=sha256))
    weights = entry["weights"]
    found = read_checked(name, original, sha256, inside=weights.get("inside", ()))
    return in_our_terms(found, weights)


def _download(name: str, entry: Entry, folder: Path) -> tuple[Path, str]:
    """Return the file, downloaded by the hub's client, and the commit it is of."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled

    weights = entry["weights"]
    where = {"repo_id": weights["hub"], "filename": weights["file"], "revision": weights.get("revision")}
    try:
        commit = get_hf_file_metadata(hf_hub_url(**where)).commit_hash or "unknown"
        pinned = where if commit == "unknown" else where | {"revision": commit}
        return Path(hf_hub_download(**pinned, local_dir=folder)), commit
    except GatedRepoError as error:
        raise OfflineWeightsError(
            f"The weights of {name} are given on request only: ask for access at {weights['source']}, "
            "run `hf auth login`, then this command again."
        ) from error
    except OfflineModeIsEnabled as error:
        raise OfflineWeightsError(
            f"HF_HUB_OFFLINE is set, so the weights of {name} can't be fetched: unset it for this command."
        ) from error
    except HfHubHTTPError as error:
        told = str(error).strip().splitlines()[0][:200]
        raise OfflineWeightsError(f"The hub does not give the weights of {name}: {told}") from error
    except Exception as error:  # the client's transport has kinds of its own for each way of not arriving
        raise OfflineWeightsError(
            f"The hub can't be reached for the weights of {name} ({type(error).__name__}); fetch them on a machine "
            "with an internet and carry the folder over."
        ) from error
