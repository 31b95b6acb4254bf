"""The memory of this process as the kernel counts it (Linux)."""

from __future__ import annotations

from pathlib import Path


def status_kb(name: str) -> int:
    """Return a figure of this process's memory in kB, such as ``VmRSS`` or, at its peak, ``VmHWM``.

    Not by getrusage, which would count the parent's before exec.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
