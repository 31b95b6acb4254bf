"""Networks from zoo entries: timm for pictures, MONAI for volumes, our parametric one for both; bytes to logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import nn

from autoonco.nets.architecture import Architecture
from autoonco.nets.weights import load_weights
from autoonco.nets.zoo import Entry, entry_of


class ByteInput(nn.Module):  # type: ignore[misc]
    """Crops of 0..255 as the network wants them: scaled to 0..1, then standardised with its mean and std.

    Both belong to the network's state: to what is stored of it and to what names its embeddings.

    Examples
    --------
    >>> ByteInput(0.5, 0.5)(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten().tolist()
    [-1.0, 1.0]
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: float | list[float], std: float | list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(-1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(-1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return float32 crops of the same shape ``(n, channels, ...)``; float crops count as 0..1 already."""
        values = crops.float() / 255 if crops.dtype == torch.uint8 else crops
        along = (1, -1) + (1,) * (crops.ndim - 2)
        return (values - self.mean.reshape(along)) / self.std.reshape(along)


class Network(nn.Module):  # type: ignore[misc]
    """A backbone behind its own input scaling; the backbone's first output counts where it returns several."""

    def __init__(self, backbone: nn.Module, entry: Entry) -> None:
        super().__init__()
        self.scale = ByteInput(entry["mean"], entry["std"])
        self.backbone = backbone
        # a plain list: modules in it are not registered twice
        self._frozen: list[nn.Module] = []

    def freeze_stages(self, n_stages: int) -> None:
        """Keep the first `n_stages` of a timm backbone (the stem is the first) as they are, running means too."""
        from timm.models import group_parameters

        stages = group_parameters(self.backbone, self.backbone.group_matcher(coarse=True))
        kept = {name for stage, names in stages.items() if stage < n_stages for name in names}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name not in kept)
        self._frozen = [
            module
            for name, module in self.backbone.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.weight" in kept
        ]

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, except for frozen stages."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_classes)``, or features where the network was built without a classifier."""
        out = self.backbone(self.scale(crops))
        return out[0] if isinstance(out, tuple) else out  # MONAI's ViT returns its hidden states too


def build_2d(
    name: str, *, n_classes: int, drop_rate: float = 0.0, pretrained: bool = False, seed: int = 0
) -> Network:
    """Return timm network `name` for three-channel pictures, in channels-last order.

    Parameters
    ----------
    n_classes
        Outputs of the classifier; 0 leaves it out and the network returns its pooled features.
    pretrained
        Whether to fill everything but the classifier with the packaged weights. Never a download.
    seed
        Seed of the random weights.

    Raises
    ------
    WeightsError
        If pretrained weights are asked for and missing, damaged or of another network.
    """
    import timm

    entry = entry_of(name)
    options: dict[str, Any] = {"pretrained": False, "drop_rate": drop_rate}
    with _seeded(seed):
        if not pretrained:
            backbone = timm.create_model(entry["architecture"], num_classes=n_classes, **options)
        else:  # the original classifier comes first, so that the file fits strictly, and is then replaced
            backbone = timm.create_model(entry["architecture"], **options)
            backbone.load_state_dict(load_weights(name, entry, backbone.state_dict()), strict=True)
            backbone.reset_classifier(n_classes)
    network: Network = Network(backbone, entry).to(memory_format=torch.channels_last)
    return network


def build_3d(
    name: str, *, n_classes: int, in_channels: int, size: int, stem_stride: int = 2, seed: int = 0
) -> Network:
    """Return MONAI network `name` for cubes of `size` voxels a side, with random weights.

    `stem_stride` is the step of a ResNet's first convolution; transformers have none.
    """
    entry = entry_of(name)
    make = {"resnet": _resnet, "vit": _vit}[entry["architecture"]]
    with _seeded(seed):
        return Network(make(entry, n_classes, in_channels, size, stem_stride), entry)


def build_parametric(
    name: str, architecture: Architecture, *, n_classes: int, in_channels: int, size: int, seed: int = 0
) -> Network:
    """Return the network that `architecture` describes, for crops of `size` a side, with random weights.

    `name` is a zoo entry of builder ``parametric``, which says of how many dimensions.
    """
    from autoonco.nets.parametric import ParametricNetwork

    entry = entry_of(name)
    sizes = {
        "dimensions": entry["dimensions"],
        "in_channels": in_channels,
        "size": size,
        "n_classes": n_classes,
    }
    with _seeded(seed):
        network = Network(ParametricNetwork(architecture, **sizes), entry)
    if entry["dimensions"] == 2:
        network.to(memory_format=torch.channels_last)
    return network


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block and leave its generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _resnet(entry: Entry, n_classes: int, in_channels: int, size: int, stem_stride: int) -> nn.Module:  # noqa: ARG001
    from monai.networks.nets.resnet import ResNet

    network: nn.Module = ResNet(
        **entry["options"], n_input_channels=in_channels, conv1_t_stride=stem_stride, num_classes=n_classes
    )
    return network


def _vit(entry: Entry, n_classes: int, in_channels: int, size: int, stem_stride: int) -> nn.Module:  # noqa: ARG001
    from monai.networks.nets.vit import ViT

    network: nn.Module = ViT(
        **entry["options"],
        in_channels=in_channels,
        img_size=size,
        patch_size=size // entry["patches_per_side"],
        num_classes=n_classes,
        classification=True,
        post_activation=None,
    )
    return network
