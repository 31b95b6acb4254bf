"""Label-free per-case artefacts (crops, features, embeddings), shared by trials, folds, runs and processes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from autoonco.data.bounds import LOOK_SHARE, evict, limit_bytes, touch
from autoonco.data.case import Case
from autoonco.data.pick import WHOLE
from autoonco.errors import DataError

Arrays = Mapping[str, NDArray[Any]]
_CHECKSUM = "crc32"


def default_cache_dir() -> Path:
    """Return the cache folder: ``AUTOONCO_CACHE_DIR`` if set, else the user's cache folder."""
    return Path(os.environ.get("AUTOONCO_CACHE_DIR") or user_cache_dir("autoonco"))


def digest(*parts: Any) -> str:
    """Return a short hexadecimal sha256 of JSON-able parts, independent of the order of mappings."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@lru_cache(maxsize=100_000)
def _bytes_hash(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - the stat is part of the key
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, computed once for each size and time of change."""
    stat = path.stat()
    return _bytes_hash(path, stat.st_size, stat.st_mtime_ns)


def content_hash(case: Case) -> str:
    """Return the hash of a case's image and mask bytes; equal files give equal hashes, whatever their names.

    Where a file is only the header of another one with the voxels, both count; of a DICOM series all its files do, in
    any order; and what is picked of a file counts with it.

    Raises
    ------
    DataError
        If a file can't be read; the message names the row.
    """
    from autoonco.data.holdings import files_of  # image readers, which a search needs not

    hashes: dict[str, Any] = {}
    try:
        for kind, paths, picks in (("i", case.images, case.image_picks), ("m", case.masks, case.mask_picks)):
            for name, path in paths.items():
                pick = picks.get(name, WHOLE)
                found = files_of(path, pick, of_masks=kind == "m")
                hashes[f"{kind}:{name}"] = [file_hash(file) for file in found.ordered]
                hashes[f"{kind}-any-order:{name}"] = sorted(file_hash(file) for file in found.unordered)
                if picked := pick.to_json():
                    hashes[f"{kind}-pick:{name}"] = picked
    except DataError as error:
        raise type(error)(f"row {case.row}: {error}") from error
    except OSError as error:
        raise DataError(
            f"row {case.row}: a file of this case can't be read ({error.strerror}): correct its path."
        ) from error
    return digest(hashes if case.mark is None else hashes | {"mark": case.mark.to_json()})


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary neighbour of `path`, flush it to disk, then rename it to `path`.

    A reader sees the old file or the whole new one, also when several processes write at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checksum(arrays: Arrays) -> str:
    """Return a check sum of arrays: safetensors sees a file cut short, not one with other bytes."""
    found = 0
    for name in sorted(arrays):
        found = zlib.crc32(np.ascontiguousarray(arrays[name]).data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


class ArtefactCache:
    """Arrays on disk under a key; a damaged file counts as absent, and what was used longest ago makes room.

    Parameters
    ----------
    folder
        Where they are; by default the user's cache folder.
    files_rest
        Whether the files of a case stay as they are for the life of this object, as they do within a run: then
        none is looked at twice to name its artefacts.
    limit
        Bytes that the folder may take, see `bounds.limit_bytes`; 0 for no limit.

    Examples
    --------
    >>> import tempfile
    >>> cache = ArtefactCache(Path(tempfile.mkdtemp()))
    >>> cache.get_or_make("crop", "a-key", lambda: {"x": np.ones(2)})["x"]
    array([1., 1.])
    >>> cache.get("crop", "a-key")["x"]
    array([1., 1.])
    """

    def __init__(
        self, folder: Path | None = None, *, files_rest: bool = False, limit: int | None = None
    ) -> None:
        self.folder = folder or default_cache_dir()
        self.limit = limit_bytes() if limit is None else limit
        self._unseen = self.limit  # bytes written since the folder was looked at; at first it is
        self.files_rest = files_rest
        self._hashes: dict[int, tuple[Case, str]] = {}

    def hash_of(self, case: Case) -> str:
        """Return the `content_hash` of a case: where `files_rest`, by the case as an object once it was computed.

        Raises
        ------
        DataError
            As `content_hash`.
        """
        if not self.files_rest:
            return content_hash(case)
        known = self._hashes.get(id(case))
        if known is None or known[0] is not case:
            known = self._hashes[id(case)] = (case, content_hash(case))
        return known[1]

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / f"{key}.safetensors"

    def get(self, kind: str, key: str) -> Arrays | None:
        """Return the arrays stored under (`kind`, `key`), or None where there are none or they are damaged."""
        path = self._path(kind, key)
        try:
            with safe_open(path, framework="numpy") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                is_whole = (file.metadata() or {}).get(_CHECKSUM) == _checksum(found)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            is_whole = False
        if not is_whole:
            path.unlink(missing_ok=True)
            return None
        touch(path)
        return found

    def put(self, kind: str, key: str, arrays: Arrays) -> None:
        """Store `arrays` under (`kind`, `key`), atomically."""
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        mark = {_CHECKSUM: _checksum(plain)}
        write_atomically(self._path(kind, key), lambda temporary: save_file(plain, temporary, mark))
        self._unseen += sum(array.nbytes for array in plain.values())
        if self._unseen > LOOK_SHARE * self.limit > 0:
            self._unseen = 0
            evict(self.folder, self.limit)

    def get_or_make(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Return the stored arrays, making and storing them first where absent."""
        found = self.get(kind, key)
        if found is None:
            found = make()
            self.put(kind, key, found)
        return found
