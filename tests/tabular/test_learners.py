"""Learners of tables against their formulas, and what the search relies on: bounded, repeatable, storable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.stats import multivariate_normal
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.pipeline import Pipeline

from autoonco.tabular import boosting, learners
from autoonco.tabular.additive import SplineColumns
from autoonco.tabular.boosting import WeightedXGBClassifier, stopping_parts
from autoonco.tabular.bounded import CappedGaussianProcess, Neighbours, proportional_part
from autoonco.tabular.gaussian import ShrunkGaussians
from autoonco.tabular.learners import LEARNERS, SECONDS_PER_FIT, TRUSTED_FOUR, learner_weights, seconds_to_fit
from autoonco.tabular.pipeline import complete, tabular_space
from autoonco.tabular.serialise import from_parts, to_parts
from autoonco.tabular.weighted import WeightedNaiveBayes

CHEAP = {"random_forest:n_estimators": 10, "extra_trees:n_estimators": 10, "xgboost:n_estimators": 20}


def built(learner: str, n_classes: int, **values):
    """The learner alone, in the pipeline that stores it."""
    space = tabular_space(learners=[learner], steps=["class_weight"])
    config = complete(space, {k: v for k, v in (CHEAP | values).items() if k in space})
    found = learners.build_learner(config, n_classes=n_classes, seed=3, n_threads=1)
    return Pipeline([("learner", found)])


def rare(n_classes: int, n_rare: int = 2):
    """Classes apart from each other, the last one with `n_rare` cases."""
    rng = np.random.default_rng(n_rare)
    y = np.r_[np.tile(np.arange(n_classes - 1), 24), np.full(n_rare, n_classes - 1)]
    return rng.normal(size=(len(y), 6)) + 2 * np.eye(6)[y], y


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_repeat_and_survive_storage_to_the_last_bit(learner, n_classes):
    X, y = rare(n_classes)
    one, other = (built(learner, n_classes).fit(X, y) for _ in range(2))
    found = one.predict_proba(X)
    assert found.shape == (len(y), n_classes)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(other.predict_proba(X), found)
    stored = to_parts(one)
    np.testing.assert_array_equal(from_parts(stored).predict_proba(X), found)
    assert list(from_parts(stored).classes_) == list(range(n_classes))


@pytest.mark.parametrize("learner", LEARNERS)
def test_both_ends_of_every_range_give_probabilities(learner):
    X, y = make_classification(60, 12, n_informative=5, weights=[0.6], flip_y=0.2, random_state=0)
    space = tabular_space(learners=[learner], steps=[])
    for name, parameter in space.items():
        if not hasattr(parameter, "lower") or name.endswith("n_estimators"):
            continue
        parents = {
            c.parent.name: getattr(c, "values", [getattr(c, "value", None)])[0]
            for c in space.parent_conditions_of[name]
        }
        for value in (parameter.lower, parameter.upper):
            small = {key: value for key, value in CHEAP.items() if key in space}
            config = complete(space, small | parents | {name: value})
            fitted = learners.build_learner(config, n_classes=2, seed=0, n_threads=1).fit(X, y)
            found = fitted.predict_proba(X)
            assert np.isfinite(found).all(), config
            assert found.min() >= 0, config


def test_ranges_reach_as_far_as_worc():
    """WORC 3.7's SearchCV space, with the two logarithms that it meant."""
    space = tabular_space()
    for name, low, high in (
        ("svm:C", 1, 1e6), ("svm:gamma", 1e-5, 1), ("svm:degree", 1, 6),
        ("random_forest:n_estimators", 10, 1000), ("logistic_regression:C", 0.001, 100),
        ("lda:shrinkage", 1e-5, 1), ("qda:shrinkage", 1e-5, 1),
        ("xgboost:n_estimators", 10, 1000), ("xgboost:max_depth", 2, 14), ("xgboost:learning_rate", 0.001, 1),
        ("xgboost:gamma", 0.01, 10), ("xgboost:min_child_weight", 1, 10), ("xgboost:colsample_bytree", 0.3, 1),
        ("xgboost:subsample", 0.5, 1), ("adaboost:n_estimators", 10, 100), ("knn:n_neighbors", 5, 26),
    ):  # fmt: skip
        assert space[name].lower <= low, name
        assert space[name].upper >= high, name


def test_every_learner_has_a_price_and_the_trusted_come_more_often():
    assert set(LEARNERS) <= set(SECONDS_PER_FIT)
    assert seconds_to_fit("svm", 1000) > seconds_to_fit("svm", 10) > 0
    assert seconds_to_fit("a stranger", 500) > 0
    weights = dict(zip(LEARNERS, learner_weights(list(LEARNERS)), strict=True))
    assert min(weights[name] for name in TRUSTED_FOUR) > max(
        weight for name, weight in weights.items() if name not in TRUSTED_FOUR
    )
    space = tabular_space()
    space.seed(0)
    drawn = [config["learner"] for config in space.sample_configuration(400)]
    assert 0.5 < np.mean([name in TRUSTED_FOUR for name in drawn]) < 0.8
    assert set(drawn) == set(LEARNERS)


