from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autoonco.data.cache import digest
from autoonco.errors import DataError
from autoonco.evaluation.split_table import read_split_table, splits_frame


def table_of(dataset, **columns):
    return pd.DataFrame({"case": [case.case for case in dataset.cases], **columns})


def roles(n_train=40, n=60):
    return ["train"] * n_train + ["test"] * (n - n_train)


def test_rows_belong_to_cases_by_name_whatever_their_order(dataset, tmp_path):
    table = table_of(dataset, one=roles(), two=["", "Val", "test"] * 20, label="x", site="y")
    shuffled = table.sample(frac=1, random_state=0)
    path = tmp_path / "splits.csv"
    shuffled.to_csv(path, index=False)
    for given in (shuffled, path, str(path)):
        found = read_split_table(given, dataset)
        assert found.names == ("one", "two")
        assert found.of(dataset, 0).tolist() == roles()
        assert found.of(dataset, 1).tolist() == ["", "train", "test"] * 20
    fewer = dataset.subset([3, 50])
    assert found.of(fewer, 0).tolist() == ["train", "test"]


def test_without_names_rows_are_the_manifest_s_by_number_or_in_order(dataset):
    in_order = read_split_table(pd.DataFrame({"s": roles()}), dataset)
    by_row = read_split_table(pd.DataFrame({"row": range(60, 0, -1), "s": roles()[::-1]}), dataset)
    assert in_order.roles == by_row.roles
    assert digest(in_order.to_json()) == digest(by_row.to_json())  # the same run, to be continued


def test_what_a_run_writes_can_be_replayed(dataset):
    rows = [case.row for case in dataset.cases]
    train, test = np.arange(0, 30), np.arange(40, 60)
    found = read_split_table(splits_frame(rows, {"outer0": (train, test), "outer1": (test, train)}), dataset)
    assert np.flatnonzero(found.of(dataset, 0) == "train").tolist() == train.tolist()
    assert np.flatnonzero(found.of(dataset, 1) == "test").tolist() == train.tolist()
    assert (found.of(dataset, 0)[30:40] == "").all()


def test_rows_of_no_case_are_counted(dataset):
    table = pd.concat(
        [table_of(dataset, s=roles()), pd.DataFrame({"case": ["of another study"], "s": ["test"]})]
    )
    assert read_split_table(table, dataset).n_unknown == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"s": ["train"] * 30 + ["hold"] + ["test"] * 29},
            r"Row 31 .* says 'hold' in column 's', expected train",
        ),
        ({"s": ["train"] * 60}, "Column 's' of the table of splits has no case to test"),
        ({"s": [""] * 59 + ["test"]}, "has no case to train"),
        ({"case": ["a"] * 60, "s": roles()}, "No row of the table"),
        ({}, "expected one for each repeat"),
    ],
)
def test_errors_name_the_column_or_the_row(dataset, change, says):
    with pytest.raises(DataError, match=says):
        read_split_table(table_of(dataset).assign(**change), dataset)


def test_a_case_twice_and_a_table_of_another_length_are_refused(dataset):
    twice = pd.concat([table_of(dataset, s=roles()), table_of(dataset, s=roles()).tail(1)])
    with pytest.raises(DataError, match="has row 60 of the manifest twice"):
        read_split_table(twice, dataset)
    with pytest.raises(DataError, match="has 59 rows for 60 cases and no column 'case'"):
        read_split_table(pd.DataFrame({"s": roles(n=59)}), dataset)
    with pytest.raises(DataError, match=r"table of splits can't be used\. There is no file"):
        read_split_table("nowhere.csv", dataset)
