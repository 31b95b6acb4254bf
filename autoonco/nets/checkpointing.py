"""Activations computed anew in the backward pass instead of being kept, and whether the memory asks for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

SHARE = 0.4
"""Of the free memory, how much the activations of a batch may take before they are computed anew: weights, moments,
crops and the workspace of convolutions need room too."""


def run_all(modules: Sequence[nn.Module], x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
    """Return `x` after all modules, one after the other.

    With `again` only what each module is given is kept for the gradient, and the rest is computed a second time
    (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): the gradient is the same to the last bit,
    dropout's random numbers too, and statistics of batch normalisation move once.
    """
    for module in modules:
        if again and torch.is_grad_enabled():
            still = partial(_contexts, module)
            x = checkpoint(module, x, use_reentrant=False, context_fn=still)
        else:
            x = module(x)
    return x


def _contexts(module: nn.Module) -> tuple[object, object]:
    return nullcontext(), _still(module)


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of a module's norms as they are inside the block."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None  # a count would be raised
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def activation_bytes(network: nn.Module, shape: Sequence[int], *, n_cases: int = 2) -> int:
    """Return the bytes that a step on one crop of `shape` keeps for its gradient, measured on a copy of `network`.

    Weights are not counted: they are there anyway.
    """
    trial = copy.deepcopy(network).train()
    weights = {value.untyped_storage().data_ptr() for value in trial.parameters()}
    kept: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
    ):
        # the output is held until all is counted, so that no memory is used twice
        out = trial(torch.zeros((n_cases, *shape), device=next(trial.parameters()).device))
        total = sum(kept.values())
        del out
    return total // n_cases


def asks_for_it(network: nn.Module, shape: Sequence[int], *, batch_size: int, free_bytes: int) -> bool:
    """Return whether a batch's activations would take more than their `SHARE` of the free memory."""
    able = callable(getattr(getattr(network, "backbone", None), "set_grad_checkpointing", None))
    return able and batch_size * activation_bytes(network, shape) > SHARE * free_bytes


def free_bytes(device: str) -> int:
    """Return the memory that is free on a device now: a GPU's own, or the machine's."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    import psutil

    return int(psutil.virtual_memory().available)
