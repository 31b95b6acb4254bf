"""Values and tables as JSON can hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


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


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain JSON, null where a value is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> records(pd.DataFrame({"auc": [0.5, float("nan")], "n": pd.array([1, None], dtype="Int64")}))
    [{'auc': 0.5, 'n': 1}, {'auc': None, 'n': None}]
    """
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return found
