"""The encoder of STU-Net, under the names of its published weights.

(Huang et al., "STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by Large-Scale
Supervised Pre-training", 2023, figure 2: residual blocks, of which the first of a stage reduces.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class ResidualUnit(nn.Module):  # type: ignore[misc]
    """Two convolutions with instance normalisation, around which a third goes where the shape changes."""

    def __init__(self, inputs: int, channels: int, *, stride: int, changes: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, channels, 3, stride=stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(channels, affine=True)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(channels, affine=True)
        self.conv3 = nn.Conv3d(inputs, channels, 1, stride=stride) if changes else nn.Identity()
        self.act = nn.LeakyReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps ``(n, channels, ...)``, smaller by the stride."""
        inner = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(inner + self.conv3(x))


class STUNetEncoder(nn.Module):  # type: ignore[misc]
    """Six stages of residual units; each but the first halves the resolution.

    Parameters
    ----------
    dims
        Channels of the stages.
    depth
        Units of each stage.
    """

    def __init__(self, *, in_channels: int, dims: Sequence[int], depth: Sequence[int]) -> None:
        super().__init__()
        self.width = int(dims[-1])
        self.conv_blocks_context = nn.ModuleList()
        inputs = in_channels
        for number, (channels, n_units) in enumerate(zip(dims, depth, strict=True)):
            first = ResidualUnit(inputs, channels, stride=2 if number else 1, changes=True)
            rest = [ResidualUnit(channels, channels, stride=1, changes=False) for _ in range(n_units - 1)]
            self.conv_blocks_context.append(nn.Sequential(first, *rest))
            inputs = channels

    @property
    def stem_shortcuts(self) -> tuple[nn.Conv3d, ...]:
        """What meets the crops beside the first convolution: the way around the first unit."""
        return (self.conv_blocks_context[0][0].conv3,)
