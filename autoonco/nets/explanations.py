"""Where a network looked: the evidence for a class by position, on the network's own crops.

Three ways, the first that the network allows: gradient-weighted attention where each layer attends over all patches
(ViT), Grad-CAM where it makes maps (CNN, Swin, MaxViT, 3D too), occlusion where there is neither or no gradient.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

MIN_SIDE = 7
"""Grad-CAM reads the deepest maps of at least so many positions a side: 224 pixels over the usual stride of 32."""
WINDOWS = {2: 7, 3: 4}
"""Occluding windows a side, by dimensions; they overlap by half: 13 x 13 or 7 x 7 x 7 forward passes."""
_PER_EVAL = 8

Score = Callable[[nn.Module, torch.Tensor], torch.Tensor]
"""Takes a network and crops ``(n, channels, *space)`` in 0..1 to the log odds of a class ``(n,)``."""


class Method(StrEnum):
    """How a map was made."""

    ATTENTION = "gradient-weighted attention"
    GRAD_CAM = "Grad-CAM"
    OCCLUSION = "occlusion"


@dataclass(frozen=True, kw_only=True)
class CropMap:
    """Evidence for a class ``(n_pictures, *positions)``, 0 or more; the positions divide the crop evenly."""

    values: NDArray[np.float32]
    method: Method


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """A module that makes maps, the longest side of them, and the axis of their channels."""

    module: nn.Module
    side: int
    channel_axis: int


def log_odds(logits: torch.Tensor, target: int) -> torch.Tensor:
    """Return the log odds ``(n,)`` of class `target` from logits ``(n, n_classes)``.

    Not the logit itself, to which a softmax allows any constant that has nothing to do with the class.

    Examples
    --------
    >>> log_odds(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), 1).tolist()
    [2.0, 0.0]
    """
    others = [index for index in range(logits.shape[1]) if index != target]
    return logits[:, target] - torch.logsumexp(logits[:, others], dim=1)


def explain_crop(
    network: nn.Module,
    score: Score,
    crop: NDArray[np.uint8],
    *,
    n_pictures: int = 1,
    n_image_channels: int,
    has_gradient: bool = True,
) -> CropMap:
    """Return where the crop of a case ``(channels, *space)`` speaks for a class.

    Parameters
    ----------
    score
        The log odds of the class. It calls the network that it is given: a copy of `network` on the same tensors.
    n_pictures
        Pictures whose channels the crop holds one after the other; the network sees each by itself.
    n_image_channels
        Channels that hold grey values, of all pictures; occlusion leaves mask channels after them as they are.
    has_gradient
        Whether torch can follow `score` back to the network; else occlusion alone is left.
    """
    network = _probed(network)
    device = next(network.parameters()).device
    given = torch.from_numpy(crop).to(device).float()[None] / 255
    if has_gradient:
        if (values := _attention(network, score, given, n_pictures)) is not None:
            return CropMap(values=_positive(values), method=Method.ATTENTION)
        if maps := _maps_of(network, score, given, n_pictures):
            return CropMap(values=_positive(_grad_cam(network, score, given, maps)), method=Method.GRAD_CAM)
    values = _occlusion(network, score, given, n_pictures, n_image_channels)
    return CropMap(values=_positive(values), method=Method.OCCLUSION)


def _positive(values: torch.Tensor) -> NDArray[np.float32]:
    """Leave out what speaks against a class, as Grad-CAM does."""
    found: NDArray[np.float32] = values.detach().clamp(min=0).float().cpu().numpy()
    return found


def _probed(network: nn.Module) -> nn.Module:
    """Return a copy that shares every tensor: what is hooked and switched in it, others never meet."""
    shared = itertools.chain(network.parameters(), network.buffers())
    copied = copy.deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()
    for module in copied.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # would overwrite the maps that are read
    return copied


@contextmanager
def _watched(modules: list[nn.Module], seen: Callable[[nn.Module, Any], None]) -> Iterator[None]:
    """Call `seen` with each module and its output inside the block."""
    handles = [module.register_forward_hook(lambda made, _, out: seen(made, out)) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attention(network: nn.Module, score: Score, crop: torch.Tensor, n_pictures: int) -> torch.Tensor | None:
    """Return gradient-weighted attention rolled out over the layers, or None where attention isn't global.

    With A the attention of a layer and G the gradient of the score by it, ``C = mean over heads of (G * A)+`` and
    ``R <- R + C R`` from ``R = 1`` (Chefer et al., "Generic Attention-model Explainability", ICCV 2021, eq. 5, 6).
    Which tokens the output reads, the class token or all, follows from the last layer: rows of others have no gradient
    there. So its C alone is summed over rows; its "1 +" would add but a constant.
    """
    layers = _unfused(network)
    kept: list[torch.Tensor] = []
    with _watched(layers, lambda _, out: kept.append(out)):
        value = score(network, crop.clone().requires_grad_())
    backbone = getattr(network, "backbone", network)
    n_before = int(getattr(backbone, "num_prefix_tokens", 0))
    kept = [one for one in kept if one.ndim == 4 and one.shape[2] == one.shape[3]]
    sides = _patches(backbone, kept[0].shape[2] - n_before, crop.ndim - 2) if kept else None
    if sides is None or max(sides) < 2 or len(kept) < len(layers):
        return None
    n_tokens = n_before + math.prod(sides)
    if any((one.shape[0], one.shape[2]) != (n_pictures, n_tokens) for one in kept):
        return None
    gradients = torch.autograd.grad(value.sum(), kept)
    products = [(one.detach() * by).clamp(min=0).mean(dim=1) for one, by in zip(kept, gradients, strict=True)]
    reached = torch.eye(n_tokens, device=crop.device).expand(n_pictures, -1, -1)
    for product in products[:-1]:
        reached = reached + product @ reached
    tokens = (products[-1] @ reached).sum(dim=1)
    return tokens[:, n_before:].reshape(n_pictures, *sides)


def _unfused(network: nn.Module) -> list[nn.Module]:
    """Return the modules through which the attention of each layer goes, layers in which it is never formed switched.

    Those of timm, and of MONAI.
    """
    found: list[nn.Module] = []
    for module in network.modules():
        for through, is_fused in (("attn_drop", "fused_attn"), ("drop_weights", "use_flash_attention")):
            if hasattr(module, is_fused) and isinstance(getattr(module, through, None), nn.Module):
                setattr(module, is_fused, False)
                found.append(getattr(module, through))
    return found


def _patches(backbone: nn.Module, n: int, n_space: int) -> tuple[int, ...] | None:
    """Return how many of `n` patches lie along each axis: as the network says, or equally many; or None."""
    told = getattr(backbone, "n_tokens", None)
    sides = tuple(told) if isinstance(told, tuple) else (round(max(0, n) ** (1 / n_space)),) * n_space
    return sides if math.prod(sides) == n else None


def _maps_of(network: nn.Module, score: Score, crop: torch.Tensor, n_pictures: int) -> _Maps | None:
    """Return the deepest module whose maps have `MIN_SIDE` positions a side, or else the most there are; or None."""
    names = {module: name for name, module in network.named_modules()}
    # side and channel axis, in the order in which modules finish
    found: dict[nn.Module, tuple[int, int]] = {}
    n_axes, ends_in_tokens = crop.ndim, False

    def seen(module: nn.Module, out: Any) -> None:
        nonlocal ends_in_tokens
        found.pop(module, None)
        if not isinstance(out, torch.Tensor) or out.shape[0] != n_pictures:
            return
        if out.ndim == 3 and out.shape[1] > 1:
            ends_in_tokens = True
        if out.ndim == n_axes and (map_ := _side_and_axis(out.shape, crop.shape[2:])):
            found[module] = map_
            ends_in_tokens &= map_[0] == 1

    with torch.no_grad(), _watched([module for module in names if names[module]], seen):
        score(network, crop)
    if ends_in_tokens:
        return None  # maps there are, but of patches that haven't seen one another
    inner = {name for module, name in names.items() if not isinstance(module, nn.Sequential)}
    sides = {names[module]: side for module, (side, _) in found.items()}

    def whole(module: nn.Module) -> bool:
        # inside a block that makes smaller maps, a branch beside others
        parts = names[module].split(".")
        around = [".".join(parts[:n]) for n in range(1, len(parts))]
        return all(sides.get(name, math.inf) >= sides[names[module]] for name in around if name in inner)

    rows = [
        _Maps(module=module, side=side, channel_axis=axis)
        for module, (side, axis) in found.items()
        if 1 < side < max(crop.shape[2:]) and whole(module) and names[module].startswith("backbone")
    ]
    enough = min(MIN_SIDE, max((row.side for row in rows), default=0))
    return next((row for row in reversed(rows) if row.side >= enough), None)


def _side_and_axis(shape: Sequence[int], space: Sequence[int]) -> tuple[int, int] | None:
    """Return the longest side of maps and the axis of their channels, the second or the last; None of other outputs.

    Of maps the sides are in the same order of length as those of the crop's `space`, equal ones equal.

    Examples
    --------
    >>> _side_and_axis((1, 64, 2, 8, 8), (8, 32, 32)), _side_and_axis((1, 8, 8, 64), (32, 32))
    ((8, 1), (8, 3))
    """
    for axis in (1, len(shape) - 1):
        sides = [length for index, length in enumerate(shape) if index not in (0, axis)]
        if all(_in_order(*pairs) for pairs in itertools.combinations(zip(space, sides, strict=True), 2)):
            return max(sides), axis
    return None


def _in_order(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether of two axes, each (length in the crop, length in the map), the longer is not the shorter."""
    if one[0] == other[0]:
        return one[1] == other[1]
    shorter, longer = sorted((one, other))
    return shorter[1] <= longer[1]