# --- discriminant analysis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("shrinkage", [1e-5, 0.2, 1.0])
@pytest.mark.parametrize("n_columns", [3, 40])
def test_gaussians_against_dense_covariances(pooled, shrinkage, n_columns):
    rng = np.random.default_rng(n_columns)
    y = rng.permutation(np.repeat([0, 1, 2], (12, 9, 4)))
    X = rng.normal(size=(25, n_columns)) @ rng.normal(size=(n_columns, n_columns)) + y[:, None]
    new = rng.normal(size=(8, n_columns)) + 1
    centred = X - np.stack([X[y == k].mean(axis=0) for k in range(3)])[y]
    ridge = shrinkage * np.mean(centred**2) * np.eye(n_columns)
    expected = []
    for label in range(3):
        rows = centred if pooled else centred[y == label]
        covariance = (1 - shrinkage) * rows.T @ rows / len(rows) + ridge
        mean = X[y == label].mean(axis=0)
        # As wide and nearly singular as these are, the density is computed by solving, not by scipy's inverse.
        offsets = new - mean
        distance = np.sum(offsets * np.linalg.solve(covariance, offsets.T).T, axis=1)
        expected.append(np.log(np.mean(y == label)) - (distance + np.linalg.slogdet(covariance)[1]) / 2)
    log = np.stack(expected, axis=1)
    proba = np.exp(log - log.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    found = ShrunkGaussians(pooled=pooled, shrinkage=shrinkage).fit(X, y).predict_proba(new)
    np.testing.assert_allclose(found, proba, atol=1e-6)


def test_gaussians_become_those_of_scikit_learn_and_scipy_without_shrinkage():
    X, y = make_classification(300, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
    linear = ShrunkGaussians(pooled=True, shrinkage=1e-9).fit(X, y)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    np.testing.assert_allclose(linear.predict_proba(X), oracle.predict_proba(X), atol=1e-5)
    quadratic = ShrunkGaussians(pooled=False, shrinkage=1e-9).fit(X, y)
    density = np.stack(
        [
            np.mean(y == k) * multivariate_normal(X[y == k].mean(0), np.cov(X[y == k].T, bias=True)).pdf(X)
            for k in range(3)
        ],
        axis=1,
    )
    np.testing.assert_allclose(
        quadratic.predict_proba(X), density / density.sum(axis=1, keepdims=True), atol=1e-5
    )
    loose = QuadraticDiscriminantAnalysis().fit(X, y).predict_proba(X)  # divides by n - 1
    np.testing.assert_allclose(quadratic.predict_proba(X), loose, atol=0.03)


@pytest.mark.parametrize("pooled", [True, False])
def test_gaussians_of_constant_classes_and_lone_cases(pooled):
    X, y = np.repeat(np.eye(3), (3, 3, 1), axis=0), np.repeat([0, 1, 2], (3, 3, 1))
    found = ShrunkGaussians(pooled=pooled, shrinkage=0.1).fit(X, y)
    assert np.isfinite(found.predict_proba(X)).all()
    assert found.predict(X).tolist() == y.tolist()


# --- splines --------------------------------------------------------------------------------------------------


def test_splines_sum_to_one_and_stay_beyond_the_range():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=50), rng.integers(0, 2, 50), np.full(50, 4.0)])
    splines = SplineColumns(n_knots=5).fit(X)
    found = splines.transform(X).toarray()
    assert found.shape == (50, 7 + 4)  # knots + 2, two knots of a column of 0 and 1, none of a constant
    np.testing.assert_allclose(found[:, :7].sum(axis=1), 1)
    far = X + np.array([100.0, 0, 0])
    np.testing.assert_array_equal(splines.transform(far).toarray()[:, :7], np.tile(np.eye(7)[6], (50, 1)))
    assert SplineColumns().fit(X[:, 2:]).transform(X[:, 2:]).shape == (50, 1)


def test_splines_against_a_loop_over_basis_elements():
    X = np.sort(np.random.default_rng(1).normal(size=(30, 1)), axis=0)
    knots = np.quantile(X[:, 0], np.linspace(0, 1, 4))
    padded = np.r_[[knots[0]] * 3, knots, [knots[-1]] * 3]
    expected = [BSpline(padded, np.eye(6)[i], 3)(X[:, 0]) for i in range(6)]
    np.testing.assert_allclose(
        SplineColumns(n_knots=4).fit(X).transform(X).toarray(), np.stack(expected, axis=1), atol=1e-12
    )


