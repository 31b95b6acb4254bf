"""Loops over voxels as machine code, made the first time that they are called on a machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, compiled by numba at its first call, without the GIL while it runs.

    numba is imported then, not before: listing the families needs no compiler. The machine code is kept where Python
    keeps its own, beside the source, or where ``NUMBA_CACHE_DIR`` says: compiling takes seconds, and each worker is a
    process of its own. Whoever can write there could change the source as well. Where nothing can be written, each
    process compiles.

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

        try:
            return numba.njit(nogil=True, cache=True)(function)
        except RuntimeError:  # no place to keep it
            return numba.njit(nogil=True)(function)

    lock = Lock()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:  # two threads that come first would both compile
            code = machine_code()
        result: R = code(*args, **kwargs)
        return result

    return call
