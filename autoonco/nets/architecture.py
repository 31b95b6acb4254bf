"""What a parametric network is made of, and its multiply-adds, without torch: spaces and cost priors need no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from autoonco.nets.strides import halved, step, steps
from autoonco.nets.zoo import Entry

MIN_SIDE = 3
"""A stage that would leave fewer pixels or voxels a side keeps the resolution: a mean over fewer normalises nothing."""
MLP_RATIO = 4
SQUEEZE = 4
TRANSFORMER_WIDTH = 4
"""A transformer's channels in multiples of `width`, for it doesn't widen from stage to stage."""
POSITION_KERNEL = 3


Size = int | Sequence[int]
"""Pixels or voxels of a crop: a number a side, or one for each axis."""


class Stage(NamedTuple):
    """Channels before and after, strides of the first block along each axis, and pixels or voxels a side after it.

    Where a crop has one size for all axes, that is one number for them all.
    """

    inputs: int
    channels: int
    strides: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def side(self) -> int:
        """Pixels or voxels along the longest axis."""
        return max(self.sides)

    @property
    def shrinks(self) -> bool:
        """Whether an axis is halved."""
        return max(self.strides) > 1


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The hyperparameters of a parametric network; those that a body or a stem has no use for are ignored.

    Parameters
    ----------
    body
        ``"conv"``: stages of residual blocks (He et al., 2016); ``"hybrid"``: the same with self-attention at the
        lowest resolution (BoTNet: Srinivas et al., 2021); ``"transformer"``: patches, then self-attention alone.
    width
        Channels of the first stage, which double from stage to stage; a transformer has four times as many.
    stages, depth
        How many stages of residual blocks, and blocks in each.
    kernel
        Side of the kernels of the blocks and of a convolutional stem.
    norm
        ``"batch"``, ``"instance"`` or ``"group"`` (of eight channels) normalisation.
    channel_attention
        ``"squeeze_excite"`` reweights the channels at the end of each block (Hu et al., 2018), ``"none"`` does not.
    stem
        ``"conv"``: overlapping windows at a step of `stem_stride`; ``"patch"``: windows of `stem_patch` side by side.
    patch_size
        Side of a transformer's patches.
    layers
        Layers of self-attention of a hybrid or a transformer.
    """

    body: Literal["conv", "hybrid", "transformer"] = "conv"
    width: int = 32
    stages: int = 3
    depth: int = 1
    kernel: int = 3
    norm: Literal["batch", "instance", "group"] = "batch"
    channel_attention: Literal["none", "squeeze_excite"] = "none"
    stem: Literal["conv", "patch"] = "conv"
    stem_stride: int = 2
    stem_patch: int = 2
    patch_size: int = 8
    layers: int = 2

    @property
    def stem_step(self) -> int:
        """Pixels or voxels from one window of the stem to the next."""
        if self.body == "transformer":
            return self.patch_size
        return self.stem_stride if self.stem == "conv" else self.stem_patch

    @property
    def overlaps(self) -> bool:
        """Whether the stem's windows do."""
        return self.body != "transformer" and self.stem == "conv"

    def stem_steps(self, size: Size) -> tuple[int, ...]:
        """Return the stem's step along each axis: the rule of `nets.strides`, as often as it halves.

        Examples
        --------
        >>> Architecture(stem_stride=4).stem_steps((8, 32, 32)), Architecture(stem_stride=4).stem_steps(32)
        ((1, 4, 4), (4,))
        """
        sides = _sides(size)
        if len(set(sides)) == 1:
            return (self.stem_step,) * len(sides)
        halvings = steps(sides, round(math.log2(self.stem_step)))
        return tuple(math.prod(along) for along in zip(*halvings, strict=True)) or (1,) * len(sides)

    def stem_kernels(self, size: Size) -> tuple[int, ...]:
        """Return the sides of the stem's windows."""
        steps = self.stem_steps(size)
        return (self.kernel,) * len(steps) if self.overlaps else steps

    @property
    def stem_channels(self) -> int:
        """Channels after the stem."""
        return self.width * (TRANSFORMER_WIDTH if self.body == "transformer" else 1)

    @property
    def attention_layers(self) -> int:
        """Layers of self-attention."""
        return 0 if self.body == "conv" else self.layers

    def stem_sides(self, size: Size) -> tuple[int, ...]:
        """Return the pixels or voxels along each axis after the stem, of `size` before."""
        pairs = zip(_sides(size), self.stem_steps(size), strict=True)
        return tuple(-(-side // by) if self.overlaps else side // by for side, by in pairs)

    def plan(self, size: Size) -> list[Stage]:
        """Return the stages of residual blocks for crops of `size`.

        Examples
        --------
        >>> [(stage.channels, stage.sides) for stage in Architecture(stages=4).plan(32)]
        [(32, (16,)), (64, (8,)), (128, (4,)), (256, (4,))]
        >>> [stage.sides for stage in Architecture(stages=3).plan((6, 48, 48))]
        [(6, 24, 24), (6, 12, 12), (6, 6, 6)]
        """
        found: list[Stage] = []
        sides, channels = self.stem_sides(size), self.stem_channels
        for index in range(0 if self.body == "transformer" else self.stages):
            wanted = step(sides) if index else (1,) * len(sides)
            strides = tuple(
                by if halved(side) >= MIN_SIDE else 1 for side, by in zip(sides, wanted, strict=True)
            )
            sides = tuple(-(-side // by) for side, by in zip(sides, strides, strict=True))
            found.append(Stage(channels, self.width * 2**index, strides, sides))
            channels = found[-1].channels
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def _sides(size: Size) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


def _volume(sides: Sequence[int], dimensions: int) -> int:
    """Return how many positions these sides span."""
    return int(sides[0] ** dimensions if len(sides) == 1 else math.prod(sides))


def multiply_adds(
    architecture: Architecture, *, dimensions: int, in_channels: int, size: Size, n_classes: int
) -> int:
    """Return the multiply-adds of one crop's forward pass: convolutions, linear maps and attention.

    Normalisation, activations and pooling are not counted.

    Examples
    --------
    >>> tiny = Architecture(width=8, stages=1, stem_stride=1)
    >>> multiply_adds(tiny, dimensions=2, in_channels=1, size=4, n_classes=2)
    19600
    """
    a = architecture
    total: int
    sides, channels = a.stem_sides(size), a.stem_channels
    total = _volume(sides, dimensions) * _volume(a.stem_kernels(size), dimensions) * in_channels * channels
    for stage in a.plan(size):
        positions, window = _volume(stage.sides, dimensions), a.kernel**dimensions
        c = stage.channels
        total += positions * window * (stage.inputs * c + (2 * a.depth - 1) * c * c)
        if stage.shrinks or stage.inputs != c:
            total += positions * stage.inputs * c
        if a.channel_attention == "squeeze_excite":
            total += a.depth * 2 * c * (c // SQUEEZE)
        sides, channels = stage.sides, c
    if a.attention_layers:
        tokens = _volume(sides, dimensions)
        a_layer = (4 + 2 * MLP_RATIO) * channels**2 * tokens + 2 * tokens**2 * channels
        total += POSITION_KERNEL**dimensions * channels * tokens + a.attention_layers * a_layer
    return total + channels * n_classes


def seconds_per_crop(
    entry: Entry, architecture: Architecture, *, in_channels: int, size: Size, n_classes: int
) -> float:
    """Return the seconds that training takes for one crop on one core: measured seconds a giga-multiply-add."""
    work = multiply_adds(
        architecture,
        dimensions=entry["dimensions"],
        in_channels=in_channels,
        size=size,
        n_classes=n_classes,
    )
    cost: Mapping[str, float] = entry["cost"]
    return float(cost["crop"] + cost["gmac"] * work / 1e9)
