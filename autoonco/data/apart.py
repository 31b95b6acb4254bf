"""Frames that ITK decodes, in a process apart: where one is damaged, its decoders may end the process that runs them.

One such process serves many frames and is started at the first one. It is told the path of a file, in a folder that
this process makes and removes, and answers in plain JSON and bytes.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import resource
import select
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_PROGRAM = "from autoonco.data.apart import serve; serve()"
_SECONDS = 120.0  # of silence, after which it hangs
_PIECE = 2**20
_MOST_BYTES = 8 * 2**30  # of memory: a stream may claim to be larger than its header says
_idle: dict[int, SimpleQueue[Helper]] = {}
"""Helpers that wait, by the process that started them: one after a fork has none."""


class _RefusedError(ValueError):
    """What a helper that is well says of a file."""


class Helper:
    """A process that decodes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="autoonco-")
        # in a session of its own, so that Ctrl-C is for us alone; it ends when its input does
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def ask(self, file: bytes) -> NDArray[Any]:
        """Return the pixels of a DICOM file; see `decoded`."""
        assert self._process.stdin is not None
        path = Path(self._folder.name) / "frame.dcm"
        try:
            path.write_bytes(file)
            _write(self._process.stdin, os.fsencode(path) + b"\n")
            (size,) = struct.unpack(">Q", self._read(8))
            told = json.loads(self._read(size))
            if "error" in told:
                raise _RefusedError(told["error"])
            dtype, shape = np.dtype(told["dtype"]), tuple(told["shape"])
            return np.frombuffer(self._read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        except OSError as error:
            raise RuntimeError("the decoder ended or hangs") from error
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        number, found = self._process.stdout.fileno(), bytearray()
        silence = select.poll()  # which takes any number, `select` none from 1024 on
        silence.register(number, select.POLLIN)
        while len(found) < size:
            if not silence.poll(_SECONDS * 1000):
                raise TimeoutError
            piece = os.read(number, min(size - len(found), _PIECE))
            if not piece:
                raise BrokenPipeError
            found += piece
        return bytes(found)


def decoded(file: bytes) -> NDArray[Any]:
    """Return the pixels of a DICOM file of one frame, as stored ``(1, rows, columns)``, with colour ``(..., 3)``.

    Raises
    ------
    RuntimeError, ValueError
        If they can't be decoded.
    """
    idle = _idle.setdefault(os.getpid(), SimpleQueue())
    try:
        helper = idle.get_nowait()
    except Empty:
        return _asked(Helper(), file, idle)
    try:
        return _asked(helper, file, idle)
    except RuntimeError:  # it may have ended while it waited
        return _asked(Helper(), file, idle)


def _asked(helper: Helper, file: bytes, idle: SimpleQueue[Helper]) -> NDArray[Any]:
    try:
        found = helper.ask(file)
    except _RefusedError:
        idle.put(helper)
        raise
    except BaseException:
        helper.close()
        raise
    idle.put(helper)
    return found


@atexit.register
def _close_all() -> None:
    idle = _idle.get(os.getpid(), SimpleQueue())
    while not idle.empty():
        idle.get().close()


# --- the other side -----------------------------------------------------------------------------------------


def serve() -> None:
    """Decode the files that standard input names, until it ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # pixels of a patient are dumped nowhere
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    enough = _MOST_BYTES if most == resource.RLIM_INFINITY else min(_MOST_BYTES, most)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses any
        resource.setrlimit(resource.RLIMIT_AS, (enough, most))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    import SimpleITK as sitk

    for line in sys.stdin.buffer:
        try:
            image = sitk.ReadImage(os.fsdecode(line.rstrip(b"\n")), imageIO="GDCMImageIO")
        except RuntimeError as error:
            _answer(out, {"error": str(error)[-500:]})
        else:
            stored = sitk.GetArrayViewFromImage(image)
            _answer(out, {"dtype": stored.dtype.str, "shape": stored.shape}, stored.tobytes())


def _answer(out: IO[bytes], told: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(told).encode()
    _write(out, struct.pack(">Q", len(text)) + text + payload)


def _write(out: IO[bytes], content: bytes) -> None:
    """Write all of `content`: an unbuffered pipe may take a part at a time."""
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]
