"""DeLong against an independent implementation, MLstatkit (a dependency of the tests alone), to 1e-10."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from autoonco.metrics.comparison import compare_auc
from autoonco.metrics.delong import components, variance

delong = pytest.importorskip("MLstatkit", reason="the oracle comes with the extra dev")


def task(seed: int, n: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(int)
    y[:4] = [0, 0, 1, 1]
    scores = rng.normal(size=(2, n)) + np.array([[0.6], [0.3]]) * y + 0.7 * rng.normal(size=n)
    p = norm.cdf(scores)
    return (y, *(np.round(p, 1) if ties else p))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [20, 60, 300])
@pytest.mark.parametrize("seed", range(4))
def test_variances_and_difference_are_those_of_another_implementation(seed: int, n: int, ties: bool) -> None:
    y, one, two = task(seed, n, ties=ties)
    *_, low_and_high, _, auc, other_auc, info = delong.Delong_test(y, one, two)
    assert info["method"] == "delong"
    positive, patients = y == 1, np.arange(n)
    values = [components(positive, p) for p in (one, two)]
    assert values[0][positive].mean() == pytest.approx(auc, abs=1e-10)
    assert values[1][positive].mean() == pytest.approx(other_auc, abs=1e-10)
    between = variance(positive, values[1] - values[0], patients)[0]
    assert between == pytest.approx(info["var_diff"], abs=1e-10)
    found = compare_auc(y, np.c_[1 - one, one], np.c_[1 - two, two])
    assert found.difference == pytest.approx(auc - other_auc, abs=1e-10)
    low, high = low_and_high  # its interval is auc +- z sqrt(variance), cut at 0 and 1
    own = np.sqrt(variance(positive, values[0], patients)[0])
    if low > 0 and high < 1:
        assert own == pytest.approx((high - low) / (2 * norm.ppf(0.975)), abs=1e-10)
