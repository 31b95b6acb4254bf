"""What the report shows of the data: cases by row in their part, pictures of every class, histograms that add up."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from autoonco.data.checks import inspect
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.evaluation.explained import explaining_s
from autoonco.evaluation.shown_cases import cases_table, gallery_positions, grey_histograms, show_case


def test_cases_gallery_and_histograms(tmp_path: Path) -> None:
    dataset = Dataset.from_csv(make_phantoms(tmp_path / "data", n=12, ndim=2, seed=0))
    assert dataset.y is not None
    facts = inspect(dataset)
    table = cases_table(dataset, facts, np.arange(6), np.arange(6, 10))
    assert table["part"].tolist() == ["train"] * 6 + ["test"] * 4 + ["apart"] * 2
    assert table["row"].tolist() == [case.row for case in dataset.cases]
    assert table["class"].tolist() == dataset.y.tolist()
    assert (table["size"] > 0).all()
    positions = gallery_positions(dataset, seed=0)
    assert len(set(positions)) == len(positions)
    assert set(dataset.y[positions]) == {0, 1}
    name = show_case(dataset.cases[0], tmp_path, name="case-1", side=64)
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    (found,) = grey_histograms(dataset, seed=0, ends=time.monotonic() + 60)
    assert found["where"] == "lesion"
    assert sum(found["cases"]) == len(dataset)
    assert len(found["edges"]) == len(found["counts"][0]) + 1
    assert grey_histograms(dataset, seed=0, ends=0.0) == []  # the time is over: nothing is read


def test_explanations_have_a_share_of_the_time_and_no_more() -> None:
    assert explaining_s(100) == 3
    assert explaining_s(1e6) == 90
