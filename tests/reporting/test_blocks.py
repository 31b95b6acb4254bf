from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.data.formats import SUFFIXES
from autoonco.reporting.blocks import Cell, bounds, number, p_value, scrubbed, table, without_paths


@pytest.mark.parametrize(
    "text",
    [
        "/data/Jane_Doe/scan.nii",
        "'/data/Jane Doe/scan 2.nii'",
        "~/Jane_Doe/scan.nii.gz",
        "../Jane_Doe/x",
        "C:\\Scans\\Jane_Doe\\x.png",
        '"C:\\Scans\\Jane_Doe and co\\x"',
        "\\\\server\\Jane_Doe\\x",
        "scans/Jane_Doe/1.dcm",
        "Jane_Doe.NRRD",
        "file:///home/Jane_Doe/x",
        "Jane_Doe.csv",
        *(f"Jane_Doe{suffix}" for suffix in SUFFIXES),
    ],
)
def test_paths_are_put_out(text: str) -> None:
    found = without_paths(f"row 3: can't read {text}, got 2 < 3")
    assert "Jane" not in found
    assert found.startswith("row 3: can't read ")
    assert found.endswith(", got 2 < 3")


@pytest.mark.parametrize(
    "text",
    [
        "benign and/or malignant, T1/T2, mm/pixel, 1/27 of 3",
        "<script>alert(1)</script>",
        "2D images: a 3D network needs volumes.",
        "learning_rate=0.0003, C=0.5",
        "ratio 3 / 4",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert without_paths(text) == text


def test_json_is_scrubbed_to_its_leaves() -> None:
    found = scrubbed({"a": ["/x/Jane/y", {"b": "/x/Jane/y.csv"}], "n": 3, "c": None, "d": 0.5})
    assert "Jane" not in json.dumps(found)
    assert (found["n"], found["c"], found["d"]) == (3, None, 0.5)


def test_cells() -> None:
    made = table("t", "caption", ["a", "b", "c"], [("x", 0.12345, None), (Cell(text="y", number=2), 7, "z")])
    assert [[cell.text for cell in row] for row in made.rows] == [["x", "0.123", "–"], ["y", "7", "z"]]
    assert made.numeric == (False, True, False)


def test_figures_are_printed_as_people_read_them() -> None:
    assert bounds(0.5, np.nan, np.nan).text == "0.50"
    assert bounds(np.nan, 0.1, 0.2).text == "–"
    assert bounds(-0.06, -0.11, 0.001).text == "−0.06 [−0.11, 0.001]"
    assert [number(x) for x in (1.0, -0.0001, 0.00501, float("-inf"))] == ["1.00", "0.00", "0.005", "−∞"]
    assert [p_value(x).text for x in (0.0004, 0.0321, np.nan)] == ["< 0.001", "0.032", "–"]
