from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.errors import DataError, UnknownNameError
from autoonco.evaluation.splits import outer_splits, resolve
from autoonco.settings import Settings

SETTINGS = Settings(outer_folds=5)


@pytest.fixture
def external(dataset):
    split = np.array(["train"] * 40 + ["val"] * 8 + ["test"] * 12)
    return replace(dataset, split=split)


@pytest.mark.parametrize(("limit_s", "expected"), [(60, "holdout"), (600, "holdout"), (3600, "nested")])
def test_auto_without_a_split_depends_on_the_time(dataset, limit_s, expected):
    assert resolve("auto", dataset, time_limit_s=limit_s, settings=SETTINGS) == expected


def test_auto_takes_the_manifest_s_test_split(external):
    assert resolve("auto", external, time_limit_s=10, settings=SETTINGS) == "external"


def test_validation_cases_are_learned_from_and_test_cases_only_judge(external):
    (split,) = outer_splits(external, "external", settings=SETTINGS, seed=0)
    assert split.train.tolist() == list(range(48))
    assert split.test.tolist() == list(range(48, 60))


def test_nested_judges_with_every_case_once_and_delivers_from_all(dataset):
    *outer, final = outer_splits(dataset, "nested", settings=SETTINGS, seed=0)
    assert sorted(np.concatenate([split.test for split in outer])) == list(range(60))
    for split in outer:
        assert not set(split.train) & set(split.test)
        assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])
    assert (final.scope, len(final.train), len(final.test)) == ("final", 60, 0)


def test_errors_say_what_to_do(dataset):
    with pytest.raises(UnknownNameError, match="Did you mean 'nested'"):
        resolve("nestd", dataset, time_limit_s=10, settings=SETTINGS)
    with pytest.raises(DataError, match="split column"):
        resolve("external", dataset, time_limit_s=10, settings=SETTINGS)


@pytest.mark.parametrize("evaluation", ["external", "holdout", "nested", "none"])
def test_cases_kept_for_a_test_are_never_learned_from(external, evaluation):
    for split in outer_splits(external, evaluation, settings=SETTINGS, seed=0):
        assert not set(split.train) & set(range(48, 60))
        assert not set(split.train) & set(split.test)
