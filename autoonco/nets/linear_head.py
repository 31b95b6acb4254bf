"""A linear classifier of frozen embeddings, trained by gradient, with attention over the pictures of a case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from autoonco.errors import TrainingDivergedError
from autoonco.nets.embeddings import torch_threads
from autoonco.nets.pooling import Pool, Pooling

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class LinearRecipe:
    """How the head is trained: AdamW with a cosine down to zero, on all pictures of 64 cases at a time."""

    epochs: int
    learning_rate: float
    weight_decay: float
    dropout: float = 0.0
    label_smoothing: float = 0.0
    class_weight: Literal["none", "balanced"] = "none"


class LinearHead(nn.Module):  # type: ignore[misc]
    """Features ``(n, n_groups, n_pictures, d)``, standardised by the training cases', pooled, to logits."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, *, n_features: int, n_groups: int, n_classes: int, pooling: Pooling, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.build = {
            "n_features": n_features,
            "n_groups": n_groups,
            "n_classes": n_classes,
            "pooling": pooling,
        }
        self.register_buffer("mean", torch.zeros(n_groups, 1, n_features))
        self.register_buffer("std", torch.ones(n_groups, 1, n_features))
        self.pool = Pool(pooling, n_features)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(n_groups * n_features, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_classes)``."""
        out: torch.Tensor = self.classifier(self.dropout(self.pool((features - self.mean) / self.std)))
        return out

    def predict_proba(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities ``(n, n_classes)``, in double precision as the head is after its fit."""
        with torch.inference_mode(), torch_threads(1):
            logits = self(torch.from_numpy(np.asarray(features, np.float64)))
        return np.asarray(logits.softmax(dim=1).numpy())


def fit_linear(
    features: NDArray[Any], y: NDArray[Any], recipe: LinearRecipe, *, pooling: Pooling, seed: int
) -> LinearHead:
    """Return a head fitted on ``(n_cases, n_groups, n_pictures, n_features)`` with labels 0..n_classes-1.

    On one thread: the result hangs on the seed alone.

    Raises
    ------
    TrainingDivergedError
        If the weights are no longer finite.
    """
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        data = torch.from_numpy(np.asarray(features, np.float32)), torch.from_numpy(np.asarray(y, np.int64))
        head = LinearHead(
            n_features=data[0].shape[3],
            n_groups=data[0].shape[1],
            n_classes=int(data[1].max()) + 1,
            pooling=pooling,
            dropout=recipe.dropout,
        )
        nn.init.zeros_(head.classifier.weight)  # a convex start: every class alike
        nn.init.zeros_(head.classifier.bias)
        _standardise(head, data[0])
        _descend(head, *data, recipe)
    if not all(bool(torch.isfinite(value).all()) for value in head.parameters()):
        raise TrainingDivergedError(
            f"The linear head diverged; a learning rate below {recipe.learning_rate:g} avoids that."
        )
    head.double().eval()
    return head


def restore_linear(build: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
    """Return the head that its `build` and tensors describe."""
    head = LinearHead(**build)
    head.double().eval()
    head.load_state_dict(
        {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, strict=True
    )
    return head


def _standardise(head: LinearHead, features: torch.Tensor) -> None:
    std, mean = torch.std_mean(features, dim=(0, 2), correction=0, keepdim=True)
    head.mean.copy_(mean[0])
    # a column without variance says nothing, now or later
    head.std.copy_(torch.where(std[0] > 0, std[0], torch.full_like(std[0], math.inf)))


def _descend(head: LinearHead, features: torch.Tensor, y: torch.Tensor, recipe: LinearRecipe) -> None:
    weights = None
    if recipe.class_weight == "balanced":
        weights = len(y) / (len(y.unique()) * torch.bincount(y).float())
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    n_steps = recipe.epochs * math.ceil(len(y) / BATCH)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(y)).split(BATCH):
            loss = functional.cross_entropy(
                head(features[rows]), y[rows], weight=weights, label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cosine.step()
