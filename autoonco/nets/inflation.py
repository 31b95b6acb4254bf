"""2D networks of timm made 3D, with their weights: what is the same on every slice gives what a picture gives.

Each kernel of k x k becomes k x k x k: the same on all k layers, divided by k (Carreira & Zisserman, "Quo Vadis, Action
Recognition? A New Model and the Kinetics Dataset", 2017, section 2.4). Normalisation stays as it is. Along the
depth crops are continued by their outermost slice, not by zeros, so that the ends of a volume are not edges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from autoonco.nets.weight_files import Entry
from autoonco.nets.weights import Tensors, load_weights
from autoonco.nets.zoo import entry_of


class SameConv3d(nn.Conv3d):  # type: ignore[misc]
    """A convolution that gives ``ceil(side / stride)`` voxels a side, whatever the sides are.

    Parameters
    ----------
    continues
        Whether the outermost slices are repeated along the depth; zeros are put around else.
    """

    continues = False

    @classmethod
    def like(cls, conv: nn.Conv3d) -> SameConv3d:
        """Return one with the weights of `conv`."""
        made = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            stride=conv.stride,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        made.load_state_dict(conv.state_dict())
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of crops ``(n, channels, depth, height, width)``."""
        d, h, w = (
            _around(side, kernel, by)
            for side, kernel, by in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        if self.continues and any(d):
            x = functional.pad(x, (0, 0, 0, 0, *d), mode="replicate")
            d = (0, 0)
        if all(before == after for before, after in (d, h, w)):
            padding = (d[0], h[0], w[0])
            return functional.conv3d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        x = functional.pad(x, (*w, *h, *d))
        return functional.conv3d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _around(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return what is put before and after an axis, TensorFlow's way: the odd one after."""
    total = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2


class _NormAct3d(nn.BatchNorm3d):  # type: ignore[misc]
    """Batch normalisation and an activation, under the names of timm's `BatchNormAct2d`."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.act = norm.act
        self.load_state_dict(norm.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape."""
        out: torch.Tensor = self.act(super().forward(x))
        return out


def inflated(entry: Entry) -> nn.Module:
    """Return the 3D form of the timm network that an entry inflates, with random weights and without a classifier."""
    import timm

    flat = timm.create_model(
        entry_of(str(entry["inflates"]))["architecture"], pretrained=False, num_classes=0
    )
    for module in list(flat.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(module, name, _conv(child))
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _NormAct3d(child))
    flat.global_pool = nn.Identity()
    return flat


def inflated_tensors(entry: Entry, like: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the pretrained tensors of the network that an entry inflates, for its 3D form's state dict `like`.

    Kernels are inflated, all others are as they are; those of the classifier, which has no place in it, are left out.

    Raises
    ------
    OfflineWeightsError, WeightsError
        If the package that ships the 2D weights is missing, or its file is damaged.
    """
    import timm

    name = str(entry["inflates"])
    flat_entry = entry_of(name)
    flat = timm.create_model(
        flat_entry["architecture"], pretrained=False, num_classes=int(flat_entry["weights"]["classes"])
    )
    tensors = load_weights(name, flat_entry, flat.state_dict())
    return {
        key: inflate(value) if value.ndim == 4 else value for key, value in tensors.items() if key in like
    }


def _conv(flat: nn.Conv2d) -> SameConv3d:
    kernel, stride = int(flat.kernel_size[0]), int(flat.stride[0])
    made = SameConv3d(
        flat.in_channels,
        flat.out_channels,
        kernel,
        stride=stride,
        groups=flat.groups,
        bias=flat.bias is not None,
    )
    made.continues = True
    with torch.no_grad():
        made.weight.copy_(inflate(flat.weight))
        if flat.bias is not None:
            made.bias.copy_(flat.bias)
    return made


def inflate(kernel: torch.Tensor) -> torch.Tensor:
    """Return 3D kernels ``(out, in, k, k, k)`` of 2D ones ``(out, in, k, k)``.

    Examples
    --------
    >>> inflate(torch.ones(1, 1, 3, 3))[0, 0, :, 0, 0].tolist() == [torch.tensor(1 / 3).item()] * 3
    True
    """
    depth = kernel.shape[-1]
    return kernel.unsqueeze(2).expand(-1, -1, depth, -1, -1) / depth
