"""The families of models. Adding a module with an object named `family` to this folder adds a family."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from autoonco.errors import UnknownNameError

if TYPE_CHECKING:
    from autoonco.families.contract import Family


@cache
def all_families() -> dict[str, Family]:
    """Return every family by name, found by listing this folder."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [module.family for module in modules if hasattr(module, "family")]
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
