"""What is extracted: an `ExtractionSpec`, split into blocks that are computed and cached once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from autoonco.data.cache import digest
from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Aggregation
from autoonco.features.delta import Delta
from autoonco.features.lesions import LesionMode

MAX_COUNT = 128
"""More grey levels leave texture matrices empty and cost the square in memory."""


class Kind(StrEnum):
    """What a block holds."""

    SHAPE = "shape"  # pyradiomics' shape or shape2D
    CONTOUR = "contour"  # what the outline tells beyond it: solidity, margin roughness, orientation
    LOCATION = "location"  # where in the image the lesion lies and how it leans
    FIRSTORDER = "firstorder"  # first-order features that no binning changes
    TEXTURE = "texture"  # first-order entropy and uniformity, GLCM, GLRLM, GLSZM, GLDM, NGTDM


@dataclass(frozen=True, kw_only=True)
class Binning:
    """How grey values become levels.

    Parameters
    ----------
    kind
        ``"width"``: levels of a fixed width in the image's own unit, for units that mean something (HU);
        ``"count"``: a fixed number of levels between the ROI's minimum and maximum.
    value
        The width, or the number of levels (2 to 128).
    """

    kind: Literal["width", "count"]
    value: float

    def __post_init__(self) -> None:
        if self.kind == "count" and not 2 <= self.value <= MAX_COUNT:
            raise AutoOncoError(f"A bin count must be from 2 to {MAX_COUNT}, got {self.value:g}.")
        if self.kind == "width" and not self.value > 0:
            raise AutoOncoError(f"A bin width must be above 0, got {self.value:g}.")


class Margin(StrEnum):
    """Which part of a lesion, or of what is around it, counts."""

    DRAWN = "drawn"  # the mask as it is
    ERODED = "eroded"  # without its rim
    DILATED = "dilated"  # with its surroundings
    RING = "ring"  # its surroundings alone


class Normalise(StrEnum):
    """How first-order features see the grey values of an image."""

    NONE = "none"  # as they are
    ZSCORE = "zscore"  # mean 0, standard deviation 1 over the image
    PERCENTILE = "percentile"  # 1st and 99th percentile of the image at 0 and 1


class Component(StrEnum):
    """What of a colour picture is looked at."""

    LUMINANCE = "luminance"
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What happens to a scan and its mask before filters and features.

    Parameters
    ----------
    spacing_mm
        Side of the voxels that the lesion is resampled to, None for the scan's own.
    in_plane
        Whether slices keep their distance.
    cubic
        Whether grey values are interpolated by cubic splines, not linearly.
    margin, margin_mm
        What becomes of the mask, and by how much.
    lesions
        What the features of several lesions in one mask become.
    value_range
        Grey values outside this range leave the lesion's intensity features (IBSI 5424).
    sigmas
        So do those farther than this many standard deviations from the mean (IBSI 7ACA).
    """

    spacing_mm: float | None = None
    in_plane: bool = False
    cubic: bool = False
    margin: Margin = Margin.DRAWN
    margin_mm: float = 0.0
    lesions: LesionMode = LesionMode.UNION
    value_range: tuple[float, float] | None = None
    sigmas: float | None = None

    @property
    def geometry(self) -> Preparation:
        """The part that shape depends on."""
        return replace(self, cubic=False, value_range=None, sigmas=None)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Preparation:
        """Read what `dataclasses.asdict` and JSON made of one."""
        bounds = plain["value_range"]
        kinds = {"margin": Margin(plain["margin"]), "lesions": LesionMode(plain["lesions"])}
        return cls(**{**plain, **kinds, "value_range": None if bounds is None else tuple(bounds)})


AS_IT_IS = Preparation()


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The original image, its Laplacian of Gaussian of one σ, all sub-bands of a wavelet, or another filter."""

    name: str
    sigma_mm: float | None = None
    wavelet: str | None = None


ORIGINAL = Filter(name="original")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Features that are computed and cached together; its key names all they depend on besides the case."""

    kind: Kind
    ndim: int
    filter: Filter = ORIGINAL
    binning: Binning | None = None
    normalise: Normalise = Normalise.NONE
    preparation: Preparation = AS_IT_IS
    component: Component = Component.LUMINANCE
    aggregation: Aggregation = Aggregation.VOLUME

    @cached_property
    def key(self) -> str:
        """Hash of the block's settings."""
        return digest(asdict(self))


