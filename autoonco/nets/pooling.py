"""One answer from several pictures of a case: poolings of their features, learned or not, and networks that do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from autoonco.nets.builders import build_2d
from autoonco.nets.network import Network
from autoonco.nets.views import TRAINED_PICTURES
from autoonco.nets.zoo import Entry

Pooling = Literal["mean", "max", "mean_max", "concatenate", "attention"]
HIDDEN = 64
"""Width of the attention: a hundred cases don't teach more."""


def pool_pictures(features: torch.Tensor, how: Pooling, *, n_sequences: int = 1) -> torch.Tensor:
    """Return one row a case ``(n_cases, n)`` of its pictures' features ``(n_cases, n_pictures, n_features)``.

    Pictures are pooled within each sequence, and sequences stand side by side: they are not interchangeable.

    Examples
    --------
    >>> features = torch.tensor([[[1.0], [3.0], [10.0], [30.0]]])
    >>> pool_pictures(features, "mean", n_sequences=2)
    tensor([[ 2., 20.]])
    >>> pool_pictures(features, "concatenate")
    tensor([[ 1.,  3., 10., 30.]])
    """
    if how == "concatenate":
        return features.flatten(1)
    bags = features.unflatten(1, (n_sequences, -1))
    made = {"mean": bags.mean(dim=2), "max": bags.amax(dim=2)}
    return torch.cat([made[part] for part in how.split("_")], dim=2).flatten(1)


class GatedAttention(nn.Module):  # type: ignore[misc]
    """The mean of a bag's features, weighed by a small network that looks at each.

    ``a_k = softmax_k(w . (tanh(V h_k) * sigmoid(U h_k)))`` (Ilse, Tomczak & Welling, "Attention-based Deep Multiple
    Instance Learning", 2018, equation 9). The order of the pictures does not count. At first all weigh alike.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.content = nn.Linear(n_features, HIDDEN)
        self.gate = nn.Linear(n_features, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def weights(self, bags: torch.Tensor) -> torch.Tensor:
        """Return what each picture counts ``(..., n_pictures)``, summing to 1."""
        score: torch.Tensor = self.score(torch.tanh(self.content(bags)) * torch.sigmoid(self.gate(bags)))
        return score.squeeze(-1).softmax(dim=-1)

    def forward(self, bags: torch.Tensor) -> torch.Tensor:
        """Return ``(..., n_features)`` of bags ``(..., n_pictures, n_features)``."""
        return (self.weights(bags).unsqueeze(-1) * bags).sum(dim=-2)


class Pool(nn.Module):  # type: ignore[misc]
    """Features ``(n, n_groups, n_pictures, d)``, pooled within groups, which are joined: ``(n, n_groups * d)``."""

    def __init__(self, how: Pooling, n_features: int) -> None:
        super().__init__()
        self.how = how
        if how == "attention":
            self.attention = GatedAttention(n_features)

    def forward(self, bags: torch.Tensor) -> torch.Tensor:
        """Pool and join."""
        if self.how == "attention":
            return self.attention(bags).flatten(1)
        return (bags.amax(dim=2) if self.how == "max" else bags.mean(dim=2)).flatten(1)


class BagNetwork(Network):
    """One network on several pictures of a case, and a classifier on their pooled features.

    Parameters
    ----------
    backbone, entry, build
        As of `Network`; the backbone has no classifier.
    n_pictures, n_groups
        Of a case; pictures of a group (a sequence, or a single plane) are pooled, groups stand side by side.
    grey_channels, n_masks
        Of one picture. Crops come as `InputSpec.shape` says: all grey channels, then all masks.
    """

    def __init__(
        self,
        backbone: nn.Module,
        entry: Entry,
        *,
        n_classes: int,
        n_pictures: int,
        n_groups: int,
        grey_channels: int,
        n_masks: int,
        pooling: Pooling,
        drop_rate: float,
        build: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, entry, build=build)
        self.n_pictures, self.n_groups = n_pictures, n_groups
        self.grey_channels, self.n_masks = grey_channels, n_masks
        self.pool = Pool(pooling, self.num_features)
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(n_groups * self.num_features, n_classes)

    def blocks(self, *, coarse: bool = False) -> list[dict[str, nn.Parameter]]:
        """Return the backbone's blocks, and the pooling with the classifier as the last."""
        own = {name: value for name, value in self.named_parameters() if not name.startswith("backbone.")}
        return [*super().blocks(coarse=coarse), own]

    def pictures(self, crops: torch.Tensor) -> torch.Tensor:
        """Return crops ``(n, n_pictures * channels, ...)`` as pictures ``(n, n_pictures, channels, ...)``."""
        n_grey, sides = self.n_pictures * self.grey_channels, crops.shape[2:]
        grey = crops[:, :n_grey].reshape(len(crops), self.n_pictures, self.grey_channels, *sides)
        masks = crops[:, n_grey:].reshape(len(crops), self.n_pictures, self.n_masks, *sides)
        return torch.cat([grey, masks], dim=2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_classes)`` of crops ``(n, n_pictures * channels, height, width)``."""
        seen = self.pictures(crops).unflatten(1, (self.n_groups, -1))
        if self.training and seen.shape[2] > TRAINED_PICTURES:
            seen = self._some(seen)
        flat = seen.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        bags = super().forward(flat).unflatten(0, tuple(seen.shape[:3]))
        return self.classifier(self.dropout(self.pool(bags)))

    @staticmethod
    def _some(seen: torch.Tensor) -> torch.Tensor:
        """Return a few pictures of each bag ``(n, n_groups, n_pictures, ...)``, the same of all its sequences."""
        # drawn on the CPU, whose random state is that of the epoch on any device
        chosen = torch.rand(len(seen), seen.shape[2]).argsort(dim=1)[:, :TRAINED_PICTURES].to(seen.device)
        return torch.stack([bag[:, picks] for bag, picks in zip(seen, chosen, strict=True)])


def build_bag(
    name: str, *, n_classes: int, layout: Mapping[str, Any], seed: int = 0, **options: Any
) -> BagNetwork:
    """Return zoo network `name` on several pictures of a case; `layout` is what `layout_of` says of them.

    Further options are those of `build_2d`; dropout is before the classifier, which sees all pictures.
    """
    drop_rate = float(options.pop("drop_rate", 0.0))
    channels = {"in_channels": layout["grey_channels"], "mask_channels": layout["n_masks"]}
    base = build_2d(name, n_classes=0, seed=seed, **channels, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BagNetwork(
            base.backbone,
            base.entry,
            n_classes=n_classes,
            drop_rate=drop_rate,
            build={"name": name, "n_classes": n_classes, "layout": dict(layout)},
            **layout,
        )
    network.to(memory_format=torch.channels_last)
    return network
