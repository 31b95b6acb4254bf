"""The data that travels with the package: spaces/*.yaml, zoo/*.yaml, reports/*."""

from __future__ import annotations

import os
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from autoonco.errors import AutoOncoError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ConfigSpace import ConfigurationSpace

OWN_ZOO = "AUTOONCO_ZOO"
"""Environment variable that names a folder of zoo entries of one's own; workers inherit it."""


def load_space(component: str) -> ConfigurationSpace:
    """Return the space in ``spaces/<component>.yaml``; a fresh object on each call, for spaces are mutable."""
    return deepcopy(_read_space(component))


@cache
def _read_space(component: str) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace

    with (files("autoonco.spaces") / f"{component}.yaml").open(encoding="utf-8") as stream:
        return ConfigurationSpace.from_yaml(stream)


@cache
def load_zoo() -> dict[str, dict[str, Any]]:
    """Return every zoo entry by the name of its file, those in the folder that `OWN_ZOO` names among them.

    Raises
    ------
    AutoOncoError
        If that folder is none, or an entry in it has the name of a packaged one.
    """
    packaged = _entries(files("autoonco.zoo"))
    if not (name := os.environ.get(OWN_ZOO)):
        return packaged
    folder = Path(name)
    if not folder.is_dir():
        raise AutoOncoError(f"{OWN_ZOO} names {folder.name!r}, which is no folder.")
    own = _entries(folder)
    if twice := sorted(own.keys() & packaged.keys()):
        raise AutoOncoError(
            f"{OWN_ZOO} has a network {twice[0]!r}, a name that is taken: give the file another."
        )
    return dict(sorted((packaged | own).items()))


def _entries(folder: Traversable) -> dict[str, dict[str, Any]]:
    found = sorted(folder.iterdir(), key=lambda item: item.name)
    return {
        item.name.removesuffix(".yaml"): yaml.safe_load(item.read_text(encoding="utf-8"))
        for item in found
        if item.name.endswith(".yaml")
    }


@cache
def load_nomenclature() -> dict[str, dict[str, list[Any]]]:
    """Return the feature names of the literature: ``classes`` and ``features``, each name → code, name, note."""
    text = (files("autoonco.reports") / "nomenclature.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[Any]]] = yaml.safe_load(text)
    return found


@cache
def load_meanings() -> dict[str, dict[str, str]]:
    """Return what features mean in a line: ``features``, ``shared``, ``units`` and ``filters``, each name → words."""
    text = (files("autoonco.reports") / "meanings.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found


@cache
def load_checklists() -> dict[str, dict[str, Any]]:
    """Return every reporting checklist by the name of its file in ``reports/checklists``."""
    return _entries(files("autoonco.reports") / "checklists")


def portfolio_text() -> str:
    """Return the YAML text of the start configs that come with autoonco."""
    # Beside the report's parts: each YAML of spaces/ is a space, and each of zoo/ a network.
    return (files("autoonco.reports") / "portfolio.yaml").read_text(encoding="utf-8")
