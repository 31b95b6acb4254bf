"""Which GPUs there are, and how a process is made to see one of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_TRACES = Path("/proc/driver/nvidia"), Path("/dev/kfd")  # the drivers of NVIDIA and of AMD


def visible_gpus(device: str) -> list[str]:
    """Return the GPUs that `device` stands for: all for ``auto`` and ``cuda``, one for ``cuda:1``, none for ``cpu``.

    Where no driver has left a trace there are none, and torch, whose import takes seconds, is not asked. A GPU
    asked for by its number is returned whether it is there or not: its worker then says what is wrong.

    Examples
    --------
    >>> visible_gpus("cpu"), visible_gpus("cuda:1")
    ([], ['cuda:1'])
    """
    if ":" in device:
        return [device]
    if device == "cpu" or not (shutil.which("nvidia-smi") or any(path.exists() for path in _TRACES)):
        return []
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def only(device: str) -> dict[str, str]:
    """Return the environment of a process that shall see `device` alone: no GPU for ``cpu``, one for ``cuda:1``.

    Numbers count within what this process may see itself, as torch's do. ``cuda`` and ``auto`` leave all visible.

    Examples
    --------
    >>> only("cpu"), only("cuda")
    ({'CUDA_VISIBLE_DEVICES': ''}, {})
    """
    if device == "cpu":
        return {_VISIBLE: ""}
    _, _, number = device.partition(":")
    if not number:
        return {}
    mine = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return {_VISIBLE: mine[int(number)] if int(number) < len(mine) else number}
