"""Configs drawn from the families' own spaces, defaults first, to be recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoonco.data.fingerprint import Fingerprint
from autoonco.families import get_family
from autoonco.families.contract import Config
from autoonco.search.space import config_key

GROUPS = {
    "radiomics": "radiomics",
    "frozen": "pretrained2d",
    "finetune": "pretrained2d",
    "volumetric3d": "volumetric3d",
}
"""Kinds of configs, and the family each belongs to."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A config that is to be recorded."""

    group: str
    config: Config
    is_default: bool

    @property
    def family(self) -> str:
        """Name of the config's family."""
        return GROUPS[self.group]

    @property
    def key(self) -> str:
        """Short name of the config; equal configs have equal names."""
        return config_key(self.family, self.config)[:12]


def shorten(config: Config) -> dict[str, Any]:
    """Return the values with floats in 6 digits, enough to tell configs apart."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in config.items()
    }


def draw(
    group: str, n: int, print_: Fingerprint, *, max_seconds: float, n_folds: int, seed: int
) -> tuple[list[Candidate], float]:
    """Return the group's defaults and random configs, `n` in all, and the share that was too dear.

    A config is drawn from its family's space, and again while its guessed full training takes over `max_seconds`.
    """
    family = get_family(GROUPS[group])
    space = family.space(print_)
    space.seed(seed)

    def belongs(config: Config) -> bool:
        return group == family.name or config["mode"] == group

    found = [
        Candidate(group=group, config=shorten(config), is_default=True)
        for config in family.defaults(print_)
        if belongs(config)
    ]
    n_drawn = n_dear = 0
    while len(found) < n:
        config = shorten(dict(sorted(plain(space.sample_configuration()).items())))
        if not belongs(config):
            continue
        n_drawn += 1
        full = family.plan(config, 1.0, inner_folds=n_folds, n_train=print_.n_cases)
        if family.prior_seconds(config, full, print_) > max_seconds:
            n_dear += 1
        else:
            found.append(Candidate(group=group, config=config, is_default=False))
    return found[:n], n_dear / max(1, n_drawn)


def plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's active values as plain Python values."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in configuration.items()}


def interleave(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return defaults first, then all groups mixed evenly, so that any beginning of the list is balanced."""
    places = [
        (0.0 if candidate.is_default else (place + 0.5) / len(group), candidate)
        for group in groups
        for place, candidate in enumerate(group)
    ]
    return [candidate for _, candidate in sorted(places, key=lambda item: item[0])]