@dataclass(frozen=True, kw_only=True)
class ChannelSpec:
    """Settings of one image channel.

    Parameters
    ----------
    name
        The channel's name in the manifest.
    binning
        How grey values become levels for textures.
    normalise
        What first-order features see.
    preparation
        What happens before.
    by_colour
        Whether red, green and blue have features of their own beside those of the brightness.
    filtered_binning
        How the grey values of filtered images become levels; None for as those of the original image.
    """

    name: str
    binning: Binning
    normalise: Normalise = Normalise.NONE
    preparation: Preparation = AS_IT_IS
    by_colour: bool = False
    filtered_binning: Binning | None = None

    def binning_of(self, item: Filter) -> Binning:
        """Return how an image becomes levels: a response's unit need not be the image's."""
        return self.binning if item == ORIGINAL or self.filtered_binning is None else self.filtered_binning

    @property
    def components(self) -> tuple[Component, ...]:
        """What features are taken of, the brightness first."""
        return tuple(Component) if self.by_colour else (Component.LUMINANCE,)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ChannelSpec:
        """Read what `dataclasses.asdict` and JSON made of one."""
        parts = {
            "binning": Binning(**plain["binning"]),
            "normalise": Normalise(plain["normalise"]),
            "preparation": Preparation.from_json(plain["preparation"]),
        }
        if (filtered := plain.get("filtered_binning")) is not None:
            parts["filtered_binning"] = Binning(**filtered)
        return cls(**{**plain, **parts})


@dataclass(frozen=True, kw_only=True)
class ExtractionSpec:
    """Everything that decides the columns and values of a feature table.

    Parameters
    ----------
    ndim
        2 for pictures, 3 for volumes.
    channels
        One entry a channel, in the order of the columns.
    log_sigmas_mm
        σ of the Laplacian-of-Gaussian responses; none for no such filter.
    wavelet
        Name of the wavelet whose sub-bands are used, or None.
    other_filters
        More filters, each without a parameter in millimetres of the spec or with it as `Filter.sigma_mm`.
    aggregation
        How the texture matrices of directions and slices become one value.
    location
        Whether there are features of where the lesion lies.
    delta
        How equal features of several channels are compared, None for not at all.

    Examples
    --------
    >>> channel = ChannelSpec(name="image", binning=Binning(kind="count", value=32))
    >>> spec = ExtractionSpec(ndim=2, channels=(channel,), log_sigmas_mm=(1.0,))
    >>> [f"{block.filter.name} {block.kind}" for block in spec.blocks(channel)][2:]
    ['original firstorder', 'original texture', 'log firstorder', 'log texture']
    """

    ndim: int
    channels: tuple[ChannelSpec, ...]
    log_sigmas_mm: tuple[float, ...] = ()
    wavelet: str | None = None
    other_filters: tuple[Filter, ...] = field(default=())
    aggregation: Aggregation = Aggregation.VOLUME
    location: bool = False
    delta: Delta | None = None

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters in the order of their columns, the original image first."""
        logs = tuple(Filter(name="log", sigma_mm=sigma) for sigma in self.log_sigmas_mm)
        wavelets = () if self.wavelet is None else (Filter(name="wavelet", wavelet=self.wavelet),)
        return (ORIGINAL, *logs, *wavelets, *self.other_filters)

    def blocks(self, channel: ChannelSpec) -> tuple[Block, ...]:
        """Return the blocks of `channel` in the order of their columns.

        Textures of a fixed bin count don't change under an affine map of the grey values, and a fixed bin
        width is only used on grey values as they are: no texture block depends on `normalise`. Those of the
        intensity transforms, which are not affine, are of grey values as they are, by definition.
        """
        how = channel.preparation
        found = [
            Block(kind=kind, ndim=self.ndim, preparation=how.geometry) for kind in (Kind.SHAPE, Kind.CONTOUR)
        ]
        if self.location:
            found.append(Block(kind=Kind.LOCATION, ndim=self.ndim))
        for component, item in itertools.product(channel.components, self.filters):
            block = Block(
                kind=Kind.FIRSTORDER, ndim=self.ndim, filter=item, preparation=how, component=component
            )
            found.append(replace(block, normalise=channel.normalise))
            texture = replace(block, kind=Kind.TEXTURE, binning=channel.binning_of(item))
            found.append(replace(texture, aggregation=self.aggregation))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ExtractionSpec:
        """Read what `to_json` wrote."""
        parts = {
            "channels": tuple(map(ChannelSpec.from_json, plain["channels"])),
            "log_sigmas_mm": tuple(plain["log_sigmas_mm"]),
            "other_filters": tuple(Filter(**item) for item in plain["other_filters"]),
            "aggregation": Aggregation(plain["aggregation"]),
            "delta": None if plain["delta"] is None else Delta(plain["delta"]),
        }
        return cls(**{**plain, **parts})
