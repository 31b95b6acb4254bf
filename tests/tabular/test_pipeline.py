"""The space and the pipelines it describes: every hyperparameter counts, nothing leaks, equal seeds agree."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest
from ConfigSpace import CategoricalHyperparameter, Configuration
from sklearn.datasets import make_classification

from autoonco.errors import UnknownNameError
from autoonco.resources import load_space
from autoonco.tabular.learners import LEARNERS, TAKES_NO_CLASS_WEIGHT
from autoonco.tabular.pipeline import build_pipeline, complete, tabular_space


def table(n_classes: int, n_cases: int = 90):
    X, y = make_classification(
        n_cases, 30, n_informative=6, n_classes=n_classes, n_clusters_per_class=1, class_sep=2, random_state=1
    )
    X[::7, 3] = np.nan
    X[:, 4] = np.nan
    X[:, 5] = 1.0
    return X, y


def build(config, n_classes: int = 2, seed: int = 0):
    return build_pipeline(config, n_features=30, n_classes=n_classes, n_train=90, seed=seed)


def values_of(parameter) -> tuple:
    """Every choice, or the ends of a range."""
    if isinstance(parameter, CategoricalHyperparameter):
        return tuple(parameter.choices)
    return parameter.lower, parameter.upper


def context_of(space, name: str) -> dict:
    """The values of parents that make a hyperparameter active."""
    found: dict = {}
    for condition in space.parent_conditions_of[name]:
        value = condition.values[0] if hasattr(condition, "values") else condition.value
        found |= {condition.parent.name: value} | context_of(space, condition.parent.name)
    return found


ALL = [name for name in tabular_space() if name != "learner"]


@pytest.fixture(scope="module")
def rough():
    """Where every setting can matter: overlapping classes of unequal size, like columns, skewed ones with gaps."""
    X, y = make_classification(
        150, 30, n_informative=8, n_redundant=8, weights=[0.7], flip_y=0.15, class_sep=0.6, random_state=3
    )
    X[:, ::2] = np.exp(X[:, ::2])
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return X, y


@pytest.mark.parametrize("name", ALL)
def test_every_hyperparameter_changes_what_is_predicted(name, rough):
    X, y = rough
    if ":" not in name:  # of few columns a selection would keep all
        X = np.hstack([X, np.random.default_rng(1).normal(size=(150, 30)) + 0.2 * y[:, None]])
    space = tabular_space()
    base = context_of(space, name)
    found = []
    for value in values_of(space[name]):
        config = complete(space, base | {name: value})
        assert name in config
        found.append(build(config).fit(X[:100], y[:100]).predict_proba(X[100:]))
    # Of ten ways to resample two may make the same table; none may make the table that was there.
    pairs = [(found[0], other) for other in found[1:]]
    for one, other in pairs if name == "sampler" else itertools.combinations(found, 2):
        assert np.abs(one - other).max() > 1e-3


WEIGHTED = [name for name in LEARNERS if name not in TAKES_NO_CLASS_WEIGHT]


@pytest.mark.parametrize("learner", WEIGHTED)
def test_class_weights_reach_every_learner(learner):
    found = [
        build(complete(tabular_space(), {"learner": learner, "class_weight": weight})).get_params()
        for weight in ("none", "balanced")
    ]
    weights = [{key: value for key, value in p.items() if key.endswith("class_weight")} for p in found]
    assert set(weights[0].values()) == {None}
    assert set(weights[1].values()) == {"balanced"}


@pytest.mark.parametrize("learner", WEIGHTED)
def test_balanced_weights_raise_the_rare_class(learner):
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(90, int), np.ones(20, int)]
    X = rng.normal(size=(110, 4)) + 0.7 * y[:, None]
    small = {"random_forest:min_samples_leaf": 8} if learner == "random_forest" else {}
    means = []
    for weight in ("none", "balanced"):
        config = complete(tabular_space(), {"learner": learner, "class_weight": weight, **small})
        fitted = build_pipeline(config, n_features=4, n_classes=2, n_train=110, seed=0).fit(X, y)
        # Platt's sigmoid undoes weights in the probabilities of a support vector machine: look at its own score.
        score = fitted[:-1].transform(X)
        if learner == "svm":
            machine = fitted["learner"].machine_
            means.append((machine.decision_function(score) > 0).mean())
        else:
            means.append(fitted.predict_proba(X)[:, 1].mean())
    assert means[1] > means[0] + 0.02


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_sampled_configs_fit_and_repeat(n_classes, seed):
    space = tabular_space()
    space.seed(seed)
    X, y = table(n_classes)
    config = dict(space.sample_configuration()) | small(seed)
    one, other = (build(config, n_classes, seed=5).fit(X, y) for _ in range(2))
    found = one.predict_proba(X)
    assert found.shape == (90, n_classes)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found, other.predict_proba(X))


def small(seed: int) -> dict:
    """Few trees: the test is about the space, not about accuracy."""
    return {"random_forest:n_estimators": 20, "xgboost:n_estimators": 20}


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_defaults_learn_without_deprecation_warnings(learner, n_classes):
    X, y = table(n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        config = complete(tabular_space(), {"learner": learner})
        pipeline = build_pipeline(config, n_features=30, n_classes=n_classes, n_train=60, seed=0)
        fitted = pipeline.fit(X[:60], y[:60])
        assert fitted.score(X[60:], y[60:]) > (0.75 if n_classes == 2 else 0.5)


@pytest.mark.parametrize("penalty", ["l1", "l2", "elasticnet"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_penalties_are_what_they_say(penalty, n_classes):
    X, y = table(n_classes)
    values = {"learner": "logistic_regression", "logistic_regression:penalty": penalty, "correlation": 1.0}
    fitted = build(complete(tabular_space(), values | {"logistic_regression:C": 0.03}), n_classes).fit(X, y)
    share_zero = (fitted["learner"].coef_ == 0).mean()
    assert (share_zero > 0.3) == (penalty != "l2")


@pytest.mark.parametrize(
    "values", [{"selection": "pca"}, {"selection": "l1", "scale": "power"}, {"learner": "xgboost"}]
)
def test_a_row_is_predicted_alike_alone_and_in_company(values):
    X, y = table(2)
    fitted = build(complete(tabular_space(), values)).fit(X, y)
    row_by_row = np.vstack([fitted.predict_proba(row[None]) for row in X[60:70]])
    np.testing.assert_allclose(fitted.predict_proba(X[60:70]), row_by_row, atol=1e-9)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_rare", [1, 2, 3])
def test_a_class_of_few_training_cases_can_be_learned(learner, n_classes, n_rare):
    rng = np.random.default_rng(n_rare)
    y = np.r_[np.tile(np.arange(n_classes - 1), 20), np.full(n_rare, n_classes - 1)]
    X = rng.normal(size=(len(y), 6)) + 4 * np.eye(6)[y]
    config = complete(tabular_space(), {"learner": learner}) | small(0)
    fitted = build_pipeline(config, n_features=6, n_classes=n_classes, n_train=len(y), seed=0).fit(X, y)
    found = fitted.predict_proba(rng.normal(size=(n_classes, 6)) + 4 * np.eye(6)[:n_classes])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    if learner == "svm":
        assert found[-1, -1] == found[:, -1].max()


def test_threads_change_no_bit_of_a_forest():
    X, y = table(2)
    config = complete(tabular_space(), {"learner": "random_forest"}) | {"random_forest:n_estimators": 60}
    one, two = (
        build_pipeline(config, n_features=30, n_classes=2, n_train=90, seed=0, n_threads=n).fit(X, y)
        for n in (1, 2)
    )
    for _ in range(5):
        np.testing.assert_array_equal(two.predict_proba(X), one.predict_proba(X))


def test_space_of_some_learners_and_steps():
    space = tabular_space(learners=["svm", "logistic_regression"], steps=["scale", "class_weight"])
    assert {name.partition(":")[0] for name in space} == {
        "learner", "scale", "class_weight", "svm", "logistic_regression",
    }  # fmt: skip
    assert "scale" in complete(space, {"learner": "logistic_regression"})
    assert "scale" not in tabular_space(learners=["xgboost"])
    assert "scale" not in complete(tabular_space(), {"learner": "random_forest"})


def test_defaults_in_the_yaml_and_code_agree_on_the_learners():
    space = tabular_space()
    for name in LEARNERS:
        assert {key for key in space if key.startswith(f"{name}:")} == {
            f"{name}:{key}" for key in load_space(f"learner_{name}")
        }


def test_configs_are_plain_json():
    config = complete(tabular_space(), {"learner": "xgboost", "selection": "anova"})
    assert json.loads(json.dumps(config)) == config
    assert {type(value) for value in config.values()} <= {str, int, float}


def test_unknown_names_are_told():
    with pytest.raises(UnknownNameError, match="svm"):
        tabular_space(learners=["svn"])
    with pytest.raises(UnknownNameError, match="impute"):
        tabular_space(steps=["imputation"])
    with pytest.raises(UnknownNameError, match="learner"):
        complete(tabular_space(), {"learners": "svm"})
    with pytest.raises(UnknownNameError, match="xgboost"):
        build({"learner": "xgbost"})


@pytest.mark.parametrize("component", ["tabular", "parametric3d", "training", "slices"])
def test_a_completed_config_is_a_point_and_what_configspace_draws_is_complete(component) -> None:
    """ConfigSpace refuses a value too many or too few."""
    space = tabular_space() if component == "tabular" else load_space(component)
    space.seed(0)
    for drawn in map(dict, space.sample_configuration(25)):
        assert complete(space, drawn) == drawn
        roots = {name: value for name, value in drawn.items() if not space.parents_of[name]}
        found = complete(space, roots)
        assert dict(Configuration(space, values=found)) == found
        assert all(found[name] in (drawn.get(name), space[name].default_value) for name in found)


def test_what_hangs_on_something_left_out_is_left_out_too() -> None:
    """A transformer has no stem, so no step of it, though `stem` has the default that the step hangs on."""
    found = complete(load_space("parametric3d"), {"body": "transformer"})
    assert not {"stem", "stem_stride", "stem_patch", "stages"} & found.keys()
    assert {"patch_size", "layers"} <= found.keys()
