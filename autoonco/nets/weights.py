"""Pretrained weights that are on this machine: checked, and read as safetensors.

Nothing here opens a connection. A torch file is read in one place, `read_checked`: after its sha256 was compared, and
with ``weights_only=True`` (tensors and plain containers, no code). Those of packages are converted once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from autoonco.data.cache import default_cache_dir, write_atomically
from autoonco.errors import OfflineWeightsError, WeightsError
from autoonco.nets.access import Access
from autoonco.nets.weight_files import Entry, Source, WeightFile, cure, file_sha256, locate, packaged_file

Tensors = dict[str, torch.Tensor]
OUR_AXES = "zyx"
"""Axes of crops and of kernels for them, from the slowest to the fastest."""


def load_weights(name: str, entry: Entry, like: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the pretrained tensors of zoo entry `name`, with the names and shapes of the state dict `like`.

    The first call converts the packaged file to safetensors in the cache folder; later ones read only that, and use
    it if its names, shapes and every byte are right.

    Raises
    ------
    OfflineWeightsError
        If the package that ships the weights is not installed.
    WeightsError
        If the file has another hash, holds more than tensors, or does not fit the network.
    """
    sha256 = entry["weights"]["sha256"]
    converted = default_cache_dir() / "weights" / f"{name}-{sha256[:16]}.safetensors"
    try:
        tensors: Tensors = load_file(converted)
        if (
            _shapes(tensors) == _shapes(like)
            and tensors_sha256(tensors, like) == entry["weights"]["sha256_tensors"]
        ):
            return tensors
    except (FileNotFoundError, SafetensorError):
        pass  # not converted yet, or no longer readable: made from the original below, as what was changed since
    source = packaged_file(entry)
    if source is None:
        raise OfflineWeightsError(f"The weights of {name} are not on this machine; {cure(name, entry)}.")
    tensors = by_order(name, read_checked(name, source, sha256), like)
    write_atomically(converted, lambda temporary: save_file(tensors, temporary))
    return tensors


def located(name: str, entry: Entry) -> WeightFile:
    """Return where the weights of zoo entry `name` are, if they are on this machine and may be used.

    Raises
    ------
    OfflineWeightsError
        If they are absent, or of a licence that is not allowed; the message says what to do.
    """
    access = Access.current()
    if not access.allows(licence := str(entry["weights"]["licence"])):
        raise OfflineWeightsError(
            f"The weights of {name} are under {licence}, which is not allowed: give "
            f"`--allow-licences {','.join((*access.licences, licence))}` if that suits your use."
        )
    found = locate(name, entry, access)
    if found is None:
        raise OfflineWeightsError(f"The weights of {name} are not on this machine; {cure(name, entry)}.")
    return found


def file_tensors(name: str, entry: Entry, found: WeightFile) -> Tensors:
    """Return the tensors of a safetensors file as timm calls them; its hash is compared first.

    Where the zoo says how a file's names begin in timm's words (`rename`), tensors of no such beginning are those of
    another part, such as the text half of CLIP, and are left out.

    Raises
    ------
    WeightsError
        If the file has another hash than recorded, or is no whole safetensors file.
    """
    check_hash(name, found)
    try:
        tensors: Tensors = load_file(found.path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"The weight file of {name}, {found.path.name}, is damaged or no safetensors file, so it is not loaded."
        ) from error
    if found.source is Source.FOLDER:  # named so when they were taken into it
        return tensors
    return in_our_terms(tensors, entry["weights"])


def check_hash(name: str, found: WeightFile) -> None:
    """Compare a file's hash with what it should be.

    Raises
    ------
    WeightsError
        If they differ.
    """
    if found.sha256 is None or (got := file_sha256(found.path)) == found.sha256:
        return
    again = (
        "reinstall its package" if found.source is Source.PACKAGE else f"run `autoonco weights fetch {name}`"
    )
    raise WeightsError(
        f"The weight file of {name} has sha256 {got}, expected {found.sha256}: "
        f"it is damaged or another release; {again}."
    )


