"""The families of models.

A module in this folder with an object named `family` adds a family; so does an installed package with an entry
point of the group ``autoonco.families`` that names such an object.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from autoonco.errors import UnknownNameError

if TYPE_CHECKING:
    from autoonco.families.contract import Family

GROUP = "autoonco.families"


@cache
def all_families() -> dict[str, Family]:
    """Return every family by name, found by listing this folder and the entry points."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [module.family for module in modules if hasattr(module, "family")]
    found += [entry.load() for entry in entry_points(group=GROUP)]
    return {family.name: family for family in sorted(found, key=lambda family: family.name)}


def get_family(name: str) -> Family:
    """Return the family called `name`.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists the valid names.
    """
    try:
        return all_families()[name]
    except KeyError:
        raise UnknownNameError("family", name, all_families()) from None
