"""Embeddings of a frozen network: computed once a case, shared by every config, fold, trial and run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.nets.inputs import VERSION, InputSpec, crops

BATCH = 16


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Have torch use `n_threads` inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forward(network: nn.Module, inputs: NDArray[np.uint8], *, device: str, n_threads: int, batch: int = BATCH) -> NDArray[Any]:
    """Return the outputs ``(n, n_outputs)`` of a network in evaluation mode for crops ``(n, channels, ...)``."""
    network = network.eval().to(device)
    with torch_threads(n_threads), torch.inference_mode():
        parts = []
        for start in range(0, len(inputs), batch):
            part = torch.from_numpy(inputs[start : start + batch]).to(device)
            parts.append(network(part.contiguous(memory_format=_order_of(part))).float().cpu().numpy())
    return np.concatenate(parts)


def _order_of(crops: torch.Tensor) -> torch.memory_format:
    """Pictures run faster channels-last; strided 3D convolutions train slower so."""
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
    keys = [digest("embedding", VERSION, content_hash(case), spec.to_json(), network_id) for case in cases]
    rows = [artefacts.get("embeddings", key) for key in keys]
    missing = [index for index, row in enumerate(rows) if row is None]
    for start in range(0, len(missing), BATCH):
        block = missing[start : start + BATCH]
        inputs = crops([cases[index] for index in block], spec, artefacts)
        for index, features in zip(block, forward(network, inputs, device=device, n_threads=n_threads), strict=True):
            rows[index] = {"x": features}
            artefacts.put("embeddings", keys[index], {"x": features})
    return np.stack([row["x"] for row in rows if row is not None])
