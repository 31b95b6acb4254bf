"""3D networks from zoo entries: MONAI's, inflated ones of timm, and encoders that published weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoonco.errors import UnknownNameError, WeightsError
from autoonco.nets.inflation import SameConv3d, inflated, inflated_tensors
from autoonco.nets.network import Network
from autoonco.nets.own_zoo import code_of
from autoonco.nets.seeding import seeded
from autoonco.nets.spacing import FittingPool, PaddedShortcut, spaced
from autoonco.nets.stems import adapt_stem, statistics
from autoonco.nets.strides import Sides, patches, step
from autoonco.nets.stunet import STUNetEncoder
from autoonco.nets.volumes import Anatomy, ChannelNorm, TokenBackbone, VolumeBackbone
from autoonco.nets.weight_files import Entry
from autoonco.nets.weights import Tensors, file_tensors, located
from autoonco.nets.zoo import entry_of

SWIN_PATCH, SWIN_WINDOW = 2, (7, 7, 7)
"""Side of a Swin transformer's patches at a stem stride of 1, and of its windows in patches, as in Swin-UNETR."""


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is to be built: the zoo's entry, and the crops it is for."""

    entry: Entry
    n_classes: int
    in_channels: int
    sides: Sides
    stem_stride: int
    drop_rate: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.entry.get("options", {}))


def build_3d(
    name: str,
    *,
    n_classes: int,
    in_channels: int,
    size: int | Sequence[int],
    mask_channels: int = 0,
    stem_stride: int = 2,
    drop_rate: float = 0.0,
    pretrained: bool = False,
    seed: int = 0,
) -> Network:
    """Return 3D network `name` for crops of `size` voxels, a number a side or one for depth, height and width.

    What is not said here is as in `nets.builders.build_2d`, the errors raised included.

    Parameters
    ----------
    in_channels, mask_channels
        Channels of grey values, and of masks after them.
    stem_stride
        Step of the first convolution, of networks whose entry says that it may vary: 1 costs eight times as much as
        2. Where the crop has fewer slices than rows, axes are reduced as `nets.strides` says.
    """
    entry = entry_of(name)
    sides: Sides = (size, size, size) if isinstance(size, int) else tuple(size)  # type: ignore[assignment]
    own = int(
        entry.get("in_channels", 0)
    )  # of the weights; without weights a network is made for what it sees
    order = _Order(
        entry=entry,
        n_classes=n_classes,
        in_channels=own or in_channels + mask_channels,
        sides=sides,
        stem_stride=stem_stride,
        drop_rate=drop_rate,
    )
    with seeded(seed):
        backbone = _maker(name, entry)(order)
    if pretrained:
        found = located(name, entry)
        like = backbone.net.state_dict()
        tensors = inflated_tensors(entry, like) if "inflates" in entry else file_tensors(name, entry, found)
        fill_volume(name, backbone, tensors)
    if own:
        adapt_stem(backbone, in_channels=in_channels, mask_channels=mask_channels)
        entry = {**entry, **statistics(entry, in_channels=in_channels, mask_channels=mask_channels)}
    build = {
        "name": name,
        "n_classes": n_classes,
        "in_channels": in_channels,
        "mask_channels": mask_channels,
        "size": list(sides),
        "stem_stride": stem_stride,
    }
    return Network(backbone, entry, build=build)


def _maker(name: str, entry: Entry) -> Callable[[_Order], VolumeBackbone]:
    if "code" in entry:
        return _own
    if (architecture := entry["architecture"]) not in _MAKERS:
        raise UnknownNameError(f"architecture of {name}", str(architecture), _MAKERS)
    return _MAKERS[architecture]


def fill_volume(name: str, backbone: VolumeBackbone, tensors: Tensors) -> None:
    """Give a backbone the tensors of a weight file, all of them, its classifier excepted.

    Raises
    ------
    WeightsError
        If one is missing, too many or of another shape.
    """
    try:
        backbone.net.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:300]
        raise WeightsError(f"The weight file of {name} does not fit its network: {told}") from error


