"""A trained network asked about several views of a case, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.data.cache import digest
from autoonco.errors import TrainingDivergedError
from autoonco.nets.augmentation import Augmentation, move
from autoonco.nets.embeddings import forward

_CHUNK = 64
"""Cases that are moved at a time."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Which views of a case are seen.

    Parameters
    ----------
    n
        How many; the first is the case as it is.
    strength, flips
        How far the others are moved at most, as in `Augmentation`.
    """

    n: int = 1
    strength: float = 0.5
    flips: Literal["none", "left_right", "all"] = "left_right"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any] | None) -> Views:
        """Read what `to_json` wrote; without it there is one view."""
        return cls(**(plain or {}))


def predict(
    network: nn.Module, crops: NDArray[np.uint8], views: Views, *, device: str, n_threads: int
) -> NDArray[np.float64]:
    """Return probabilities ``(n_cases, n_classes)`` of crops ``(n_cases, channels, ...)``, the mean over views.

    Each view moves all cases alike, so that what is said of a case does not hang on its company.

    Raises
    ------
    TrainingDivergedError
        If the network gives anything but finite numbers.
    """
    found = [
        _probabilities(forward(network, view_of(crops, views, number), device=device, n_threads=n_threads))
        for number in range(views.n)
    ]
    return np.asarray(np.mean(found, axis=0))


def view_of(crops: NDArray[np.uint8], views: Views, number: int) -> NDArray[np.uint8]:
    """Return crops ``(n_cases, channels, ...)`` as view `number` shows them; 0 is as they are."""
    if number == 0:
        return crops
    how = Augmentation(strength=views.strength, flips=views.flips)
    seed = int(digest("view", number)[:15], 16)
    out = np.empty_like(crops)
    for start in range(0, len(crops), _CHUNK):
        part = torch.from_numpy(crops[start : start + _CHUNK]).float()
        moved = move(part, how, generator=torch.Generator().manual_seed(seed), together=True)
        out[start : start + _CHUNK] = moved.round().clamp(0, 255).byte().numpy()
    return out


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    if not np.isfinite(logits).all():
        raise TrainingDivergedError(
            "The trained network gives no finite number; its learning rate was too high."
        )
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