def test_an_additive_model_sees_what_a_line_can_not():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (np.abs(X[:, 0]) > 0.7).astype(int)
    assert built("additive", 2, **{"additive:C": 10.0}).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.9
    assert built("logistic_regression", 2).fit(X[:200], y[:200]).score(X[200:], y[200:]) < 0.7


# --- boosting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_fits_and_says_when_to_stop(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 200)
    y = (groups % 3 == 0).astype(int)
    parts = stopping_parts(y, groups)
    assert parts is not None
    rows, judges = parts
    assert not set(groups[rows]) & set(groups[judges])
    assert sorted([*rows, *judges]) == list(range(200))
    assert 0.1 < len(judges) / 200 < 0.35


def test_rounds_are_fixed_where_a_class_has_few_patients():
    y = np.repeat([0, 1], [60, 40])
    assert stopping_parts(y, np.r_[np.arange(60), 60 + np.arange(40) % 14]) is None
    assert stopping_parts(y, None) is not None
    X = np.random.default_rng(0).normal(size=(100, 3)) + y[:, None]
    groups = np.r_[np.arange(60), 60 + np.arange(40) % 14]
    early, fixed = (
        WeightedXGBClassifier(n_estimators=40, stopping=stopping, random_state=0)
        for stopping in ("early", "fixed")
    )
    np.testing.assert_array_equal(
        early.fit(X, y, groups=groups).predict_proba(X), fixed.fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_early_stopping_takes_the_best_round_of_the_judges(class_weight):
    """Against a loop over all numbers of rounds."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [70, 50])
    X = rng.normal(size=(120, 8)) + 0.6 * y[:, None]
    groups = np.arange(120) // 2
    shape = {
        "learning_rate": 0.3,
        "max_depth": 3,
        "n_jobs": 1,
        "random_state": 0,
        "class_weight": class_weight,
    }
    found = WeightedXGBClassifier(n_estimators=80, stopping="early", **shape).fit(X, y, groups=groups)
    rows, judges = stopping_parts(y, groups)
    share = np.bincount(y[judges]) / len(judges)
    weights = np.ones(len(judges)) if class_weight is None else 1 / (2 * share[y[judges]])
    losses = []
    for rounds in range(1, 81):
        model = WeightedXGBClassifier(n_estimators=rounds, **shape).fit(X[rows], y[rows])
        p = model.predict_proba(X[judges])[np.arange(len(judges)), y[judges]]
        losses.append(-np.average(np.log(p), weights=weights))
    assert found.n_rounds_ == int(np.argmin(losses)) + 1
    assert found.n_rounds_ < 80
    assert found.get_booster().num_boosted_rounds() == found.n_rounds_
    refit = WeightedXGBClassifier(n_estimators=found.n_rounds_, **shape).fit(X, y)
    np.testing.assert_array_equal(found.predict_proba(X), refit.predict_proba(X))


def test_a_second_fit_forgets_the_rounds_of_the_first():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 60)
    X = rng.normal(size=(120, 4))
    model = WeightedXGBClassifier(n_estimators=60, stopping="early", random_state=0).fit(X, y)
    assert model.n_rounds_ < 60
    assert model.set_params(stopping="fixed").fit(X, y).get_booster().num_boosted_rounds() == 60


def test_without_lightgbm_nothing_offers_it(monkeypatch):
    monkeypatch.setattr(boosting, "find_spec", lambda name: None)
    assert not boosting.has_lightgbm()


# --- bounds ---------------------------------------------------------------------------------------------------


def test_neighbours_are_no_more_than_there_are():
    X, y = np.arange(8.0)[:, None], np.tile([0, 1], 4)
    np.testing.assert_allclose(Neighbours(n_neighbors=50).fit(X, y).predict_proba(X), 0.5)
    np.testing.assert_array_equal(Neighbours(n_neighbors=1).fit(X, y).predict(X), y)


@pytest.mark.parametrize("n_rows", [5, 40, 99])
def test_a_proportional_part_keeps_every_class(n_rows):
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [60, 30, 9, 1]))
    rows = proportional_part(y, n_rows, seed=1)
    assert len(np.unique(rows)) == n_rows
    counts = np.bincount(y[rows], minlength=4)
    assert counts.min() >= 1
    assert np.abs(counts - n_rows * np.bincount(y) / 100).max() <= 2


def test_a_gaussian_process_of_many_cases_is_that_of_its_part():
    X, y = make_classification(200, 5, random_state=0)
    rows = proportional_part(y, 50, seed=4)
    whole = CappedGaussianProcess(max_cases=50, seed=4).fit(X, y)
    part = CappedGaussianProcess(max_cases=50, seed=4).fit(X[rows], y[rows])
    np.testing.assert_array_equal(whole.predict_proba(X), part.predict_proba(X))


def test_balanced_naive_bayes_knows_no_frequent_class():
    X, y = rare(2, n_rare=6)
    model = WeightedNaiveBayes(class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(model.class_prior_, [0.5, 0.5])
