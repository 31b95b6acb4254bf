"""A zip of known members, or the same as plain files of a folder, that is safe to open, also from a stranger.

Members are read into memory one by one, after their names, kinds and sizes were judged and before anything is made of
them, and each has to have the hash that the manifest lists. Nothing is unpacked to disk but by `unpack`, which writes
the members that were judged so.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autoonco.data.cache import write_atomically
from autoonco.errors import AutoOncoError, BundleVersionError, UnsafeBundleError

FORMAT = 1
MANIFEST = "manifest.json"
MEMBER = re.compile(
    r"members/\d{1,3}/(meta\.json|tensors\.safetensors|[a-z_]{1,40}\.skops)"
    r"|decisions/(meta\.json|tensors\.safetensors)"
)
"""Names that may be in a model file beside its manifest."""
_PARTS = ("members", "decisions")
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What looking at a folder leaves in it."""
MAX_BYTES = 8 * 2**30
MAX_MEMBERS = 5000
MAX_RATIO = 200
"""Deflate can't do better than about 1:1032; real members of ours stay under 1:50."""
MAX_MANIFEST = 10 * 2**20
_NEEDED = frozenset({"format", "classes", "fingerprint", "members", "facts", "sha256"})
_DAMAGE = (
    zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, KeyError, ValueError, zlib.error,
    struct.error, IndexError, OverflowError,
)  # fmt: skip


def write_archive(path: Path, files: Iterable[tuple[str, bytes]], manifest: Mapping[str, Any]) -> None:
    """Write members and a manifest that lists their hashes, atomically; equal contents give equal files."""

    def write(temporary: Path) -> None:
        hashes: dict[str, str] = {}
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, data in files:
                hashes[name] = hashlib.sha256(data).hexdigest()
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=1)
            text = json.dumps({"format": FORMAT, **manifest, "sha256": hashes}, indent=1)
            archive.writestr(zipfile.ZipInfo(MANIFEST), text)

    write_atomically(path, write)


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the members by name, each checked against its hash.

    Parameters
    ----------
    path
        A model file, or a folder that `unpack` wrote; other files at the top of the folder have no part in it.

    Raises
    ------
    AutoOncoError
        If there is no such file or it is no whole zip.
    UnsafeBundleError
        If a member's name, kind, size or hash is not as it must be.
    BundleVersionError
        If a newer autoonco wrote it.
    """
    try:
        manifest, files = _read_folder(path) if path.is_dir() else _read_zip(path)
    except AutoOncoError:
        raise
    except FileNotFoundError:
        raise AutoOncoError(f"There is no model file {path}.") from None
    except _DAMAGE as error:
        raise AutoOncoError(f"{path} is not a whole model file of autoonco ({error}).") from None
    if missing := set(manifest["sha256"]) - set(files):
        raise UnsafeBundleError(
            f"{path} lacks {sorted(missing)[0]}, which its manifest lists. Get the file again."
        )
    return manifest, files


def unpack(path: Path, folder: Path) -> dict[str, Any]:
    """Write the members of a model file as plain files into `folder`, the manifest last; return it.

    Raises
    ------
    AutoOncoError
        As for `read_archive`, and if something of these names is in the folder.
    """
    manifest, files = read_archive(path)
    for name in (MANIFEST, *_PARTS):
        if (folder / name).exists():
            raise AutoOncoError(f"There is a model in {folder} already ({name}): name another folder.")
    for name, data in files.items():
        write_atomically(folder / name, lambda new, data=data: new.write_bytes(data))  # type: ignore[misc]
    text = json.dumps(manifest, indent=1)
    write_atomically(folder / MANIFEST, lambda new: new.write_text(text, encoding="utf-8"))
    return manifest


def pack(folder: Path, path: Path) -> None:
    """Write the model file that `unpack` took apart: the same bytes.

    Raises
    ------
    AutoOncoError
        As for `read_archive`.
    """
    manifest, files = read_archive(folder)
    write_archive(path, ((name, files[name]) for name in manifest["sha256"]), manifest)


def _read_zip(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_directory(infos, path)
        if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
            raise _too_large(path)
        manifest = _manifest(archive.read(MANIFEST), path)
        names = [info.filename for info in infos if info.filename != MANIFEST]
        return manifest, {name: _member(archive.read(name), name, manifest["sha256"], path) for name in names}


def _read_folder(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read what is below the folders of members and decisions, by the same rules as the members of a zip."""
    if not (path / MANIFEST).is_file():
        raise AutoOncoError(
            f"There is no {MANIFEST} in {path}: give a model file, or a folder that was exported."
        )
    for name in (MANIFEST, *_PARTS):  # before they are looked into
        _refuse_special(path / name, path)
    found = sorted(item for part in _PARTS for item in (path / part).rglob("*"))
    for item in found:
        _refuse_special(item, path)
    files = {
        item.relative_to(path).as_posix(): item
        for item in found
        if not item.is_dir() and item.name not in _LITTER
    }
    for name in files:
        if not MEMBER.fullmatch(name):
            raise UnsafeBundleError(
                f"{path} holds {name!r}, which has no place in a model file. Don't trust it."
            )
    if len(files) > MAX_MEMBERS or sum(item.stat().st_size for item in files.values()) > MAX_BYTES:
        raise UnsafeBundleError(
            f"{path} holds more than {MAX_MEMBERS} members or {MAX_BYTES // 2**30} GB: not opened."
        )
    if (path / MANIFEST).stat().st_size > MAX_MANIFEST:
        raise _too_large(path)
    manifest = _manifest((path / MANIFEST).read_bytes(), path)
    return manifest, {
        name: _member(item.read_bytes(), name, manifest["sha256"], path) for name, item in files.items()
    }


