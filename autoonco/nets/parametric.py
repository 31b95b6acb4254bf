"""One network for pictures and volumes whose architecture is searched: residual stages, self-attention, or both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from autoonco.nets.architecture import MLP_RATIO, POSITION_KERNEL, SQUEEZE, Architecture, Size, Stage
from autoonco.nets.checkpointing import run_all

HEAD_CHANNELS = 32
GROUP_CHANNELS = 8
CONV = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def norm(kind: str, channels: int, dimensions: int) -> nn.Module:
    """Return a normalisation; that of instances is one of groups of one channel, which may have one position."""
    if kind == "batch":
        return BATCH_NORM[dimensions](channels)
    return nn.GroupNorm(channels // (1 if kind == "instance" else GROUP_CHANNELS), channels)


class SqueezeExcite(nn.Module):  # type: ignore[misc]
    """Channels reweighted by what all positions hold (Hu et al., "Squeeze-and-Excitation Networks", 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // SQUEEZE)
        self.relu = nn.ReLU()
        self.excite = nn.Linear(channels // SQUEEZE, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape ``(n, channels, ...)``."""
        gate = torch.sigmoid(self.excite(self.relu(self.squeeze(x.flatten(2).mean(dim=2)))))
        return x * gate.reshape(*gate.shape, *(1,) * (x.ndim - 2))


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two convolutions around which the input goes too (He et al., 2016)."""

    def __init__(
        self, inputs: int, channels: int, *, strides: Sequence[int], a: Architecture, dimensions: int
    ) -> None:
        super().__init__()
        stride = _along(strides, dimensions)
        conv = partial(CONV[dimensions], bias=False)
        wide = {"kernel_size": a.kernel, "padding": a.kernel // 2}
        self.conv1 = conv(inputs, channels, stride=stride, **wide)
        self.norm1 = norm(a.norm, channels, dimensions)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(channels, channels, **wide)
        self.norm2 = norm(a.norm, channels, dimensions)
        with_gate = a.channel_attention == "squeeze_excite"
        self.gate = SqueezeExcite(channels) if with_gate else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if max(stride) > 1 or inputs != channels:
            self.shortcut = nn.Sequential(
                conv(inputs, channels, kernel_size=1, stride=stride), norm(a.norm, channels, dimensions)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps ``(n, channels, ...)``, smaller by the stride."""
        inner = self.conv2(self.relu1(self.norm1(self.conv1(x))))
        return self.relu2(self.gate(self.norm2(inner)) + self.shortcut(x))


class AttentionLayer(nn.Module):  # type: ignore[misc]
    """Self-attention and a perceptron on tokens ``(n, tokens, channels)``, normalised before each.

    The perceptron's activation is ReLU, as everywhere here: `zero_cost.naswot` reads the pattern of all of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_CHANNELS)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels), nn.ReLU(), nn.Linear(MLP_RATIO * channels, channels)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape."""
        qkv = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))


class AttentionStage(nn.Module):  # type: ignore[misc]
    """Layers of self-attention over the positions of maps ``(n, channels, ...)``.

    Where a position lies is told by a depthwise convolution (Chu et al., "Conditional Positional Encodings for
    Vision Transformers", 2023), whose padding marks the edges.
    """

    def __init__(self, channels: int, layers: int, dimensions: int) -> None:
        super().__init__()
        around = {"kernel_size": POSITION_KERNEL, "padding": POSITION_KERNEL // 2, "groups": channels}
        self.position = CONV[dimensions](channels, channels, **around)
        self.layers = nn.Sequential(*[AttentionLayer(channels) for _ in range(layers)])
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape."""
        tokens = (x + self.position(x)).flatten(2).transpose(1, 2)
        return self.norm(self.layers(tokens)).transpose(1, 2).reshape(x.shape)


class ParametricNetwork(nn.Module):  # type: ignore[misc]
    """The network that an `Architecture` describes, for crops ``(n, in_channels, ...)`` of `size` a side.

    Parameters
    ----------
    dimensions
        2 for pictures, 3 for volumes, of which `size` may be one number for each axis.
    """

    def __init__(
        self, a: Architecture, *, dimensions: int, in_channels: int, size: Size, n_classes: int
    ) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.stem = _stem(a, in_channels, size, dimensions)
        stages = a.plan(size)
        self.stages = nn.Sequential(*[_stage(stage, a, dimensions) for stage in stages])
        channels = stages[-1].channels if stages else a.stem_channels
        self.attention = (
            AttentionStage(channels, a.attention_layers, dimensions) if a.attention_layers else nn.Identity()
        )
        self.classifier = nn.Linear(channels, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def head_hidden_size(self) -> int:
        """Length of what the classifier sees."""
        return int(self.classifier.in_features)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute blocks anew for their gradient instead of keeping what they hold, or not."""
        self.grad_checkpointing = enable

    def maps(self, crops: torch.Tensor) -> list[torch.Tensor]:
        """Return maps ``(n, channels, ...)`` after each stage, the last one with attention."""
        x, found = self.stem(crops), []
        for stage in self.stages:
            x = run_all(list(stage), x, again=self.grad_checkpointing and self.training)
            found.append(x)
        return [*found[:-1], self.attention(x)]

    def summary(self, x: torch.Tensor) -> torch.Tensor:
        """Return one vector a crop of the last maps: their mean."""
        return x.flatten(2).mean(dim=2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_classes)``."""
        return self.classifier(self.summary(self.maps(crops)[-1]))


def _along(numbers: Sequence[int], dimensions: int) -> tuple[int, ...]:
    """Return one number for each axis."""
    return tuple(numbers) if len(numbers) == dimensions else tuple(numbers) * dimensions


def _stem(a: Architecture, in_channels: int, size: Size, dimensions: int) -> nn.Sequential:
    """Return the first convolution; a transformer's patches are projected alone."""
    transformer = a.body == "transformer"
    kernels = _along(a.stem_kernels(size), dimensions)
    padding = tuple(side // 2 for side in kernels) if a.overlaps else 0
    conv = CONV[dimensions](
        in_channels,
        a.stem_channels,
        kernel_size=kernels,
        stride=_along(a.stem_steps(size), dimensions),
        padding=padding,
        bias=transformer,
    )
    after = [] if transformer else [norm(a.norm, a.stem_channels, dimensions), nn.ReLU()]
    return nn.Sequential(conv, *after)


def _stage(stage: Stage, a: Architecture, dimensions: int) -> nn.Sequential:
    inputs, channels, strides, _ = stage
    block = partial(ResidualBlock, a=a, dimensions=dimensions)
    first = block(inputs, channels, strides=strides)
    return nn.Sequential(first, *[block(channels, channels, strides=(1,)) for _ in range(a.depth - 1)])
