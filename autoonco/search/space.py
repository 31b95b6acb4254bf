"""One conditional space: `family` at the root, everything else depends on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ConfigSpace import Categorical, Configuration, ConfigurationSpace
from ConfigSpace.exceptions import ActiveHyperparameterNotSetError, InactiveHyperparameterSetError

from autoonco.data.cache import digest
from autoonco.data.fingerprint import Fingerprint
from autoonco.families import get_family
from autoonco.families.contract import Config

ROOT = "family"
DELIMITER = ":"


def build_space(families: Sequence[str], fingerprint: Fingerprint, *, seed: int = 0) -> ConfigurationSpace:
    """Return the space of all `families`, each below ``family == its name`` with its name as prefix."""
    space = ConfigurationSpace(name="autoonco", seed=seed)
    root = Categorical(ROOT, list(families))
    space.add(root)
    for name in families:
        space.add_configuration_space(
            name,
            get_family(name).space(fingerprint),
            delimiter=DELIMITER,
            parent_hyperparameter={"parent": root, "value": name},
        )
    return space


def split(configuration: Mapping[str, Any]) -> tuple[str, Config]:
    """Return (family, config of that family as plain values, without its prefix)."""
    values = dict(configuration)
    family = str(values.pop(ROOT))
    prefix = family + DELIMITER
    plain = {
        name.removeprefix(prefix): _plain(value) for name, value in values.items() if name.startswith(prefix)
    }
    return family, dict(sorted(plain.items()))


def join(space: ConfigurationSpace, family: str, config: Config) -> Configuration:
    """Return the point of `space` for a family's config.

    Raises
    ------
    ValueError
        If the config is not a valid point, with the family's name in front.
    """
    values = {ROOT: family} | {f"{family}{DELIMITER}{name}": value for name, value in config.items()}
    try:
        return Configuration(space, values=values)
    except (ActiveHyperparameterNotSetError, InactiveHyperparameterSetError, ValueError, KeyError) as error:
        raise ValueError(f"config of family {family!r} is not in its space: {error}") from error


def holds(space: ConfigurationSpace, family: str, config: Config) -> bool:
    """Return whether a family's config is a valid point of `space`."""
    try:
        join(space, family, config)
    except ValueError:
        return False
    return True


def config_key(family: str, config: Config) -> str:
    """Return the name under which everything of a config is stored; equal configs have equal keys."""
    return digest(family, config)


def space_json(space: ConfigurationSpace) -> str:
    """Return the space as JSON text, for the run folder and to notice a changed space."""
    return json.dumps(space.to_serialized_dict(), indent=1, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