def _resnet(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.resnet import ResNet

    options = order.options
    free_stem = order.entry.get("stem_stride", False)
    stride = order.stem_stride if free_stem else options.pop("conv1_t_stride")
    net = ResNet(
        **options,
        n_input_channels=order.in_channels,
        conv1_t_stride=tuple(stride) if isinstance(stride, list) else stride,
        feed_forward=False,
    )
    _mend_shortcuts(net)
    anatomy = Anatomy(
        stem=("conv1", "bn1", "act", "maxpool"),
        stages=(("layer1",), ("layer2",), ("layer3",), ("layer4",)),
        width=net.in_planes,
    )
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _mend_shortcuts(net: nn.Module) -> None:
    for module in list(net.modules()):
        shortcut = getattr(module, "downsample", None)
        if callable(shortcut) and not isinstance(shortcut, nn.Module):
            module.downsample = PaddedShortcut(module.conv2.out_channels, module.conv1.stride)


def _senet(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.senet import SENet

    net = SENet(**order.options, spatial_dims=3, in_channels=order.in_channels, num_classes=1)
    width = net.last_linear.in_features
    net.last_linear = nn.Identity()
    anatomy = Anatomy(
        stem=("layer0",), stages=(("layer1",), ("layer2",), ("layer3",), ("layer4",)), width=width
    )
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _densenet(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.densenet import DenseNet

    net = DenseNet(**order.options, spatial_dims=3, in_channels=order.in_channels, out_channels=1)
    width = net.class_layers.out.in_features
    net.class_layers.out = nn.Identity()
    blocks = [name for name, _ in net.features.named_children() if name.startswith("denseblock")]
    for number in range(1, len(blocks)):
        net.features.get_submodule(f"transition{number}").pool = FittingPool(2, stride=2)
    stages: list[tuple[str, ...]] = [("features.denseblock1",)]
    stages += [
        (f"features.transition{number}", f"features.denseblock{number + 1}")
        for number in range(1, len(blocks))
    ]
    anatomy = Anatomy(
        stem=("features.conv0", "features.norm0", "features.relu0", "features.pool0"),
        stages=tuple(stages),
        neck=("features.norm5", "class_layers.relu"),
        width=width,
    )
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _efficientnet(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.efficientnet import EfficientNetBN

    net = EfficientNetBN(
        **order.options, pretrained=False, spatial_dims=3, in_channels=order.in_channels, num_classes=1
    )
    width = net._fc.in_features
    net._fc = nn.Identity()
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv3d):  # padded for maps of one size by MONAI, here for any
                setattr(module, name, SameConv3d.like(child))
                if hasattr(module, f"{name}_padding"):
                    setattr(module, f"{name}_padding", nn.Identity())
    anatomy = Anatomy(
        stem=("_conv_stem", "_bn0", "_swish"),
        stages=(
            ("_blocks.0",),
            ("_blocks.1",),
            ("_blocks.2",),
            ("_blocks.3", "_blocks.4"),
            ("_blocks.5", "_blocks.6"),
        ),
        neck=("_conv_head", "_bn1", "_swish"),
        width=width,
    )
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _inflated(order: _Order) -> VolumeBackbone:
    net = inflated(order.entry)
    anatomy = Anatomy(
        stem=("conv_stem", "bn1"),
        stages=(
            ("blocks.0",),
            ("blocks.1",),
            ("blocks.2",),
            ("blocks.3", "blocks.4"),
            ("blocks.5", "blocks.6"),
        ),
        neck=("conv_head", "bn2"),
        width=net.num_features,
    )
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _segresnet(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.segresnet_ds import SegResEncoder

    options = order.options
    net = SegResEncoder(**options, spatial_dims=3, in_channels=order.in_channels)
    stages: list[tuple[str, ...]] = [("layers.0.blocks",)]
    stages += [
        (f"layers.{number - 1}.downsample", f"layers.{number}.blocks") for number in range(1, len(net.layers))
    ]
    width = net.init_filters * 2 ** (len(net.layers) - 1)
    anatomy = Anatomy(stem=("conv_init",), stages=tuple(stages), width=width)
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


def _stunet(order: _Order) -> VolumeBackbone:
    net = STUNetEncoder(in_channels=order.in_channels, **order.options)
    stages = tuple((f"conv_blocks_context.{number}",) for number in range(len(net.conv_blocks_context)))
    anatomy = Anatomy(stem=(), stages=stages, width=net.width)
    backbone = VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate)
    return spaced(backbone, order.sides, least=2)


def _swin(order: _Order) -> VolumeBackbone:
    from monai.networks.nets.swin_unetr import SwinTransformer

    patch: tuple[int, ...] = (SWIN_PATCH,) * 3  # of published weights
    if order.entry.get("stem_stride", False):
        patch = tuple(by**order.stem_stride for by in step(order.sides))
    options = {"window_size": SWIN_WINDOW, **order.options}
    net = SwinTransformer(**options, in_chans=order.in_channels, patch_size=patch, spatial_dims=3)
    net.add_module("last_norm", ChannelNorm())
    stages = tuple((f"layers{number}.0",) for number in range(1, 5))
    width = int(options["embed_dim"]) * 2 ** len(stages)
    anatomy = Anatomy(stem=("patch_embed", "pos_drop"), stages=stages, neck=("last_norm",), width=width)
    return VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate)


def _vit(order: _Order) -> VolumeBackbone:
    return _of_tokens(order, classification=True, post_activation=None)


def _unetr(order: _Order) -> VolumeBackbone:
    """Return the encoder that UNETR and ViT autoencoders share: no class token."""
    return _of_tokens(order, classification=False)


def _of_tokens(order: _Order, **more: Any) -> VolumeBackbone:
    from monai.networks.nets.vit import ViT

    patch = patches(order.sides, int(order.entry["patches_per_side"]))
    options = order.options
    net = ViT(**options, in_channels=order.in_channels, img_size=order.sides, patch_size=patch, **more)
    if hasattr(net, "classification_head"):
        net.classification_head = nn.Identity()
    for block in net.blocks:
        block.norm_cross_attn = nn.Identity()  # nothing asks for it here
    n_tokens = tuple(side // by for side, by in zip(order.sides, patch, strict=True))
    return TokenBackbone(net, width=options["hidden_size"], n_tokens=n_tokens, n_classes=order.n_classes)


def _own(order: _Order) -> VolumeBackbone:
    """Return the network that a function of the user's makes, with its `Anatomy`."""
    make = getattr(code_of(order.entry), order.entry["architecture"])
    net, anatomy = make(in_channels=order.in_channels, size=order.sides, **order.options)
    return spaced(
        VolumeBackbone(net, anatomy, n_classes=order.n_classes, drop_rate=order.drop_rate), order.sides
    )


_MAKERS: dict[str, Callable[[_Order], VolumeBackbone]] = {
    "resnet": _resnet,
    "senet": _senet,
    "densenet": _densenet,
    "efficientnet": _efficientnet,
    "inflated": _inflated,
    "segresnet": _segresnet,
    "stunet": _stunet,
    "swin": _swin,
    "unetr": _unetr,
    "vit": _vit,
}
