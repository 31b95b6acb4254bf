"""The network whose architecture is searched, as the families that train it from scratch describe and price it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoonco.families.contract import Config
from autoonco.families.training_space import part
from autoonco.nets.architecture import Architecture, seconds_per_crop
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of

if TYPE_CHECKING:
    from autoonco.nets.builders import Network


def describe(name: str, config: Config, spec: InputSpec, *, n_classes: int) -> dict[str, Any]:
    """Return what `build` makes a config's network of, as plain JSON; `name` is its zoo entry.

    Every value of the architecture is in it, so that a stored network outlives a change of the defaults.
    """
    architecture = Architecture(**part(config, "architecture")).to_json()
    sizes = {"n_classes": n_classes, "in_channels": spec.shape[0], "size": _size_of(spec)}
    return {"name": name, **sizes, "architecture": architecture}


def _size_of(spec: InputSpec) -> int | list[int]:
    """Return a crop's pixels or voxels, one number where all sides are alike."""
    sides = list(spec.shape[1:])
    return sides[0] if len(set(sides)) == 1 else sides


def build(description: Mapping[str, Any], *, seed: int) -> Network:
    """Return the network of `describe`, with random weights."""
    from autoonco.nets.builders import build_parametric

    sizes = {key: description[key] for key in ("n_classes", "in_channels", "size")}
    architecture = Architecture(**description["architecture"])
    return build_parametric(str(description["name"]), architecture, seed=seed, **sizes)


def seconds_to_train(name: str, config: Config, spec: InputSpec, *, n_classes: int) -> float:
    """Return the seconds that one case takes in one epoch on one core, by counted multiply-adds."""
    description = describe(name, config, spec, n_classes=n_classes)
    sizes = {key: description[key] for key in ("n_classes", "in_channels", "size")}
    return seconds_per_crop(entry_of(name), Architecture(**description["architecture"]), **sizes)
