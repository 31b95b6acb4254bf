"""Batches made while the network is busy with the one before."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
AHEAD = 2
"""Batches that are ready or under way; more would only take memory."""


@dataclass
class Loader(Generic[T]):
    """Does jobs in order in one thread, a few ahead of who takes their results.

    Reading, resampling and adding noise release Python's lock. One thread, for whatever is random in a job is drawn
    from a generator that the jobs share: in order, so that the results are those of a plain loop.

    Parameters
    ----------
    ahead
        Jobs begun before their results are asked for; 0 does each when it is asked for, in the caller's thread.

    Attributes
    ----------
    waited_s
        Seconds for which results were waited for so far.
    """

    ahead: int = AHEAD
    waited_s: float = field(default=0.0, init=False)

    def results(self, jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield what the jobs return, in order; an error of one is raised where its result would be."""
        if not self.ahead:
            for job in jobs:
                yield self._timed(job)
            return
        n_threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(n_threads,))
        pending: deque[Future[T]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(job))
                if len(pending) > self.ahead:
                    yield self._timed(pending.popleft().result)
            while pending:
                yield self._timed(pending.popleft().result)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, take: Callable[[], T]) -> T:
        start = time.monotonic()
        try:
            return take()
        finally:
            self.waited_s += time.monotonic() - start
