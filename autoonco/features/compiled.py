"""Loops over voxels as machine code, made the first time a process calls them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, compiled by numba at its first call, without the GIL while it runs.

    numba is imported then, not before: listing the families needs no compiler. Nothing is kept on disk,
    because numba's cache is made of pickles.

    Examples
    --------
    >>> @compiled
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> double.__name__
    'double'
    """

    @cache
    def machine_code() -> Any:
        import numba

        return numba.njit(nogil=True)(function)

    lock = Lock()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:  # two threads that come first would both compile
            code = machine_code()
        result: R = code(*args, **kwargs)
        return result

    return call
