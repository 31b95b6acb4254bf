from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.families import get_family
from autoonco.families.contract import FitContext, Runtime
from autoonco.families.zero_cost import zero_cost_scores
from autoonco.nets.architecture import Architecture
from autoonco.nets.builders import build_parametric
from autoonco.nets.zero_cost import naswot, synflow
from autoonco.tabular.pipeline import complete

CROPS = np.random.default_rng(0).integers(0, 255, (6, 1, 32, 32), dtype=np.uint8)


class Codes(nn.Module):
    """A network of one layer of ReLUs, whose codes can be counted by hand."""

    def __init__(self, relu: nn.Module, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.relu = relu

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.relu(crops.flatten(1).float() @ self.weight)


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU6()])
def test_naswot_is_the_determinant_of_agreeing_units(relu: nn.Module) -> None:
    """Against a loop over pairs of crops, and units, as the paper writes it: N_A minus the Hamming distance."""
    torch.manual_seed(0)
    weight = torch.randn(32 * 32, 50)
    codes = (torch.from_numpy(CROPS).flatten(1).float() @ weight > 0).numpy()
    kernel = np.array([[50 - np.sum(a != b) for b in codes] for a in codes], dtype=float)
    assert naswot(Codes(relu, weight), CROPS) == pytest.approx(np.log(np.linalg.det(kernel)), abs=1e-6)


def test_crops_that_look_alike_to_the_network_score_lowest() -> None:
    network = build_parametric("parametric2d", Architecture(width=16), n_classes=2, in_channels=1, size=32)
    alike = np.concatenate([CROPS[:1], CROPS])
    assert naswot(network, CROPS) > 0
    assert naswot(network, alike) == -math.inf or naswot(network, alike) < naswot(network, CROPS) - 10
    assert naswot(Codes(nn.ReLU(), torch.ones(32 * 32, 3)), CROPS) == -math.inf  # all units pass all crops
    assert math.isnan(naswot(Codes(nn.GELU(), torch.ones(32 * 32, 3)), CROPS))


def test_scoring_leaves_the_network_and_the_generator_alone() -> None:
    network = build_parametric("parametric2d", Architecture(), n_classes=2, in_channels=1, size=32).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    for score in (naswot, synflow):
        assert score(network, CROPS) == score(network, CROPS)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_synflow_of_linear_layers_is_the_sum_over_paths() -> None:
    """R is linear in each layer's weights, so each of the two layers holds R = 1' |W2| |W1| 1 (Tanaka, eq. 2)."""
    torch.manual_seed(0)
    one, two = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
    flow = (two.weight.abs() @ one.weight.abs() @ torch.ones(3)).sum()
    crops = np.zeros((2, 3), np.uint8)
    assert synflow(nn.Sequential(one, two), crops) == pytest.approx(math.log(2 * flow.item()), abs=1e-5)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, FitContext]:
    folder: Path = tmp_path_factory.mktemp("phantoms")
    data = Dataset.from_csv(make_phantoms(folder, n=8, ndim=3))
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    return data, FitContext(runtime=runtime, fingerprint=fingerprint(data, inspect(data)), seed=0)


@pytest.mark.parametrize("score", ["naswot", "synflow"])
def test_configs_of_families_trained_from_scratch_are_scored(
    phantoms: tuple[Dataset, FitContext], score: str
) -> None:
    data, context = phantoms
    for name, chosen in {"scratch2d": {}, "volumetric3d": {"network": "parametric3d", "size": 24}}.items():
        family = get_family(name)
        configs = [
            complete(family.space(context.fingerprint), chosen | {"architecture:width": width})
            for width in (16, 24)
        ]
        scores = zero_cost_scores(family, configs, data.cases, context, score=score)
        assert scores.shape == (2,)
        assert np.isfinite(scores).all()
        assert scores[0] != scores[1]


def test_other_families_have_no_score(phantoms: tuple[Dataset, FitContext]) -> None:
    data, context = phantoms
    family = get_family("radiomics")
    assert np.isnan(zero_cost_scores(family, [{}, {}], data.cases, context)).all()
