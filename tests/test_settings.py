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
