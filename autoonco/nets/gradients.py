"""The gradient of a batch, added up from parts where a GPU's memory does not hold the batch whole."""

from __future__ import annotations

import gc

import torch
from torch import nn
from torch.nn import functional

from autoonco.nets.embeddings import memory_order

MAX_PARTS = 8


def batch_gradient(
    network: nn.Module,
    batch: torch.Tensor,
    y: torch.Tensor,
    *,
    weights: torch.Tensor | None,
    label_smoothing: float,
    n_parts: int = 1,
) -> tuple[torch.Tensor, int]:
    """Leave the gradient of a batch's loss in `network`, which holds none before that.

    The batch is taken in `n_parts` parts, or in twice as many, and again, up to eight, each time the memory is not
    enough: the gradient is that of the whole batch, but for statistics that a network takes from each part it sees
    (batch normalisation), and each part has two cases at least for their sake.

    Parameters
    ----------
    batch, y
        Inputs ``(n_cases, channels, ...)`` and labels ``(n_cases,)`` on the network's device.
    weights
        Of each class, ``(n_classes,)``; None where all cases count alike.

    Returns
    -------
    loss, n_parts
        The batch's loss, and the number of parts to begin the next one with.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If the memory holds no eighth of the batch.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    random = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(batch.device) if batch.is_cuda else None
    while True:
        try:
            loss = _add_up(network, batch, y, weights, label_smoothing, n_parts)
        except torch.cuda.OutOfMemoryError:
            if n_parts == MAX_PARTS or n_parts >= len(y) // 2:
                raise
        else:
            return loss, n_parts
        n_parts *= 2
        # What the failed attempt left is taken back: random numbers drawn, statistics of norms, its graph.
        torch.set_rng_state(random)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, batch.device)
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
        network.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()


def _add_up(
    network: nn.Module,
    batch: torch.Tensor,
    y: torch.Tensor,
    weights: torch.Tensor | None,
    label_smoothing: float,
    n_parts: int,
) -> torch.Tensor:
    """Return the loss and leave its gradient.

    The loss is a sum over cases divided by the sum of their classes' weights. That of a part is divided by the
    part's sum; times the part's share of the batch's sum, the parts add up to the batch.
    """
    network.zero_grad(set_to_none=True)
    mass = torch.ones_like(y, dtype=torch.float32) if weights is None else weights[y]
    total = torch.zeros((), device=batch.device)
    n_parts = max(1, min(n_parts, len(y) // 2))
    for part, labels, own in zip(*(whole.tensor_split(n_parts) for whole in (batch, y, mass)), strict=True):
        with torch.autocast(part.device.type, dtype=torch.bfloat16, enabled=part.is_cuda):
            logits = network(part.contiguous(memory_format=memory_order(part)))
        loss = functional.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing
        ) * (own.sum() / mass.sum())
        loss.backward()
        total += loss.detach()
    return total
