"""The cube that a 3D network sees of a case: what of it is searched, and what a config asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.greys import Scaling
from autoonco.data.preprocessing import VolumeView
from autoonco.families.contract import Config
from autoonco.families.networks import add_component
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

THICK = 2.0
"""Slices count as thick where they lie so many times the edge of a pixel apart: then cubes may have fewer layers."""
LAYERS_MULTIPLE = 8
"""Layers come in multiples of it, so that patches and strides divide them."""
ALWAYS_UP_TO, MAGNIFIED = 48, 2.0
"""Sizes that are always searched, and how far larger ones may magnify the scans' own pixels: beyond there is nothing
to see but interpolation."""
HEAVY, LIGHTEST_BATCH = 96, 8
"""From so many voxels a side on batches are the smallest: a batch of 32 would be gigabytes."""
ANY_SIZE = frozenset({"resnet", "senet", "densenet", "efficientnet"})
"""Architectures whose weights do not hang on the size of the cube."""
COARSE_WORK = 1 / 8
"""Of a cube of half as many voxels a side."""
_UNITS = {"window": Intensity.HOUNSFIELD, "uptake": Intensity.SUV, "relative": Intensity.ARBITRARY}


def add_cube(space: ConfigurationSpace, fingerprint: Fingerprint) -> None:
    """Add how large the cube is, what it shows, and how its grey values become numbers; `space` has no ``size`` yet."""
    from ConfigSpace import OrdinalHyperparameter

    choice: Any = load_space("cube_size")["size"]
    sizes = [size for size in choice.sequence if _is_resolved(size, fingerprint)]
    space.add(OrdinalHyperparameter("size", sizes, default_value=choice.default_value))
    if fingerprint.has_mask:
        add_component(space, "lesion_volume")
    if has_thick_slices(fingerprint):
        add_component(space, "cube_layers")
    units = set(fingerprint.intensity.values())
    greys = load_space("cube_greys")
    space.add([greys[name] for name, unit in _UNITS.items() if unit in units])


def add_coarse(space: ConfigurationSpace) -> None:
    """Add how far a training begins at half the resolution, of networks that take cubes of any size.

    Not where half the voxels are too few to halve again, and not with early stopping, which compares epochs.
    """
    from ConfigSpace import ForbiddenAndConjunction, ForbiddenEqualsClause, ForbiddenInClause, InCondition

    choice: Any = space["network"]
    any_size = [name for name in choice.choices if entry_of(name).get("architecture") in ANY_SIZE]
    if not any_size:
        return
    space.add(load_space("coarse")["coarse"])
    coarse: Any = space["coarse"]
    space.add(InCondition(coarse, choice, any_size))
    some = [share for share in coarse.sequence if share]
    size: Any = space["size"]
    small = [value for value in size.sequence if value < 2 * min(size.sequence)]
    for other in (
        ForbiddenInClause(size, small),
        ForbiddenEqualsClause(space["training:stopping"], "hold_out"),
    ):
        space.add(ForbiddenAndConjunction(ForbiddenInClause(coarse, some), other))


def passes_of(config: Config, epochs: int) -> float:
    """Return how many epochs at full resolution the first `epochs` of a config are worth.

    Examples
    --------
    >>> passes_of({"epochs": 10, "coarse": 0.4}, 10), passes_of({"epochs": 10, "coarse": 0.4}, 4)
    (6.5, 0.5)
    """
    cheap = min(epochs, round(float(config.get("coarse", 0.0)) * int(config["epochs"])))
    return epochs - cheap + COARSE_WORK * cheap


def forbid_heavy(space: ConfigurationSpace) -> None:
    """Leave out large cubes in large batches, or at full resolution behind the first convolution."""
    from ConfigSpace import ForbiddenAndConjunction, ForbiddenInClause

    size: Any = space["size"]
    heavy = [value for value in size.sequence if value >= HEAVY]
    if not heavy:
        return
    for name, most in (("training:batch_size", LIGHTEST_BATCH), ("stem_stride", None)):
        if name not in space:
            continue
        parameter: Any = space[name]
        bad = [value for value in parameter.sequence if (value == 1 if most is None else value > most)]
        if bad:
            large = ForbiddenInClause(size, heavy)
            space.add(ForbiddenAndConjunction(large, ForbiddenInClause(parameter, bad)))


def cube_spec(config: Config, fingerprint: Fingerprint) -> InputSpec:
    """Return which cube of a case the config asks for; without masks the whole volume."""
    fixed = config.get("crop") == "fixed" and fingerprint.lesion_mm is not None
    extent_mm = float(config["extent"]) * max(fingerprint.lesion_mm or ()) if fixed else None
    margin = float(config.get("margin", 0.0))
    view = VolumeView(
        size=int(config["size"]),
        focus="lesion" if fingerprint.has_mask else "whole",
        extent_mm=extent_mm,
        margin=margin,
        mask=cast("Any", config.get("mask", "none")),
        depth=_layers(config, fingerprint, extent_mm or usual_side_mm(fingerprint, margin=margin)),
        scaling=Scaling(**cast("Any", {name: config[name] for name in _UNITS if name in config})),
    )
    return InputSpec.of(fingerprint, view)


def has_thick_slices(fingerprint: Fingerprint) -> bool:
    """Return whether the usual voxel is so much longer than it is wide that cubes may have fewer layers."""
    return max(fingerprint.spacing_mm) >= THICK * min(fingerprint.spacing_mm)


def usual_side_mm(fingerprint: Fingerprint, *, margin: float) -> float:
    """Return the side in millimetres of a cube fitted to the median lesion, or to the whole volume without masks."""
    if fingerprint.has_mask and fingerprint.lesion_mm is not None:
        return max(fingerprint.lesion_mm) * (1 + 2 * margin)
    sides = zip(fingerprint.shape, fingerprint.spacing_mm, strict=True)
    return max(n * step for n, step in sides)


def _layers(config: Config, fingerprint: Fingerprint, side_mm: float) -> int | None:
    """Return the layers of a cube of `side_mm` that hold a slice of the scans each; None for as many as its side."""
    if config.get("layers", "cube") == "cube":
        return None
    slices = side_mm / max(fingerprint.spacing_mm)
    layers = LAYERS_MULTIPLE * max(1, math.ceil(slices / LAYERS_MULTIPLE))
    return layers if layers < int(config["size"]) else None


def _is_resolved(size: int, fingerprint: Fingerprint) -> bool:
    """Return whether the widest cube that is searched, of `size`, does not only magnify."""
    widest = usual_side_mm(fingerprint, margin=0.0)
    if fingerprint.has_mask:
        extents: Any = load_space("lesion_volume")["extent"]
        widest *= max(extents.sequence)
    return size <= ALWAYS_UP_TO or widest / size * MAGNIFIED >= min(fingerprint.spacing_mm)
