"""Statistics of batch normalisation, measured over all training cases once the weights are final."""

from __future__ import annotations

import math

import torch
from torch import nn

from autoonco.nets.embeddings import memory_order

POSITIONS = 2**22
"""Pixels or voxels a batch: 83 pictures of 224 a side, 128 cubes of 32. EfficientNet-Lite0 takes 1.3 GB for these,
as for a training step of 16. As many as fit, for what a layer sees was normalised with its batch's statistics."""


def settle_norms(network: nn.Module, crops: torch.Tensor, *, batch_size: int) -> None:
    """Measure the statistics of batch normalisation anew, on all crops ``(n_cases, channels, ...)``, unchanged.

    The running averages lag behind weights that few steps have moved far: a 3D ResNet-10 that knows its twelve
    training cases by heart then predicts at chance. (Precise statistics: Wu & Johnson, "Rethinking Batch in
    BatchNorm", 2021, section 3.) Manifests are often sorted by class, so cases are shuffled, and the spread between
    batches counts: Var(x) = E[Var(x | batch)] + Var(E[x | batch]). Stages that were frozen keep theirs.

    Parameters
    ----------
    batch_size
        The fewest cases a batch: those of the training, which the memory was enough for.
    """
    norms = _unfrozen_norms(network)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # keeps those of the last batch
    device = next(network.parameters()).device
    moments = [torch.zeros(2, norm.num_features, dtype=torch.float64, device=device) for norm in norms]
    with torch.no_grad():
        for batch in _batches(crops, batch_size, n_pictures=getattr(network, "n_pictures", 1)):
            network(batch.to(device).contiguous(memory_format=memory_order(batch)))
            for norm, total in zip(norms, moments, strict=True):
                mean, var = norm.running_mean.double(), norm.running_var.double()
                total += torch.stack([mean, var + mean**2]) * len(batch) / len(crops)
        for norm, momentum, (mean, square) in zip(norms, momenta, moments, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(square - mean**2)
            norm.momentum = momentum
    network.eval()


def _unfrozen_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return the norms that train where the network does, and leave all of it in evaluation mode."""
    network.train()
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    network.eval()
    return norms


def _batches(crops: torch.Tensor, batch_size: int, *, n_pictures: int) -> list[torch.Tensor]:
    """Return all crops, shuffled, in batches of nearly equal size; a bag of pictures takes the room of them all."""
    size = max(2, batch_size // n_pictures, POSITIONS // (n_pictures * math.prod(crops.shape[2:])))
    order = torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))
    return [crops[rows] for rows in order.tensor_split(-(-len(crops) // size))]
