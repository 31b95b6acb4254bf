"""Reducing steps of 3D backbones: which modules they are, and how they follow the spacing of the crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from autoonco.nets.strides import Sides, step
from autoonco.nets.volumes import VolumeBackbone


class PaddedShortcut(nn.Module):  # type: ignore[misc]
    """A shortcut without weights: every so many voxels, and zeros for channels that are new (He et al., option A).

    MONAI's own of this kind lets no gradient through.
    """

    def __init__(self, channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.channels = channels
        self.stride = tuple(stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps ``(n, channels, ...)``, smaller by the stride."""
        d, h, w = self.stride
        x = x[:, :, ::d, ::h, ::w]
        return functional.pad(x, (0, 0, 0, 0, 0, 0, 0, self.channels - x.shape[1]))


class FittingPool(nn.AvgPool3d):  # type: ignore[misc]
    """A mean over windows that are no longer than the maps: those of crops at half the resolution may be one voxel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps ``(n, channels, ...)``, smaller by the stride."""
        kernel = self.kernel_size
        windows = (kernel,) * 3 if isinstance(kernel, int) else kernel
        fitting = tuple(min(window, int(side)) for window, side in zip(windows, x.shape[2:], strict=True))
        return functional.avg_pool3d(x, fitting, self.stride, ceil_mode=self.ceil_mode)


def spaced(backbone: VolumeBackbone, sides: Sides, *, least: int = 1) -> VolumeBackbone:
    """Return a backbone whose reducing steps follow the spacing of crops of `sides`; for cubes they stay as they are.

    Maps get no smaller than `least` a side: of a single voxel instance normalisation leaves nothing.
    """
    if len(set(sides)) == 1 and least == 1:  # also where a published stem reduces some axes first
        return backbone
    parts = [[module] for module in _strided(backbone, backbone.anatomy.stem)]
    parts += [_strided(backbone, stage) for stage in backbone.anatomy.stages]
    for part in parts:
        if part and _stride_of(part[0]) == (2, 2, 2):
            for module in part:
                _set_stride(module, step(sides, least=least))
        if part:
            by = _stride_of(part[0])
            sides = tuple(-(-side // n) for side, n in zip(sides, by, strict=True))  # type: ignore[assignment]
    return backbone


def _strided(backbone: VolumeBackbone, names: Sequence[str]) -> list[nn.Module]:
    """Return the modules that reduce, of those with these names."""
    kinds = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d, PaddedShortcut)
    inner = (module for name in names for module in backbone.net.get_submodule(name).modules())
    return [module for module in inner if isinstance(module, kinds) and max(_stride_of(module)) > 1]


def _stride_of(module: nn.Module) -> tuple[int, ...]:
    stride = module.stride
    return (stride,) * 3 if isinstance(stride, int) else tuple(stride)


def _set_stride(module: nn.Module, stride: tuple[int, ...]) -> None:
    if isinstance(module, nn.AvgPool3d):
        module.kernel_size = stride  # windows side by side, the last one perhaps cut
        module.ceil_mode = True
    module.stride = stride
