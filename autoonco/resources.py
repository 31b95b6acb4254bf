"""The data that travels with the package: spaces/*.yaml, zoo/*.yaml, reports/*."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ConfigSpace import ConfigurationSpace


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
    """Return every packaged zoo entry by the name of its file; `nets.own_zoo` adds one's own."""
    return _entries(files("autoonco.zoo"))


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
