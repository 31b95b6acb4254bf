"""What a head sees of cases: which embeddings of a frozen network, and how those of several pictures are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.families.contract import Config, Runtime
from autoonco.nets.inputs import InputSpec, split_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from autoonco.nets.network import Network

PicturePooling = Literal["mean", "max", "mean_max", "concatenate", "attention"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Which embeddings a head sees.

    Parameters
    ----------
    pooling, n_layers
        What one picture gives: see `nets.embeddings.feature_names`.
    pictures
        How those of a case are pooled, within each sequence; sequences stand side by side.
    keeps_pictures
        Whether the head pools them itself, as linear heads do.
    """

    pooling: str = "native"
    n_layers: int = 1
    pictures: PicturePooling = "mean"
    keeps_pictures: bool = False

    @classmethod
    def of(cls, config: Config) -> Features:
        """Return what a config of a frozen network asks for."""
        return cls(
            pooling=str(config.get("token_pooling", config.get("pooling", "native"))),
            n_layers=int(config.get("layers", 1)),
            pictures=picture_pooling(config),
            keeps_pictures=config.get("classifier") == "linear",
        )

    def within(self, n_layers: int) -> Features:
        """Return these features of a network that has `n_layers`: all of them where more are asked for.

        Examples
        --------
        >>> Features(n_layers=4).within(3).n_layers, Features(n_layers=2).within(12).n_layers
        (3, 2)
        """
        return replace(self, n_layers=min(self.n_layers, n_layers))


def picture_pooling(config: Config) -> Any:
    """Return how the pictures of a case become one answer: attention where that is learned with the rest.

    Examples
    --------
    >>> picture_pooling({"slices": "planes", "plane_pooling": "concatenate"})
    'concatenate'
    >>> picture_pooling({"slices": "all", "classifier": "linear"})
    'attention'
    """
    match config.get("slices"):
        case "planes":
            return config["plane_pooling"]
        case "several" | "all":
            return config.get("bag_pooling", config.get("slice_pooling", "attention"))
    return "mean"


def n_groups(spec: InputSpec, pictures: PicturePooling) -> int:
    """Return how many features stand side by side: one of each sequence, or of each picture."""
    return spec.n_pictures if pictures == "concatenate" else spec.n_sequences


def layout_of(spec: InputSpec, pictures: PicturePooling) -> dict[str, Any]:
    """Return how a network that is trained meets the pictures of a case, as `nets.pooling.build_bag` wants it."""
    grouped = pictures == "concatenate"
    return {
        "n_pictures": spec.n_pictures,
        "n_groups": n_groups(spec, pictures),
        "grey_channels": spec.grey_channels,
        "n_masks": spec.n_masks,
        "pooling": "mean" if grouped else pictures,
    }


def embeddings(
    cases: Sequence[Case],
    network: Network,
    spec: InputSpec,
    features: Features,
    runtime: Runtime,
    *,
    network_id: str,
) -> NDArray[np.float64]:
    """Return what a head sees of cases ``(n_cases, n)``; if it pools itself ``(n_cases, n_groups, n_pictures, n)``."""
    import torch

    from autoonco.nets.embeddings import embed, feature_names

    found = embed(
        cases,
        network,
        spec,
        runtime.artefacts,
        network_id=network_id,
        device=runtime.device,
        n_threads=runtime.n_threads,
        names=feature_names(features.pooling, n_layers=features.n_layers),
    )
    return np.asarray(_joined(torch.from_numpy(found.astype(np.float64)), spec, features).numpy())


def embed_crops(network: Network, given: Tensor, spec: InputSpec, features: Features) -> Tensor:
    """Return the same of crops ``(n, channels, ...)`` in 0..1, with the gradient by them."""
    from autoonco.nets.embeddings import side_by_side

    pictures = split_pictures(given, spec)
    found = side_by_side(network, pictures.flatten(0, 1), features.pooling, n_layers=features.n_layers)
    return _joined(found.unflatten(0, tuple(pictures.shape[:2])), spec, features)


def _joined(found: Tensor, spec: InputSpec, features: Features) -> Tensor:
    """Return features ``(n_cases, n_pictures, n)`` as the head wants them."""
    if features.keeps_pictures:
        return found.unflatten(1, (n_groups(spec, features.pictures), -1))
    from autoonco.nets.pooling import pool_pictures

    return pool_pictures(found, features.pictures, n_sequences=spec.n_sequences)