def _grad_cam(network: nn.Module, score: Score, crop: torch.Tensor, maps: _Maps) -> torch.Tensor:
    """Return Grad-CAM ``(n_pictures, *positions)`` (Selvaraju et al., ICCV 2017).

    Maps with their channels last (Swin) are summed over channels as activation times gradient, position by position
    (HiResCAM, Draelos and Carin 2020): the same where the network ends in a mean over positions and a linear layer.
    """
    from captum.attr import LayerGradCam, LayerGradientXActivation

    given = crop.clone().requires_grad_()
    if maps.channel_axis == 1:
        cam = LayerGradCam(lambda x: score(network, x), maps.module)
        return cam.attribute(given).squeeze(1)
    times = LayerGradientXActivation(lambda x: score(network, x), maps.module)
    return times.attribute(given).sum(dim=maps.channel_axis)


def _occlusion(
    network: nn.Module, score: Score, crop: torch.Tensor, n_pictures: int, n_image: int
) -> torch.Tensor:
    """Return how far the score falls where a window of one picture shows its mean grey (Zeiler and Fergus, 2014)."""
    from captum.attr import Occlusion

    n_space = crop.ndim - 2
    windows = tuple(max(1, side // WINDOWS[n_space]) for side in crop.shape[2:])
    image, masks = crop[:, :n_image], crop[:, n_image:]
    grey = image.flatten(2).mean(dim=2).reshape(1, n_image, *(1,) * n_space).expand_as(image)
    one, steps = (n_image // n_pictures,), tuple(max(1, window // 2) for window in windows)

    def with_masks(pictures: torch.Tensor) -> torch.Tensor:
        return score(network, torch.cat([pictures, masks.expand(len(pictures), *masks.shape[1:])], dim=1))

    with torch.no_grad():
        fall = Occlusion(with_masks).attribute(
            image,
            sliding_window_shapes=(*one, *windows),
            strides=(*one, *steps),
            baselines=grey,
            perturbations_per_eval=_PER_EVAL,
        )
    return fall[0, :: one[0]]
