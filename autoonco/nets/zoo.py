"""Which networks exist and what they cost, without importing torch: spaces and priors are made of this."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoonco.errors import OfflineWeightsError, UnknownNameError
from autoonco.nets.access import Access
from autoonco.nets.own_zoo import every_network, own_networks
from autoonco.nets.weight_files import Entry, packaged_file, why_absent

__all__ = [
    "Entry",
    "all_networks",
    "check_asked",
    "entry_of",
    "left_out",
    "networks",
    "own",
    "packaged_file",
    "seconds_per_crop",
    "side_for",
    "with_weights",
]


def all_networks() -> dict[str, Entry]:
    """Return all entries by name: those for pictures, then those for volumes."""
    return networks(2) | networks(3)


def networks(dimensions: int) -> dict[str, Entry]:
    """Return the entries for pictures (2) or volumes (3) by name."""
    return {name: entry for name, entry in every_network().items() if entry["dimensions"] == dimensions}


def own(dimensions: int) -> tuple[str, ...]:
    """Return the names of the user's own networks that can be used here: those always compete, see `nets.own_zoo`."""
    missing = left_out(dimensions)
    return tuple(
        name
        for name, entry in own_networks().items()
        if entry["dimensions"] == dimensions and name not in missing
    )


def entry_of(name: str) -> Entry:
    """Return the zoo entry called `name`.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    try:
        return every_network()[name]
    except KeyError:
        raise UnknownNameError("network", name, every_network()) from None


def with_weights(dimensions: int) -> tuple[str, ...]:
    """Return the names of the pretrained networks that can be used here, see `left_out`.

    Those of installed packages come first, which every machine has, then the others by what they cost.
    """
    found = networks(dimensions)
    missing = left_out(dimensions)
    able = [name for name, entry in found.items() if entry["weights"] and name not in missing]
    return tuple(sorted(able, key=lambda name: (_rank(found[name]), name)))


def left_out(dimensions: int) -> dict[str, str]:
    """Return why each pretrained network that can't be used here is left out: absent, or of a licence not allowed."""
    access = Access.current()
    reasons = {
        name: why_absent(name, entry, access)
        for name, entry in networks(dimensions).items()
        if entry["weights"]
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def check_asked(access: Access) -> None:
    """Check that every network that was asked for by name can be used.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    OfflineWeightsError
        If its weights are absent or of a licence that is not allowed; the message says what to do.
    """
    for name in access.networks or ():
        if (reason := why_absent(name, entry_of(name), access)) is not None:
            raise OfflineWeightsError(f"The network {name} was asked for, but {reason}.")


def _rank(entry: Entry) -> tuple[bool, float]:
    packaged = "package" in entry["weights"]
    return not packaged, 0.0 if packaged else float(entry["cost"]["forward"])


def seconds_per_crop(entry: Entry, *, size: int | Sequence[int], train: bool) -> float:
    """Return the seconds that one crop takes on one core: the measured cost, scaled by pixels or voxels.

    `size` is a number a side; of volumes it may be one for each axis.
    """
    cost, n = entry["cost"], int(entry["dimensions"])
    sides = (size,) * n if isinstance(size, int) else tuple(size)
    if n == 2:
        sides = tuple(side_for(entry, side) for side in sides)
    share: float = math.prod(sides) / cost["size"] ** n
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
