from __future__ import annotations

import pytest
import torch
from torch import nn

from autoonco.nets.lora import LowRankLinear, add_low_rank, merge_low_rank
from autoonco.nets.network import Network
from autoonco.nets.recipe import Recipe, parameter_groups

SCALING = {"mean": [0.5] * 3, "std": [0.5] * 3}


def transformer(kind: str = "vit_tiny_patch16_224", **options: object) -> Network:
    """Return a small transformer of random weights for pictures of 32 pixels a side."""
    import timm

    torch.manual_seed(0)
    options = {"img_size": 32} | ({"depth": 2} if kind.startswith("vit") else {}) | options
    return Network(timm.create_model(kind, num_classes=3, **options), SCALING)


def pictures(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def learn(network: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.AdamW(parameter_groups(network, Recipe(epochs=1, learning_rate=0.01)), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.train()(pictures()), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    network.eval()


def test_nothing_changes_at_first() -> None:
    network = transformer().eval()
    before = network(pictures())
    names = add_low_rank(network, rank=4, alpha=8.0, targets="all", seed=0)
    assert len(names) == 2 * 4  # qkv, its projection and two of the perceptron, in each of two blocks
    torch.testing.assert_close(network(pictures()), before)


@pytest.mark.parametrize(
    "kind", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224"]
)
@pytest.mark.parametrize("targets", ["attention", "all"])
def test_merged_network_is_plain_and_says_the_same(kind: str, targets: str) -> None:
    options = (
        {"window_size": 4, "depths": (1, 1), "num_heads": (2, 4), "embed_dim": 32} if "swin" in kind else {}
    )
    network = transformer(kind, **(options or ({"depth": 2} if "eva" in kind else {})))
    plain = dict(network.state_dict())
    before = {name: value.clone() for name, value in plain.items()}
    assert add_low_rank(network, rank=4, alpha=8.0, targets=targets, seed=0)
    learn(network)
    expected = network(pictures())
    merged = merge_low_rank(network)
    assert not any(isinstance(module, LowRankLinear) for module in merged.modules())
    assert merged.state_dict().keys() == plain.keys()
    torch.testing.assert_close(merged.eval()(pictures()), expected, atol=1e-5, rtol=1e-5)
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    assert any("attn" in name for name in changed)
    allowed = ("attn", ".mlp.", "head", "fc_norm", "downsample")
    assert all(any(word in name for word in allowed) for name in changed), changed
    assert any("mlp" in name for name in changed) == (targets == "all")


def test_low_rank_is_low_rank_and_little_learns() -> None:
    network = transformer()
    weight = network.backbone.blocks[0].attn.qkv.weight.detach().clone()
    add_low_rank(network, rank=3, alpha=6.0, targets="attention", seed=0)
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    assert all(".down" in name or ".up" in name or "head" in name for name in learning)
    share = sum(p.numel() for p in network.parameters() if p.requires_grad) / sum(
        p.numel() for p in network.parameters()
    )
    assert share < 0.03
    learn(network)
    merge_low_rank(network)
    change = network.backbone.blocks[0].attn.qkv.weight.detach() - weight
    assert torch.linalg.matrix_rank(change, atol=1e-6) == 3


def test_gradient_is_that_of_the_formula() -> None:
    """Oracle: autograd through W + (alpha / r) B A as one matrix."""
    linear = nn.Linear(6, 5)
    layer = LowRankLinear(linear, rank=2, alpha=4.0, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(layer.up)
    values = torch.rand(3, 6)
    layer(values).square().sum().backward()
    down, up = (value.detach().clone().requires_grad_() for value in (layer.down, layer.up))
    whole = linear.weight.detach() + 2.0 * up @ down
    (values @ whole.T + linear.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.down.grad, down.grad)
    torch.testing.assert_close(layer.up.grad, up.grad)
    assert linear.weight.grad is None


def test_seed_draws_the_first_factor() -> None:
    drawn = []
    for seed in (0, 0, 1):
        network = transformer()
        add_low_rank(network, rank=2, alpha=2.0, targets="attention", seed=seed)
        drawn.append(network.backbone.blocks[0].attn.qkv.down.detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
