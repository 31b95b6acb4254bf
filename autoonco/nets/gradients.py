"""The gradient of a batch, added up from parts where a GPU's memory does not hold the batch whole."""

from __future__ import annotations

import gc

import torch
from torch import nn
from torch.nn import functional

from autoonco.nets.pace import Pace

MAX_PARTS = 8


def batch_gradient(
    network: nn.Module,
    batch: torch.Tensor,
    y: torch.Tensor,
    *,
    weights: torch.Tensor | None,
    label_smoothing: float,
    n_parts: int = 1,
    pace: Pace | None = None,
) -> tuple[torch.Tensor, int]:
    """Leave the gradient of a batch's loss in `network`, which holds none before that.

    The batch is taken in `n_parts` parts, or in twice as many, and again, up to eight, each time the memory is not
    enough; before that a 3D network keeps less of what it computes (`nets.checkpointing`), which changes no number.
    The gradient is that of the whole batch, but for statistics that a network takes from each part it sees (batch
    normalisation), and each part has two cases at least for their sake.

    Parameters
    ----------
    batch, y
        Inputs ``(n_cases, channels, ...)`` on the network's device, with labels ``(n_cases,)`` or, where cases are
        mixed, shares of the classes ``(n_cases, n_classes)``.
    weights
        Of each class, ``(n_classes,)``; None where all cases count alike.
    pace
        Precision and memory order to compute in; None is the prior's choice.

    Returns
    -------
    loss, n_parts
        The batch's loss, and the number of parts to begin the next one with.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If the memory holds no eighth of the batch.
    """
    pace = pace or Pace.prior(batch.ndim, on_gpu=batch.is_cuda)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    random = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(batch.device) if batch.is_cuda else None
    while True:
        try:
            loss = _add_up(network, batch, y, weights, label_smoothing, n_parts, pace)
        except torch.cuda.OutOfMemoryError:
            if not _saves_more(network):
                if n_parts == MAX_PARTS or n_parts >= len(y) // 2:
                    raise
                n_parts *= 2
        else:
            return loss, n_parts
        # What the failed attempt left is taken back: random numbers drawn, statistics of norms, its graph.
        torch.set_rng_state(random)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, batch.device)
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
        network.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()


def _saves_more(network: nn.Module) -> bool:
    """Have a 3D network keep less for its gradient, if it can and does not yet; return whether that was so."""
    backbone = getattr(network, "backbone", None)
    if backbone is None or not hasattr(backbone, "maps") or backbone.grad_checkpointing:
        return False
    backbone.set_grad_checkpointing()
    return True


def _add_up(
    network: nn.Module,
    batch: torch.Tensor,
    y: torch.Tensor,
    weights: torch.Tensor | None,
    label_smoothing: float,
    n_parts: int,
    pace: Pace,
) -> torch.Tensor:
    """Return the loss and leave its gradient.

    The loss is a sum over cases divided by the sum of their classes' weights, that of the whole batch: so the sums of
    its parts add up to it.
    """
    network.zero_grad(set_to_none=True)
    if weights is None:
        mass = torch.tensor(float(len(y)), device=batch.device)
    else:
        mass = (weights[y] if y.ndim == 1 else y @ weights).sum()
    total = torch.zeros((), device=batch.device)
    n_parts = max(1, min(n_parts, len(y) // 2))
    for part, labels in zip(batch.tensor_split(n_parts), y.tensor_split(n_parts), strict=True):
        with torch.autocast(part.device.type, dtype=torch.bfloat16, enabled=pace.is_half):
            logits = network(part.contiguous(memory_format=pace.order(part)))
        loss = functional.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing, reduction="sum"
        )
        loss = loss / mass
        loss.backward()
        total += loss.detach()
    return total
