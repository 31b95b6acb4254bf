"""Scores of untrained networks: what one forward pass says of an architecture before any training."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.nets.embeddings import memory_order


def naswot(network: nn.Module, crops: NDArray[np.uint8]) -> float:
    """Return how differently an untrained network's ReLUs answer to different crops; higher is better.

    Each crop gives a binary code: which of the network's ReLUs let it pass. ``K[i, j]`` counts the units in which
    crops i and j agree, and the score is ``log |det K|``: crops whose codes coincide can't be told apart by the linear
    map that each code stands for. (Mellor et al., "Neural Architecture Search without Training", 2021, section 3.)

    Parameters
    ----------
    crops
        One batch ``(n, channels, ...)``, unchanged by augmentation. Scores compare between networks that see the
        same cases, and grow with n. Batch normalisation takes this batch's statistics.

    Returns
    -------
    float
        Minus infinity where two crops have the same code; NaN where the network has no ReLU to read.
    """
    n = len(crops)
    kernel = torch.zeros(n, n, dtype=torch.float64)

    def count(_module: nn.Module, _inputs: Any, output: torch.Tensor, *, total: torch.Tensor) -> None:
        code = (output > 0).flatten(1).float()
        # agreeing ones and agreeing zeros; sums of fewer than 2**24 units are exact in single precision
        total += (code @ code.T + (1 - code) @ (1 - code).T).double().cpu()

    network = copy.deepcopy(network).train()  # of its own: running means move
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.register_forward_hook(partial(count, total=kernel))
    batch = torch.from_numpy(crops)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # dropout
        network(batch.contiguous(memory_format=memory_order(batch)))
    if not kernel.any():  # nothing was counted: even opposite codes leave the diagonal
        return float("nan")
    return float(torch.linalg.slogdet(kernel).logabsdet)


def synflow(network: nn.Module, crops: NDArray[np.uint8]) -> float:
    """Return the logarithm of how much flows through an untrained network's weights; higher is better.

    All weights are made positive and an input of ones is sent through. The score sums ``|w * dR/dw|`` over the weights,
    R being the sum of the outputs. (Tanaka et al., "Pruning neural networks without any data by iteratively
    conserving synaptic flow", 2020, equation 1; as a score of architectures: Abdelfattah et al., "Zero-Cost Proxies
    for Lightweight NAS", 2021, section 3.2.)

    Parameters
    ----------
    crops
        Only their shape counts.
    """
    network = copy.deepcopy(network).eval().double()  # running means of 0 and variances of 1 change nothing
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    backbone = getattr(network, "backbone", network)  # behind the scaling of bytes
    ones = torch.ones(1, *crops.shape[1:], dtype=torch.float64)
    out = backbone(ones)
    (out[0] if isinstance(out, tuple) else out).sum().backward()
    flows = [(p.detach() * p.grad).abs().sum() for p in network.parameters() if p.grad is not None]
    return float(torch.stack(flows).sum().log())


SCORES = {"naswot": naswot, "synflow": synflow}
"""The scores by name."""
