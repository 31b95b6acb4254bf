from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.data.cache import ArtefactCache
from autoonco.nets import probe as module
from autoonco.nets.gradients import batch_gradient
from autoonco.nets.pace import Pace, Precision
from autoonco.nets.probe import BUDGET_S, pace_for, probe


class Clock:
    """Time that passes by what steps are said to take: `speeds` multiply a step of a tenth of a second."""

    def __init__(self, *, a_case_s: float = 0.01, **speeds: float) -> None:
        self.now, self.a_case_s, self.speeds, self.asked = 0.0, a_case_s, speeds, []

    def __call__(self) -> float:
        return self.now

    def step(
        self, network: nn.Module, batch: torch.Tensor, y: torch.Tensor, pace: Pace, threads: int
    ) -> float:
        factors = {
            "half": pace.is_half,
            "first": not pace.channels_last,
            "alone": threads == 1,
            "parts": pace.n_parts > 1,
        }
        self.asked.append(pace)
        seconds = self.a_case_s * len(batch)
        for name, applies in factors.items():
            seconds *= self.speeds.get(name, 1.0) if applies else 1.0
        self.now += (3 if seconds < 0.2 else 2) * seconds
        return seconds


@pytest.fixture(autouse=True)
def with_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CPU compute in half precision by itself, whatever it is."""
    monkeypatch.setattr(module, "half_is_native", lambda: True)


def small(*, norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * 36, 2))


def ask(clock: Clock, network: nn.Module | None = None, *, n_threads: int = 2, batch_size: int = 16) -> Pace:
    return probe(
        network or small(),
        (3, 8, 8),
        n_classes=2,
        batch_size=batch_size,
        n_threads=n_threads,
        stopwatch=clock.step,
        clock=clock,
    )


PRIOR = Pace(channels_last=True)


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({}, PRIOR),
        ({"half": 0.5}, Pace(channels_last=True, precision=Precision.HALF)),
        ({"half": 2.0}, PRIOR),
        ({"half": 0.95}, PRIOR),  # within the noise of a measurement
        ({"first": 0.7}, Pace(channels_last=False)),
        ({"alone": 0.7}, Pace(channels_last=True, n_threads=1)),
        ({"parts": 0.7}, Pace(channels_last=True, n_parts=2)),
        (
            {"half": 0.5, "first": 0.5, "alone": 0.5},
            Pace(channels_last=False, precision=Precision.HALF, n_threads=1),
        ),
    ],
)
def test_the_fastest_is_taken(speeds: dict[str, float], expected: Pace) -> None:
    assert ask(Clock(**speeds)) == expected


def test_half_precision_is_not_asked_of_a_machine_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "half_is_native", lambda: False)
    clock = Clock(half=0.5)
    assert ask(clock) == PRIOR
    assert not any(pace.is_half for pace in clock.asked)


def test_a_batch_is_not_cut_where_norms_would_notice() -> None:
    assert ask(Clock(parts=0.1), small(norm=True)).n_parts == 1


def test_one_thread_is_not_asked_about_threads() -> None:
    clock = Clock()
    ask(clock, n_threads=1)
    assert {pace.n_threads for pace in clock.asked} == {None}


@pytest.mark.parametrize("a_case_s", [0.0005, 0.01, 0.1, 0.5, 3.0])
def test_two_seconds_are_hardly_exceeded(a_case_s: float) -> None:
    """What is over is the precision's step, or the very first where one of two cases takes longer."""
    clock = Clock(a_case_s=a_case_s)
    found = ask(clock)
    assert clock.now <= max(2 * BUDGET_S, 3 * 2 * a_case_s)
    if a_case_s == 3.0:
        assert found == PRIOR


def test_network_and_random_numbers_are_as_before() -> None:
    network = small(norm=True)
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    probe(network, (3, 8, 8), n_classes=2, batch_size=4, n_threads=1)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_and_machine_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def measured(network: nn.Module, shape: tuple[int, ...], **how: object) -> Pace:
        calls.append(shape)
        return Pace(precision=Precision.HALF, channels_last=True, n_threads=1, n_parts=2)

    monkeypatch.setattr(module, "probe", measured)
    how = {"n_classes": 2, "batch_size": 8, "n_threads": 2}
    first = pace_for(small(), (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how)
    other_weights = small()
    nn.init.zeros_(other_weights[-1].weight)
    again = pace_for(other_weights, (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how)
    assert first == again == Pace(precision=Precision.HALF, channels_last=True, n_threads=1, n_parts=2)
    assert len(calls) == 1
    pace_for(small(norm=True), (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how)
    pace_for(small(), (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how | {"n_threads": 1})
    frozen = small()
    frozen[0].requires_grad_(False)
    pace_for(frozen, (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how)
    monkeypatch.setattr(module, "machine", lambda: ["another"])
    pace_for(small(), (3, 8, 8), artefacts=ArtefactCache(tmp_path), **how)
    assert len(calls) == 5


def test_pace_survives_json() -> None:
    pace = Pace(precision=Precision.HALF, channels_last=True, n_threads=3, n_parts=2)
    assert Pace.from_json(json.loads(json.dumps(pace.to_json()))) == pace


@pytest.mark.parametrize(
    "pace", [Pace(), Pace(channels_last=True), Pace(n_parts=2), Pace(precision=Precision.HALF)]
)
@pytest.mark.parametrize("ndim", [4, 5])
def test_every_pace_gives_the_gradient(pace: Pace, ndim: int) -> None:
    """Up to bfloat16's eight bits where that is the precision."""
    torch.manual_seed(0)
    conv = (nn.Conv2d if ndim == 4 else nn.Conv3d)(2, 4, 3)
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    batch = torch.rand(6, 2, *(6,) * (ndim - 2))
    y = torch.arange(6) % 2
    network(batch)
    found = []
    for way in (Pace(), pace):
        batch_gradient(network, batch, y, weights=None, label_smoothing=0.0, n_parts=way.n_parts, pace=way)
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]).numpy())
    assert np.linalg.norm(found[1] - found[0]) < (0.1 if pace.is_half else 1e-6) * np.linalg.norm(found[0])
    if pace.is_half:
        assert not np.array_equal(found[0], found[1])