def renamed(tensors: Tensors, beginnings: Mapping[str, str] | None) -> Tensors:
    """Return tensors under other names: of each, a beginning among `beginnings` is replaced; others are left out.

    Examples
    --------
    >>> renamed({"visual.a": torch.zeros(1), "text.a": torch.zeros(1)}, {"visual.": ""})
    {'a': tensor([0.])}
    """
    if beginnings is None:
        return tensors
    return {
        new + name.removeprefix(old): value
        for name, value in tensors.items()
        for old, new in beginnings.items()
        if name.startswith(old)
    }


def in_our_terms(tensors: Tensors, weights: Mapping[str, Any]) -> Tensors:
    """Return a file's tensors under our names and with their kernels along our axes, as a zoo entry's `weights` say.

    ``rename`` says how names begin (see `renamed`), ``rename_within`` what is replaced elsewhere in them, ``axes``
    those of 3D kernels, such as ``xyz`` of networks that were trained on arrays as NIfTI files hold them.

    Examples
    --------
    >>> theirs = {"net.fc1": torch.zeros(1), "net.conv": torch.zeros(1, 1, 3, 5, 7)}
    >>> weights = {"rename": {"net.": ""}, "rename_within": {"fc1": "linear1"}, "axes": "xyz"}
    >>> {name: tuple(value.shape) for name, value in in_our_terms(theirs, weights).items()}
    {'linear1': (1,), 'conv': (1, 1, 7, 5, 3)}
    """
    found = renamed(tensors, weights.get("rename"))
    for old, new in weights.get("rename_within", {}).items():
        found = {name.replace(old, new): value for name, value in found.items()}
    axes = str(weights.get("axes", OUR_AXES))
    order = (0, 1, *(2 + axes.index(axis) for axis in OUR_AXES))
    return {name: value.permute(order) if value.ndim == 5 else value for name, value in found.items()}


def read_checked(name: str, path: Path, sha256: str, *, inside: Sequence[str] = ()) -> Tensors:
    """Return the tensors of a torch file whose bytes have the hash `sha256`.

    Parameters
    ----------
    inside
        Names under which the file may keep its tensors, beside the state of an optimiser and the like; the first
        that it has counts, and the file itself where it has none.

    Raises
    ------
    WeightsError
        If the hash differs, or the file holds anything but a mapping of tensors.
    """
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != sha256:
        raise WeightsError(
            f"The weight file of {name} has sha256 {got}, expected {sha256}: "
            "it is damaged or another release; reinstall its package."
        )
    try:
        with torch.serialization.safe_globals(_numbers()):
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # torch has a dozen kinds for a file it refuses
        raise WeightsError(
            f"The weight file of {name} is damaged or holds more than tensors, so it is not loaded."
        ) from error
    if isinstance(tensors, Mapping):
        tensors = next((tensors[key] for key in inside if isinstance(tensors.get(key), Mapping)), tensors)
    if not isinstance(tensors, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise WeightsError(f"The weight file of {name} should hold a mapping of tensors, and nothing else.")
    return dict(tensors)


def _numbers() -> list[Any]:
    """Return what numpy needs for numbers and their types: training logs beside the tensors hold some. No code."""
    from numpy._core.multiarray import scalar

    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]


def by_order(name: str, tensors: Tensors, like: Mapping[str, torch.Tensor]) -> Tensors:
    """Return `tensors` under the names of `like`, the first to the first and so on; every shape has to agree.

    Raises
    ------
    WeightsError
        At the first tensor that doesn't fit.
    """
    if len(tensors) != len(like):
        raise WeightsError(
            f"The weight file of {name} holds {len(tensors)} tensors, its network {len(like)}."
        )
    for (theirs, value), (ours, wanted) in zip(tensors.items(), like.items(), strict=True):
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            raise WeightsError(
                f"Tensor {theirs!r} of {name} is {value.dtype} {tuple(value.shape)}, "
                f"but {ours!r} needs {wanted.dtype} {tuple(wanted.shape)}."
            )
    return {ours: value.contiguous() for ours, value in zip(like, tensors.values(), strict=True)}


def tensors_sha256(tensors: Mapping[str, torch.Tensor], order: Iterable[str]) -> str:
    """Return the sha256 of the bytes of all tensors, one after the other in `order`; names don't count."""
    sha = hashlib.sha256()
    for name in order:
        sha.update(tensors[name].contiguous().numpy().tobytes())
    return sha.hexdigest()


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}
