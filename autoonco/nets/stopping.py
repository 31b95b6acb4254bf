"""Early stopping: on some of the training cases, patients kept whole, never on those that will be predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from autoonco.data.folds import Rows, holdout
from autoonco.errors import DataError
from autoonco.nets.embeddings import memory_order

PATIENCE = 0.25
"""Share of a training's epochs without a better one after which it ends; two at least."""
MAX_HELD_OUT = 0.5


@dataclass(kw_only=True)
class Stopping:
    """The best epoch's loss so far, and how many epochs have passed since."""

    patience: int
    best: float = math.inf
    since: int = 0

    @classmethod
    def of(cls, epochs: int) -> Stopping:
        """Return the state before the first of `epochs`."""
        return cls(patience=max(2, round(PATIENCE * epochs)))

    def tell(self, loss: float) -> bool:
        """Take note of an epoch's loss and return whether it is the best so far.

        Examples
        --------
        >>> stopping = Stopping(patience=2)
        >>> [stopping.tell(loss) for loss in (1.0, 0.5, 0.6, 0.7)], stopping.is_over
        ([True, True, False, False], True)
        """
        better = loss < self.best
        self.best, self.since = (loss, 0) if better else (self.best, self.since + 1)
        return better

    @property
    def is_over(self) -> bool:
        """Whether the training should end."""
        return self.since >= self.patience


def split_off(
    y: NDArray[Any], patients: Sequence[str] | None, share: float, *, seed: int
) -> tuple[Rows, Rows] | None:
    """Return (rows to train on, rows to stop by) with no patient in both, or None where the cases don't allow it.

    Each class has to be in both parts, for which few cases are held out in a larger share, up to a half; without
    `patients` each case is one.
    """
    groups = np.arange(len(y)).astype(str) if patients is None else np.asarray(patients)
    while share <= MAX_HELD_OUT:
        try:
            kept, held = holdout(y, groups, share, seed=seed)
        except (DataError, ValueError):  # too few patients of a class, or none at all in such a share
            share *= 1.5
        else:
            return (kept, held) if len(kept) > 1 else None
    return None


def held_out_loss(
    network: nn.Module,
    crops: torch.Tensor,
    y: torch.Tensor,
    *,
    weights: torch.Tensor | None,
    batch_size: int,
) -> float:
    """Return the cross-entropy of unchanged crops ``(n, channels, ...)`` of bytes; network in evaluation mode."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = [
            network(batch.to(device).contiguous(memory_format=memory_order(batch))).float()
            for batch in crops.split(batch_size)
        ]
        return float(functional.cross_entropy(torch.cat(logits), y.to(device), weight=weights))
