"""Embeddings of a frozen network: computed once a case, shared by every config, fold, trial and run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import Arrays, ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.nets.inputs import VERSION, InputSpec, crops

CUDA_BATCH = 32


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

    On a CPU the crops go one by one: that is as fast as in batches (48 images a second a core with
    EfficientNet-Lite0), and a case's output doesn't hang on its company, down to the last bit.
    """
    device = pick_device(device)
    network = network.eval().to(device)
    batch = CUDA_BATCH if device.startswith("cuda") else 1
    parts = []
    with torch_threads(n_threads), torch.inference_mode():
        for start in range(0, len(inputs), batch):
            part = torch.from_numpy(inputs[start : start + batch]).to(device)
            parts.append(network(part.contiguous(memory_format=memory_order(part))).float().cpu().numpy())
    return np.concatenate(parts)


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

    `network_id` is `weights_id` of the network with the architecture's name, computed once by the caller.
    """
    rows = []
    for case in cases:
        key = digest("embedding", VERSION, content_hash(case), spec.to_json(), network_id)

        def compute(case: Case = case) -> Arrays:
            inputs = crops([case], spec, artefacts)
            return {"x": forward(network, inputs, device=device, n_threads=n_threads)[0]}

        rows.append(artefacts.get_or_make("embeddings", key, compute)["x"])
    return np.stack(rows)
