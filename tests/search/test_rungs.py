from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from autoonco.families.contract import Fidelity
from autoonco.search.rungs import rung_correlations
from autoonco.search.trial import Origin, Status, Trial


def trial(number, family, budget, loss, origin=Origin.SEARCH):
    return Trial(
        id=number, scope="final", family=family, config={"x": number % 10}, budget=budget, fidelity=Fidelity(folds=1),
        status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=origin, seed=0, loss=loss, score=1 - loss,
    )  # fmt: skip


def test_a_rung_correlates_as_the_ranks_of_its_promoted_configs():
    rng = np.random.default_rng(0)
    low, full = rng.random(10), rng.random(6)
    trials = [trial(i, "a", 1 / 3, low[i]) for i in range(10)] + [
        trial(i, "a", 1.0, full[i]) for i in range(6)
    ]
    trials += [trial(i, "b", 1 / 3, low[i]) for i in range(3)] + [
        trial(i, "b", 1.0, full[i]) for i in range(3)
    ]
    trials.append(trial(0, "a", 1.0, 0.99, Origin.FINALIST))  # another score of the same config: not a rung
    table = rung_correlations(trials)
    assert table[["family", "n"]].to_numpy().tolist() == [["a", 6]]
    assert table["spearman"][0] == pytest.approx(spearmanr(low[:6], full).statistic)


def test_equal_losses_give_no_number():
    trials = [trial(i, "a", budget, 0.5) for budget in (1 / 9, 1.0) for i in range(5)]
    assert np.isnan(rung_correlations(trials)["spearman"]).tolist() == [True]
