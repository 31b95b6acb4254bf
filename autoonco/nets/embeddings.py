"""Embeddings of a frozen network: computed once a case, shared by every config, fold, trial and run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.nets.inputs import VERSION, InputSpec, crops, split_pictures

if TYPE_CHECKING:
    from autoonco.nets.network import Network

EMBEDDING_VERSION = 2
"""Raised whenever a network would give other features for the same crop."""
LAYERS = (-1, -2, -3, -4)
"""The layers whose poolings are kept: a CNN's stages, a transformer's blocks."""
CUDA_BATCH = 32
_CHUNK = 64
"""Pictures whose crops are held at a time; what a kill can lose."""
_KIND = "embeddings"


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Have torch use `n_threads` inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(device: str) -> str:
    """Return `device`, or for ``"auto"`` the first GPU where there is one and the CPU elsewhere."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def forward(
    network: nn.Module, inputs: NDArray[np.uint8], *, device: str, n_threads: int
) -> NDArray[np.float32]:
    """Return the outputs ``(n, n_outputs)`` of a network in evaluation mode for crops ``(n, channels, ...)``.

    On a CPU each crop goes alone, on one of `n_threads` threads: that is as fast as in batches (48 images a second
    a core with EfficientNet-Lite0); a case's output hangs neither on its company nor on the number of threads, down
    to the last bit; and it stays fast on a busy machine, where threads that share one operation wait for each
    other (ten times slower with both cores of two taken).
    """
    found = _in_parts(network, lambda crop: {"x": network(crop)}, inputs, device=device, n_threads=n_threads)
    return found["x"]


def _in_parts(
    network: nn.Module,
    call: Callable[[torch.Tensor], Mapping[str, torch.Tensor]],
    inputs: NDArray[np.uint8],
    *,
    device: str,
    n_threads: int,
) -> dict[str, NDArray[np.float32]]:
    """Return what `call` makes of all crops with the network in evaluation mode, in the way that `forward` tells."""
    device = pick_device(device)
    network.eval().to(device)

    def run(part: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():  # holds for one thread only
            crop = torch.from_numpy(part).to(device)
            out = call(crop.contiguous(memory_format=memory_order(crop)))
            return {name: value.float().cpu().numpy() for name, value in out.items()}

    on_gpu = device.startswith("cuda")
    batch = CUDA_BATCH if on_gpu else 1
    parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
    with torch_threads(1), ThreadPoolExecutor(1 if on_gpu else n_threads) as pool:
        done = list(pool.map(run, parts))
    return {name: np.concatenate([part[name] for part in done]) for name in done[0]}


def memory_order(crops: torch.Tensor) -> torch.memory_format:
    """Return channels-last for pictures, where it is faster; strided 3D convolutions train slower with it."""
    return torch.channels_last if crops.ndim == 4 else torch.contiguous_format


def weights_id(network: nn.Module) -> str:
    """Return a hash of every tensor of a network: equal weights give equal embeddings, wherever they came from."""
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def embed(
    cases: Sequence[Case],
    network: Network,
    spec: InputSpec,
    artefacts: ArtefactCache,
    *,
    network_id: str,
    device: str,
    n_threads: int,
    names: Sequence[str] = ("native",),
) -> NDArray[np.float32]:
    """Return features of each picture ``(n_cases, n_pictures, n_features)``; only cases never seen are computed.

    One forward pass stores every pooling of the last layers (`LAYERS`), so that another of `names` costs nothing.
    Crops are not stored: they take ten times the room and are not needed again.

    Parameters
    ----------
    network_id
        `weights_id` of the network with the architecture's name, computed once by the caller.
    device
        What a GPU computed is kept apart: it rounds otherwise, and what a CPU gives must not hang on what was there.
    names
        Keys of `Network.embed_all`, which stand side by side: ``native``, ``gem@-2``; see `feature_names`.
    """
    version, asked = (VERSION, EMBEDDING_VERSION), spec.to_json()
    made_by = pick_device(device).partition(":")[0]
    of_gpu = () if made_by == "cpu" else (made_by,)
    keys = [digest("embedding", version, content_hash(case), asked, network_id, *of_gpu) for case in cases]

    def look_up(key: str) -> NDArray[np.float32] | None:
        arrays = artefacts.get(_KIND, key)
        return None if arrays is None else _joined(arrays, names)

    with ThreadPoolExecutor(n_threads) as pool:
        rows = list(pool.map(look_up, keys))
    missing = [row for row, found in enumerate(rows) if found is None]
    chunk = max(1, _CHUNK // spec.n_pictures)
    for start in range(0, len(missing), chunk):
        part = missing[start : start + chunk]
        inputs = crops([cases[row] for row in part], spec, None, n_threads=n_threads)
        made = _embeddings(network, inputs, spec, device=device, n_threads=n_threads)
        for position, row in enumerate(part):
            arrays = {name: values[position] for name, values in made.items()}
            artefacts.put(_KIND, keys[row], arrays)
            rows[row] = _joined(arrays, names)
    return np.stack([row for row in rows if row is not None])


def _joined(arrays: Mapping[str, NDArray[Any]], names: Sequence[str]) -> NDArray[np.float32]:
    return np.concatenate([arrays[name] for name in names], axis=1)


def _embeddings(
    network: Network, inputs: NDArray[np.uint8], spec: InputSpec, *, device: str, n_threads: int
) -> dict[str, NDArray[np.float32]]:
    """Return every pooling of the last layers by name, each ``(n_cases, n_pictures, n)``."""
    layers = LAYERS[: network.n_layers]
    flat = split_pictures(inputs, spec).reshape(-1, spec.in_channels, *inputs.shape[2:])
    made = _in_parts(
        network,
        lambda crop: network.embed_all(crop, layers=layers),
        flat,
        device=device,
        n_threads=n_threads,
    )
    return {name: values.reshape(len(inputs), spec.n_pictures, -1) for name, values in made.items()}


def feature_names(pooling: str, *, n_layers: int) -> tuple[str, ...]:
    """Return the names of `embed` for a pooling of the last `n_layers`.

    ``native`` is the network's own, which only the last layer has: the others add their mean. ``cls_mean`` is the class
    token and the mean of the patches, as in DINO's linear probes (Oquab et al., "DINOv2", 2023, section 7.1).

    Examples
    --------
    >>> feature_names("native", n_layers=2)
    ('native', 'mean@-2')
    >>> feature_names("cls_mean", n_layers=1)
    ('cls@-1', 'mean@-1')
    """
    layers = LAYERS[:n_layers]
    if pooling == "native":
        return ("native", *(f"mean@{layer}" for layer in layers[1:]))
    return tuple(f"{kind}@{layer}" for layer in layers for kind in pooling.split("_"))


def side_by_side(network: Network, crops: torch.Tensor, pooling: str, *, n_layers: int = 1) -> torch.Tensor:
    """Return the features of `feature_names` of crops ``(n, channels, ...)``, with the gradient by them."""
    made = network.embed_all(crops, layers=LAYERS[:n_layers])
    return torch.cat([made[name] for name in feature_names(pooling, n_layers=n_layers)], dim=1)


class Embedding(nn.Module):  # type: ignore[misc]
    """A network that answers with what a learner sees of a picture: `side_by_side` of a pooling and so many layers."""

    def __init__(self, network: Network, pooling: str, *, n_layers: int = 1) -> None:
        super().__init__()
        self.network = network
        self.pooling, self.n_layers = pooling, n_layers

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the features of crops ``(n, channels, ...)``."""
        return side_by_side(self.network, crops, self.pooling, n_layers=self.n_layers)
