"""Values as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return `value` as JSON has it: paths as texts, and null for what is no number.

    Examples
    --------
    >>> from pathlib import Path
    >>> plain({"auc": float("nan"), "n": (1, Path("a"))})
    {'auc': None, 'n': [1, 'a']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
