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
from typing import Any

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
MAX_SIDE = 112
"""Pictures are measured at no more pixels a side: what is gained hangs little on it, and a large network is in time."""
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


def half_is_native() -> bool:
    """Return whether the CPU may have instructions for bfloat16; without them a ResNet-18 takes eight times as long."""
    return torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


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

    The questions are those of `questions`; what is not asked in time stays as the prior has it, but what
    matters most is asked for unless a single step would take too long. The network, and the random numbers
    that come after, are as if nothing had been.
    """
    stopwatch = stopwatch or step_seconds
    start = clock()
    best = Pace.prior(1 + len(shape), on_gpu=False)
    if len(shape) == 3:
        shape = (shape[0], *(min(side, MAX_SIDE) for side in shape[1:]))
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(network).train()
        batch, y = _noise(2, shape, n_classes)
        seconds = stopwatch(trial, batch, y, best, n_threads)
        n = int(np.clip(2 * STEP_S / max(seconds, 1e-6), 2, batch_size))
        if n > 2:
            batch, y = _noise(n, shape, n_classes)
            seconds = stopwatch(trial, batch, y, best, n_threads)
        for number, change in enumerate(questions(network, n_threads=n_threads, n_cases=n)):
            late = clock() - start + 2 * seconds > BUDGET_S
            if late and (number or seconds > BUDGET_S / 2):
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
    if half_is_native():
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
    """Return the seconds of the faster of two steps, of one alone where it takes long, after one that nobody counts."""
    how: dict[str, Any] = {"weights": None, "label_smoothing": 0.0, "n_parts": pace.n_parts, "pace": pace}
    taken: list[float] = []
    with torch_threads(n_threads):
        while len(taken) < 2 or (len(taken) == 2 and taken[1] < 2 * STEP_S):
            start = time.perf_counter()
            batch_gradient(network, batch, y, **how)
            taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _noise(n: int, shape: tuple[int, ...], n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, *shape), torch.arange(n) % n_classes
