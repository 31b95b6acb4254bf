"""Each broken pipeline is caught by the checks that are meant for it; its sound counterpart passes them all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.leaks.harness import CHECKS, Pipeline, failed
from tests.leaks.pipelines import LEAKS


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_broken_is_caught(name):
    leak = LEAKS[name]
    for check in leak.caught_by:
        assert not CHECKS[check](leak.broken), check


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_sound_passes(name):
    assert failed(LEAKS[name].sound) == set()


def test_every_check_catches_something():
    assert set().union(*(leak.caught_by for leak in LEAKS.values())) == set(CHECKS) - {"planted_index"}


def test_a_row_s_number_that_is_read_is_caught():
    """Labels sorted into the table make the row's number tell them."""

    def predict(data, train, test):
        return np.asarray(data.X[test, -1])

    assert not CHECKS["planted_index"](Pipeline(name="reads the last column", predict=predict))
