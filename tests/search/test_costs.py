from __future__ import annotations

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Float

from autoonco.search.costs import SecondsModel, SecondsSurface
from autoonco.search.space import split
from autoonco.search.surrogate import vectors


def test_predictions_follow_what_was_measured():
    model = SecondsModel()
    assert model.predict("a", prior_s=10) == 10
    for _ in range(20):
        model.add("a", prior_s=10, measured_s=30)
    assert model.predict("a", prior_s=2) == pytest.approx(6)
    for _ in range(5):  # artefacts are cached now: the latest trials count
        model.add("a", prior_s=10, measured_s=1)
    assert model.predict("a", prior_s=2) == pytest.approx(0.2)
    assert model.predict("b", prior_s=2) == 2


def slow_and_fast(model, n, *, factor=8.0):
    rng = np.random.default_rng(0)
    for _ in range(n):
        config = {"kind": str(rng.choice(["slow", "fast"])), "x": float(rng.random())}
        measured = 10 * (factor if config["kind"] == "slow" else 1.0)
        model.add("a", prior_s=10, measured_s=measured, config=config)


def test_configs_that_take_longer_than_their_prior_says_are_told_apart():
    model = SecondsModel()
    slow_and_fast(model, 40)
    slow = model.predict("a", prior_s=10, config={"kind": "slow", "x": 0.5})
    fast = model.predict("a", prior_s=10, config={"kind": "fast", "x": 0.5})
    assert slow == pytest.approx(80, rel=0.3)
    assert fast == pytest.approx(10, rel=0.3)
    for strange in ({"kind": "never seen", "x": 0.5}, {"other": 1}, None):
        assert 9 <= model.predict("a", prior_s=10, config=strange) <= 90


def test_slow_configs_among_the_latest_do_not_count_twice():
    model = SecondsModel()
    slow_and_fast(model, 40)
    for _ in range(9):
        model.add("a", prior_s=10, measured_s=80, config={"kind": "slow", "x": 0.5})
    assert model.predict("a", prior_s=10, config={"kind": "fast", "x": 0.5}) == pytest.approx(10, rel=0.4)


def test_with_few_trials_the_config_makes_no_difference():
    model = SecondsModel()
    slow_and_fast(model, 9)
    predictions = {model.predict("a", prior_s=1, config={"kind": kind}) for kind in ["slow", "fast", "other"]}
    assert len(predictions) == 1


def test_cheap_configs_say_nothing_of_another_kind():
    """Heads on cached embeddings took a twelfth of their prior, and so fine-tunings were begun that never ended."""
    model = SecondsModel(kind=lambda _family, config: str(config["kind"]))
    for _ in range(30):
        model.add("a", prior_s=12, measured_s=1, config={"kind": "frozen", "x": 1})
    frozen, trained = {"kind": "frozen", "x": 2}, {"kind": "trained", "x": 2}
    assert model.predict("a", prior_s=12, config=frozen) == pytest.approx(1)
    assert model.predict("a", prior_s=60, config=trained) == 60
    model.add("a", prior_s=60, measured_s=120, config=trained)
    assert model.predict("a", prior_s=60, config=trained) == pytest.approx(120)
    assert model.predict("a", prior_s=12, config=frozen) == pytest.approx(1)
    np.testing.assert_allclose(np.exp(model.log_corrections("a", [trained, frozen])), [2, 1 / 12])


def test_the_mode_prior_uses_no_measured_second():
    model = SecondsModel(mode="prior")
    slow_and_fast(model, 40)
    assert model.predict("a", prior_s=7, config={"kind": "slow", "x": 0.1}) == 7


@pytest.fixture
def space():
    space = ConfigurationSpace(seed=0)
    root = Categorical("family", ["cheap", "dear"])
    space.add(root)
    for name in root.choices:
        sub = ConfigurationSpace()
        sub.add(Float("size", (0.0, 1.0)))
        space.add_configuration_space(
            name, sub, delimiter=":", parent_hyperparameter={"parent": root, "value": name}
        )
    return space


def prior(family, config):
    return {"cheap": 2.0, "dear": 7200.0}[family] * 10 ** config["size"]


def test_the_surface_is_the_prior_where_nothing_was_measured(space):
    surface = SecondsSurface(SecondsModel(prior=prior), space.sample_configuration(500))
    new = space.sample_configuration(200)
    exact = np.log([prior(*split(config)) for config in new])
    found = surface(vectors(new))
    assert np.abs((found - found.mean()) - (exact - exact.mean())).max() < 0.3  # they span log(36000) = 10.5


def test_the_surface_follows_what_was_measured(space):
    model = SecondsModel(prior=prior)
    surface = SecondsSurface(model, space.sample_configuration(500))
    new = space.sample_configuration(100)
    dear = np.array([config["family"] == "dear" for config in new])

    def gap():
        found = surface(vectors(new))
        return found[dear].mean() - found[~dear].mean()

    before = gap()
    for _ in range(9):
        model.add("dear", prior_s=100, measured_s=10)
    assert gap() - before == pytest.approx(np.log(0.1), abs=0.05)


def test_a_surface_needs_a_prior(space):
    with pytest.raises(ValueError, match="no prior"):
        SecondsSurface(SecondsModel(), space.sample_configuration(2))
