from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.nets import norms
from autoonco.nets.norms import settle_norms


class Deep(nn.Module):
    """Four convolutions, each with its norm."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convs = nn.ModuleList(nn.Conv2d(8 if depth else 1, 8, 3) for depth in range(4))
            self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(4))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        values = crops.float() / 255
        for conv, norm in zip(self.convs, self.norms, strict=True):
            values = norm(conv(values)).relu()
        return values.flatten(2).mean(dim=2)


def true_statistics(network: Deep, crops: torch.Tensor) -> torch.Tensor:
    """Oracle: mean and variance ``(4, 2, 8)`` of each layer over all cases at once, without a norm's own code."""
    found, values = [], crops.float() / 255
    for conv in network.convs:
        values = conv(values)
        mean, var = values.mean(dim=(0, 2, 3)), values.var(dim=(0, 2, 3))
        found.append(torch.stack([mean, var]))
        values = ((values - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()).relu()
    return torch.stack(found)


def settled(crops: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Return what `settle_norms` leaves, in the form of `true_statistics`."""
    network = Deep()
    settle_norms(network, crops, batch_size=batch_size)
    assert all(norm.momentum == 0.1 and not norm.training for norm in network.norms)
    return torch.stack([torch.stack([norm.running_mean, norm.running_var]) for norm in network.norms])


@pytest.fixture
def sorted_crops() -> torch.Tensor:
    """A manifest sorted by class, its classes of unequal brightness: neighbours don't show the spread."""
    rng = np.random.default_rng(0)
    brightness = np.sort(rng.integers(0, 3, 201))[:, None, None, None] * 70
    return torch.from_numpy((brightness + rng.integers(0, 40, (201, 1, 12, 12))).astype(np.uint8))


@pytest.mark.parametrize("batch_size", [16, 64])
@torch.no_grad()
def test_norms_of_sorted_cases_are_those_of_all_cases_at_once(
    batch_size: int, sorted_crops: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in small batches, and in any order of the rows; the first layer's are exact."""
    monkeypatch.setattr(norms, "POSITIONS", 0)
    expected = true_statistics(Deep(), sorted_crops)
    other_order = sorted_crops[torch.randperm(201, generator=torch.Generator().manual_seed(1))]
    for crops in (sorted_crops, other_order):
        found = settled(crops, batch_size)
        torch.testing.assert_close(found[0, 0], expected[0, 0])
        torch.testing.assert_close(found[0, 1], expected[0, 1], rtol=0.01, atol=0)
        assert ((found[:, 0] - expected[:, 0]).abs() / expected[:, 1].sqrt()).max() < 0.1
        ratio = found[:, 1] / expected[:, 1]
        torch.testing.assert_close(ratio.mean(dim=1), torch.ones(4), rtol=0.1, atol=0)
        assert 0.75 < ratio.min() <= ratio.max() < 1.3


@torch.no_grad()
def test_norms_are_exact_where_memory_allows_whatever_the_training_batch(sorted_crops: torch.Tensor) -> None:
    expected = true_statistics(Deep(), sorted_crops)
    for crops in (sorted_crops, sorted_crops.flip(0)):
        torch.testing.assert_close(settled(crops, 8), expected, rtol=1e-3, atol=1e-4)
