"""A table of one's own: matched by case whatever its order, part of the data's identity, and checked cell by cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autoonco.data.case import Case
from autoonco.data.feature_table import read_features
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError


@pytest.fixture
def dataset():
    cases = tuple(Case(case=f"c{i}", patient=f"Doe {i}", images={}, row=i + 1) for i in range(4))
    return Dataset(cases=cases, classes=("a", "b"), y=np.array([0, 1, 0, 1]))


@pytest.fixture
def table():
    return pd.DataFrame(
        {"case": ["c3", "c1", "c0", "c2", "other"], "x": [3.0, 1.0, 0.0, np.nan, 9.0], "n": range(5)}
    )


@pytest.mark.parametrize("kind", ["frame", "csv", "semicolons", "parquet"])
def test_values_belong_to_their_case_whatever_the_order_and_format(dataset, table, tmp_path, kind):
    given = table
    if kind != "frame":
        given = tmp_path / f"table.{'parquet' if kind == 'parquet' else 'csv'}"
        if kind == "parquet":
            table.to_parquet(given)
        else:
            table.to_csv(given, index=False, sep=";" if kind == "semicolons" else ",")
    found = dataset.with_features(given)
    assert found.features == ("x", "n")
    assert [case.features["n"] for case in found.cases] == [2.0, 1.0, 3.0, 0.0]
    np.testing.assert_array_equal([case.features["x"] for case in found.cases], [0.0, 1.0, np.nan, 3.0])


def test_features_are_part_of_the_identity(dataset, table):
    first = dataset.with_features(table)
    assert first.identity() != dataset.identity()
    assert first.identity() == dataset.with_features(table.sample(frac=1, random_state=0)).identity()
    other = table.assign(x=table["x"] + 1e-9)
    assert first.identity() != dataset.with_features(other).identity()
    unused = table.assign(n=table["n"].where(table["case"] != "other", 77))
    assert first.identity() == dataset.with_features(unused).identity()


def test_subsets_and_unlabelled_keep_their_features(dataset, table):
    found = dataset.with_features(table).subset([3, 1]).unlabelled()
    assert found.features == ("x", "n")
    assert [case.features["n"] for case in found.cases] == [0.0, 1.0]


def test_the_tables_that_autoonco_writes_are_taken(dataset, table):
    written = table.assign(status="ok", message="")
    assert dataset.with_features(written).features == ("x", "n")


def test_a_case_to_predict_that_is_not_in_the_table_is_told_later(dataset, table):
    found = dataset.unlabelled().with_features(table.query("case != 'c1'"))
    assert [bool(case.features) for case in found.cases] == [True, False, True, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.rename(columns={"case": "id"}), "no column 'case'|unknown column 'case'|'case'"),
        (lambda table: table.query("case != 'c2'"), "row 3: its case is not in the feature table"),
        (lambda table: table.assign(x=np.nan, n=np.nan), "row 1: its case is without a value"),
        (lambda table: pd.concat([table, table[:1]]), "Row 6 .* row 1"),
        (lambda table: table.assign(x=["1", "2", "big", "", "3"]), "'x' .* 'big' in row 3"),
        (lambda table: table.assign(x=[1.0, np.inf, 2.0, 3.0, 4.0]), "'x' .* 'inf' in row 2"),
        (lambda table: table[["case"]], "no column beside case"),
        (lambda table: table.set_axis(["case", "x", "x"], axis=1), "twice"),
    ],
)
def test_what_is_wrong_is_named(dataset, table, change, words):
    with pytest.raises(DataError, match=words) as error:
        dataset.with_features(change(table))
    assert "Doe" not in str(error.value)


def test_empty_cells_and_whole_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case,x\n1,NA\n2, 5 \n3,\n4,1e3\n")
    found = read_features(path)
    assert found.index.tolist() == ["1", "2", "3", "4"]
    np.testing.assert_array_equal(found["x"], [np.nan, 5.0, np.nan, 1000.0])
    assert read_features(pd.DataFrame({"case": [1.0, 2.0], "x": [0, 1]})).index.tolist() == ["1", "2"]


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_features(tmp_path / "absent.parquet")
    (tmp_path / "bad.parquet").write_text("case,x\n")
    with pytest.raises(DataError, match="no parquet file"):
        read_features(tmp_path / "bad.parquet")
