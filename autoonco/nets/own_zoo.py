"""Networks of one's own: a YAML each in the folder that `OWN_ZOO` names, checked before anything is built of them."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.nets.access import OWN
from autoonco.resources import load_zoo

OWN_ZOO = "AUTOONCO_ZOO"
"""Environment variable that names a folder of zoo entries of one's own; workers inherit it."""
BUILDERS = {"timm": 2, "monai": 3}
"""Dimensions of what each builder makes."""
_NEEDED: Mapping[str, tuple[type, ...]] = {
    "builder": (str,),
    "architecture": (str,),
    "dimensions": (int,),
    "input_size": (int,),
    "mean": (float, int, list),
    "std": (float, int, list),
    "cost": (dict,),
}
_COSTS = ("size", "forward", "train")


def every_network() -> dict[str, dict[str, Any]]:
    """Return every zoo entry by name: the packaged ones, and those in the folder that `OWN_ZOO` names.

    Raises
    ------
    AutoOncoError
        If that folder is none, or an entry in it has a name that is taken or can't be used.
    """
    return _every(_folder())


def own_networks() -> dict[str, dict[str, Any]]:
    """Return the entries of one's own by name, complete; none where `OWN_ZOO` is not set.

    Raises
    ------
    AutoOncoError
        As `every_network` does.
    """
    return _own(_folder())


def environment() -> dict[str, str]:
    """Return the variable that says the same to another process; an empty text is as good as none."""
    folder = _folder()
    return {OWN_ZOO: str(folder.absolute()) if folder else ""}


@cache
def _every(folder: Path | None) -> dict[str, dict[str, Any]]:
    own = _own(folder)
    if twice := sorted(own.keys() & load_zoo().keys()):
        raise AutoOncoError(
            f"{OWN_ZOO} has a network {twice[0]!r}, a name that is taken: give the file another."
        )
    return dict(sorted((load_zoo() | own).items()))


@cache
def _own(folder: Path | None) -> dict[str, dict[str, Any]]:
    if folder is None:
        return {}
    if not folder.is_dir():
        raise AutoOncoError(f"{OWN_ZOO} names {folder.name!r}, which is no folder.")
    return {path.stem: _complete(path.stem, _read(path)) for path in sorted(folder.glob("*.yaml"))}


def code_of(entry: Mapping[str, Any]) -> ModuleType | None:
    """Return the module of an entry's own Python file, which is run once a process; None where it has none."""
    folder = _folder()
    return None if "code" not in entry or folder is None else _module(folder / str(entry["code"]))


@cache
def _module(path: Path) -> ModuleType:
    name = f"autoonco_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a path that ends in .py has one, with a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # timm's `register_model` looks a function's module up there
    spec.loader.exec_module(module)
    return module


def _folder() -> Path | None:
    name = os.environ.get(OWN_ZOO)
    return Path(name) if name else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AutoOncoError(f"{path.name} is no YAML: {' '.join(str(error).split())[:200]}.") from error
    if not isinstance(found, dict):
        raise AutoOncoError(f"{path.name} should be a list of `key: value` lines, one network a file.")
    return found


def _complete(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with what may be left out.

    Raises
    ------
    AutoOncoError
        If what may not is missing, or of another kind.
    """
    for key, kinds in _NEEDED.items():
        if not isinstance(entry.get(key), kinds) or isinstance(entry.get(key), bool):
            words = " or ".join(kind.__name__ for kind in kinds)
            raise AutoOncoError(f"{name}.yaml: `{key}` should be {words}, got {entry.get(key)!r}.")
    if entry["builder"] not in BUILDERS:
        raise UnknownNameError(f"builder in {name}.yaml", entry["builder"], BUILDERS)
    if (made := BUILDERS[entry["builder"]]) != entry["dimensions"]:
        raise AutoOncoError(
            f"{name}.yaml: builder {entry['builder']} makes networks of {made} dimensions, got {entry['dimensions']}."
        )
    if not isinstance(entry.get("options", {}), dict):
        raise AutoOncoError(f"{name}.yaml: `options` should be a mapping, got {entry['options']!r}.")
    if lacking := [key for key in _COSTS if not isinstance(entry["cost"].get(key), int | float)]:
        raise AutoOncoError(f"{name}.yaml: `cost` should have a number for {' and '.join(lacking)}.")
    _check_code(name, entry)
    weights = _weights(name, entry)
    _check_scaling(name, entry, weights)
    return {"title": name, "parameters": None, "input": "any", **entry, "weights": weights}


def _check_scaling(name: str, entry: Mapping[str, Any], weights: Mapping[str, Any] | None) -> None:
    """Check that mean and std are a number a channel that the weights know, or one where there are no weights."""
    n = None if weights is None else 3 if entry["dimensions"] == 2 else int(entry["in_channels"])
    for key in ("mean", "std"):
        if (len(entry[key]) if isinstance(entry[key], list) else None) != n:
            form = "a number" if n is None else f"a list of {n}, one a channel that the weights know"
            raise AutoOncoError(f"{name}.yaml: `{key}` should be {form}, got {entry[key]!r}.")


def _check_code(name: str, entry: Mapping[str, Any]) -> None:
    """Check that an entry's Python file is there and, of a 3D network, has the function; it is not run for that."""
    folder = _folder()
    if "code" not in entry or folder is None:
        return
    path = folder / str(entry["code"])
    if path.suffix != ".py" or not path.is_file():
        raise AutoOncoError(f"{name}.yaml: `code` should be a .py file beside it, got {entry['code']!r}.")
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise AutoOncoError(f"{path.name}, the code of {name}, is no Python: {error}.") from error
    made = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if entry["architecture"] not in made:
        raise UnknownNameError(f"architecture in {name}.yaml", entry["architecture"], made)


def _weights(name: str, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    given, flat = entry.get("weights"), entry["dimensions"] == 2
    if given is None and not flat:
        return None  # trained from nothing
    if not isinstance(given, dict):
        why = " a network for pictures starts from some" if flat else " or null, to be trained from nothing"
        raise AutoOncoError(f"{name}.yaml: `weights` should be a mapping,{why}; got {given!r}.")
    key, where = ("classes", given) if flat else ("in_channels", entry)
    if not isinstance(where.get(key), int):
        what = (
            "outputs of the classifier in the file, 0 if it has none" if flat else "channels that they know"
        )
        raise AutoOncoError(
            f"{name}.yaml: with weights goes a number `{key}`: {what}; got {where.get(key)!r}."
        )
    plain = {
        "file": f"{name}.safetensors",
        "revision": None,
        "sha256": None,
        "source": None,
        "licence": OWN,
        "gated": False,
    }
    return {**plain, **given}