def _refuse_special(item: Path, path: Path) -> None:
    if item.is_symlink() or (item.exists() and not (item.is_dir() or item.is_file())):
        raise UnsafeBundleError(f"{item.name!r} in {path} is a link or another special file. Don't trust it.")


def _too_large(path: Path) -> UnsafeBundleError:
    return UnsafeBundleError(f"The manifest of {path} is too large to be one.")


def _check_directory(infos: list[zipfile.ZipInfo], path: Path) -> None:
    """Judge all members by what the zip's directory says of them, before one is read."""
    names = [info.filename for info in infos]
    if names.count(MANIFEST) != 1 or len({name.lower() for name in names}) != len(names):
        raise UnsafeBundleError(
            f"{path} is not a model file of autoonco: no manifest, or a name twice in it."
        )
    if len(infos) > MAX_MEMBERS:
        raise UnsafeBundleError(
            f"{path} holds {len(infos)} members, expected at most {MAX_MEMBERS}: not opened."
        )
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise UnsafeBundleError(f"{path} unpacks to more than {MAX_BYTES // 2**30} GB: not opened.")
    for info in infos:
        if info.filename != MANIFEST and not MEMBER.fullmatch(info.filename):
            raise UnsafeBundleError(
                f"{path} holds {info.filename!r}, which has no place in a model file. Don't trust it."
            )
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UnsafeBundleError(
                f"{info.filename!r} in {path} is a link or another special file. Don't trust it."
            )
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeBundleError(
                f"{info.filename!r} in {path} is encrypted or packed in an unusual way: not opened."
            )
        if info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise UnsafeBundleError(
                f"{info.filename!r} in {path} is compressed more than any real model: not opened."
            )


def _manifest(text: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        version = int(manifest["format"])
        lacking = _NEEDED - set(manifest)
    except (ValueError, TypeError, KeyError, RecursionError):
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


def _member(data: bytes, name: str, hashes: Mapping[str, str], path: Path) -> bytes:
    if hashlib.sha256(data).hexdigest() != hashes.get(name):
        raise UnsafeBundleError(
            f"{name!r} in {path} is not what was written (its hash differs). Get the file again."
        )
    return data
