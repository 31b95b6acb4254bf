from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.data.joined import joined
from autoonco.errors import DataError


def numbered(dataset, *, patients=False):
    """The same cases named by row, each a patient of its own unless `patients`."""
    cases = tuple(
        replace(case, case=str(case.row), patient=f"P{case.row // 2}" if patients else str(case.row))
        for case in dataset.cases
    )
    return replace(dataset, cases=cases)


def test_the_external_cases_are_the_test_split_by_class_name(dataset):
    other = replace(dataset.subset(range(10)), classes=("yes", "no"))
    both = joined(dataset, other)
    assert len(both) == 70
    assert both.split.tolist() == ["train"] * 60 + ["test"] * 10
    assert both.y[60:].tolist() == (1 - dataset.y[:10]).tolist()
    assert [case.row for case in both.cases] == list(range(1, 71))
    assert both.identity() != dataset.identity()


def test_row_numbers_name_no_patient_but_a_column_does(dataset):
    plain = joined(numbered(dataset), numbered(dataset))
    assert not set(plain.groups[:60]) & set(plain.groups[60:])
    named = joined(numbered(dataset, patients=True), numbered(dataset, patients=True))
    assert set(named.groups[:60]) == set(named.groups[60:])


def test_cases_that_the_dataset_keeps_for_its_own_test_are_left_out(dataset):
    split = np.array(["train"] * 45 + ["val"] * 5 + ["test"] * 10)
    both = joined(replace(dataset, split=split), dataset.subset(range(4)))
    assert both.split.tolist() == ["train"] * 50 + ["test"] * 4
    assert both.cases[-1].row == 64  # beyond every row of the manifest, those left out too


def test_classes_that_were_not_named_are_left_out_and_unknown_ones_refused(dataset):
    three = replace(dataset, classes=("no", "unsure", "yes"), y=np.tile([0, 1, 2], 20))
    with pytest.raises(DataError, match=r"has the class 'unsure', expected one of no, yes.*--classes"):
        joined(dataset, three)
    named = replace(dataset, is_ordered=True)
    assert joined(named, three).y[60:].tolist() == [0, 1] * 20


def test_what_models_take_has_to_be_there(dataset):
    with pytest.raises(DataError, match=r"has the clinical columns none, expected .*signal"):
        joined(dataset, replace(dataset, clinical=()))
    with pytest.raises(DataError, match="has no labels"):
        joined(dataset, dataset.unlabelled())


def test_what_a_manifest_marks_as_not_clean_stays_so(dataset):
    marked = np.arange(60) % 7 > 0
    both = joined(dataset, replace(dataset, is_clean=marked))
    assert both.is_clean.tolist() == [True] * 60 + marked.tolist()
    assert joined(dataset, dataset).is_clean is None


def test_a_row_without_a_label_stays_one(dataset):
    """What is to be left out is told by the data check, which sees both."""
    y = dataset.y.copy()
    y[3] = -1
    both = joined(dataset, replace(dataset, y=y, classes=("yes", "no")))
    assert both.y[60:].tolist() == [1, 0, 1, -1, *(1 - dataset.y[4:])]
