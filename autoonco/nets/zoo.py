"""Which networks exist and what they cost, without importing torch: spaces and priors are made of this."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autoonco.errors import UnknownNameError
from autoonco.resources import load_zoo

Entry = Mapping[str, Any]
"""One ``zoo/<name>.yaml``."""


def networks(dimensions: int) -> dict[str, Entry]:
    """Return the entries for pictures (2) or volumes (3) by name."""
    return {name: entry for name, entry in load_zoo().items() if entry["dimensions"] == dimensions}


def entry_of(name: str) -> Entry:
    """Return the zoo entry called `name`.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    try:
        return load_zoo()[name]
    except KeyError:
        raise UnknownNameError("network", name, load_zoo()) from None


def packaged_file(entry: Entry) -> Path | None:
    """Return the weight file of an entry if the package that ships it is installed; the package is not imported."""
    spec = find_spec(entry["weights"]["module"])
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / entry["weights"]["file"]
    return path if path.is_file() else None


def with_weights(dimensions: int) -> tuple[str, ...]:
    """Return the names of the pretrained networks whose weights are on this machine."""
    found = networks(dimensions)
    return tuple(name for name, entry in found.items() if entry["weights"] and packaged_file(entry))


def seconds_per_crop(entry: Entry, *, size: int, train: bool) -> float:
    """Return the seconds that one crop of `size` takes on one core: the measured cost, scaled by pixels or voxels."""
    cost = entry["cost"]
    share: float = (size / cost["size"]) ** entry["dimensions"]
    if "patches_per_side" in entry:  # the patches grow instead of their number
        share = max(1.0, share**0.5)
    return float(cost["train" if train else "forward"]) * share


def side_for(entry: Entry, side: int) -> int:
    """Return the side in pixels that a 2D network works on when it is given crops of `side`.

    CNNs take any; transformers whole patches, or windows of them (`multiple`); some only the size they were made for.

    Examples
    --------
    >>> side_for({"multiple": 14, "input": "any"}, 224), side_for({"multiple": 14, "input": "any"}, 128)
    (224, 126)
    >>> side_for({"input_size": 224, "input": "fixed"}, 128)
    224
    """
    if entry.get("input") == "fixed":
        return int(entry["input_size"])
    multiple = int(entry.get("multiple", 1))
    return max(1, round(side / multiple)) * multiple
