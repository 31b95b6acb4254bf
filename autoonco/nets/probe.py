"""Which way to compute a training step is fastest here: two seconds of trying, once a network and machine.

In bfloat16 dense convolutions train twice as fast on a CPU that has instructions for it, and depthwise ones half as
fast; which order of memory is best hangs on the layers. No table knows a user's machine.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from autoonco.data.cache import ArtefactCache, digest
from autoonco.nets.embeddings import torch_threads
from autoonco.nets.gradients import batch_gradient
from autoonco.nets.pace import Pace, Precision

BUDGET_S = 2.0
GAIN = 0.9
"""A way that is not the prior's choice has to take less than this share of its time: measurements are noisy."""
STEP_S = 0.1
"""What one measured step should take; the number of cases in it follows."""
_KIND = "paces"
_VERSION = 1

Stopwatch = Callable[[nn.Module, torch.Tensor, torch.Tensor, Pace, int], float]
"""Seconds that a step takes: network, batch, labels, pace, threads."""


def pace_for(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    n_classes: int,
    batch_size: int,
    n_threads: int,
    artefacts: ArtefactCache,
) -> Pace:
    """Return the fastest pace for training `network` on crops of `shape` on the CPU, measured or remembered.

    What was found is kept in the artefact cache, under the network's form, the task's and the machine's: all workers
    of it, and a run that goes on, take the same.
    """
    form = [(name, list(value.shape), value.requires_grad) for name, value in network.named_parameters()]
    kinds = [type(module).__name__ for module in network.modules()]
    key = digest("pace", _VERSION, form, kinds, shape, batch_size, n_threads, machine())

    def measure() -> dict[str, np.ndarray]:
        found = probe(network, shape, n_classes=n_classes, batch_size=batch_size, n_threads=n_threads)
        return {"x": np.frombuffer(json.dumps(found.to_json()).encode(), np.uint8)}

    kept = artefacts.get_or_make(_KIND, key, measure)["x"]
    return Pace.from_json(json.loads(np.asarray(kept, np.uint8).tobytes()))


def machine() -> list[str | int | None]:
    """Return what a measured speed hangs on besides the network."""
    return [platform.machine(), os.cpu_count(), torch.backends.cpu.get_cpu_capability(), torch.__version__]


def probe(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    n_classes: int,
    batch_size: int,
    n_threads: int,
    stopwatch: Stopwatch | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Return the fastest pace for a copy of `network`, one question after the other, within `BUDGET_S` or so.

    The questions are those of `questions`; what is not asked in time stays as the prior has it. The network, and the
    random numbers that come after, are as if nothing had been.
    """
    stopwatch = stopwatch or step_seconds
    start = clock()
    best = Pace.prior(1 + len(shape), on_gpu=False)
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(network).train()
        batch, y = _noise(2, shape, n_classes)
        seconds = stopwatch(trial, batch, y, best, n_threads)
        n = int(np.clip(2 * STEP_S / max(seconds, 1e-6), 2, batch_size))
        if n > 2:
            batch, y = _noise(n, shape, n_classes)
            seconds = stopwatch(trial, batch, y, best, n_threads)
        for change in questions(network, n_threads=n_threads, n_cases=n):
            if clock() - start + 2 * seconds > BUDGET_S:
                break
            other = change(best)
            taken = stopwatch(trial, batch, y, other, other.n_threads or n_threads)
            if taken < GAIN * seconds:
                best, seconds = other, taken
    return best


def questions(network: nn.Module, *, n_threads: int, n_cases: int) -> Iterator[Callable[[Pace], Pace]]:
    """Yield what may be changed of a pace, what matters most first.

    A batch is cut into parts only where no layer takes statistics of what it sees: the gradient is then the same.
    """
    yield lambda pace: replace(pace, precision=Precision.HALF)
    yield lambda pace: replace(pace, channels_last=not pace.channels_last)
    if n_threads > 1:
        yield lambda pace: replace(pace, n_threads=1)
    batch_statistics = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    if n_cases >= 4 and not batch_statistics:
        yield lambda pace: replace(pace, n_parts=2)


def step_seconds(
    network: nn.Module, batch: torch.Tensor, y: torch.Tensor, pace: Pace, n_threads: int
) -> float:
    """Return the seconds of the faster of two steps, after one that nobody counts."""
    with torch_threads(n_threads):
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            batch_gradient(
                network, batch, y, weights=None, label_smoothing=0.0, n_parts=pace.n_parts, pace=pace
            )
            taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _noise(n: int, shape: tuple[int, ...], n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, *shape), torch.arange(n) % n_classes
