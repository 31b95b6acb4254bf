from __future__ import annotations

import pytest

from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.settings import PRESETS, Settings


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name):
    assert Settings.preset(name).inner_folds >= 2


def test_mistakes_name_the_nearest_valid_word():
    with pytest.raises(UnknownNameError, match="Did you mean 'thorough'"):
        Settings.preset("thorogh")
    with pytest.raises(UnknownNameError, match="Did you mean 'inner_folds'"):
        Settings.preset("quick", innerfolds=3)
    with pytest.raises(AutoOncoError, match=r"'inner_folds'.*got 1"):
        Settings.preset("quick", inner_folds=1)


@pytest.mark.parametrize(
    ("values", "n_workers", "expected"),
    [
        ({}, 1, False),
        ({"max_trials": 5}, 1, True),
        ({"max_trials": 5}, 2, False),
        ({"max_trials": 5, "seconds": "measured"}, 1, False),
        ({"seconds": "prior"}, 2, True),
    ],
)
def test_a_run_is_reproducible_where_no_clock_decides(values, n_workers, expected):
    assert Settings(**values).is_reproducible(n_workers=n_workers) is expected
