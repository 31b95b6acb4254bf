"""Ctrl-C, and the end of a batch job's time: a first signal asks a run to end in good order, a second one ends it.

A signal handler only takes note. What works in rounds asks `stop_asked`, or an `Allowance` of time, and begins nothing
more. So it holds wherever a run is, and nothing has to be handed down to the innermost loop.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from multiprocessing import parent_process
from queue import SimpleQueue
from types import FrameType

SENTENCE = (
    "Stopping: what is under way is finished, then the best so far is refitted, judged and saved, and the report is "
    "written. A second Ctrl-C stops at once; what was finished is kept, and the same command goes on from there."
)
_SAME_PRESS_S = 0.1
"""A second signal within this time is the first one again, passed on by the program that started this one."""


class Stop:
    """Whether it was asked to end in good order, and when, on the monotonic clock."""

    def __init__(self) -> None:
        self.asked_s: float | None = None

    def ask(self) -> None:
        """Ask for it; the first time counts."""
        if self.asked_s is None:
            self.asked_s = time.monotonic()


_CURRENT: ContextVar[Stop | None] = ContextVar("stop", default=None)


def stop_asked() -> bool:
    """Return whether the run in this context was asked to end in good order."""
    stop = _CURRENT.get()
    return stop is not None and stop.asked_s is not None


def leave_if_asked(*_: object) -> None:
    """Leave at once if it was asked to end, where nothing is there yet that could be saved.

    Raises
    ------
    KeyboardInterrupt
        If it was.
    """
    if stop_asked():
        raise KeyboardInterrupt


class Allowance:
    """Seconds for a piece of work, which end early where the run is asked to end while it is under way.

    What begins after that has its seconds: the run then counts on them.
    """

    def __init__(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s
        self._knew = stop_asked()

    def left_s(self) -> float:
        """Return the seconds left; negative when over."""
        return self._end - time.monotonic()

    def was_cut(self) -> bool:
        """Return whether the run was asked to end after this began."""
        return stop_asked() and not self._knew

    def is_over(self) -> bool:
        """Return whether nothing more should begin."""
        return self.left_s() < 0 or self.was_cut()


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def watching(say: Callable[[str], None] = _to_stderr) -> Iterator[Stop]:
    """Give a `Stop` that the first SIGINT or SIGTERM asks, while the block runs; the second one ends the block at once.

    Inside another such block it is that one's. Signals that somebody else cares for are left alone, as are all of them
    outside the main thread and in a notebook, whose interrupt is for the cell: there a KeyboardInterrupt ends a run as
    the second signal does.

    Parameters
    ----------
    say
        Told what happens now, in a thread of its own: a handler must not write to what it may have interrupted.

    Raises
    ------
    KeyboardInterrupt
        By the second signal.
    """
    outer = _CURRENT.get()
    if outer is not None:
        yield outer
        return
    stop = Stop()
    token = _CURRENT.set(stop)
    try:
        with ExitStack() as stack:
            numbers = _ours()
            if numbers:
                sentences: SimpleQueue[str | None] = SimpleQueue()  # its put may interrupt itself
                teller = threading.Thread(target=_tell, args=(sentences, say), daemon=True)
                teller.start()
                stack.callback(teller.join)
                stack.callback(sentences.put, None)
                handler = _handler(stop, sentences, numbers)
                for number in numbers:
                    stack.callback(signal.signal, number, signal.signal(number, handler))
            yield stop
    finally:
        _CURRENT.reset(token)


def _handler(
    stop: Stop, sentences: SimpleQueue[str | None], numbers: list[signal.Signals]
) -> Callable[[int, FrameType | None], None]:
    def handle(*_: object) -> None:
        if stop.asked_s is None:
            stop.ask()
            sentences.put(SENTENCE)
        elif time.monotonic() - stop.asked_s >= _SAME_PRESS_S:
            for number in numbers:  # the workers are being killed: no signal may come between
                signal.signal(number, signal.SIG_IGN)
            raise KeyboardInterrupt

    return handle


def _tell(sentences: SimpleQueue[str | None], say: Callable[[str], None]) -> None:
    while (sentence := sentences.get()) is not None:
        say(sentence)


def _ours() -> list[signal.Signals]:
    """Return the signals that nobody else cares for, and that mean a run as a whole."""
    if threading.current_thread() is not threading.main_thread() or _in_notebook():
        return []
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    return [number for number, handler in usual.items() if signal.getsignal(number) is handler]


def _in_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore SIGINT while the block runs, in a process that another one of this program has started and will end.

    A terminal sends it to all of them.
    """
    with ExitStack() as stack:
        if parent_process() is not None and threading.current_thread() is threading.main_thread():
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        yield
