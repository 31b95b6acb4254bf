"""What is extracted: an `ExtractionSpec` from a config and a fingerprint, split into cacheable blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from statistics import median
from typing import Any, Literal

from autoonco.data.cache import digest
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.errors import AutoOncoError

PLAUSIBLE_SPACING_MM = (0.2, 3.0)
"""In-plane spacings for which filter scales in millimetres make sense; else scales count pixels."""
MAX_COUNT = 128
"""More grey levels leave texture matrices empty and cost the square in memory."""
LOG_SIGMAS: dict[str, tuple[float, ...]] = {"none": (), "fine": (1.0,), "multiscale": (1.0, 2.0, 3.0)}


class Kind(StrEnum):
    """What a block holds."""

    SHAPE = "shape"  # pyradiomics' shape or shape2D
    CONTOUR = "contour"  # what the outline tells beyond it: solidity, margin roughness, orientation
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


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The original image, its Laplacian of Gaussian of one σ, or all sub-bands of a wavelet."""

    name: Literal["original", "log", "wavelet"]
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
    normalise: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of the block's settings."""
        return digest(asdict(self))


@dataclass(frozen=True, kw_only=True)
class ChannelSpec:
    """Settings of one channel: its binning, and whether first-order features see z-scored grey values."""

    name: str
    binning: Binning
    normalise: bool = False


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

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters in the order of their columns, the original image first."""
        logs = tuple(Filter(name="log", sigma_mm=sigma) for sigma in self.log_sigmas_mm)
        wavelets = () if self.wavelet is None else (Filter(name="wavelet", wavelet=self.wavelet),)
        return (ORIGINAL, *logs, *wavelets)

    def blocks(self, channel: ChannelSpec) -> tuple[Block, ...]:
        """Return the blocks of `channel` in the order of their columns.

        Textures of a fixed bin count don't change under an affine map of the grey values, and a fixed bin
        width is only used on grey values as they are: no texture block depends on `normalise`.
        """
        found = [Block(kind=kind, ndim=self.ndim) for kind in (Kind.SHAPE, Kind.CONTOUR)]
        for item in self.filters:
            found.append(
                Block(kind=Kind.FIRSTORDER, ndim=self.ndim, filter=item, normalise=channel.normalise)
            )
            found.append(Block(kind=Kind.TEXTURE, ndim=self.ndim, filter=item, binning=channel.binning))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ExtractionSpec:
        """Read what `to_json` wrote."""
        channels = tuple(
            ChannelSpec(**{**channel, "binning": Binning(**channel["binning"])})
            for channel in plain["channels"]
        )
        return cls(**{**plain, "channels": channels, "log_sigmas_mm": tuple(plain["log_sigmas_mm"])})

    @classmethod
    def from_config(cls, config: Mapping[str, Any], fingerprint: Fingerprint) -> ExtractionSpec:
        """Return the spec of a radiomics config (see ``spaces/radiomics.yaml``) on this kind of data."""
        unit = scale_unit_mm(fingerprint.spacing_mm)
        wavelet = config["wavelet"]
        return cls(
            ndim=fingerprint.ndim,
            channels=tuple(_channel(name, config, fingerprint) for name in fingerprint.channels),
            log_sigmas_mm=tuple(float(f"{sigma * unit:.6g}") for sigma in LOG_SIGMAS[config["log_filter"]]),
            wavelet=None if wavelet == "none" else wavelet,
        )


def _channel(name: str, config: Mapping[str, Any], fingerprint: Fingerprint) -> ChannelSpec:
    """Return the channel's settings: the measured unit of its grey values decides width against count."""
    if fingerprint.intensity[name] is Intensity.HOUNSFIELD:
        return ChannelSpec(name=name, binning=Binning(kind="width", value=float(config["bin_width"])))
    return ChannelSpec(
        name=name,
        binning=Binning(kind="count", value=float(config["bin_count"])),
        normalise=config["normalise"] == "zscore",
    )


def scale_unit_mm(spacing_mm: tuple[float, ...]) -> float:
    """Return what a filter scale of 1 is in millimetres: 1, or a pixel where the spacing is no scanner's.

    Examples
    --------
    >>> scale_unit_mm((0.7, 0.7, 5.0)), scale_unit_mm((0.004, 0.004))
    (1.0, 0.004)
    """
    in_plane = median(spacing_mm[:2])
    low, high = PLAUSIBLE_SPACING_MM
    return 1.0 if low <= in_plane <= high else in_plane
