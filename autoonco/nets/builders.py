"""Networks from zoo entries: timm for pictures, MONAI for volumes, our parametric one for both; bytes to logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoonco.errors import WeightsError
from autoonco.nets.architecture import Architecture, Size
from autoonco.nets.network import ByteInput, Network
from autoonco.nets.own_zoo import code_of
from autoonco.nets.seeding import seeded
from autoonco.nets.stems import adapt_stem, statistics
from autoonco.nets.volume_builders import build_3d
from autoonco.nets.weight_files import Entry, Source, WeightFile
from autoonco.nets.weights import Tensors, file_tensors, load_weights, located
from autoonco.nets.zoo import entry_of

__all__ = ["ByteInput", "Network", "build_2d", "build_3d", "build_parametric"]


def build_2d(
    name: str,
    *,
    n_classes: int,
    in_channels: int = 3,
    mask_channels: int = 0,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    pretrained: bool = False,
    seed: int = 0,
) -> Network:
    """Return timm network `name` for pictures, in channels-last order.

    Parameters
    ----------
    n_classes
        Outputs of the classifier; 0 leaves it out and the network returns its pooled features.
    in_channels, mask_channels
        Channels of the picture, three for colours or grey values three times, and of the masks after them; see
        `nets.stems` for what other numbers make of pretrained weights.
    drop_rate, drop_path_rate
        Dropout before the classifier; stochastic depth, which is left out where the architecture has none.
    pretrained
        Whether to fill everything but the classifier with weights that are on this machine. Never a download.
    seed
        Seed of the random weights.

    Raises
    ------
    WeightsError
        If pretrained weights are asked for and missing, damaged or of another network.
    """
    entry = entry_of(name)
    build = {
        "name": name,
        "n_classes": n_classes,
        "in_channels": in_channels,
        "mask_channels": mask_channels,
    }
    options: dict[str, Any] = {"drop_rate": drop_rate, **entry.get("options", {})}
    if entry.get("stochastic_depth", True):
        options["drop_path_rate"] = drop_path_rate
    with seeded(seed):
        if pretrained:
            backbone = read_pretrained(name, entry, located(name, entry), options)
            backbone.reset_classifier(n_classes)
        else:
            backbone = _empty(entry, options, n_classes)
    # some networks have no single stem, and colours alone don't ask for it
    if mask_channels or in_channels != len(entry["mean"]):
        adapt_stem(backbone, in_channels=in_channels, mask_channels=mask_channels)
    scaling = statistics(entry, in_channels=in_channels, mask_channels=mask_channels)
    network = Network(backbone, {**entry, **scaling}, build=build)
    network.to(memory_format=torch.channels_last)
    return network


def _empty(entry: Entry, options: Mapping[str, Any], n_classes: int) -> nn.Module:
    return _created(entry, options, pretrained=False, num_classes=n_classes)


def _created(entry: Entry, options: Mapping[str, Any], **how: Any) -> nn.Module:
    """Return timm's network, without stochastic depth where its architecture takes none and its entry doesn't say."""
    import timm

    code_of(entry)  # which tells timm of an architecture of one's own
    try:
        backbone: nn.Module = timm.create_model(entry["architecture"], **how, **options)
    except TypeError as error:
        if "drop_path_rate" not in options or "drop_path_rate" not in str(error):
            raise
        plain = {key: value for key, value in options.items() if key != "drop_path_rate"}
        backbone = timm.create_model(entry["architecture"], **how, **plain)
    return backbone


def read_pretrained(
    name: str, entry: Entry, found: WeightFile, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """Return timm's network with the weights in a file, with its original classifier if it has one: all have to fit.

    Raises
    ------
    WeightsError
        If the file is damaged, of another hash or of another network.
    """
    options = dict(entry.get("options", {})) if options is None else options
    if found.source is not Source.PACKAGE:
        return filled(name, entry, file_tensors(name, entry, found), options)
    backbone = _empty(entry, options, int(entry["weights"]["classes"]))
    backbone.load_state_dict(load_weights(name, entry, backbone.state_dict()), strict=True)
    return backbone


def filled(name: str, entry: Entry, tensors: Tensors, options: Mapping[str, Any]) -> nn.Module:
    """Return timm's network with `tensors`, in any of the forms that timm knows for it; all have to fit.

    Raises
    ------
    WeightsError
        If one is missing, too many or of another shape.
    """
    n_classes = int(entry["weights"]["classes"])
    overlay = {"state_dict": tensors, "num_classes": n_classes}
    try:  # timm's own way in: it knows older names of tensors, and positions made for another size
        backbone = _created(
            entry, options, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=n_classes
        )
    except (RuntimeError, KeyError, ValueError, TypeError, AssertionError, AttributeError) as error:
        first = str(error).strip().splitlines()
        raise WeightsError(
            f"The weight file of {name} does not fit its network: {' '.join(first[:2])[:300]}"
        ) from error
    backbone.pretrained_cfg["state_dict"] = None  # or the tensors would be held, and copied, with the network
    return backbone


def build_parametric(
    name: str, architecture: Architecture, *, n_classes: int, in_channels: int, size: Size, seed: int = 0
) -> Network:
    """Return the network that `architecture` describes, for crops of `size`, with random weights.

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
    with seeded(seed):
        network = Network(ParametricNetwork(architecture, **sizes), entry)
    if entry["dimensions"] == 2:
        network.to(memory_format=torch.channels_last)
    return network
