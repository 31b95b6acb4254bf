"""Embeddings of a frozen network: computed once a case, shared by every config, fold, trial and run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.nets.inputs import VERSION, InputSpec, crops

CUDA_BATCH = 32
_CHUNK = 64
"""Cases whose crops are held at a time; what a kill can lose."""
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
    device = pick_device(device)
    network = network.eval().to(device)

    def run(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():  # holds for one thread only
            crop = torch.from_numpy(part).to(device)
            found: NDArray[np.float32] = (
                network(crop.contiguous(memory_format=memory_order(crop))).float().cpu().numpy()
            )
            return found

    on_gpu = device.startswith("cuda")
    batch = CUDA_BATCH if on_gpu else 1
    parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
    with torch_threads(1), ThreadPoolExecutor(1 if on_gpu else n_threads) as pool:
        return np.concatenate(list(pool.map(run, parts)))


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
    network: nn.Module,
    spec: InputSpec,
    artefacts: ArtefactCache,
    *,
    network_id: str,
    device: str,
    n_threads: int,
) -> NDArray[np.float32]:
    """Return the network's features ``(n_cases, n_features)``; only cases never seen before are computed.

    Of these only the features are stored: a crop takes thirty times the room and is not needed again.
    `network_id` is `weights_id` of the network with the architecture's name, computed once by the caller.
    """
    keys = [digest("embedding", VERSION, content_hash(case), spec.to_json(), network_id) for case in cases]
    found = {key: artefacts.get(_KIND, key) for key in keys}
    missing = [row for row, key in enumerate(keys) if found[key] is None]
    for start in range(0, len(missing), _CHUNK):
        rows = missing[start : start + _CHUNK]
        inputs = crops([cases[row] for row in rows], spec, None, n_threads=n_threads)
        outputs = forward(network, inputs, device=device, n_threads=n_threads)
        for row, output in zip(rows, outputs, strict=True):
            found[keys[row]] = {"x": output}
            artefacts.put(_KIND, keys[row], {"x": output})
    return np.stack([arrays["x"] for key in keys if (arrays := found[key]) is not None])
