"""Features of change between channels: their arithmetic, their names, and what is left out."""

from __future__ import annotations

import math

import pytest

from autoonco.errors import AutoOncoError
from autoonco.features.delta import Delta, delta_values
from autoonco.features.nomenclature import describe

TABLES = {
    "pre": {"original_glcm_Contrast": 2.0, "original_firstorder_Mean": 0.0, "original_shape_Elongation": 1.0},
    "early": {"original_glcm_Contrast": 3.0, "original_firstorder_Mean": 5.0},
    "late": {"original_firstorder_Mean": 8.0, "original_glcm_Contrast": 12.0},
}


def test_all_pairs_later_against_earlier():
    assert delta_values(TABLES, Delta.DIFFERENCE) == {
        "early-pre:original_glcm_Contrast": 1.0,
        "early-pre:original_firstorder_Mean": 5.0,
        "late-pre:original_glcm_Contrast": 10.0,
        "late-pre:original_firstorder_Mean": 8.0,
        "late-early:original_glcm_Contrast": 9.0,
        "late-early:original_firstorder_Mean": 3.0,
    }


def test_differences_add_up_and_ratios_multiply():
    difference, ratio = (delta_values(TABLES, how) for how in (Delta.DIFFERENCE, Delta.RATIO))
    for name in ("original_glcm_Contrast", "original_firstorder_Mean"):
        parts = difference[f"early-pre:{name}"] + difference[f"late-early:{name}"]
        assert difference[f"late-pre:{name}"] == parts
    name = "original_glcm_Contrast"
    assert ratio[f"late/pre:{name}"] == ratio[f"early/pre:{name}"] * ratio[f"late/early:{name}"] == 6.0


def test_a_ratio_to_zero_and_a_missing_value_are_missing():
    found = delta_values(TABLES, Delta.RATIO)
    assert math.isnan(found["early/pre:original_firstorder_Mean"])
    for how in Delta:
        missing = delta_values({"a": {"x": math.nan}, "b": {"x": 1.0}}, how)
        assert all(math.isnan(value) for value in missing.values())


def test_a_channel_with_itself_has_not_changed():
    same = {"a": {"x": 3.0, "y": -2.0}, "b": {"x": 3.0, "y": -2.0}}
    assert set(delta_values(same, Delta.DIFFERENCE).values()) == {0.0}
    assert set(delta_values(same, Delta.RATIO).values()) == {1.0}


def test_names_are_read_as_those_of_other_columns():
    found = describe("late-pre:original_glcm_Contrast")
    assert (found.channel, found.name) == ("late-pre", "Contrast")


def test_what_cannot_be_compared_is_named():
    with pytest.raises(AutoOncoError, match="two channels, got 1"):
        delta_values({"ct": {"a": 1.0}}, Delta.RATIO)
    with pytest.raises(AutoOncoError, match="'ct' and 'pet' have no feature in common"):
        delta_values({"ct": {"a": 1.0}, "pet": {"b": 1.0}}, Delta.RATIO)
