"""The one face of every network here: bytes in; logits, features of any layer, or its blocks in order, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from autoonco.nets.layers import Layer, final_layer, pooled
from autoonco.nets.zoo import Entry, side_for


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

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(-1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(-1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return float32 crops of the same shape ``(n, channels, ...)``; float crops count as 0..1 already."""
        values = crops.float() / 255 if crops.dtype == torch.uint8 else crops
        along = (1, -1) + (1,) * (crops.ndim - 2)
        return (values - self.mean.reshape(along)) / self.std.reshape(along)


class Network(nn.Module):  # type: ignore[misc]
    """A backbone behind its own input scaling; the backbone's first output counts where it returns several.

    Pictures of a size that a backbone of patches can't take are resized to the nearest that it can.

    Attributes
    ----------
    build
        What `build_2d` or `build_3d` was told, without the weights: with it they make an empty one of its kind.
    """

    def __init__(self, backbone: nn.Module, entry: Entry, *, build: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.scale = ByteInput(entry["mean"], entry["std"])
        self.backbone = backbone
        self.entry = entry
        self.build = dict(build or {})
        # a plain list: modules in it are not registered twice
        self._frozen: list[nn.Module] = []

    def freeze_stages(self, n_stages: int) -> None:
        """Keep the first `n_stages` of a timm backbone (the stem is the first) as they are, running means too."""
        kept = {name for block in self.blocks(coarse=True)[:n_stages] for name in block}
        self.freeze(kept)

    def freeze(self, kept: set[str]) -> None:
        """Keep the parameters of these names as they are, and the running means of their norms; train all others."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in kept)
        self._frozen = [
            module
            for name, module in self.named_modules()
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
        out = self.backbone(self.prepared(crops))
        return out[0] if isinstance(out, tuple) else out  # MONAI's ViT returns its hidden states too

    def prepared(self, crops: torch.Tensor) -> torch.Tensor:
        """Return crops as the backbone takes them: standardised, and of a side that its patches allow."""
        values = self.scale(crops)
        if crops.ndim != 4:
            return values
        sides = tuple(side_for(self.entry, int(side)) for side in crops.shape[2:])
        if sides == tuple(crops.shape[2:]):
            return values
        return F.interpolate(values, size=sides, mode="bilinear", antialias=True)

    def blocks(self, *, coarse: bool = False) -> list[dict[str, nn.Parameter]]:
        """Return the parameters by name in groups from the stem (first) to the classifier (last), none twice.

        They are timm's groups (a 3D backbone's own) for layer-wise learning rates: a block or a residual unit each, or
        whole stages with `coarse`. Where a backbone has no such description its children count, in order. A network
        without a classifier ends with its last layer.
        """
        named = dict(self.backbone.named_parameters())
        if hasattr(self.backbone, "groups"):
            groups = self.backbone.groups(coarse=coarse)
        elif hasattr(self.backbone, "group_matcher"):
            from timm.models import group_parameters

            stages = group_parameters(self.backbone, self.backbone.group_matcher(coarse=coarse))
            groups = [names for _, names in sorted(stages.items())]
        else:
            groups = [
                [name for name in named if name.partition(".")[0] == child]
                for child, _ in self.backbone.named_children()
            ]
            direct = [
                name for name in named if "." not in name
            ]  # tokens and the like, which belong to the stem
            groups = [[*direct, *groups[0]], *groups[1:]] if groups else [direct]
        return [{f"backbone.{name}": named[name] for name in names} for names in groups if names]

    @property
    def poolings(self) -> tuple[str, ...]:
        """Ways to make one vector of a layer, ``native`` (the network's own, of the last layer) first."""
        return ("native", *(("cls",) if self._has_class_token else ()), "mean", "gem")

    @property
    def n_layers(self) -> int:
        """How many layers `layers` may count back: a transformer's blocks, a CNN's stages."""
        return len(self.backbone.feature_info)

    @property
    def num_features(self) -> int:
        """Length of the network's own embedding."""
        return int(self.backbone.head_hidden_size)

    @property
    def _has_class_token(self) -> bool:
        return getattr(self.backbone, "cls_token", None) is not None

    def layers(self, crops: torch.Tensor, layers: Sequence[int] = (-1,)) -> list[Layer]:
        """Return what the `layers` hold, of one forward pass: -1 is the last, with the final norm; -2 the one before.

        A layer is a map ``(n, channels, height, width)`` with, for transformers, the tokens ``(n, n_tokens,
        channels)`` that come before those of patches.
        """
        return self._run(crops, layers)[1]

    def embed_all(self, crops: torch.Tensor, *, layers: Sequence[int] = (-1,)) -> dict[str, torch.Tensor]:
        """Return every pooling of the `layers` from one forward pass: ``native``, and ``<pooling>@<layer>``.

        Each is ``(n, channels of the layer)``; the weights get no gradient in inference mode only.
        """
        last, found = self._run(crops, layers)
        out = {"native": self.backbone.forward_head(last, pre_logits=True).flatten(1)}
        for number, layer in zip(layers, found, strict=True):
            for pooling in self.poolings[1:]:
                out[f"{pooling}@{number}"] = pooled(layer, pooling)
        return out

    def embed(
        self, crops: torch.Tensor, *, pooling: str = "native", layers: Sequence[int] = (-1,)
    ) -> torch.Tensor:
        """Return one vector a crop ``(n, n_features)``: `pooling` of each of the `layers`, side by side.

        ``native``, the network's own pooling, exists of the last layer alone: `layers` then don't count.
        """
        every = self.embed_all(crops, layers=layers)
        if pooling == "native":
            return every["native"]
        return torch.cat([every[f"{pooling}@{number}"] for number in layers], dim=1)

    def _run(self, crops: torch.Tensor, layers: Sequence[int]) -> tuple[torch.Tensor, list[Layer]]:
        """Return the backbone's last features, as its head takes them, and the layers asked for."""
        indices = sorted({self.n_layers + number for number in layers if number != -1})
        values = self.prepared(crops)
        if not indices:
            last = self.backbone.forward_features(values)
            return last, [final_layer(self.backbone, last)] * len(layers)
        options: dict[str, Any] = {"indices": indices, "output_fmt": "NCHW"}
        n_prefix = int(getattr(self.backbone, "num_prefix_tokens", 0))
        if n_prefix:
            options |= {"return_prefix_tokens": True, "norm": True}
        last, maps = self.backbone.forward_intermediates(values, **options)
        held = {
            index - self.n_layers: Layer(*item) if n_prefix else Layer(item, None)
            for index, item in zip(indices, maps, strict=True)
        }
        held[-1] = final_layer(self.backbone, last)
        return last, [held[number] for number in layers]
