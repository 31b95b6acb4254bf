"""What a parametric network is made of, and its multiply-adds, without torch: spaces and cost priors need no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from autoonco.nets.zoo import Entry

MIN_SIDE = 3
"""A stage that would leave fewer pixels or voxels a side keeps the resolution: a mean over fewer normalises nothing."""
MLP_RATIO = 4
SQUEEZE = 4
TRANSFORMER_WIDTH = 4
"""A transformer's channels in multiples of `width`, for it doesn't widen from stage to stage."""
POSITION_KERNEL = 3


class Stage(NamedTuple):
    """Channels before and after, stride of the first block, and pixels or voxels a side after it."""

    inputs: int
    channels: int
    stride: int
    side: int


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
    def stem_kernel(self) -> int:
        """Side of the stem's windows."""
        return self.kernel if self.body != "transformer" and self.stem == "conv" else self.stem_step

    @property
    def stem_channels(self) -> int:
        """Channels after the stem."""
        return self.width * (TRANSFORMER_WIDTH if self.body == "transformer" else 1)

    @property
    def attention_layers(self) -> int:
        """Layers of self-attention."""
        return 0 if self.body == "conv" else self.layers

    def stem_side(self, size: int) -> int:
        """Return the pixels or voxels a side after the stem, of `size` before."""
        overlapping = self.body != "transformer" and self.stem == "conv"
        return -(-size // self.stem_step) if overlapping else size // self.stem_step

    def plan(self, size: int) -> list[Stage]:
        """Return the stages of residual blocks for crops of `size` a side.

        Examples
        --------
        >>> [(stage.channels, stage.side) for stage in Architecture(stages=4).plan(32)]
        [(32, 16), (64, 8), (128, 4), (256, 4)]
        """
        found: list[Stage] = []
        side, channels = self.stem_side(size), self.stem_channels
        for index in range(0 if self.body == "transformer" else self.stages):
            halved = -(-side // 2)
            stride = 2 if index and halved >= MIN_SIDE else 1
            side = halved if stride == 2 else side
            found.append(Stage(channels, self.width * 2**index, stride, side))
            channels = found[-1].channels
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def multiply_adds(
    architecture: Architecture, *, dimensions: int, in_channels: int, size: int, n_classes: int
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
    side, channels = a.stem_side(size), a.stem_channels
    total = side**dimensions * a.stem_kernel**dimensions * in_channels * channels
    for stage in a.plan(size):
        positions, window = stage.side**dimensions, a.kernel**dimensions
        c = stage.channels
        total += positions * window * (stage.inputs * c + (2 * a.depth - 1) * c * c)
        if stage.stride > 1 or stage.inputs != c:
            total += positions * stage.inputs * c
        if a.channel_attention == "squeeze_excite":
            total += a.depth * 2 * c * (c // SQUEEZE)
        side, channels = stage.side, c
    if a.attention_layers:
        tokens = side**dimensions
        a_layer = (4 + 2 * MLP_RATIO) * channels**2 * tokens + 2 * tokens**2 * channels
        total += POSITION_KERNEL**dimensions * channels * tokens + a.attention_layers * a_layer
    return total + channels * n_classes


def seconds_per_crop(
    entry: Entry, architecture: Architecture, *, in_channels: int, size: int, n_classes: int
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
