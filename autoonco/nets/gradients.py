"""The gradient of a batch, added up from parts where a GPU's memory does not hold the batch whole."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from autoonco.errors import TrainingMemoryError
from autoonco.nets.pace import Pace

MAX_PARTS = 8


@contextmanager
def memory_told(device: str, *, batch_size: int) -> Iterator[None]:
    """Say in a sentence that the memory of `device` holds no eighth of a batch of `batch_size` cases.

    Raises
    ------
    TrainingMemoryError
        In place of ``torch.cuda.OutOfMemoryError``.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingMemoryError(
            f"The memory of {device} is too small for this network, even with parts of a batch of "
            f"{batch_size} cases; a smaller network, input or batch needs less."
        ) from error


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

    def attempt(parts: int) -> torch.Tensor:
        return _add_up(network, batch, y, weights, label_smoothing, parts, pace)

    return within_memory(attempt, network, n_cases=len(y), n_parts=n_parts)


def within_memory(
    attempt: Callable[[int], torch.Tensor],
    network: nn.Module,
    *,
    n_cases: int,
    n_parts: int = 1,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, int]:
    """Return the loss of ``attempt(n_parts)``, which leaves its gradient in `network`, and the number of parts.

    Where the memory is not enough a 3D network keeps less, then parts are twice as many, as in `batch_gradient`.

    Parameters
    ----------
    attempt
        Takes the batch of `n_cases` in so many parts, or in as many as have two cases each.
    generator
        What `attempt` draws from beside torch's own; what a failed one drew is taken back.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If the memory holds no eighth of the batch.
    """
    device = next(network.parameters()).device
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    random, drawn = torch.get_rng_state(), None if generator is None else generator.get_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    while True:
        try:
            loss = attempt(n_parts)
        except torch.cuda.OutOfMemoryError:
            if not _saves_more(network):
                if n_parts == MAX_PARTS or n_parts >= n_cases // 2:
                    raise
                n_parts *= 2
        else:
            return loss, n_parts
        # What the failed attempt left is taken back: random numbers drawn, statistics of norms, its graph.
        torch.set_rng_state(random)
        if generator is not None and drawn is not None:
            generator.set_state(drawn)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
        network.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()


def parts_of(batch: torch.Tensor, n_parts: int) -> tuple[torch.Tensor, ...]:
    """Return a batch in so many parts, or in as many as have two cases each."""
    parts: tuple[torch.Tensor, ...] = batch.tensor_split(max(1, min(n_parts, len(batch) // 2)))
    return parts


def _saves_more(network: nn.Module) -> bool:
    """Have a 3D network keep less for its gradient, if it can and does not yet; return whether that was so."""
    inner = getattr(network, "network", network)  # that of a lesson
    backbone = getattr(inner, "backbone", None)
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
    for part, labels in zip(parts_of(batch, n_parts), parts_of(y, n_parts), strict=True):
        with torch.autocast(part.device.type, dtype=torch.bfloat16, enabled=pace.is_half):
            logits = network(part.contiguous(memory_format=pace.order(part)))
        loss = functional.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=label_smoothing, reduction="sum"
        )
        loss = loss / mass
        loss.backward()
        total += loss.detach()
    return total
