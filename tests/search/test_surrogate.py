from __future__ import annotations

import numpy as np
import pytest
from ConfigSpace import Categorical, Configuration, ConfigurationSpace, EqualsCondition, Float
from scipy.stats import spearmanr
from smac.model.random_forest import RandomForest

from autoonco.search.surrogate import BudgetForest, Observations, Surrogate, vector_key, vectors


@pytest.fixture
def space():
    space = ConfigurationSpace(seed=0)
    root = Categorical("family", ["fast", "slow"])
    space.add(root)
    for name in root.choices:
        sub = ConfigurationSpace()
        kind = Categorical("kind", ["a", "b"])
        only_a = Float("only_a", (0.0, 1.0))
        sub.add(kind, only_a, Float("x", (0.0, 1.0)), EqualsCondition(only_a, kind, "a"))
        space.add_configuration_space(
            name, sub, delimiter=":", parent_hyperparameter={"parent": root, "value": name}
        )
    return space


def x_of(config):
    return config[f"{config['family']}:x"]


def loss_of(config, budget):
    """`slow` is better by 0.2 at full budget and looks worse by 0.4 at 1/27: curves of families cross."""
    slow = config["family"] == "slow"
    return 0.3 + 0.2 * abs(x_of(config) - 0.3) + (slow * (-0.2 + 0.6 * (np.log(budget) / np.log(1 / 27))))


def test_the_forest_knows_the_order_at_full_budget_where_rungs_favour_a_family(space):
    surrogate = Surrogate(space, seed=0, all_rungs=True)
    configs = space.sample_configuration(150)
    for number, config in enumerate(configs):
        for budget in [1 / 27, 1 / 9, 1 / 3, 1.0][
            : 1 + (number % 3 == 0) + (number % 9 == 0) + (number % 9 == 0)
        ]:
            surrogate.observations.add(config, budget, loss_of(config, budget))
    new = space.sample_configuration(200)
    mean, std = surrogate.predict(new)
    truth = np.array([loss_of(config, 1.0) for config in new])
    at_the_lowest = np.array([loss_of(config, 1 / 27) for config in new])
    assert spearmanr(mean, truth).statistic > 0.85
    assert spearmanr(at_the_lowest, truth).statistic < 0  # what a rung alone would say
    assert (std >= 0).all()


def test_it_learns_from_the_top_rung_alone_where_told_so(space):
    surrogate = Surrogate(space, seed=0, all_rungs=False)
    configs = space.sample_configuration(60)
    for config in configs:
        surrogate.observations.add(config, 1 / 27, 100.0)
    for config in configs[:30]:
        surrogate.observations.add(config, 1.0, x_of(config))
    mean, _ = surrogate.predict(space.sample_configuration(50))
    assert mean.max() <= 1.0


def test_predictions_are_those_of_smacs_own_forest(space):
    observations = Observations()
    for config in space.sample_configuration(80):
        for budget in (1 / 3, 1.0):
            observations.add(config, budget, loss_of(config, budget))
    x, y = observations.training_set(all_rungs=True)
    options = {"n_trees": 10, "max_leaf_nodes": None, "n_jobs": 1, "seed": 3}
    options |= {"ratio_features": 1.0, "min_samples_split": 2, "min_samples_leaf": 1}
    theirs = RandomForest(space, instance_features={"full": [0.0]}, **options).train(x, y)
    ours = BudgetForest(space, seed=3).train(x, y)
    new = vectors(space.sample_configuration(50))
    for mine, other in zip(ours.predict_marginalized(new), theirs.predict_marginalized(new), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-12)


def test_a_second_result_of_a_trial_replaces_the_first(space):
    observations = Observations()
    config = space.sample_configuration()
    observations.add(config, 1.0, 0.9)
    version = observations.version
    observations.add(config, 1.0, 0.1)
    x, y = observations.training_set(all_rungs=True)
    assert x.shape == (1, len(space) + 1)
    assert y.tolist() == [[0.1]]
    assert observations.version > version


@pytest.mark.parametrize("losses", [[0.0] * 20, [0.0] * 16 + [0.2] * 4, [0.0, 0.1, 0.2, 0.3] * 5])
def test_losses_without_outliers_stay_as_they_are(space, losses):
    observations = Observations()
    for config, loss in zip(space.sample_configuration(20), losses, strict=True):
        observations.add(config, 1.0, loss)
    assert sorted(observations.training_set(all_rungs=True)[1].ravel()) == sorted(losses)


def test_a_huge_loss_stays_the_worst_and_no_longer_rules(space):
    observations = Observations()
    for config, loss in zip(space.sample_configuration(20), [*np.linspace(0, 0.4, 19), 1e30], strict=True):
        observations.add(config, 1.0, loss)
    y = observations.training_set(all_rungs=True)[1].ravel()
    assert y.argmax() == 19
    assert 0.4 <= y.max() < 1.2


def test_nothing_known_nothing_predicted(space):
    with pytest.raises(ValueError, match="no result"):
        Surrogate(space, seed=0, all_rungs=True).predict(space.sample_configuration(2))


def test_equal_configs_have_equal_keys_after_a_round_trip_of_their_values(space):
    configs = space.sample_configuration(200)
    again = [Configuration(space, values=dict(config)) for config in configs]
    assert [vector_key(config) for config in again] == [vector_key(config) for config in configs]
    assert len({vector_key(config) for config in configs}) == 200
