from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.errors import AutoOncoError, DataError, UnknownNameError
from autoonco.evaluation.modes import Mode, resolve
from autoonco.evaluation.split_table import SplitTable
from autoonco.settings import Settings

SETTINGS = Settings(outer_folds=5)
TABLE = SplitTable(names=("one",), roles={1: ("train",)})


def kind(evaluation, dataset, *, limit_s=3600, settings=SETTINGS, **options) -> Mode:
    return resolve(evaluation, dataset, time_limit_s=limit_s, settings=settings, **options)


@pytest.fixture
def external(dataset):
    return replace(dataset, split=np.array(["train"] * 40 + ["val"] * 8 + ["test"] * 12))


@pytest.mark.parametrize(("limit_s", "expected"), [(60, "holdout"), (600, "holdout"), (3600, "nested")])
def test_auto_without_a_split_depends_on_the_time_and_says_so(dataset, limit_s, expected):
    mode = kind("auto", dataset, limit_s=limit_s)
    assert mode.kind == expected
    assert ("time is too short for nested" in mode.why) == (expected == "holdout")


def test_auto_takes_the_manifest_s_test_split_however_short_the_time(external):
    assert kind("auto", external, limit_s=10).kind == "external"


def test_auto_holds_out_a_part_of_a_thousand_patients(dataset):
    cases = tuple(replace(dataset.cases[i % 60], patient=str(i), row=i + 1) for i in range(1000))
    many = replace(dataset, cases=cases, y=np.arange(1000) % 2)
    mode = kind("auto", many, limit_s=1e6)
    assert (mode.kind, "1000 patients" in mode.why) == ("holdout", True)
    fewer = many.subset(range(999))
    assert kind("auto", fewer, limit_s=1e6).kind == "nested"


def test_auto_replays_a_table_that_is_given(external):
    assert kind("auto", external, table=TABLE).kind == "splits"


@pytest.mark.parametrize(
    ("limit_s", "repeats"), [(600, 1), (6 * 1800, 1), (10 * 1800, 1), (11 * 1800, 2), (1e7, 10)]
)
def test_folds_are_repeated_as_often_as_leaves_each_search_half_an_hour(dataset, limit_s, repeats):
    assert kind("nested", dataset, limit_s=limit_s).repeats == repeats
    asked = Settings(outer_folds=5, outer_repeats=3)
    assert kind("nested", dataset, limit_s=limit_s, settings=asked).repeats == 3
    assert kind("holdout", dataset, limit_s=limit_s, settings=asked).repeats == 1


def test_what_was_asked_for_needs_no_reason(external):
    assert kind("holdout", external) == Mode(kind="holdout")


def test_errors_say_what_to_do(dataset):
    with pytest.raises(UnknownNameError, match="Did you mean 'nested'"):
        kind("nestd", dataset)
    with pytest.raises(DataError, match=r"split column.*--external"):
        kind("external", dataset)
    with pytest.raises(DataError, match="column 'site' with two sites"):
        kind("leave_one_site_out", dataset)
    with pytest.raises(DataError, match="table of ready splits"):
        kind("splits", dataset)


def test_a_case_without_a_site_can_t_be_left_out(dataset):
    cases = tuple(replace(case, site="ab"[i % 2] if i != 4 else None) for i, case in enumerate(dataset.cases))
    with pytest.raises(DataError, match="row 5: column 'site' is empty"):
        kind("leave_one_site_out", replace(dataset, cases=cases))


def test_two_judges_at_once_are_refused(external):
    with pytest.raises(AutoOncoError, match="give one of them"):
        kind("auto", external, table=TABLE, has_external=True)
    with pytest.raises(
        AutoOncoError, match=r"splits= \(--splits\) goes with evaluation 'splits', got 'nested'"
    ):
        kind("nested", external, table=TABLE)
    with pytest.raises(AutoOncoError, match=r"external= \(--external\) goes with"):
        kind("holdout", external, has_external=True)
