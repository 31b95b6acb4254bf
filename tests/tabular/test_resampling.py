"""Resampling balances what is fitted, gives up where it can't, and keeps early stopping on real patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from autoonco.errors import UnknownNameError
from autoonco.tabular.boosting import WeightedXGBClassifier, stopping_parts
from autoonco.tabular.resampling import SAMPLERS, ResampledLearner, resample


def unequal(n_rare: int = 20, n_often: int = 80, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(n_rare, int), np.zeros(n_often, int)]
    return rng.normal(size=(len(y), 4)) + shift * y[:, None], y


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_share_of_the_rare_class_rises(sampler):
    X, y = unequal()
    new_X, new_y, done = resample(sampler, X, y, seed=0)
    assert done
    assert len(new_X) == len(new_y)
    assert new_y.mean() > y.mean() + 0.02
    again = resample(sampler, X, y, seed=0)
    np.testing.assert_array_equal(new_X, again[0])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("n_rare", [1, 2, 3, 6])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_few_cases_of_a_class_end_no_fit(sampler, n_rare, shift):
    X, y = unequal(n_rare, 25, shift)
    fitted = ResampledLearner(sampler, LogisticRegression()).fit(X, y)
    assert fitted.predict_proba(X).shape == (len(y), 2)
    if n_rare == 1:
        assert not fitted.resampled_
        plain = LogisticRegression().fit(X, y)
        np.testing.assert_array_equal(fitted.predict_proba(X), plain.predict_proba(X))


class Spy(WeightedXGBClassifier):
    """Remembers on whom its rounds were found."""

    seen: tuple = ()

    def best_rounds(self, X, y, rows, judges):
        type(self).seen = (X[rows], y[rows], X[judges], y[judges])
        return super().best_rounds(X, y, rows, judges)


def test_who_stops_the_boosting_is_real_and_a_patient_of_nobody_trained_on():
    X, y = unequal(40, 160)
    X, y, groups = np.repeat(X, 2, axis=0), np.repeat(y, 2), np.repeat(np.arange(200), 2)
    learner = Spy(stopping="early", n_estimators=30, learning_rate=0.3, max_depth=2, n_jobs=1)
    fitted = ResampledLearner("over", learner).fit(X, y, groups=groups)
    rows, judges = stopping_parts(y, groups) or ((), ())
    trained_X, trained_y, judge_X, judge_y = Spy.seen
    assert not set(groups[rows]) & set(groups[judges])
    np.testing.assert_array_equal(judge_X, X[judges])
    np.testing.assert_array_equal(judge_y, y[judges])
    assert {row.tobytes() for row in trained_X} == {row.tobytes() for row in X[rows]}
    assert trained_y.mean() == 0.5
    assert 1 <= fitted.learner_.n_estimators <= 30


def test_unknown_samplers_are_told():
    X, y = unequal()
    with pytest.raises(UnknownNameError, match="smote"):
        ResampledLearner("smoth", LogisticRegression()).fit(X, y)
