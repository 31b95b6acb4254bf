"""DeLong and Obuchowski against their definitions: double loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from autoonco.metrics.delong import components, variance


def pairwise(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The structural components by their definition, O(n^2)."""
    out = np.empty(len(scores))
    for i, own in enumerate(scores):
        others = scores[positive != positive[i]]
        wins = [(own > other) + 0.5 * (own == other) for other in others]
        out[i] = np.mean(wins) if positive[i] else 1 - np.mean(wins)
    return out


def delong_variance(positive: np.ndarray, values: np.ndarray) -> float:
    """S10 / m + S01 / n, DeLong (1988)."""
    v10, v01 = values[positive], values[~positive]
    return v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)


def obuchowski_variance(positive: np.ndarray, values: np.ndarray, groups: np.ndarray) -> float:
    """Obuchowski (1997) with explicit sums over clusters."""
    auc, m, n = values[positive].mean(), positive.sum(), (~positive).sum()
    s10 = s01 = s11 = 0.0
    clusters = np.unique(groups)
    i10 = sum(positive[groups == g].any() for g in clusters)
    i01 = sum((~positive[groups == g]).any() for g in clusters)
    for g in clusters:
        inside = groups == g
        x = (values[inside & positive] - auc).sum()
        y = (values[inside & ~positive] - auc).sum()
        s10, s01, s11 = s10 + x * x, s01 + y * y, s11 + x * y
    s10 *= i10 / ((i10 - 1) * m)
    s01 *= i01 / ((i01 - 1) * n)
    s11 *= len(clusters) / (len(clusters) - 1)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def draw(seed: int, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(40) < 0.35
    positive[:4] = [True, True, False, False]
    scores = rng.normal(1.0 * positive)
    return positive, np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_all_pairs(seed: int, ties: bool) -> None:
    positive, scores = draw(seed, ties=ties)
    found = components(positive, scores)
    np.testing.assert_allclose(found, pairwise(positive, scores), atol=1e-12)
    assert found[positive].mean() == pytest.approx(roc_auc_score(positive, scores))
    assert found[~positive].mean() == pytest.approx(roc_auc_score(positive, scores))


def test_hand_computed() -> None:
    # positives .35 .8, negatives .1 .4: V10 = (.5, 1), V01 = (1, .5); variances .125 and .125, each by 2
    positive = np.array([False, False, True, True])
    values = components(positive, np.array([0.1, 0.4, 0.35, 0.8]))
    np.testing.assert_allclose(values, [1, 0.5, 0.5, 1])
    var, freedom = variance(positive, values, np.arange(4))
    assert var == pytest.approx(0.125)
    assert freedom == pytest.approx(2)


@pytest.mark.parametrize("seed", range(5))
def test_one_case_a_patient_is_delong(seed: int) -> None:
    positive, scores = draw(seed, ties=seed % 2 == 1)
    values = components(positive, scores)
    found = variance(positive, values, np.arange(40))[0]
    assert found == pytest.approx(delong_variance(positive, values), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_clustered_is_obuchowski(seed: int) -> None:
    positive, scores = draw(seed)
    groups = np.random.default_rng(seed).integers(0, 15, 40)
    values = components(positive, scores)
    found = variance(positive, values, groups)[0]
    assert found == pytest.approx(obuchowski_variance(positive, values, groups), abs=1e-12)


def test_repeating_every_case_of_a_patient_adds_no_knowledge() -> None:
    positive, scores = draw(7)
    once = variance(positive, components(positive, scores), np.arange(40))
    thrice = np.repeat(np.arange(40), 3)
    again = variance(positive[thrice], components(positive[thrice], scores[thrice]), thrice)
    assert again == pytest.approx(once)
    ignored = variance(positive[thrice], components(positive[thrice], scores[thrice]), np.arange(120))
    assert ignored[0] < 0.4 * once[0]


def test_a_class_of_one_patient_has_no_variance() -> None:
    positive = np.array([True, True, False, False, False])
    values = components(positive, np.array([3.0, 2.0, 2.5, 1.0, 0.0]))
    assert np.isnan(variance(positive, values, np.array([0, 0, 1, 2, 3]))).all()
