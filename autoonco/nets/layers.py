"""What a layer of a backbone holds, whatever its kind, and how one vector is made of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

GEM_POWER = 3.0
_GEM_FLOOR = 1e-6


class Layer(NamedTuple):
    """A map ``(n, channels, ...)``, and the tokens that come before those of patches ``(n, n_tokens, channels)``."""

    map: torch.Tensor
    prefix: torch.Tensor | None


def final_layer(backbone: nn.Module, last: torch.Tensor) -> Layer:
    """Return a timm backbone's `last` features, tokens or a map of either order, as a layer."""
    if last.ndim == 3:
        n_prefix = int(getattr(backbone, "num_prefix_tokens", 0))
        patches = last[:, n_prefix:]
        # pooling asks for no shape, so tokens of a picture of any shape may stand in one row
        return Layer(patches.transpose(1, 2).unsqueeze(2), last[:, :n_prefix] if n_prefix else None)
    if getattr(backbone, "output_fmt", "NCHW") == "NHWC":
        return Layer(last.permute(0, 3, 1, 2), None)
    return Layer(last, None)


def pooled(layer: Layer, pooling: str) -> torch.Tensor:
    """Return one vector a picture ``(n, channels)``.

    Parameters
    ----------
    pooling
        ``cls``: the class token; ``mean`` over the map; ``gem``: the generalised mean of power 3, between mean and
        maximum, of what is positive. (Radenovic et al., "Fine-tuning CNN image retrieval with no human annotation",
        2018, equation 3.)

    Raises
    ------
    ValueError
        If the pooling is unknown, or ``cls`` is asked of a layer without such a token.

    Examples
    --------
    >>> layer = Layer(torch.tensor([[[[0.0, 2.0]]]]), None)
    >>> pooled(layer, "mean").item(), round(pooled(layer, "gem").item(), 4)
    (1.0, 1.5874)
    """
    if pooling == "cls" and layer.prefix is not None:
        return layer.prefix[:, 0]
    if pooling == "mean":
        return layer.map.flatten(2).mean(dim=2)
    if pooling == "gem":
        powers = layer.map.clamp(min=_GEM_FLOOR).pow(GEM_POWER)
        return powers.flatten(2).mean(dim=2).pow(1 / GEM_POWER)
    raise ValueError(f"No pooling {pooling!r} of this layer.")
