"""Features of change between channels: their arithmetic and their names."""

from __future__ import annotations

import numpy as np

from autoonco.features.delta import Delta, delta_names, delta_table
from autoonco.features.nomenclature import describe

TABLE = np.array([[2.0, 0.0, 3.0, 5.0, 12.0, 8.0], [np.nan, 1.0, 1.0, 1.0, 1.0, 1.0]])
NAMES = ("original_glcm_Contrast", "original_firstorder_Mean")


def named(how: Delta) -> dict[str, np.ndarray]:
    names = delta_names(("pre", "early", "late"), NAMES, how)
    return dict(zip(names, delta_table(TABLE, 3, how).T, strict=True))


def test_all_pairs_later_against_earlier():
    assert {name: values[0] for name, values in named(Delta.DIFFERENCE).items()} == {
        "early-pre:original_glcm_Contrast": 1.0,
        "early-pre:original_firstorder_Mean": 5.0,
        "late-pre:original_glcm_Contrast": 10.0,
        "late-pre:original_firstorder_Mean": 8.0,
        "late-early:original_glcm_Contrast": 9.0,
        "late-early:original_firstorder_Mean": 3.0,
    }


def test_ratios_multiply():
    ratio = {name: values[0] for name, values in named(Delta.RATIO).items()}
    name = "original_glcm_Contrast"
    assert ratio[f"late/pre:{name}"] == ratio[f"early/pre:{name}"] * ratio[f"late/early:{name}"] == 6.0


def test_a_ratio_to_zero_and_a_missing_value_are_missing():
    ratio = named(Delta.RATIO)
    assert np.isnan(ratio["early/pre:original_firstorder_Mean"][0])
    for how in Delta:
        assert np.isnan(next(iter(named(how).values()))[1])


def test_names_are_read_as_those_of_other_columns():
    found = describe("late-pre:original_glcm_Contrast")
    assert (found.channel, found.name) == ("late-pre", "Contrast")
