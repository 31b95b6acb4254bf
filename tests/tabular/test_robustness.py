"""Intraclass correlations against the table of the paper, and the filter that uses them."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.tabular.robustness import RobustnessFilter, icc

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
"""Table 2 of Shrout and Fleiss 1979: six targets by four judges."""


def raters(table: np.ndarray) -> np.ndarray:
    return table.T[:, :, None]


@pytest.mark.parametrize(("form", "published"), [("agreement", 0.29), ("consistency", 0.71)])
def test_published_values(form, published):
    assert icc(raters(SHROUT_FLEISS), form)[0] == pytest.approx(published, abs=0.005)


def test_a_shift_shared_by_all_cases_counts_for_agreement_only():
    shifted = raters(SHROUT_FLEISS) + np.array([0, 5, 9, 1])[:, None, None]
    assert icc(shifted, "consistency")[0] == pytest.approx(icc(raters(SHROUT_FLEISS), "consistency")[0])
    assert icc(shifted)[0] < icc(raters(SHROUT_FLEISS))[0]


def test_ends_and_undefined_values():
    same = np.repeat(np.arange(6.0)[None, :, None], 3, axis=0)
    assert icc(same)[0] == pytest.approx(1)
    assert np.isnan(icc(np.ones((3, 6, 1)))[0])
    assert np.isnan(icc(np.full((3, 6, 1), np.nan))[0])
    large = icc(raters(SHROUT_FLEISS) * 1e-3 + 1e6)[0]
    assert large == pytest.approx(icc(raters(SHROUT_FLEISS))[0], abs=1e-4)


def test_a_case_with_a_gap_is_left_out_of_that_feature_only():
    both = np.concatenate([raters(SHROUT_FLEISS)] * 2, axis=2)
    both[1, 2, 1] = np.nan
    found = icc(both)
    assert found[0] == pytest.approx(icc(raters(SHROUT_FLEISS))[0])
    assert found[1] == pytest.approx(icc(raters(np.delete(SHROUT_FLEISS, 2, axis=0)))[0])


def test_filter_keeps_what_perturbation_leaves_alone():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6))
    noise = np.array([0, 0.1, 0.1, 2, 3, 0.2])
    tables = np.stack([X, *(X + noise * rng.normal(size=X.shape) for _ in range(3))])
    assert RobustnessFilter().fit(X, perturbed=tables).get_support().tolist() == [1, 1, 1, 0, 0, 1]
    assert RobustnessFilter(threshold=0.9999999).fit(X, perturbed=tables).get_support(indices=True) == [0]


@pytest.mark.parametrize("got", [None, np.zeros((1, 5, 2)), np.zeros((3, 4, 2))])
def test_a_table_that_does_not_fit_is_told(got):
    with pytest.raises(AutoOncoError, match="at least two masks"):
        RobustnessFilter().fit(np.zeros((5, 2)), perturbed=got)
    with pytest.raises(UnknownNameError, match="agreement"):
        icc(np.zeros((2, 3, 1)), "aggreement")
