from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from autoonco.nets.builders import build_2d
from autoonco.nets.linear_head import LinearRecipe, fit_linear, restore_linear
from autoonco.nets.pooling import BagNetwork, GatedAttention, build_bag, pool_pictures
from autoonco.nets.views import TRAINED_PICTURES

NAME = "tf_efficientnet_lite0"
LAYOUT = {"n_pictures": 4, "n_groups": 2, "grey_channels": 3, "n_masks": 1, "pooling": "attention"}


def noise(n: int, layout: dict, size: int = 32) -> torch.Tensor:
    channels = layout["n_pictures"] * (layout["grey_channels"] + layout["n_masks"])
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def bag(**changes: object) -> BagNetwork:
    return build_bag(NAME, n_classes=3, layout=LAYOUT | changes, seed=1).eval()


@pytest.mark.parametrize("how", ["mean", "max", "mean_max", "concatenate"])
def test_pooling_is_that_of_a_loop(how: str) -> None:
    features = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0))
    rows = []
    for case in features.numpy():
        row = []
        for sequence in (case[:3], case[3:]):
            if how == "concatenate":
                row.extend(sequence)
                continue
            row += [getattr(np, part)(sequence, axis=0) for part in how.split("_")]
        rows.append(np.concatenate(row))
    np.testing.assert_allclose(pool_pictures(features, how, n_sequences=2), rows, rtol=1e-6)


def test_attention_weighs_pictures_by_what_they_show_and_not_by_their_order() -> None:
    torch.manual_seed(0)
    attention, bags = GatedAttention(6), torch.randn(4, 5, 6)
    torch.testing.assert_close(attention(bags), bags.mean(dim=1))  # at first
    torch.nn.init.normal_(attention.score.weight, std=3)
    weights = attention.weights(bags)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert weights.std() > 0.01
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(attention(bags[:, order]), attention(bags))
    torch.testing.assert_close(attention.weights(bags[:, order]), weights[:, order])


def test_bag_network_is_its_backbone_on_each_picture_then_pooled() -> None:
    network, crops = bag(pooling="max"), noise(2, LAYOUT)
    alone = build_2d(NAME, n_classes=0, mask_channels=1, seed=1).eval()
    with torch.inference_mode():
        features = []
        for case in crops:
            made = [
                alone(torch.cat([case[3 * p : 3 * p + 3], case[12 + p : 13 + p]])[None])[0] for p in range(4)
            ]
            features.append(torch.cat([torch.maximum(made[0], made[1]), torch.maximum(made[2], made[3])]))
        expected = network.classifier(torch.stack(features))
        torch.testing.assert_close(network(crops), expected, atol=1e-4, rtol=1e-4)


def test_order_within_a_sequence_does_not_count_and_sequences_are_not_exchanged() -> None:
    network, crops = bag(n_masks=0), noise(2, LAYOUT | {"n_masks": 0})
    torch.nn.init.normal_(network.pool.attention.score.weight)
    pictures = crops.unflatten(1, (4, 3))
    with torch.inference_mode():
        first = network(crops)
        torch.testing.assert_close(
            network(pictures[:, [1, 0, 3, 2]].flatten(1, 2)), first, atol=1e-5, rtol=1e-4
        )
        assert not torch.allclose(network(pictures[:, [2, 3, 0, 1]].flatten(1, 2)), first, atol=1e-5)


def test_training_sees_a_few_pictures_of_each_bag_drawn_anew() -> None:
    layout = {"n_pictures": 9, "n_groups": 1, "n_masks": 0}
    network, seen = bag(**layout), []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    crops = noise(2, LAYOUT | layout)
    network.eval()(crops)
    assert len(seen.pop()) == 2 * 9
    network.train()
    for _ in range(2):
        network(crops)
    one, other = seen
    assert len(one) == len(other) == 2 * TRAINED_PICTURES
    assert not torch.equal(one, other)
    known = network.prepared(crops.unflatten(1, (9, 3)).flatten(0, 1))
    assert all(any(torch.equal(picture, each) for each in known) for picture in one)


def test_every_parameter_is_in_one_block_and_the_head_in_the_last() -> None:
    network = bag()
    names = [name for block in network.blocks() for name in block]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert {"classifier.weight", "pool.attention.score.weight"} <= set(network.blocks()[-1])
    network.freeze_stages(3)
    assert network.classifier.weight.requires_grad
    assert not network.blocks()[0]["backbone.conv_stem.weight"].requires_grad


def test_seed_decides_the_whole_network() -> None:
    one, same, other = (
        build_bag(NAME, n_classes=3, layout=LAYOUT, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


RECIPE = LinearRecipe(epochs=40, learning_rate=0.01, weight_decay=0.01)


def needle(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bags of six pictures; those of class 1 have one picture that shows it, by a large value of feature 0."""
    rng = np.random.default_rng(seed)
    bags, y = rng.normal(size=(n, 1, 6, 8)), np.arange(n) % 2
    for row in np.flatnonzero(y):
        bags[row, 0, rng.integers(6), 0] += 5
    return bags, y


def test_attention_finds_the_picture_that_counts() -> None:
    """Better than the mean, in which one of six pictures drowns."""
    train, test = needle(240, 0), needle(200, 1)

    def accuracy(pooling: str) -> float:
        head = fit_linear(*train, RECIPE, pooling=pooling, seed=0)
        return float((head.predict_proba(test[0]).argmax(axis=1) == test[1]).mean())

    assert accuracy("attention") > accuracy("mean") + 0.05


def test_linear_head_is_logistic_regression_on_standardised_features() -> None:
    """Without decay of its own and to convergence both minimise the same convex loss."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)) * [1, 10, 0.1, 3] + 7
    y = (((X - 7) / [1, 10, 0.1, 3]).sum(axis=1) + 2 * rng.normal(size=150) > 0).astype(int)
    recipe = LinearRecipe(epochs=300, learning_rate=0.02, weight_decay=0.0)
    head = fit_linear(X[:, None, None], y, recipe, pooling="mean", seed=0)
    Z = StandardScaler().fit_transform(X)
    expected = LogisticRegression(C=np.inf).fit(Z, y).predict_proba(Z)
    np.testing.assert_allclose(head.predict_proba(X[:, None, None]), expected, atol=0.03)


def test_linear_head_is_stored_and_repeated_exactly() -> None:
    X, y = needle(40, 0)
    X[..., 3] = 1.0  # a column without variance
    head, again = (fit_linear(X, y, RECIPE, pooling="attention", seed=3) for _ in range(2))
    proba = head.predict_proba(X)
    assert np.isfinite(proba).all()
    assert (again.predict_proba(X) == proba).all()
    arrays = {key: value.numpy() for key, value in copy.deepcopy(head).state_dict().items()}
    assert (restore_linear(head.build, arrays).predict_proba(X) == proba).all()
    assert (fit_linear(X, y, RECIPE, pooling="attention", seed=4).predict_proba(X) != proba).any()
    far = X.copy()
    far[..., 3] = 1e6
    np.testing.assert_allclose(head.predict_proba(far), proba)
