from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

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


def settled(crops: torch.Tensor, batch_size: int) -> tuple[Deep, torch.Tensor]:
    network = Deep()
    settle_norms(network, crops, batch_size=batch_size)
    return network, torch.stack([torch.stack([n.running_mean, n.running_var]) for n in network.norms])


@pytest.mark.parametrize("batch_size", [2, 8, 16])
@pytest.mark.parametrize("n", [96, 201])
@torch.no_grad()
def test_norms_of_small_batches_are_those_of_all_cases_whatever_their_order(batch_size: int, n: int) -> None:
    """A manifest sorted by class, its classes of unequal brightness: no batch of neighbours shows the spread."""
    rng = np.random.default_rng(0)
    brightness = np.sort(rng.integers(0, 3, n))[:, None, None, None] * 70
    crops = torch.from_numpy((brightness + rng.integers(0, 40, (n, 1, 12, 12))).astype(np.uint8))
    network, found = settled(crops, batch_size)
    expected = true_statistics(network, crops)
    spread = expected[:, 1].sqrt()
    shift = (found[:, 0] - expected[:, 0]).abs() / spread
    ratio = found[:, 1] / expected[:, 1]
    print('XX', batch_size, n, shift.amax(1), ratio.amin(1), ratio.amax(1))
    assert shift.max() < 0.05
    assert 0.9 < ratio.min() <= ratio.max() < 1.1
    _, shuffled = settled(crops[torch.randperm(n, generator=torch.Generator().manual_seed(1))], batch_size)
    assert ((shuffled[:, 0] - found[:, 0]).abs() / spread).max() < 0.05
    torch.testing.assert_close(shuffled[:, 1], found[:, 1], rtol=0.1, atol=0)
    assert all(norm.momentum == 0.1 and not norm.training for norm in network.norms)
